/* Answers in pieces, the loop's services, and the end of a server. */
#include "util.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

#define HOST "Host: localhost\r\n"
#define HOLD "GET /hold HTTP/1.1\r\n" HOST "\r\n"
#define EVENTS "GET /events HTTP/1.1\r\n" HOST "\r\n"
#define ECHO "GET /echo HTTP/1.1\r\n" HOST "\r\n"

static void pieces_are_chunks(void **state)
{
    (void)state;
    struct app *a = app_start(NULL);
    int fd = client(a);
    put(fd, "GET /count HTTP/1.1\r\n" HOST "\r\n" ECHO);
    const char *all = get_until(fd, "GET /echo", SOON_MS);
    assert_non_null(strstr(all, "\r\nTransfer-Encoding: chunked\r\n"));
    assert_non_null(strstr(all, "\r\n\r\n4\r\none \r\n4\r\ntwo \r\n5\r\nthree\r\n0\r\n\r\n"
                                "HTTP/1.1 200 OK\r\n"));
    close(fd);
    app_stop(a);
}

static void events_come_when_they_are_sent(void **state)
{
    (void)state;
    struct app *a = app_start(NULL);
    int fd = client(a);
    put(fd, EVENTS);
    const char *head = get_until(fd, "\r\n\r\n", SOON_MS);
    assert_non_null(strstr(head, "\r\nContent-Type: text/event-stream\r\n"));
    assert_non_null(strstr(head, "\r\nCache-Control: no-cache\r\n"));
    app_event(a, "{\"n\":1}");
    assert_string_equal(get_until(fd, "\n\n\r\n", SOON_MS), "f\r\ndata: {\"n\":1}\n\n\r\n");
    app_event(a, "[DONE]");
    assert_non_null(strstr(get_until(fd, "\n\n\r\n", SOON_MS), "data: [DONE]\n\n"));
    app_end(a);
    assert_string_equal(get_until(fd, "\r\n\r\n", SOON_MS), "0\r\n\r\n");
    put(fd, ECHO);
    assert_non_null(strstr(get_until(fd, "GET /echo", SOON_MS), "200"));
    close(fd);
    app_stop(a);
}

static void a_silent_stream_gets_comments(void **state)
{
    (void)state;
    struct http_limits limits = {.keep_alive_ms = 200};
    struct app *a = app_start(&limits);
    int fd = client(a), plain = client(a);
    put(fd, EVENTS);
    put(plain, "GET /pieces HTTP/1.1\r\n" HOST "\r\n");
    assert_non_null(strstr(get_until(fd, ": \n\n", SOON_MS), "4\r\n: \n\n\r\n"));
    assert_non_null(strstr(get_until(fd, ": \n\n", SOON_MS), "4\r\n: \n\n\r\n"));
    get_until(plain, "\r\n\r\n", SOON_MS);
    assert_string_equal(get_until(plain, "\n", 500), ""); // no stream of events
    close(fd);
    close(plain);
    app_stop(a);
}

static void a_large_answer_arrives_whole(void **state)
{
    (void)state;
    struct app *a = app_start(NULL);
    int fd = client_small(a);
    put(fd, "GET /big?5000000 HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
    const char *all = get_all(fd);
    const char *body = strstr(all, "\r\n\r\n");
    assert_non_null(body);
    assert_int_equal(strspn(body + 4, "x"), 5000000);
    close(fd);
    app_stop(a);
}

/* Answers wait in order behind one that the client reads slowly. */
/* H05: whoever ends his side while the answer is on its way still gets the rest of it; also where
 * a further request has begun that never becomes whole. */
static void a_half_closed_client_gets_the_rest(void **state)
{
    (void)state;
    static const char *const further[] = {"", "GET /ec"};
    struct app *a = app_start(NULL);
    for (int i = 0; i < 2; i++) {
        int fd = client_small(a);
        put(fd, "GET /big?5000000 HTTP/1.1\r\n" HOST "\r\n");
        assert_true(app_waits(a, &a->handled, i + 1, SOON_MS));
        put(fd, further[i]);
        assert_int_equal(shutdown(fd, SHUT_WR), 0);
        usleep(50000);
        const char *body = strstr(get_all(fd), "\r\n\r\n");
        assert_non_null(body);
        assert_int_equal(strspn(body + 4, "x"), 5000000);
        close(fd);
    }
    app_stop(a);
}

static void pipelined_large_answers_arrive_whole(void **state)
{
    (void)state;
    struct app *a = app_start(NULL);
    int fd = client_small(a);
    for (int i = 0; i < 6; i++)
        put(fd, "GET /big?1000000 HTTP/1.1\r\n" HOST "\r\n");
    put(fd, "GET /echo HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
    usleep(100000);
    assert_true(app_count(a, &a->handled) < 7);
    const char *all = get_all(fd);
    assert_non_null(strstr(all, "GET /echo  "));
    size_t n = 0;
    for (const char *at = all; *at; at++)
        n += *at == 'x';
    assert_true(n >= 6000000);
    close(fd);
    app_stop(a);
}

static void nothing_of_an_answer_can_end_its_head(void **state)
{
    (void)state;
    struct app *a = app_start(NULL);
    const char *all = ask(a, "GET /split HTTP/1.1\r\n" HOST "\r\n");
    assert_non_null(strstr(all, "\r\nX-Value: a\r\n"));
    app_stop(a);
}

/* --------------------------------------------------------------- the services -- */

static void wakes_ticks_and_signals_are_told(void **state)
{
    (void)state;
    struct app *a = app_start(NULL);
    http_wake(a->s);
    assert_true(app_waits(a, &a->wakes, 1, SOON_MS));
    assert_true(app_reaches(a, &a->ticks, 3, SOON_MS));
    assert_int_equal(kill(getpid(), SIGHUP), 0);
    assert_true(app_waits(a, &a->signals, SIGHUP, SOON_MS));
    assert_int_equal(kill(getpid(), SIGTERM), 0);
    assert_true(app_waits(a, &a->signals, SIGTERM, SOON_MS));
    app_stop(a);
}

static void numbers_are_counted(void **state)
{
    (void)state;
    struct app *a = app_start(NULL);
    ask(a, ECHO);
    ask(a, "nonsense\n");
    int fd = client(a);
    put(fd, HOLD);
    assert_true(app_waits(a, &a->n_held, 1, SOON_MS));
    struct http_stats s = app_stats(a);
    assert_int_equal(s.connections_accepted, 3);
    assert_int_equal(s.requests, 2);
    assert_int_equal(s.bad_requests, 1);
    assert_int_equal(s.exchanges, 1);
    assert_true(s.bytes_in > 60 && s.bytes_out > 300);
    close(fd);
    assert_true(app_waits(a, &a->gone, 1, SOON_MS));
    s = app_stats(a);
    assert_int_equal(s.exchanges, 0);
    assert_int_equal(s.connections, 0);
    app_stop(a);
}

static void a_port_in_use_is_an_error(void **state)
{
    (void)state;
    struct app *a = app_start(NULL);
    struct http_server *s;
    struct realm_error err = {0};
    const struct http_handler none = {0};
    assert_int_equal(http_open(&s, &(struct http_options){0}, &none, &err), 0);
    struct http_listen at = {.host = "127.0.0.1", .port = a->port};
    assert_int_equal(http_listen(s, &at, NULL, &err), REALM_E_SYS);
    assert_non_null(strstr(err.message, "127.0.0.1 port "));
    assert_non_null(strstr(err.message, "in use"));
    at.host = "not an address";
    assert_true(http_listen(s, &at, NULL, &err) < 0);
    assert_non_null(strstr(err.message, "not an address"));
    at = (struct http_listen){.host = "127.0.0.1", .tls = true};
    assert_true(http_listen(s, &at, NULL, &err) < 0);
    http_close(s);
    app_stop(a);
}

static void a_socket_file_is_ours_alone(void **state)
{
    (void)state;
    char path[64];
    struct stat st;
    struct realm_error err = {0};
    snprintf(path, sizeof(path), "/tmp/realm-http-%d.sock", (int)getpid());
    /* A file that a killed server left. */
    int left = socket_file(path);
    close(left);
    struct app *a = app_open(NULL);
    const struct http_listen at = {.unix_path = path};
    app_listen(a, &at);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(http_listen(a->s, &at, NULL, &err), REALM_E_SYS); // somebody answers
    app_run(a);
    int fd = client_unix(path);
    put(fd, "GET /echo HTTP/1.1\r\nHost: whatever\r\nConnection: close\r\n\r\n");
    assert_non_null(strstr(get_all(fd), "GET /echo"));
    close(fd);
    app_stop(a);
    assert_int_equal(stat(path, &st), -1);
    /* And one that is no socket stays. */
    fd = open(path, O_CREAT | O_WRONLY, 0600);
    close(fd);
    a = app_start(NULL);
    assert_int_equal(http_listen(a->s, &at, NULL, &err), REALM_E_SYS);
    assert_int_equal(unlink(path), 0);
    app_stop(a);
}

/* ------------------------------------------------------------------ draining -- */

static void draining_answers_what_is_open(void **state)
{
    (void)state;
    struct app *a = app_start(NULL);
    int held = client(a), idle = client(a), half = client(a), stream = client(a);
    put(held, HOLD ECHO);
    assert_true(app_waits(a, &a->n_held, 1, SOON_MS));
    put(stream, EVENTS);
    assert_true(app_waits(a, &a->n_held, 2, SOON_MS));
    put(idle, ECHO);
    get_until(idle, "GET /echo", SOON_MS);
    put_read(a, half, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhel");
    app_drain(a);
    assert_string_equal(get_all(idle), "");
    close(idle);
    const char *all = get_all(half);
    assert_non_null(strstr(all, "HTTP/1.1 503 "));
    assert_non_null(strstr(all, "\"code\":\"shutdown\""));
    close(half);
    assert_false(app_returned(a, 300));
    app_answer(a);
    all = get_all(held);
    assert_non_null(strstr(all, "\r\nConnection: close\r\n"));
    assert_non_null(strstr(all, "answer"));
    assert_null(strstr(all, "GET /echo"));
    close(held);
    app_event(a, "last");
    app_end(a);
    assert_non_null(strstr(get_all(stream), "data: last\n\n\r\n0\r\n\r\n"));
    close(stream);
    assert_true(app_returned(a, SOON_MS));
    app_stop(a);
}

static void an_idle_server_drains_at_once(void **state)
{
    (void)state;
    struct app *a = app_start(NULL);
    app_drain(a);
    assert_true(app_returned(a, SOON_MS));
    app_stop(a);
}

static void stopping_lets_go_of_everything(void **state)
{
    (void)state;
    struct app *a = app_start(NULL);
    int fds[20];
    for (int i = 0; i < 20; i++) {
        fds[i] = client(a);
        put(fds[i], i % 2 ? HOLD : EVENTS);
    }
    assert_true(app_waits(a, &a->n_held, 20, SOON_MS));
    app_stop(a); // counts what is held, and memory
    for (int i = 0; i < 20; i++)
        close(fds[i]);
}

/* --------------------------------------------------------------------- memory -- */

static void memory_that_is_short_drops_a_connection(void **state)
{
    (void)state;
    struct app *a = app_start(NULL);
    int answered = 0;
    for (uint64_t n = 1; n < 40; n++) {
        int fd = client(a);
        put_read(a, fd, "POST /co");
        mem_fail_at(n, 0);
        put(fd, "unt HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
                "5\r\nhello\r\n0\r\n\r\n");
        const char *all = get_all(fd);
        answered += strstr(all, "\r\n0\r\n\r\n") != NULL;
        mem_fail_at(0, 0);
        close(fd);
    }
    assert_true(answered > 10 && answered < 39);
    assert_non_null(strstr(ask(a, ECHO), "200"));
    app_stop(a);
}

static void an_idle_connection_is_small(void **state)
{
    (void)state;
    struct app *a = app_start(NULL);
    enum { N = 200 };
    int fds[N];
    uint64_t before = mem_live();
    for (int i = 0; i < N; i++) {
        fds[i] = client(a);
        put(fds[i], ECHO);
        get_until(fds[i], "GET /echo", SOON_MS);
    }
    /* The connection itself and what two empty queues keep, once its answer has gone. */
    for (uint64_t until = now_ms() + SOON_MS; mem_live() - before > 3 * N && now_ms() < until;)
        usleep(1000);
    assert_true(mem_live() - before <= 3 * N);
    assert_true(conn_bytes() < 2048);
    for (int i = 0; i < N; i++)
        close(fds[i]);
    app_stop(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_are_chunks),
        cmocka_unit_test(events_come_when_they_are_sent),
        cmocka_unit_test(a_silent_stream_gets_comments),
        cmocka_unit_test(a_large_answer_arrives_whole),
        cmocka_unit_test(a_half_closed_client_gets_the_rest),
        cmocka_unit_test(pipelined_large_answers_arrive_whole),
        cmocka_unit_test(nothing_of_an_answer_can_end_its_head),
        cmocka_unit_test(wakes_ticks_and_signals_are_told),
        cmocka_unit_test(numbers_are_counted),
        cmocka_unit_test(a_port_in_use_is_an_error),
        cmocka_unit_test(a_socket_file_is_ours_alone),
        cmocka_unit_test(draining_answers_what_is_open),
        cmocka_unit_test(an_idle_server_drains_at_once),
        cmocka_unit_test(stopping_lets_go_of_everything),
        cmocka_unit_test(memory_that_is_short_drops_a_connection),
        cmocka_unit_test(an_idle_connection_is_small),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
