/* What is served, what is refused, and in which order. */
#include "util.h"

#include <sys/socket.h>
#include <unistd.h>

#include "base/limits.h"

#define HOST "Host: localhost\r\n"
#define GET(fields) "GET /echo HTTP/1.1\r\n" HOST fields "\r\n"
#define POST(fields) "POST /echo HTTP/1.1\r\n" HOST fields "\r\n"
#define AFTER "GET /echo?smuggled HTTP/1.1\r\n" HOST "\r\n"

static struct app *a;

static int start(void **state)
{
    (void)state;
    a = app_start(NULL);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    app_stop(a);
    return 0;
}

static void served(const char *text, const char *wanted)
{
    const char *all = ask(a, text);
    if (strncmp(all, "HTTP/1.1 200 OK\r\n", 17) != 0 || !strstr(all, wanted))
        fail_msg("wanted %s for: %.200s\ngot: %.600s", wanted, text, all);
}

/* ------------------------------------------------------------------- served -- */

static void a_request_is_answered(void **state)
{
    (void)state;
    const char *all = ask(a, "POST /echo?a=1&b=%20 HTTP/1.1\r\n" HOST
                             "Content-Length: 5\r\nX-Request-Id: abc.1\r\n\r\nhello");
    assert_non_null(strstr(all, "HTTP/1.1 200 OK\r\nDate: "));
    assert_non_null(strstr(all, " GMT\r\n"));
    assert_non_null(strstr(all, "\r\nContent-Type: text/plain\r\n"));
    assert_non_null(strstr(all, "\r\nx-request-id: abc.1\r\n"));
    assert_non_null(strstr(all, "\r\n\r\nPOST /echo a=1&b=%20 hello"));
}

static void a_request_without_a_sane_id_gets_ours(void **state)
{
    (void)state;
    served(GET(), "\r\nx-request-id: req_");
    served(GET("x-request-id: a b\r\n"), "\r\nx-request-id: req_");
    served(GET("x-request-id: a\"b\r\n"), "\r\nx-request-id: req_");
    served(GET("x-request-id: \r\n"), "\r\nx-request-id: req_");
}

static void plain_paths_are_decoded(void **state)
{
    (void)state;
    served("GET /ech%6F HTTP/1.1\r\n" HOST "\r\n", "GET /echo  ");
    served("GET http://localhost/echo?x HTTP/1.1\r\n" HOST "\r\n", "GET /echo x ");
    served("GET HTTP://LocalHost:80/echo HTTP/1.1\r\nHost: localhost:80\r\n\r\n", "GET /echo  ");
    served("\r\nGET /echo HTTP/1.1\r\n" HOST "\r\n", "GET /echo  ");
    assert_non_null(strstr(ask(a, "GET /v1/mod%C3%A8les/ HTTP/1.1\r\n" HOST "\r\n"), " 404 "));
    assert_non_null(strstr(ask(a, "GET /v1/..a/.b HTTP/1.1\r\n" HOST "\r\n"), " 404 "));
}

static void hosts_that_are_ours_are_served(void **state)
{
    (void)state;
    static const char *const hosts[] = {"localhost",       "LOCALHOST:8080", "127.0.0.1:1",
                                        "[::1]:65535",     "[::1]",          "realm.example",
                                        "Realm.example:80"};
    for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
        char text[200];
        snprintf(text, sizeof(text), "GET /echo HTTP/1.1\r\nHost: %s\r\n\r\n", hosts[i]);
        served(text, "GET /echo  ");
    }
    served("GET /echo HTTP/1.0\r\n\r\n", "GET /echo  ");
}

static void chunks_are_put_together(void **state)
{
    (void)state;
    served(POST("Transfer-Encoding: chunked\r\n") "5\r\nhello\r\n7;a=b\r\n, world\r\n0\r\n\r\n",
           "POST /echo  hello, world");
    served(POST("Transfer-Encoding: chunked\r\n") "000A\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n",
           "POST /echo  0123456789");
    served(POST("Transfer-Encoding: chunked\r\n") "0\r\n\r\n", "POST /echo  ");
}

static void bytes_one_by_one_are_a_request(void **state)
{
    (void)state;
    const char text[] = POST("Transfer-Encoding: chunked\r\n") "5\r\nhello\r\n0\r\n\r\n";
    int fd = client(a);
    for (size_t i = 0; i + 1 < sizeof(text); i++) {
        put_n(fd, text + i, 1);
        if (i % 16 == 0)
            usleep(1000); // or the system puts them together
    }
    assert_non_null(strstr(get_until(fd, "hello", SOON_MS), "POST /echo  hello"));
    close(fd);
}

static void a_client_that_asks_first_is_told_to_go_on(void **state)
{
    (void)state;
    int fd = client(a);
    put(fd, POST("Content-Length: 5\r\nExpect: 100-continue\r\n"));
    assert_string_equal(get_until(fd, "\r\n\r\n", SOON_MS), "HTTP/1.1 100 Continue\r\n\r\n");
    put(fd, "hello");
    assert_non_null(strstr(get_until(fd, "hello", SOON_MS), "POST /echo  hello"));
    close(fd);
}

static void head_has_no_body(void **state)
{
    (void)state;
    const char *all = ask(a, "HEAD /echo HTTP/1.1\r\n" HOST "\r\n");
    assert_non_null(strstr(all, "\r\nContent-Length: 12\r\n"));
    assert_string_equal(strstr(all, "\r\n\r\n"), "\r\n\r\n");
    all = ask(a, "HEAD /count HTTP/1.1\r\n" HOST "\r\n");
    assert_non_null(strstr(all, "HTTP/1.1 200 OK"));
    assert_string_equal(strstr(all, "\r\n\r\n"), "\r\n\r\n");
}

static void a_connection_serves_many_requests(void **state)
{
    (void)state;
    int fd = client(a);
    for (int i = 0; i < 20; i++) {
        char text[200], wanted[20];
        snprintf(text, sizeof(text), "GET /echo?%d HTTP/1.1\r\n" HOST "\r\n", i);
        snprintf(wanted, sizeof(wanted), "GET /echo %d ", i);
        put(fd, text);
        const char *got = get_until(fd, wanted, SOON_MS);
        assert_non_null(strstr(got, wanted));
        assert_null(strstr(got, "Connection: close"));
    }
    put(fd, GET("Connection: foo, Close\r\n"));
    assert_non_null(strstr(get_all(fd), "\r\nConnection: close\r\n"));
    close(fd);
}

static void http_1_0_closes_unless_asked_not_to(void **state)
{
    (void)state;
    int fd = client(a);
    put(fd, "GET /echo?1 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_non_null(
        strstr(get_until(fd, "GET /echo 1", SOON_MS), "\r\nConnection: keep-alive\r\n"));
    put(fd, "GET /count HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    const char *all = get_all(fd);
    assert_null(strstr(all, "chunked"));
    assert_non_null(strstr(all, "\r\n\r\none two three"));
    close(fd);
    served("GET /echo HTTP/1.0\r\n\r\n", "\r\nConnection: close\r\n");
}

/* ----------------------------------------------------------------- in order -- */

static void requests_ahead_are_answered_in_order(void **state)
{
    (void)state;
    int handled = app_count(a, &a->handled);
    int fd = client(a);
    put(fd, "GET /hold HTTP/1.1\r\n" HOST "\r\nGET /echo?2 HTTP/1.1\r\n" HOST
            "\r\n" POST("Content-Length: 1\r\n") "3" GET("Connection: close\r\n"));
    assert_true(app_waits(a, &a->n_held, 1, SOON_MS));
    assert_string_equal(get_until(fd, "HTTP", 100), ""); // the second waits for the first
    app_answer(a);
    const char *all = get_all(fd);
    const char *first = strstr(all, "\r\n\r\nanswer"), *second = strstr(all, "GET /echo 2");
    const char *third = strstr(all, "POST /echo  3"), *fourth = strstr(all, "GET /echo  ");
    assert_true(first && first < second && second < third && third < fourth);
    assert_int_equal(app_count(a, &a->handled), handled + 4);
    close(fd);
}

static void a_bad_request_behind_a_good_one_is_refused_in_turn(void **state)
{
    (void)state;
    const char *all = ask(a, "GET /echo?1 HTTP/1.1\r\n" HOST "\r\nGET /echo\nHost: x\n\n" AFTER);
    const char *good = strstr(all, "GET /echo 1"), *bad = strstr(all, "HTTP/1.1 400 ");
    assert_true(good && bad && good < bad);
    assert_null(strstr(all, "smuggled"));
}

static void a_half_closed_client_gets_its_answers(void **state)
{
    (void)state;
    int gone = app_count(a, &a->gone);
    int fd = client(a);
    put(fd, "GET /hold HTTP/1.1\r\n" HOST "\r\nGET /hold HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    for (int i = 0; i < 2; i++) {
        assert_true(app_waits(a, &a->n_held, 1, SOON_MS));
        usleep(300000); // it is asked whether it is there, and is
        assert_int_equal(app_count(a, &a->gone), gone);
        app_answer(a);
    }
    const char *all = get_all(fd);
    const char *first = strstr(all, "\r\n\r\nanswer");
    assert_non_null(first);
    assert_non_null(strstr(first + 8, "\r\n\r\nanswer"));
    assert_non_null(strstr(all, "\r\nConnection: close\r\n"));
    close(fd);
}

static void nothing_comes_after_the_last_request(void **state)
{
    (void)state;
    static const char *const lasts[] = {"GET /hold HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n",
                                        "POST /hold HTTP/1.1\r\n" HOST
                                        "Connection: close\r\nContent-Length: 1\r\n\r\na"};
    for (size_t i = 0; i < ARRAY_LEN(lasts); i++) {
        int fd = client(a);
        put(fd, lasts[i]);
        put(fd, "GET /echo HTTP/1.1\r\n" HOST "\r\n");
        assert_int_equal(shutdown(fd, SHUT_WR), 0);
        assert_true(app_waits(a, &a->n_held, 1, SOON_MS));
        usleep(100000); // until it is seen that nothing comes any more
        app_answer(a);
        const char *all = get_all(fd);
        assert_non_null(strstr(all, "\r\n\r\nanswer"));
        assert_null(strstr(all, "GET /echo"));
        assert_null(strstr(strstr(all, "answer"), "HTTP/1.1 "));
        close(fd);
    }
}

/* ------------------------------------------------------------------ refused -- */

struct bad {
    const char *text;
    int status;
    const char *code;
};

static void all_refused(const struct bad *bad, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char text[2000];
        snprintf(text, sizeof(text), "%s" AFTER, bad[i].text);
        int handled = app_count(a, &a->handled);
        refused(a, text, strlen(text), bad[i].status, bad[i].code);
        assert_int_equal(app_count(a, &a->handled), handled);
    }
}

static void ambiguous_lengths_are_refused(void **state)
{
    (void)state;
    static const struct bad bad[] = {
        {POST("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n") "0\r\n\r\n", 400,
         "bad_request"},
        {POST("Content-Length: 5\r\nContent-Length: 6\r\n") "hello", 400, "bad_request"},
        {POST("Content-Length: 5\r\nContent-Length: 5\r\n") "hello", 400, "bad_request"},
        {POST("Content-Length: +5\r\n") "hello", 400, "bad_request"},
        {POST("Content-Length: -5\r\n") "hello", 400, "bad_request"},
        {POST("Content-Length: 5,5\r\n") "hello", 400, "bad_request"},
        {POST("Content-Length: 0x5\r\n") "hello", 400, "bad_request"},
        {POST("Content-Length: 5 \r\n") "hello", 400, "bad_request"},
        {POST("Content-Length: \r\n") "hello", 400, "bad_request"},
        {POST("Content-Length:\r\n") "hello", 400, "bad_request"},
        {POST("Content-Length: 99999999999999999999\r\n") "hello", 400, "bad_request"},
        {POST("Content-Length : 5\r\n") "hello", 400, "bad_request"},
        {POST("Transfer-Encoding: chunked, identity\r\n") "0\r\n\r\n", 400, "bad_request"},
        {POST("Transfer-Encoding: identity\r\n"), 400, "bad_request"},
        {POST("Transfer-Encoding: xchunked\r\n") "0\r\n\r\n", 400, "bad_request"},
        {POST("Transfer-Encoding: chunked \r\n") "0\r\n\r\n", 400, "bad_request"},
        {POST("Transfer-Encoding : chunked\r\n") "0\r\n\r\n", 400, "bad_request"},
        {POST("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n") "0\r\n\r\n", 400,
         "bad_request"},
        {"POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "bad_request"},
    };
    all_refused(bad, ARRAY_LEN(bad));
}

static void malformed_lines_are_refused(void **state)
{
    (void)state;
    static const struct bad bad[] = {
        {"GET /echo HTTP/1.1\n" HOST "\r\n", 400, "bad_request"},
        {"GET /echo HTTP/1.1\r\nHost: localhost\n\r\n", 400, "bad_request"},
        {"GET /echo HTTP/1.1\r\nHost: localhost\r\n\n", 400, "bad_request"},
        {"GET /echo HTTP/1.1\r\nHost: local\rhost\r\n\r\n", 400, "bad_request"},
        {GET("X: a\r\n b\r\n"), 400, "bad_request"},
        {GET("X: a\r\n\tb\r\n"), 400, "bad_request"},
        {GET(" X: a\r\n"), 400, "bad_request"},
        {GET("X : a\r\n"), 400, "bad_request"},
        {GET("X\r\n"), 400, "bad_request"},
        {GET(": a\r\n"), 400, "bad_request"},
        {GET("X: a\x01\r\n"), 400, "bad_request"},
        {GET("X: a\x7f\r\n"), 400, "bad_request"},
        {GET("X(: a\r\n"), 400, "bad_request"},
        {"GET  /echo HTTP/1.1\r\n" HOST "\r\n", 400, "bad_request"},
        {"GET /echo  HTTP/1.1\r\n" HOST "\r\n", 505, "http_version"},
        {"GET /echo HTTP/1.1 \r\n" HOST "\r\n", 400, "bad_request"},
        {"GET\t/echo HTTP/1.1\r\n" HOST "\r\n", 400, "bad_request"},
        {"GET /echo\r\n\r\n", 400, "bad_request"},
        {"GET /echo http/1.1\r\n" HOST "\r\n", 505, "http_version"},
        {"\r\n\r\nGET /echo HTTP/1.1\r\n" HOST "\r\n", 400, "bad_request"},
        {"\x16\x03\x01\x02", 400, "bad_request"}, // somebody speaks TLS
        {"GET /echo HTTP/2.0\r\n" HOST "\r\n", 505, "http_version"},
        {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "http_version"},
    };
    all_refused(bad, ARRAY_LEN(bad));
    static const char nul[] = "GET /echo HTTP/1.1\r\n" HOST "X: a\0b\r\n\r\n";
    refused(a, nul, sizeof(nul) - 1, 400, "bad_request");
}

static void malformed_chunks_are_refused(void **state)
{
    (void)state;
#define CHUNKS(text) POST("Transfer-Encoding: chunked\r\n") text
    static const struct bad bad[] = {
        {CHUNKS("10000000000000000\r\n"), 400, "bad_chunk"},
        {CHUNKS("ffffffffffffffff\r\n"), 400, "bad_chunk"},
        {CHUNKS("1;ext=\nx\r\n0\r\n\r\n"), 400, "bad_chunk"},
        {CHUNKS("1;ext=\rx\r\n0\r\n\r\n"), 400, "bad_chunk"},
        {CHUNKS("1\nx\r\n0\r\n\r\n"), 400, "bad_chunk"},
        {CHUNKS("1 \r\nx\r\n0\r\n\r\n"), 400, "bad_chunk"},
        {CHUNKS(" 1\r\nx\r\n0\r\n\r\n"), 400, "bad_chunk"},
        {CHUNKS("+1\r\nx\r\n0\r\n\r\n"), 400, "bad_chunk"},
        {CHUNKS("0x1\r\nx\r\n0\r\n\r\n"), 400, "bad_chunk"},
        {CHUNKS("\r\nx\r\n0\r\n\r\n"), 400, "bad_chunk"},
        {CHUNKS("1\r\nx\n0\r\n\r\n"), 400, "bad_chunk"},
        {CHUNKS("1\r\nxy\r\n0\r\n\r\n"), 400, "bad_chunk"},
        {CHUNKS("1\r\nx0\r\n\r\n"), 400, "bad_chunk"},
        {CHUNKS("1\r\nx\r\n0\r\nGET / HTTP/1.1\r\n\r\n"), 400, "bad_chunk"},
        {CHUNKS("1\r\nx\r\n0\r\nX: a\n\r\n"), 400, "bad_chunk"},
        {CHUNKS("1\r\nx\r\n0\r\nX: a\r\n b\r\n\r\n"), 400, "bad_chunk"},
        {CHUNKS("1\r\nx\r\n0\r\nno colon\r\n\r\n"), 400, "bad_chunk"},
        {CHUNKS("1\r\nx\r\n0\r\n: a\r\n\r\n"), 400, "bad_chunk"},
    };
    all_refused(bad, ARRAY_LEN(bad));
}

static void hosts_and_targets_that_are_not_ours_are_refused(void **state)
{
    (void)state;
    static const struct bad bad[] = {
        {"GET /echo HTTP/1.1\r\n\r\n", 400, "bad_request"},
        {"GET /echo HTTP/1.1\r\n" HOST HOST "\r\n", 400, "bad_request"},
        {"GET /echo HTTP/1.1\r\nHost: \r\n\r\n", 400, "bad_request"},
        {"GET /echo HTTP/1.1\r\nHost: a@localhost\r\n\r\n", 400, "bad_request"},
        {"GET /echo HTTP/1.1\r\nHost: localhost:x\r\n\r\n", 400, "bad_request"},
        {"GET /echo HTTP/1.1\r\nHost: localhost, evil\r\n\r\n", 400, "bad_request"},
        {"GET /echo HTTP/1.1\r\nHost: evil.example\r\n\r\n", 403, "host_not_allowed"},
        {"GET /echo HTTP/1.1\r\nHost: localhost.evil.example\r\n\r\n", 403, "host_not_allowed"},
        {"GET /echo HTTP/1.0\r\nHost: evil.example\r\n\r\n", 403, "host_not_allowed"},
        {"GET http://evil/echo HTTP/1.1\r\n" HOST "\r\n", 400, "bad_request"},
        {"GET http://localhost HTTP/1.1\r\n" HOST "\r\n", 400, "bad_request"},
        {"GET https://localhost/echo HTTP/1.1\r\n" HOST "\r\n", 400, "bad_request"},
        {"GET echo HTTP/1.1\r\n" HOST "\r\n", 400, "bad_request"},
        {"OPTIONS * HTTP/1.1\r\n" HOST "\r\n", 400, "bad_request"},
        {"CONNECT localhost:80 HTTP/1.1\r\n" HOST "\r\n", 405, "method_not_allowed"},
        {"TRACE /echo HTTP/1.1\r\n" HOST "\r\n", 405, "method_not_allowed"},
    };
    all_refused(bad, ARRAY_LEN(bad));
}

static void paths_that_are_not_plain_are_refused(void **state)
{
    (void)state;
    static const char *const paths[] = {
        "/../echo",    "/%2e%2e/echo", "/a/.%2E/echo", "/./echo",    "//echo",     "/a//echo",
        "/..%2f/../a", "/echo%5ca",    "/%00echo",     "/%0Aecho",   "/echo%",     "/echo%2",
        "/echo%zz",    "/%c0%ae/echo", "/%ff",         "/%ed%a0%80", "/echo#frag", "/\xc3",
        "/echo?\xff",  "/a/..",        "/a/.",         "/%7f"};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        char text[200];
        snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\n" HOST "\r\n", paths[i]);
        refused(a, text, strlen(text), 400, "bad_request");
    }
}

static void what_is_not_supported_is_refused(void **state)
{
    (void)state;
    static const struct bad bad[] = {
        {POST("Content-Encoding: gzip\r\nContent-Length: 5\r\n") "hello", 415,
         "unsupported_encoding"},
        {POST("Content-Length: 5\r\nExpect: a-pony\r\n") "hello", 417, "expectation_failed"},
        {POST("Content-Length: 4194305\r\n"), 413, "body_too_large"},
        {POST("Content-Length: 104857600\r\nExpect: 100-continue\r\n"), 413, "body_too_large"},
        {POST("Transfer-Encoding: chunked\r\n") "400001\r\n", 413, "body_too_large"},
        {POST("Transfer-Encoding: chunked\r\n") "1\r\nx\r\n400000\r\n", 413, "body_too_large"},
    };
    all_refused(bad, ARRAY_LEN(bad));
    served(POST("Content-Encoding: identity\r\nContent-Length: 5\r\n") "hello", "hello");
}

static void a_request_cut_short_is_not_served(void **state)
{
    (void)state;
    int handled = app_count(a, &a->handled);
    assert_null(strstr(ask(a, "GET /echo HT"), " 200 "));
    assert_null(strstr(ask(a, POST("Content-Length: 5\r\n") "hell"), " 200 "));
    assert_null(
        strstr(ask(a, POST("Transfer-Encoding: chunked\r\n") "5\r\nhello\r\n0\r\n"), " 200 "));
    assert_string_equal(ask(a, ""), "");
    assert_int_equal(app_count(a, &a->handled), handled);
}

static void a_refusal_is_of_openai_s_shape(void **state)
{
    (void)state;
    const char *all = ask(a, "GET /echo HTTP/1.1\r\nHost: evil\r\nX-Request-Id: mine\r\n\r\n");
    assert_non_null(strstr(all, "\r\nContent-Type: application/json\r\n"));
    assert_non_null(strstr(all, "\r\nx-request-id: mine\r\n"));
    assert_string_equal(
        strstr(all, "{"),
        "{\"error\":{\"message\":\"this server does not answer for this host "
        "(listen.allowed_hosts)\",\"type\":\"invalid_request_error\",\"param\":null,"
        "\"code\":\"host_not_allowed\",\"request_id\":\"mine\"}}");
}

/* ----------------------------------------------------------------- too large -- */

static void a_long_request_line_is_refused(void **state)
{
    (void)state;
    static char text[64 << 10];
    memset(text, 'a', sizeof(text));
    memcpy(text, "GET /", 5);
    refused(a, text, sizeof(text), 414, "uri_too_long");
    /* The longest that is served, and one more. */
    for (size_t n = HTTP_LINE_MAX; n <= HTTP_LINE_MAX + 1; n++) {
        memset(text, 'a', n);
        memcpy(text, "GET /", 5);
        memcpy(text + n - 9, " HTTP/1.1", 9);
        snprintf(text + n, 100, "\r\n" HOST "\r\n");
        if (n == HTTP_LINE_MAX)
            assert_non_null(strstr(ask(a, text), " 404 "));
        else
            refused(a, text, strlen(text), 414, "uri_too_long");
    }
}

static void large_heads_are_refused(void **state)
{
    (void)state;
    static char text[128 << 10];
    memset(text, 'a', sizeof(text));
    int n = snprintf(text, 100, "GET /echo HTTP/1.1\r\n" HOST "X: ");
    text[n] = 'a';
    refused(a, text, HTTP_LINE_MAX * 2, 431, "header_too_large");

    n = snprintf(text, sizeof(text), "GET /echo HTTP/1.1\r\n" HOST);
    for (int i = 1; i < HTTP_FIELDS_MAX; i++)
        n += snprintf(text + n, sizeof(text) - (size_t)n, "X%d: y\r\n", i);
    snprintf(text + n, sizeof(text) - (size_t)n, "\r\n");
    served(text, "GET /echo  ");
    snprintf(text + n, sizeof(text) - (size_t)n, "One: more\r\n\r\n");
    refused(a, text, strlen(text), 431, "too_many_headers");

    n = snprintf(text, sizeof(text), "GET /echo HTTP/1.1\r\n" HOST);
    for (int i = 0; i < 10; i++)
        n += snprintf(text + n, sizeof(text) - (size_t)n, "X: %05000d\r\n", i);
    snprintf(text + n, sizeof(text) - (size_t)n, "\r\n");
    refused(a, text, strlen(text), 431, "header_too_large");
}

static void large_trailers_are_refused(void **state)
{
    (void)state;
    static char text[64 << 10];
    int n = snprintf(text, sizeof(text), POST("Transfer-Encoding: chunked\r\n") "1\r\nx\r\n0\r\n");
    for (int i = 0; i < 20; i++)
        n += snprintf(text + n, sizeof(text) - (size_t)n, "X%d: %01000d\r\n", i, i);
    snprintf(text + n, sizeof(text) - (size_t)n, "\r\n");
    refused(a, text, strlen(text), 400, "bad_chunk");
}

/* A body that is refused unread is read off the socket, or the refusal might get lost. */
static void a_refusal_reaches_a_client_that_still_sends(void **state)
{
    (void)state;
    static char body[4 << 20];
    for (int i = 0; i < 5; i++) {
        int fd = client(a);
        put(fd, POST("Content-Length: 8388608\r\n"));
        put_n(fd, body, sizeof(body));
        assert_non_null(strstr(get_all(fd), "HTTP/1.1 413 "));
        close(fd);
    }
}

static void the_largest_body_is_served(void **state)
{
    (void)state;
    static char body[HTTP_BODY_MAX];
    memset(body, 'b', sizeof(body));
    int fd = client(a);
    put(fd, POST("Content-Length: 4194304\r\nConnection: close\r\n"));
    put_n(fd, body, sizeof(body));
    const char *all = get_all(fd);
    assert_int_equal(strlen(strstr(all, "POST /echo  ")), 12 + HTTP_BODY_MAX);
    close(fd);
}

static void a_body_that_nobody_wants_is_not_read(void **state)
{
    (void)state;
    static const char *const heads[] = {
        "POST /unwanted HTTP/1.1\r\n" HOST "Content-Length: 1000000\r\n\r\n",
        "POST /unwanted HTTP/1.1\r\n" HOST "Content-Length: 9\r\nExpect: 100-continue\r\n\r\n",
        "POST /unwanted HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n",
        "POST /unwanted HTTP/1.1\r\n" HOST
        "Content-Length: 9\r\n\r\n123456789GET / HTTP/1.1\r\n" HOST "\r\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(heads); i++) {
        const char *all = ask(a, heads[i]);
        assert_true(strncmp(all, "HTTP/1.1 404 ", 13) == 0);
        assert_non_null(strstr(all, "Connection: close\r\n"));
        assert_null(strstr(all + 13, "HTTP/1.1 "));
        assert_null(strstr(all, "23456789"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_is_answered),
        cmocka_unit_test(a_request_without_a_sane_id_gets_ours),
        cmocka_unit_test(plain_paths_are_decoded),
        cmocka_unit_test(hosts_that_are_ours_are_served),
        cmocka_unit_test(chunks_are_put_together),
        cmocka_unit_test(bytes_one_by_one_are_a_request),
        cmocka_unit_test(a_client_that_asks_first_is_told_to_go_on),
        cmocka_unit_test(head_has_no_body),
        cmocka_unit_test(a_connection_serves_many_requests),
        cmocka_unit_test(http_1_0_closes_unless_asked_not_to),
        cmocka_unit_test(requests_ahead_are_answered_in_order),
        cmocka_unit_test(a_bad_request_behind_a_good_one_is_refused_in_turn),
        cmocka_unit_test(a_half_closed_client_gets_its_answers),
        cmocka_unit_test(nothing_comes_after_the_last_request),
        cmocka_unit_test(ambiguous_lengths_are_refused),
        cmocka_unit_test(malformed_lines_are_refused),
        cmocka_unit_test(malformed_chunks_are_refused),
        cmocka_unit_test(hosts_and_targets_that_are_not_ours_are_refused),
        cmocka_unit_test(paths_that_are_not_plain_are_refused),
        cmocka_unit_test(what_is_not_supported_is_refused),
        cmocka_unit_test(a_request_cut_short_is_not_served),
        cmocka_unit_test(a_refusal_is_of_openai_s_shape),
        cmocka_unit_test(a_long_request_line_is_refused),
        cmocka_unit_test(large_heads_are_refused),
        cmocka_unit_test(large_trailers_are_refused),
        cmocka_unit_test(a_refusal_reaches_a_client_that_still_sends),
        cmocka_unit_test(the_largest_body_is_served),
        cmocka_unit_test(a_body_that_nobody_wants_is_not_read),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
