#include "ws_server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <unistd.h>

#include "base/mem.h"
#include "ws_client.h"

enum {
    WAIT_STEPS_MAX = 6000, /* of 5 ms */
    FLOOD_BYTES = 1 << 20,
    UNSENT_BYTES_MAX = 48 << 20,
    STALL_MS = 600,
};

struct server s;

static void on_request(void *ctx, struct http_exchange *x)
{
    (void)ctx;
    if (!http_wants_ws(x)) {
        http_respond(x, 200, "text/plain", NULL, 0, slice_of("hello"));
        return;
    }
    struct http_ws *ws = http_ws_accept(x);
    if (ws)
        http_ws_set_user(ws, &s);
}

static void on_gone(void *ctx, struct http_exchange *x)
{
    (void)ctx;
    (void)x;
}

static void on_message(void *ctx, struct http_ws *ws, bool text, struct slice message)
{
    static uint8_t flood[FLOOD_BYTES];
    (void)ctx;
    assert_ptr_equal(http_ws_user(ws), &s);
    atomic_fetch_add(&s.messages, 1);
    if (slice_is(message, "close"))
        http_ws_close(ws, 4000, "bye");
    for (unsigned i = slice_is(message, "flood") ? 32 : slice_is(message, "drown") ? 64 : 0; i; i--)
        http_ws_send_as(ws, false, (struct slice){flood, sizeof(flood)});
    http_ws_send_as(ws, text, message);
}

static void on_closed(void *ctx, struct http_ws *ws)
{
    (void)ctx;
    assert_ptr_equal(http_ws_user(ws), &s);
    atomic_fetch_add(&s.closed, 1);
}

static void on_wake(void *ctx)
{
    (void)ctx;
    if (atomic_load(&s.stop))
        http_stop(s.server);
    if (atomic_load(&s.drain))
        http_drain(s.server);
}

static void on_tick(void *ctx)
{
    struct http_stats stats;
    (void)ctx;
    http_stats(s.server, &stats);
    atomic_store(&s.websockets, stats.websockets);
    atomic_store(&s.bad_requests, (unsigned)stats.bad_requests);
}

static void on_signal(void *ctx, int sig)
{
    (void)ctx;
    (void)sig;
}

static void serve(void *arg)
{
    http_run(arg);
}

static void start(uint32_t ping_ms)
{
    static const char *const hosts[] = {"realm.example"};
    const struct http_handler handler = {.request = on_request,
                                         .gone = on_gone,
                                         .ws_message = on_message,
                                         .ws_closed = on_closed,
                                         .wake = on_wake,
                                         .tick = on_tick,
                                         .signal = on_signal};
    const struct http_options options = {.limits = {.ws_ping_ms = ping_ms,
                                                    .stall_ms = STALL_MS,
                                                    .unsent_bytes_max = UNSENT_BYTES_MAX},
                                         .hosts = hosts,
                                         .n_hosts = ARRAY_LEN(hosts)};
    const struct http_listen at = {.host = "127.0.0.1"};
    struct realm_error err;
    memset(&s, 0, sizeof(s));
    assert_int_equal(http_open(&s.server, &options, &handler, &err), 0);
    assert_int_equal(http_listen(s.server, &at, &s.port, &err), 0);
    assert_int_equal(thread_start(&s.thread, "server", 0, serve, s.server), 0);
}

int begin(void **state)
{
    (void)state;
    start(0);
    return 0;
}

int begin_impatient(void **state)
{
    (void)state;
    start(PING_MS);
    return 0;
}

bool reaches(atomic_uint *counter, unsigned value)
{
    for (unsigned i = 0; i < WAIT_STEPS_MAX; i++) {
        if (atomic_load(counter) == value)
            return true;
        usleep(5000);
    }
    return false;
}

/* A well-behaved client is served, and no other is there any more. */
static bool is_well(void)
{
    int fd = client_upgraded(s.port);
    client_send_frame(fd, WS_FIN | WS_TEXT, slice_of("still there"));
    client_expect(fd, WS_TEXT, slice_of("still there"));
    bool counted = reaches(&s.websockets, 1);
    close(fd);
    return counted && reaches(&s.websockets, 0);
}

/* Whatever a test did, the server is well, and leaves nothing behind. */
int end(void **state)
{
    (void)state;
    bool well = atomic_load(&s.drain) || is_well();
    atomic_store(&s.stop, true);
    http_wake(s.server);
    thread_join(&s.thread);
    http_close(s.server);
    return well && mem_live() == 0 ? 0 : -1;
}
