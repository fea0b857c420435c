/* Clients that leave, stall, dawdle or are too many. */
#include "util.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

#define HOST "Host: localhost\r\n"
#define HOLD "GET /hold HTTP/1.1\r\n" HOST "\r\n"
#define EVENTS "GET /events HTTP/1.1\r\n" HOST "\r\n"

static int holding(struct app *a, const char *text)
{
    int fd = client(a);
    put(fd, text);
    assert_true(app_waits(a, &a->n_held, 1, SOON_MS));
    return fd;
}

/* ------------------------------------------------------------------- leaving -- */

static void a_client_that_closes_is_noticed(void **state)
{
    (void)state;
    struct app *a = app_start(NULL);
    static const char *const texts[] = {HOLD, EVENTS, "GET /pieces HTTP/1.1\r\n" HOST "\r\n",
                                        "GET /hold HTTP/1.0\r\n\r\n",
                                        "GET /hold HTTP/1.1\r\n" HOST "\r\nGET /echo HTTP/1.1"};
    int gone = 0;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        /* Of a plain stream, whose bytes nobody may add to, the next write shows it. */
        bool silent = i == 2;
        int fd = holding(a, texts[i]);
        get_until(fd, "\r\n\r\n", 50);
        close(fd);
        if (silent) {
            usleep(50000);
            app_event(a, "x");
        }
        if (!app_waits(a, &a->gone, gone + 1, SOON_MS))
            fail_msg("not noticed: %.40s", texts[i]);
        gone++;
    }
    app_stop(a);
}

static void a_client_that_resets_is_noticed(void **state)
{
    (void)state;
    struct app *a = app_start(NULL);
    reset(holding(a, HOLD));
    assert_true(app_waits(a, &a->gone, 1, SOON_MS));
    reset(holding(a, "GET /pieces HTTP/1.1\r\n" HOST "\r\n"));
    assert_true(app_waits(a, &a->gone, 2, SOON_MS));
    int fd = client(a);
    put(fd, "GET /echo HTT");
    reset(fd);
    for (int i = 0; app_stats(a).connections > 0; i++) {
        assert_true(i < 3000);
        usleep(10000);
    }
    app_stop(a);
}

static void a_client_that_half_closes_first_and_leaves_later_is_noticed(void **state)
{
    (void)state;
    struct app *a = app_start(NULL);
    static const char *const texts[] = {HOLD, EVENTS};
    for (int i = 0; i < 2; i++) {
        int fd = holding(a, texts[i]);
        assert_int_equal(shutdown(fd, SHUT_WR), 0);
        usleep(300000);
        assert_int_equal(app_count(a, &a->gone), i);
        get_until(fd, "\r\n\r\n\r\n", 20); // it has read all probes
        close(fd);
        assert_true(app_waits(a, &a->gone, i + 1, SOON_MS));
    }
    app_stop(a);
}

/* What came ahead fills the buffer, so that nothing is read any more: the end stands behind
 * bytes that fit the system's buffers, or has not even been sent by the client's system. */
static void a_client_that_sends_far_ahead_and_leaves_is_noticed(void **state)
{
    (void)state;
    struct app *a = app_start(NULL);
    static char ahead[4 << 20];
    for (size_t i = 0; i + 64 <= sizeof(ahead); i += 64)
        snprintf(ahead + i, 64, "GET /echo?%015zu HTTP/1.1\r\n" HOST "\r\n", i);
    for (int i = 0; i < 2; i++) {
        int fd = holding(a, HOLD);
        assert_true(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
        put_n(fd, ahead, i ? sizeof(ahead) : 100 << 10);
        usleep(100000);
        assert_true(app_stats(a).bytes_in < 200u << (10 + i));
        close(fd);
        assert_true(app_waits(a, &a->gone, i + 1, SOON_MS));
        assert_int_equal(app_count(a, &a->handled), i + 1);
    }
    app_stop(a);
}

static void a_unix_client_that_closes_is_noticed(void **state)
{
    (void)state;
    char path[64];
    snprintf(path, sizeof(path), "/tmp/realm-http-%d.sock", (int)getpid());
    struct app *a = app_open(NULL);
    app_listen(a, &(struct http_listen){.unix_path = path});
    app_run(a);
    int pair = client_unix(path);
    put(pair, "GET /echo HTTP/1.1\r\nHost: any\r\n\r\n" HOLD);
    assert_non_null(strstr(get_until(pair, "GET /echo", SOON_MS), "200 OK"));
    assert_true(app_waits(a, &a->n_held, 1, SOON_MS));
    close(pair);
    assert_true(app_waits(a, &a->gone, 1, SOON_MS));
    pair = client_unix(path);
    put(pair, HOLD);
    assert_int_equal(shutdown(pair, SHUT_WR), 0);
    assert_true(app_waits(a, &a->n_held, 1, SOON_MS));
    app_answer(a);
    assert_non_null(strstr(get_all(pair), "answer"));
    close(pair);
    app_stop(a);
    assert_int_equal(access(path, F_OK), -1);
}

static void an_answer_after_its_client_left_is_nothing(void **state)
{
    (void)state;
    struct app *a = app_start(NULL);
    for (int i = 0; i < 50; i++) {
        int fd = holding(a, i % 2 ? HOLD : EVENTS);
        close(fd);
        bool there = app_count(a, &a->n_held) == 1;
        if (there && i % 3 == 0)
            app_event(a, "late");
        assert_true(app_waits(a, &a->n_held, 0, SOON_MS));
    }
    app_stop(a);
}

/* ---------------------------------------------------------------- being slow -- */

static const struct http_limits SHORT = {.head_ms = 400, .idle_ms = 600, .stall_ms = 500};

/* A byte now and then does not buy more time. */
static void a_slow_head_is_given_up(void **state)
{
    (void)state;
    struct app *a = app_start(&SHORT);
    int fd = client(a);
    uint64_t began = now_ms();
    put(fd, "GET /echo HTTP/1.1\r\n");
    const char *got = "";
    while (*got == '\0' && now_ms() - began < SOON_MS) {
        put(fd, "a");
        got = get_until(fd, "\r\n", 40);
    }
    assert_ptr_equal(strstr(got, "HTTP/1.1 408 "), got);
    assert_true(closed_within(fd, SOON_MS));
    close(fd);
    assert_int_equal(app_count(a, &a->handled), 0);
    app_stop(a);
}

/* More than end between two looks for events: each has its turn, in one round of ticks. */
static void many_slow_heads_are_given_up(void **state)
{
    (void)state;
    enum { MANY = 300 };
    struct app *a = app_start(&SHORT);
    int fds[MANY];
    for (int i = 0; i < MANY; i++) {
        fds[i] = client(a);
        put(fds[i], "GET /echo HTTP/1.1\r\n");
    }
    uint64_t began = now_ms();
    for (int i = 0; i < MANY; i++) {
        assert_non_null(strstr(get_all(fds[i]), "HTTP/1.1 408 "));
        close(fds[i]);
    }
    assert_true(now_ms() - began < MANY / 2 * HTTP_TICK_MS);
    app_stop(a);
}

static void a_slow_body_is_given_up(void **state)
{
    (void)state;
    struct http_limits limits = SHORT;
    limits.body_bytes_per_s = 1000;
    struct app *a = app_start(&limits);
    /* 250 bytes a second are too few ... */
    int fd = client(a);
    put(fd, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 5000\r\n\r\n");
    for (int i = 0; i < 40; i++) {
        put(fd, "0123456789");
        usleep(40000);
    }
    assert_non_null(strstr(get_all(fd), "HTTP/1.1 408 "));
    close(fd);
    /* ... and 5000 are not, although they take longer than a head may. */
    fd = client(a);
    put(fd, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 5000\r\n\r\n");
    char part[250];
    memset(part, 'x', sizeof(part));
    for (int i = 0; i < 20; i++) {
        put_n(fd, part, sizeof(part));
        usleep(50000);
    }
    assert_non_null(strstr(get_until(fd, "xxxxx", SOON_MS), "HTTP/1.1 200 "));
    close(fd);
    app_stop(a);
}

static void an_idle_connection_is_closed(void **state)
{
    (void)state;
    struct app *a = app_start(&SHORT);
    int fresh = client(a), used = client(a);
    uint64_t asked = now_ms();
    put(used, "GET /echo HTTP/1.1\r\n" HOST "\r\n");
    assert_non_null(strstr(get_until(used, "GET /echo", SOON_MS), "200"));
    assert_true(closed_within(used, SOON_MS));
    assert_true(now_ms() - asked >= SHORT.idle_ms);
    assert_true(closed_within(fresh, SOON_MS));
    close(fresh);
    close(used);
    /* One that waits for its answer is not idle. */
    int fd = holding(a, HOLD);
    assert_false(closed_within(fd, 1200));
    app_answer(a);
    assert_non_null(strstr(get_until(fd, "answer", SOON_MS), "200"));
    close(fd);
    app_stop(a);
}

static void a_client_that_does_not_read_is_dropped(void **state)
{
    (void)state;
    struct app *a = app_start(&SHORT);
    int fd = client_small(a);
    uint64_t began = now_ms();
    put(fd, "GET /flood?4000 HTTP/1.1\r\n" HOST "\r\n");
    assert_true(app_waits(a, &a->gone, 1, SOON_MS));
    assert_true(now_ms() - began >= 400);
    close(fd);
    app_stop(a);
}

/* How often it took something before it was dropped, the gone-th. */
static int reads_of_a_trickle(struct app *a, int gone)
{
    char byte[100];
    int fd = client_small(a), reads = 0;
    put(fd, "GET /flood?4000 HTTP/1.1\r\n" HOST "\r\n");
    for (; reads < SOON_MS / 20 && !app_waits(a, &a->gone, gone, 20); reads++)
        (void)!recv(fd, byte, sizeof(byte), MSG_DONTWAIT);
    assert_int_equal(app_count(a, &a->gone), gone);
    close(fd);
    return reads;
}

/* It takes something all the time, but next to nothing.  One that the machine keeps from it is no
 * such client. */
static void a_client_that_reads_a_trickle_is_dropped(void **state)
{
    (void)state;
    struct http_limits limits = SHORT;
    limits.body_bytes_per_s = 1 << 20;
    struct app *a = app_start(&limits);
    int gone = 1;
    while (gone < 50 && reads_of_a_trickle(a, gone) <= 10)
        gone++;
    assert_true(gone < 50);
    app_stop(a);
}

static void an_answer_that_grows_unread_is_dropped(void **state)
{
    (void)state;
    struct http_limits limits = {.unsent_bytes_max = 1 << 20};
    struct app *a = app_start(&limits);
    int fd = client_small(a);
    put(fd, "GET /flood?500 HTTP/1.1\r\n" HOST "\r\n");
    assert_true(app_waits(a, &a->n_held, 1, SOON_MS));
    usleep(100000);
    assert_int_equal(app_count(a, &a->gone), 0);
    close(fd);
    assert_true(app_waits(a, &a->gone, 1, SOON_MS));
    fd = client_small(a);
    put(fd, "GET /flood?5000 HTTP/1.1\r\n" HOST "\r\n");
    assert_true(app_waits(a, &a->gone, 2, SOON_MS));
    close(fd);
    app_stop(a);
}

/* ------------------------------------------------------------------ too many -- */

static void connections_beyond_the_limit_are_refused(void **state)
{
    (void)state;
    struct http_limits limits = {.connections_max = 3, .connections_per_ip_max = 1};
    struct app *a = app_start(&limits);
    int fds[3];
    for (int i = 0; i < 3; i++) { // loopback is not counted by address
        fds[i] = client(a);
        put(fds[i], "GET /echo HTTP/1.1\r\n" HOST "\r\n");
        assert_non_null(strstr(get_until(fds[i], "GET /echo", SOON_MS), "200"));
    }
    int fd = client(a);
    put(fd, "GET /echo HTTP/1.1\r\n" HOST "\r\n");
    const char *all = get_all(fd);
    assert_non_null(strstr(all, "HTTP/1.1 503 "));
    assert_non_null(strstr(all, "\r\nRetry-After: 1\r\nretry-after-ms: 1000\r\n"));
    assert_non_null(strstr(all, "\"code\":\"too_many_connections\""));
    close(fd);
    close(fds[0]);
    for (int i = 0; app_stats(a).connections == 3; i++) {
        assert_true(i < 3000);
        usleep(10000);
    }
    assert_non_null(strstr(ask(a, "GET /echo HTTP/1.1\r\n" HOST "\r\n"), "200"));
    assert_int_equal(app_stats(a).connections_refused, 1);
    close(fds[1]);
    close(fds[2]);
    app_stop(a);
}

static bool keeps_alive(int fd, const char *path)
{
    char text[64];
    snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\n" HOST "\r\n", path);
    put(fd, text);
    const char *head = get_until(fd, "\r\n\r\n", SOON_MS);
    assert_non_null(strstr(head, "HTTP/1.1 404"));
    return !strstr(head, "Connection: close");
}

/* Who is known gets an answer, but keeps no more connections than are left to others. */
static void connections_beyond_a_part_end_with_their_answer(void **state)
{
    (void)state;
    struct http_limits limits = {.connections_max = 8};
    struct app *a = app_start(&limits);
    int fds[8];
    for (int i = 0; i < 5; i++) {
        fds[i] = client(a);
        assert_int_equal(keeps_alive(fds[i], "/other"), i < 4);
    }
    assert_true(closed_within(fds[4], SOON_MS));
    close(fds[4]);
    for (int i = 4; i < 8; i++) { // others have the rest
        fds[i] = client(a);
        assert_true(keeps_alive(fds[i], "/nobody"));
    }
    assert_false(keeps_alive(fds[0], "/other")); // more than what is left by now
    close(fds[0]);
    for (int i = 4; i < 8; i++)
        close(fds[i]);
    for (int i = 0; app_stats(a).connections > 3; i++) {
        assert_true(i < 3000);
        usleep(10000);
    }
    assert_true(keeps_alive(fds[1], "/other"));
    for (int i = 1; i < 4; i++)
        close(fds[i]);
    app_stop(a);
}

static double cpu_s(void)
{
    struct rusage used;
    assert_int_equal(getrusage(RUSAGE_SELF, &used), 0);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

/* A process without descriptors tells clients so, and does not spin. */
static void clients_are_told_when_no_descriptor_is_left(void **state)
{
    (void)state;
    struct app *a = app_start(NULL);
    int stream = holding(a, EVENTS);
    enum { CLIENTS = 8 };
    int fds[CLIENTS], eaten[1024], n = 0;
    struct rlimit before, limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    for (int i = 0; i < CLIENTS; i++)
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    limit = before;
    limit.rlim_cur = 256;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    while (n < 1024 && (eaten[n] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
        n++;
    double cpu = cpu_s();
    for (int i = 0; i < CLIENTS; i++) {
        connect_socket(a, fds[i]);
        const char *all = get_all(fds[i]);
        assert_non_null(strstr(all, "HTTP/1.1 503 "));
        assert_non_null(strstr(all, "\r\nRetry-After: 1\r\nretry-after-ms: 1000\r\n"));
        assert_non_null(strstr(all, "too_many_connections"));
    }
    usleep(500000);
    assert_true(cpu_s() - cpu < 0.25);
    app_event(a, "still here");
    assert_non_null(strstr(get_until(stream, "still here", SOON_MS), "data: still here"));
    while (n > 0)
        close(eaten[--n]);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    for (int i = 0; i < CLIENTS; i++)
        close(fds[i]);
    assert_non_null(strstr(ask(a, "GET /echo HTTP/1.1\r\n" HOST "\r\n"), "200"));
    close(stream);
    app_stop(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_client_that_closes_is_noticed),
        cmocka_unit_test(a_client_that_resets_is_noticed),
        cmocka_unit_test(a_client_that_half_closes_first_and_leaves_later_is_noticed),
        cmocka_unit_test(a_client_that_sends_far_ahead_and_leaves_is_noticed),
        cmocka_unit_test(a_unix_client_that_closes_is_noticed),
        cmocka_unit_test(an_answer_after_its_client_left_is_nothing),
        cmocka_unit_test(a_slow_head_is_given_up),
        cmocka_unit_test(many_slow_heads_are_given_up),
        cmocka_unit_test(a_slow_body_is_given_up),
        cmocka_unit_test(an_idle_connection_is_closed),
        cmocka_unit_test(a_client_that_does_not_read_is_dropped),
        cmocka_unit_test(a_client_that_reads_a_trickle_is_dropped),
        cmocka_unit_test(an_answer_that_grows_unread_is_dropped),
        cmocka_unit_test(connections_beyond_the_limit_are_refused),
        cmocka_unit_test(connections_beyond_a_part_end_with_their_answer),
        cmocka_unit_test(clients_are_told_when_no_descriptor_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
