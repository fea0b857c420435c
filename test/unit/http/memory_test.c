/* Memory that is short, and how much of it a connection takes. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "serve.h"

#define HOST "Host: localhost\r\n"
#define GET(path) "GET " path " HTTP/1.1\r\n" HOST "\r\n"
#define WS                                                                      \
    "GET /ws HTTP/1.1\r\n" HOST "Upgrade: websocket\r\nConnection: Upgrade\r\n" \
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

enum { IDLE = 500, IDLE_BYTES_MAX = 16 << 10, FAILURES = 200 };

static struct serve v;
static struct client c;
static struct reply r;
static uint64_t live_before;

static int up(void **state)
{
    (void)state;
    live_before = mem_live();
    serve_open(&v, NULL, *state != NULL);
    return 0;
}

static int up_tls(void **state)
{
    serve_make_certificate("memory");
    *state = &v;
    return up(state);
}

static int down(void **state)
{
    (void)state;
    assert_true(wait_until(&v.connections, 0, SOON_MS));
    assert_int_equal(atomic_load(&v.exchanges), 0);
    serve_close(&v);
    serve_remove_certificate();
    assert_int_equal(atomic_load(&v.sockets), atomic_load(&v.sockets_closed));
    assert_int_equal(mem_live(), live_before);
    return 0;
}

/* One client's talk, which may end anywhere, while the n-th allocation fails: of TLS the
 * n-th after the handshake. */
static void talk(const char *text, size_t replies, uint64_t n, int for_good)
{
    if (!v.tls)
        mem_fail_at(n, for_good);
    dial(&c, &v);
    if (v.tls)
        mem_fail_at(n, for_good);
    (void)say_bytes(&c, text, strlen(text));
    while (replies-- > 0 && hear(&c, &r, false))
        if (r.status != 200 && r.status != 101 && r.status < 500)
            fail_msg("%s", r.head);
    if (r.status == 101) { // an echo
        (void)say_bytes(&c, "\x81\x81\0\0\0\0a", 7);
        while (c.n - c.used < 3 && client_read(&c))
            ;
    }
    hang_up(&c);
    mem_fail_at(0, 0);
}

static void works(void)
{
    dial(&c, &v);
    say(&c, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello");
    expect(&c, &r, 200);
    assert_int_equal(r.body.n, 5);
    hang_up(&c);
}

static void fails_everywhere(const char *text, size_t replies)
{
    for (uint64_t n = 1; n <= FAILURES; n++) {
        talk(text, replies, n, 0);
        if (n % 10 == 1)
            works();
    }
    for (uint64_t n = 1; n <= 20; n++) {
        talk(text, replies, n, 1);
        works();
    }
}

static void memory_is_short(void **state)
{
    (void)state;
    fails_everywhere(
        "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello" GET("/events?9"), 2);
    fails_everywhere("POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
                     "5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n" GET("/big?100000"),
                     2);
    fails_everywhere(WS, 1);
}

static void memory_is_short_for_tls(void **state)
{
    (void)state;
    fails_everywhere("POST /echo HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello", 1);
}

#ifndef SANITIZED
static size_t resident_bytes(void)
{
    unsigned long size, resident;
    FILE *f = fopen("/proc/self/statm", "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%lu %lu", &size, &resident), 2);
    assert_int_equal(fclose(f), 0);
    return resident * (size_t)sysconf(_SC_PAGESIZE);
}

static void idle_connections_are_small(void **state)
{
    (void)state;
    static int fds[IDLE];
    static const char text[] = "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello";
    struct rlimit files;
    char answer[1024];
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
    files.rlim_cur = files.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
    works();
    size_t before = resident_bytes();
    for (int i = 0; i < IDLE; i++) {
        fds[i] = dial_plain(&v);
        assert_int_equal(send(fds[i], text, sizeof(text) - 1, 0), sizeof(text) - 1);
        ssize_t got;
        do
            got = recv(fds[i], answer, sizeof(answer), 0);
        while (got < 0 && errno == EINTR); // it was stopped and goes on
        assert_true(got > 0);
    }
    size_t each = (resident_bytes() - before) / IDLE;
    if (each >= IDLE_BYTES_MAX)
        fail_msg("%zu bytes for each idle connection", each);
    for (int i = 0; i < IDLE; i++)
        close(fds[i]);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(memory_is_short, up, down),
        cmocka_unit_test_setup_teardown(memory_is_short_for_tls, up_tls, down),
#ifndef SANITIZED
        cmocka_unit_test_setup_teardown(idle_connections_are_small, up, down),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
