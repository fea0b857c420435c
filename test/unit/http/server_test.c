/* A real server: what it answers, in which order, and to whom not. */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/limits.h"
#include "base/mem.h"
#include "serve.h"

#define HOST "Host: localhost\r\n"
#define GET(path) "GET " path " HTTP/1.1\r\n" HOST "\r\n"

static struct serve v;
static struct client c;
static struct reply r;
static uint64_t live_before;

static int up(void **state)
{
    (void)state;
    live_before = mem_live();
    serve_open(&v, NULL, false);
    return 0;
}

static int down(void **state)
{
    (void)state;
    serve_close(&v);
    assert_int_equal(mem_live(), live_before);
    return 0;
}

static void body_is(const char *text)
{
    assert_int_equal(r.body.n, strlen(text));
    assert_memory_equal(r.body.p, text, r.body.n);
}

static bool head_has(const char *line)
{
    return strstr(r.head, line) != NULL;
}

static void keeps_alive(void **state)
{
    (void)state;
    dial(&c, &v);
    for (int i = 0; i < 5; i++) {
        say(&c, "POST /echo HTTP/1.1\r\n" HOST "x-request-id: mine-1.a\r\n"
                "Content-Length: 5\r\n\r\nhello");
        expect(&c, &r, 200);
        body_is("hello");
        assert_true(head_has("\r\nx-request-id: mine-1.a\r\n"));
        assert_true(head_has("\r\nDate: ") && head_has(" GMT\r\n"));
        assert_true(head_has("\r\nX-Tag: a\r\n"));
        assert_false(head_has("X-Evil: b"));
        assert_false(head_has("Connection:"));
    }
    say(&c, "GET /echo HTTP/1.1\r\n" HOST "x-request-id: not\tsane\r\nConnection: close\r\n\r\n");
    expect(&c, &r, 200);
    assert_true(head_has("\r\nx-request-id: req_"));
    assert_true(head_has("\r\nConnection: close\r\n"));
    assert_true(expect_end(&c, SOON_MS));
    hang_up(&c);
}

static void answers_in_order(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, MiB);
    for (int i = 0; i < 50; i++)
        assert_int_equal(buf_addf(&b, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: %d\r\n\r\n%d",
                                  i < 10 ? 1 : 2, i),
                         0);
    dial(&c, &v);
    assert_true(say_bytes(&c, b.p, b.n));
    for (int i = 0; i < 50; i++) {
        char want[8];
        snprintf(want, sizeof(want), "%d", i);
        expect(&c, &r, 200);
        body_is(want);
    }
    buf_free(&b);
    hang_up(&c);
}

/* Nothing behind what is malformed is looked at. */
static void second_is_malformed(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, MiB);
    for (int i = 0; i < 50; i++)
        assert_int_equal(buf_addf(&b, i == 1 ? "GET /echo HTTP/1.1\r\nHost : a\r\n\r\n"
                                             : "GET /echo HTTP/1.1\r\n" HOST "\r\n"),
                         0);
    unsigned before = atomic_load(&v.requests);
    dial(&c, &v);
    assert_true(say_bytes(&c, b.p, b.n));
    expect(&c, &r, 200);
    expect(&c, &r, 400);
    assert_true(head_has("\r\nConnection: close\r\n"));
    assert_true(head_has("\r\nContent-Type: application/json\r\n"));
    assert_false(hear(&c, &r, false));
    assert_true(c.ended);
    assert_int_equal(c.n, 0);
    assert_int_equal(atomic_load(&v.requests), before + 1);
    buf_free(&b);
    hang_up(&c);
}

/* The answers of requests sent ahead wait for the first one's. */
static void order_over_time(void **state)
{
    (void)state;
    dial(&c, &v);
    say(&c, GET("/hold") "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 1\r\n\r\n2");
    assert_true(wait_until(&v.held_now, 1, SOON_MS));
    serve_tell(&v, SERVE_ANSWER);
    expect(&c, &r, 200);
    body_is("at last");
    expect(&c, &r, 200);
    body_is("2");
    hang_up(&c);
}

static void byte_by_byte(void **state)
{
    (void)state;
    const struct timespec pause = {.tv_nsec = 200000};
    const int yes = 1;
    static const char text[] =
        "\r\nPOST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
        "3\r\nhel\r\n2;x\r\nlo\r\n0\r\nA: b\r\n\r\n" GET("/echo");
    dial(&c, &v);
    assert_int_equal(setsockopt(c.fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes)), 0);
    for (size_t i = 0; i < sizeof(text) - 1; i++) {
        assert_true(say_bytes(&c, text + i, 1));
        nanosleep(&pause, NULL);
    }
    expect(&c, &r, 200);
    body_is("hello");
    expect(&c, &r, 200);
    body_is("");
    hang_up(&c);
}

/* The server's end of the client's connection, which is in this process, too. */
static int other_end(int mine)
{
    struct sockaddr_in here, there;
    socklen_t size = sizeof(here);
    assert_int_equal(getsockname(mine, (struct sockaddr *)&here, &size), 0);
    for (int fd = 3; fd < 1024; fd++) {
        size = sizeof(there);
        if (getpeername(fd, (struct sockaddr *)&there, &size) == 0 && there.sin_family == AF_INET &&
            there.sin_port == here.sin_port)
            return fd;
    }
    return -1;
}

static int option_of(int fd, int level, int name)
{
    int value = -1;
    socklen_t size = sizeof(value);
    assert_int_equal(getsockopt(fd, level, name, &value, &size), 0);
    return value;
}

static void connections_inherit_options(void **state)
{
    (void)state;
    dial(&c, &v);
    say(&c, GET("/echo"));
    expect(&c, &r, 200);
    const int fd = other_end(c.fd);
    assert_true(fd >= 0);
    assert_int_equal(option_of(fd, IPPROTO_TCP, TCP_NODELAY), 1);
    assert_int_equal(option_of(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
    assert_int_equal(option_of(fd, IPPROTO_TCP, TCP_KEEPIDLE), 15);
    assert_int_equal(option_of(fd, IPPROTO_TCP, TCP_KEEPINTVL), 5);
    assert_int_equal(option_of(fd, IPPROTO_TCP, TCP_KEEPCNT), 3);
    assert_int_equal(option_of(fd, SOL_SOCKET, SO_SNDBUF), 2 * (128 << 10)); // as Linux counts
    hang_up(&c);
}

static void chunked_in(void **state)
{
    (void)state;
    dial(&c, &v);
    say(&c, "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
            "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
            "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n5\r\nhello0\r\n\r\n");
    expect(&c, &r, 200);
    body_is("hello world");
    expect(&c, &r, 400);
    assert_true(memmem(r.body.p, r.body.n, "\"bad_chunk\"", 11) != NULL);
    assert_true(expect_end(&c, SOON_MS));
    hang_up(&c);
}

static void streams(void **state)
{
    (void)state;
    dial(&c, &v);
    say(&c, GET("/events?3"));
    expect(&c, &r, 200);
    assert_true(head_has("\r\nContent-Type: text/event-stream\r\n"));
    assert_true(head_has("\r\nCache-Control: no-cache\r\n"));
    assert_int_equal(r.chunks, 3);
    body_is("data: {\"a\":1}\n\nevent: odd\ndata: {\"a\":1}\n\ndata: {\"a\":1}\n\n");
    say(&c, GET("/chunks?1000"));
    expect(&c, &r, 200);
    assert_int_equal(r.chunks, 1000);
    assert_int_equal(r.body.n, 6000);
    say(&c, GET("/events?0"));
    expect(&c, &r, 200);
    assert_int_equal(r.body.n, 0);
    say(&c, GET("/big?1048576"));
    expect(&c, &r, 200);
    assert_int_equal(r.body.n, 1048576);
    hang_up(&c);
}

static void expectations(void **state)
{
    (void)state;
    dial(&c, &v);
    say(&c, "POST /echo HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    while (c.n < 25)
        assert_true(client_read(&c));
    assert_memory_equal(c.in, "HTTP/1.1 100 Continue\r\n\r\n", 25);
    say(&c, "hello");
    expect(&c, &r, 200);
    assert_int_equal(r.interim, 1);
    body_is("hello");
    say(&c,
        "POST /echo HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello");
    expect(&c, &r, 200);
    assert_int_equal(r.interim, 0); // the body is here already
    say(&c, "POST /echo HTTP/1.1\r\n" HOST "Expect: 100-continue\r\n\r\n");
    expect(&c, &r, 200);
    body_is("");
    say(&c, "POST /echo HTTP/1.1\r\n" HOST "Expect: 100-continue\r\n"
            "Content-Length: 104857600\r\n\r\n");
    expect(&c, &r, 413);
    assert_int_equal(r.interim, 0);
    assert_true(expect_end(&c, SOON_MS));
    hang_up(&c);
}

/* A client that sends on while it is refused still reads why. */
static void refused_before_the_body(void **state)
{
    (void)state;
    static const char zeros[64 << 10];
    dial(&c, &v);
    say(&c, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 104857600\r\n\r\n");
    for (int i = 0; i < 16 && say_bytes(&c, zeros, sizeof(zeros)); i++)
        ;
    expect(&c, &r, 413);
    hang_up(&c);
    dial(&c, &v);
    say(&c, "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n6400000\r\n");
    expect(&c, &r, 413);
    hang_up(&c);
}

static void heads_only(void **state)
{
    (void)state;
    dial(&c, &v);
    say(&c, "HEAD /big?1000 HTTP/1.1\r\n" HOST "\r\n"
            "HEAD /events?3 HTTP/1.1\r\n" HOST "\r\n"
            "HEAD /nothing HTTP/1.1\r\n" HOST "\r\n" GET("/echo"));
    assert_true(hear(&c, &r, true));
    assert_int_equal(r.status, 200);
    assert_true(head_has("\r\nContent-Length: 1000\r\n"));
    assert_true(hear(&c, &r, true));
    assert_int_equal(r.status, 200);
    assert_true(hear(&c, &r, true));
    assert_int_equal(r.status, 404);
    expect(&c, &r, 200);
    body_is("");
    say(&c, "HEAD /.. HTTP/1.1\r\n" HOST "\r\n");
    assert_true(hear(&c, &r, true));
    assert_int_equal(r.status, 400);
    assert_false(client_read(&c));
    assert_true(c.ended);
    hang_up(&c);
}

static void http_1_0(void **state)
{
    (void)state;
    dial(&c, &v);
    say(&c, "POST /echo HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi");
    expect(&c, &r, 200);
    body_is("hi");
    assert_true(expect_end(&c, SOON_MS));
    hang_up(&c);
    dial(&c, &v);
    say(&c, "POST /echo HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi");
    expect(&c, &r, 200);
    assert_true(head_has("\r\nConnection: keep-alive\r\n"));
    say(&c, "GET /events?2 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    expect(&c, &r, 200);
    assert_false(head_has("Transfer-Encoding"));
    assert_true(head_has("\r\nConnection: close\r\n"));
    body_is("data: {\"a\":1}\n\nevent: odd\ndata: {\"a\":1}\n\n");
    hang_up(&c);
}

/* Each of them is one refusal, and the connection ends with it. */
static void refusals(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int status;
    } rows[] = {
        {"POST / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", 403},
        {"GET / HTTP/1.1\r\n\r\n", 400},
        {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
        {"CONNECT localhost:1 HTTP/1.1\r\n" HOST "\r\n", 405},
        {"POST / HTTP/1.1\r\n" HOST "Content-Encoding: gzip\r\n\r\n", 415},
        {"\r\n\r\n", 400},
        {"\x16\x03\x01\x02", 400},
        {"{\"a\":1}\n", 400},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        dial(&c, &v);
        say(&c, rows[i].text);
        expect(&c, &r, rows[i].status);
        assert_true(head_has("\r\nConnection: close\r\n"));
        assert_true(memmem(r.body.p, r.body.n, "\"request_id\":\"req_", 18) != NULL);
        assert_true(expect_end(&c, SOON_MS));
        assert_int_equal(c.n, c.used);
        hang_up(&c);
    }
}

static void half_close_gets_its_answer(void **state)
{
    (void)state;
    dial(&c, &v);
    say(&c, GET("/hold"));
    assert_int_equal(shutdown(c.fd, SHUT_WR), 0);
    assert_true(wait_until(&v.held_now, 1, SOON_MS));
    serve_tell(&v, SERVE_ANSWER);
    expect(&c, &r, 200);
    body_is("at last");
    assert_true(expect_end(&c, SOON_MS));
    hang_up(&c);
    dial(&c, &v); // all of what was sent ahead is answered too
    say(&c, GET("/hold") GET("/events?1") GET("/echo"));
    assert_int_equal(shutdown(c.fd, SHUT_WR), 0);
    assert_true(wait_until(&v.held_now, 1, SOON_MS));
    serve_tell(&v, SERVE_ANSWER);
    for (int i = 0; i < 3; i++)
        expect(&c, &r, 200);
    assert_true(expect_end(&c, SOON_MS));
    hang_up(&c);
    dial(&c, &v); // a request that is not whole is none
    say(&c, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhell");
    assert_int_equal(shutdown(c.fd, SHUT_WR), 0);
    assert_true(expect_end(&c, SOON_MS));
    assert_int_equal(c.n, 0);
    hang_up(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_alive),
        cmocka_unit_test(answers_in_order),
        cmocka_unit_test(second_is_malformed),
        cmocka_unit_test(order_over_time),
        cmocka_unit_test(byte_by_byte),
        cmocka_unit_test(connections_inherit_options),
        cmocka_unit_test(chunked_in),
        cmocka_unit_test(streams),
        cmocka_unit_test(expectations),
        cmocka_unit_test(refused_before_the_body),
        cmocka_unit_test(heads_only),
        cmocka_unit_test(http_1_0),
        cmocka_unit_test(refusals),
        cmocka_unit_test(half_close_gets_its_answer),
    };
    return cmocka_run_group_tests(tests, up, down);
}
