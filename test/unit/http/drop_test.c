/* Clients that leave, stall, come too slowly or in too great a number; the server's end. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/ckd.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "serve.h"

#define HOST "Host: localhost\r\n"
#define GET(path) "GET " path " HTTP/1.1\r\n" HOST "\r\n"
#define WS                                                                      \
    "GET /ws HTTP/1.1\r\n" HOST "Upgrade: websocket\r\nConnection: Upgrade\r\n" \
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

enum { NOTICED_MS = 250 };

static struct serve v;
static struct client c;
static struct reply r;
static uint64_t live_before;

static const struct http_limits quick = {
    .head_ms = 300,
    .idle_ms = 500,
    .stall_ms = 400,
    .body_bytes_per_s = 100000,
    .keep_alive_ms = 200,
};

static int up_quick(void **state)
{
    (void)state;
    live_before = mem_live();
    serve_open(&v, &quick, false);
    return 0;
}

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
    if (v.s)
        serve_close(&v);
    assert_int_equal(mem_live(), live_before);
    return 0;
}

static uint64_t now_ms(void)
{
    return clock_ms(clock_system());
}

static void pause_ms(unsigned ms)
{
    const struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};
    nanosleep(&pause, NULL);
}

/* ---- clients that leave ---- */

/* How long the handler was not told that the client of `path` had left: the best of some, and of
 * more for half a minute, since the machine may have other things to do. */
static uint64_t leave(const char *path, void (*how)(struct client *))
{
    char text[128];
    uint64_t best = UINT64_MAX;
    snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\n" HOST "\r\n", path);
    const uint64_t end = now_ms() + SOON_MS;
    for (int i = 0; i < 3 || (best > NOTICED_MS && now_ms() < end); i++) {
        unsigned gone = atomic_load(&v.gone), held = atomic_load(&v.held_now);
        dial(&c, &v);
        say(&c, text);
        assert_true(wait_until(&v.held_now, held + 1, SOON_MS));
        uint64_t begin = now_ms();
        how(&c);
        assert_true(wait_until(&v.gone, gone + 1, SOON_MS));
        best = min_size(best, now_ms() - begin);
    }
    assert_true(wait_until(&v.connections, 0, SOON_MS));
    return best;
}

static void leaves(void **state)
{
    (void)state;
    assert_true(leave("/hold", hang_up) <= NOTICED_MS);
    assert_true(leave("/hold", hang_up_hard) <= NOTICED_MS);
    assert_true(leave("/open", hang_up) <= NOTICED_MS);
    assert_true(leave("/open", hang_up_hard) <= NOTICED_MS);
    assert_int_equal(atomic_load(&v.exchanges), 0);
}

/* Nobody waits for what was sent ahead either. */
static void leaves_with_more_ahead(void **state)
{
    (void)state;
    dial(&c, &v);
    say(&c, GET("/hold") GET("/hold"));
    assert_true(wait_until(&v.held_now, 1, SOON_MS));
    hang_up_hard(&c);
    assert_true(wait_until(&v.gone, 1, SOON_MS));
    assert_true(wait_until(&v.connections, 0, SOON_MS));
    assert_int_equal(atomic_load(&v.requests), 1);
    dial(&c, &v); // within a head, within a body
    say(&c, "GET /echo HT");
    hang_up_hard(&c);
    dial(&c, &v);
    say(&c, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhel");
    hang_up_hard(&c);
    wait_ticks(&v, 2);
    assert_true(wait_until(&v.connections, 0, SOON_MS));
    assert_int_equal(atomic_load(&v.requests), 1);
}

/* ---- clients that are slow ---- */

static void slow_heads(void **state)
{
    (void)state;
    dial(&c, &v);
    say(&c, "GET /echo HT");
    expect(&c, &r, 408);
    assert_true(expect_end(&c, SOON_MS));
    hang_up(&c);
    /* A byte now and then does not help. */
    dial(&c, &v);
    uint64_t begin = now_ms();
    while (say_bytes(&c, "a", 1) && now_ms() - begin < SOON_MS && c.n == 0) {
        ssize_t got = recv(c.fd, c.in, sizeof(c.in), MSG_DONTWAIT);
        c.n = got > 0 ? (size_t)got : 0;
        pause_ms(20);
    }
    assert_true(now_ms() - begin < SOON_MS);
    expect(&c, &r, 408);
    hang_up(&c);
    /* An idle one is told nothing. */
    dial(&c, &v);
    assert_true(expect_end(&c, SOON_MS));
    assert_int_equal(c.n, 0);
    hang_up(&c);
    dial(&c, &v);
    say(&c, GET("/echo"));
    expect(&c, &r, 200);
    assert_true(expect_end(&c, SOON_MS));
    assert_int_equal(c.n, c.used);
    hang_up(&c);
    /* The time of a request that is being answered is the handler's. */
    dial(&c, &v);
    say(&c, GET("/hold"));
    assert_true(wait_until(&v.held_now, 1, SOON_MS));
    pause_ms(1200);
    serve_tell(&v, SERVE_ANSWER);
    expect(&c, &r, 200);
    hang_up(&c);
}

static void slow_bodies(void **state)
{
    (void)state;
    dial(&c, &v);
    say(&c, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 1000000\r\n\r\nhello");
    expect(&c, &r, 408);
    assert_true(expect_end(&c, SOON_MS));
    hang_up(&c);
    assert_int_equal(atomic_load(&v.requests), 0);
}

/* A client with a small window that does not read. */
static void dial_narrow(void)
{
    const int window = 4096;
    const struct sockaddr_in at = {.sin_family = AF_INET,
                                   .sin_port = htons(v.port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    dial(&c, &v);
    close(c.fd);
    c.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(setsockopt(c.fd, SOL_SOCKET, SO_RCVBUF, &window, sizeof(window)), 0);
    assert_int_equal(connect(c.fd, (const struct sockaddr *)&at, sizeof(at)), 0);
}

/* Whether one that reads slowly gets all; how long it read nothing at most. */
static bool gets_all_slowly(uint64_t *longest_ms)
{
    dial_narrow();
    say(&c, GET("/big?3000000"));
    *longest_ms = 0;
    for (uint64_t last = now_ms(); c.n < 3000000; last = now_ms()) {
        bool more = client_read(&c);
        *longest_ms = now_ms() - last > *longest_ms ? now_ms() - last : *longest_ms;
        if (!more)
            return false;
        if (c.n % 16 == 0)
            pause_ms(1);
    }
    expect(&c, &r, 200);
    assert_int_equal(r.body.n, 3000000);
    return true;
}

static void does_not_read(void **state)
{
    (void)state;
    dial_narrow();
    say(&c, GET("/flood"));
    assert_true(wait_until(&v.gone, 1, SOON_MS));
    hang_up(&c);
    dial_narrow();
    say(&c, GET("/big?16777216"));
    assert_true(wait_until(&v.requests, 2, SOON_MS));
    wait_ticks(&v, 1); // so that it has been counted
    assert_true(wait_until(&v.connections, 0, SOON_MS));
    assert_int_equal(atomic_load(&v.gone), 1); // that one was answered
    hang_up(&c);
    /* One that reads slowly gets all, unless the machine keeps it from reading as long as one
     * that does not. */
    bool whole = false;
    for (int i = 0; i < 50 && !whole; i++) {
        uint64_t longest_ms;
        whole = gets_all_slowly(&longest_ms);
        assert_true(whole || longest_ms > quick.stall_ms / 2);
        hang_up(&c);
    }
    assert_true(whole);
}

static void too_much_unsent(void **state)
{
    (void)state;
    const struct http_limits limits = {.unsent_bytes_max = 2 << 20};
    live_before = mem_live();
    serve_open(&v, &limits, false);
    dial_narrow();
    say(&c, GET("/flood"));
    assert_true(wait_until(&v.gone, 1, SOON_MS)); // long before stall_ms
    hang_up(&c);
    /* What is there as a whole is sent, however long. */
    dial(&c, &v);
    say(&c, GET("/big?3500000"));
    expect(&c, &r, 200);
    assert_int_equal(r.body.n, 3500000);
    say(&c, GET("/echo"));
    expect(&c, &r, 200);
    hang_up(&c);
}

/* Comments that have come. */
static size_t count_comments(void)
{
    size_t n = 0;
    for (const uint8_t *at = c.in; (at = memmem(at, (size_t)(c.in + c.n - at), ": \n\n", 4)); at++)
        n++;
    return n;
}

/* Each when nothing was said for a while, and no sooner. */
static void comments(void **state)
{
    (void)state;
    const uint64_t begin = now_ms();
    dial(&c, &v);
    say(&c, GET("/open"));
    while (count_comments() < 3)
        assert_true(client_read(&c));
    serve_tell(&v, SERVE_ANSWER);
    expect(&c, &r, 200);
    assert_in_range(r.chunks, 4, 1 + (now_ms() - begin) / quick.keep_alive_ms);
    static const char want[] = "data: {\"a\":1}\n\n: \n\n: \n\n";
    assert_memory_equal(r.body.p, want, sizeof(want) - 1);
    hang_up(&c);
}

/* ---- too many ---- */

static void too_many_connections(void **state)
{
    (void)state;
    const struct http_limits limits = {.connections_max = 8};
    int fds[8];
    live_before = mem_live();
    serve_open(&v, &limits, false);
    for (int i = 0; i < 8; i++)
        fds[i] = dial_plain(&v);
    assert_true(wait_until(&v.connections, 8, SOON_MS));
    dial(&c, &v);
    expect(&c, &r, 503);
    assert_non_null(strstr(r.head, "\r\nRetry-After: 1\r\n"));
    assert_true(expect_end(&c, SOON_MS));
    hang_up(&c);
    assert_true(wait_until(&v.refused, 1, SOON_MS));
    close(fds[0]);
    assert_true(wait_until(&v.connections, 7, SOON_MS));
    dial(&c, &v);
    say(&c, GET("/echo"));
    expect(&c, &r, 200);
    hang_up(&c);
    wait_ticks(&v, 3);
    /* More that are refused than are told so. */
    dial(&c, &v);
    assert_true(wait_until(&v.connections, 8, SOON_MS));
    int more[200];
    for (size_t i = 0; i < ARRAY_LEN(more); i++)
        more[i] = dial_plain(&v);
    assert_true(wait_until(&v.refused, 201, SOON_MS));
    for (size_t i = 0; i < ARRAY_LEN(more); i++)
        close(more[i]);
    for (int i = 1; i < 8; i++)
        close(fds[i]);
    say(&c, GET("/echo"));
    expect(&c, &r, 200);
    hang_up(&c);
}

static uint64_t cpu_ms(void)
{
    struct rusage u;
    assert_int_equal(getrusage(RUSAGE_SELF, &u), 0);
    return (uint64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000 +
           (uint64_t)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1000;
}

static void limit_files(rlim_t n)
{
    struct rlimit now;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &now), 0);
    now.rlim_cur = n;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &now), 0);
}

enum { WAITING = 24 };

/* Connects sockets that were made before, since there are no descriptors now. */
static void connect_all(const int *fds)
{
    const struct sockaddr_in at = {.sin_family = AF_INET,
                                   .sin_port = htons(v.port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    for (int i = 0; i < WAITING; i++)
        assert_int_equal(connect(fds[i], (const struct sockaddr *)&at, sizeof(at)), 0);
}

/* The limit with which `room` more descriptors can be made. */
static rlim_t limit_for(size_t room)
{
    int made[8];
    assert_true(room <= ARRAY_LEN(made));
    for (size_t i = 0; i < room; i++)
        assert_true((made[i] = dup(0)) >= 0);
    for (size_t i = 0; i < room; i++)
        close(made[i]);
    return room ? (rlim_t)made[room - 1] + 1 : 0;
}

static unsigned count_refused(const int *fds)
{
    unsigned n = 0;
    for (int i = 0; i < WAITING; i++) {
        char text[12];
        n += recv(fds[i], text, sizeof(text), MSG_DONTWAIT | MSG_PEEK) == 12 &&
             memcmp(text, "HTTP/1.1 503", 12) == 0;
    }
    return n;
}

/* With `room` more descriptors; how many clients were refused, where so many must be: in half a
 * second or, on a busy machine, later. */
static unsigned without_descriptors(size_t room, unsigned want)
{
    struct rlimit before;
    int fds[WAITING];
    wait_ticks(&v, 3); // the server has what it wants
    assert_true(wait_until(&v.connections, 1, SOON_MS));
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    for (int i = 0; i < WAITING; i++)
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    limit_files(limit_for(room));
    uint64_t begin = cpu_ms();
    connect_all(fds);
    pause_ms(500);
    assert_true(cpu_ms() - begin < 250); // nobody spins
    const uint64_t end = now_ms() + SOON_MS;
    while (count_refused(fds) < want && now_ms() < end)
        pause_ms(1);
    unsigned refused = count_refused(fds);
    limit_files(before.rlim_cur);
    for (int i = 0; i < WAITING; i++)
        close(fds[i]);
    return refused;
}

static void no_descriptors(void **state)
{
    (void)state;
    dial(&c, &v);
    say(&c, GET("/open"));
    assert_true(wait_until(&v.held_now, 1, SOON_MS));
    for (int i = 0; i < 2; i++) {
        assert_int_equal(without_descriptors(4, WAITING - 4), WAITING - 4);
        assert_int_equal(without_descriptors(4, WAITING - 4), WAITING - 4);
        /* Not even for the refusal. */
        assert_int_equal(without_descriptors(0, 0), 0);
    }
    serve_tell(&v, SERVE_ANSWER); // the stream went on
    expect(&c, &r, 200);
    hang_up(&c);
    dial(&c, &v);
    say(&c, GET("/echo"));
    expect(&c, &r, 200);
    hang_up(&c);
}

/* ---- the server's end ---- */

static void drains(void **state)
{
    (void)state;
    static struct client idle;
    dial(&idle, &v);
    say(&idle, GET("/echo"));
    expect(&idle, &r, 200);
    dial(&c, &v);
    say(&c, GET("/hold") GET("/echo"));
    assert_true(wait_until(&v.held_now, 1, SOON_MS));
    serve_tell(&v, SERVE_DRAIN);
    assert_true(expect_end(&idle, SOON_MS));
    hang_up(&idle);
    pause_ms(300);
    serve_tell(&v, SERVE_ANSWER);
    expect(&c, &r, 200);
    assert_non_null(strstr(r.head, "\r\nConnection: close\r\n"));
    assert_true(expect_end(&c, SOON_MS));
    assert_int_equal(c.n, c.used);
    hang_up(&c);
    serve_join(&v);
    assert_int_equal(atomic_load(&v.gone), 0);
    assert_int_equal(atomic_load(&v.requests), 2);
}

static void drains_without_connections(void **state)
{
    (void)state;
    serve_tell(&v, SERVE_DRAIN);
    serve_join(&v);
}

static void closes_with_everything_open(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "\r",
        "GET /ec",
        "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhel",
        GET("/hold") GET("/hold"),
        GET("/open"),
        GET("/flood"),
        GET("/big?16777216"),
        WS,
        "bad\n",
    };
    int fds[ARRAY_LEN(texts)];
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        fds[i] = dial_plain(&v);
        assert_int_equal(send(fds[i], texts[i], strlen(texts[i]), 0), strlen(texts[i]));
    }
    assert_true(wait_until(&v.requests, 5, SOON_MS));
    pause_ms(200);
    serve_close(&v);
    assert_int_equal(atomic_load(&v.gone), 3);
    assert_int_equal(atomic_load(&v.sockets), 1);
    assert_int_equal(atomic_load(&v.sockets_closed), 1);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        close(fds[i]);
}

#define QUICK(name) cmocka_unit_test_setup_teardown(name, up_quick, down)
#define DEFAULT(name) cmocka_unit_test_setup_teardown(name, up, down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        DEFAULT(leaves),
        DEFAULT(leaves_with_more_ahead),
        QUICK(slow_heads),
        QUICK(slow_bodies),
        QUICK(does_not_read),
        cmocka_unit_test_teardown(too_much_unsent, down),
        QUICK(comments),
        cmocka_unit_test_teardown(too_many_connections, down),
        DEFAULT(no_descriptors),
        DEFAULT(drains),
        DEFAULT(drains_without_connections),
        DEFAULT(closes_with_everything_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
