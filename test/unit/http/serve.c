#include "serve.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- the handler, on the server's thread ---- */

static uint8_t zeros[16 << 20];

static void hold(struct serve *v, struct http_exchange *x)
{
    for (size_t i = 0; i < HELD_MAX; i++)
        if (!v->held[i]) {
            v->held[i] = x;
            atomic_fetch_add(&v->held_now, 1);
            return;
        }
    http_respond(x, 503, NULL, NULL, 0, (struct slice){0});
}

static void stream(struct http_exchange *x, const char *type, bool events, long n)
{
    http_stream_start(x, 200, type, NULL, 0);
    for (long i = 0; i < n; i++)
        if (events)
            http_stream_event(x, i % 2 ? "odd" : NULL, slice_of("{\"a\":1}"));
        else
            http_stream_write(x, slice_of("piece "));
}

static void on_request(void *ctx, struct http_exchange *x)
{
    struct serve *v = ctx;
    const char *path = http_path(x);
    long n = strtol(http_query(x), NULL, 10);
    const struct http_header more = {"X-Tag", "a\r\nX-Evil: b"};
    atomic_fetch_add(&v->requests, 1);
    if (http_wants_ws(x)) {
        if (http_ws_accept(x))
            atomic_fetch_add(&v->sockets, 1);
    } else if (strcmp(path, "/echo") == 0) {
        http_respond(x, 200, "text/plain", &more, 1, http_body(x));
    } else if (strcmp(path, "/big") == 0) {
        http_respond(x, 200, "text/plain", NULL, 0, (struct slice){zeros, (size_t)n});
    } else if (strcmp(path, "/events") == 0 || strcmp(path, "/chunks") == 0) {
        bool events = path[1] == 'e';
        stream(x, events ? "text/event-stream" : "text/plain", events, n);
        http_stream_end(x);
    } else if (strcmp(path, "/open") == 0) {
        stream(x, "text/event-stream", true, 1);
        hold(v, x);
    } else if (strcmp(path, "/flood") == 0) {
        http_stream_start(x, 200, "text/plain", NULL, 0);
        v->flood = x;
    } else if (strcmp(path, "/hold") == 0) {
        hold(v, x);
    } else {
        http_respond(x, 404, "text/plain", NULL, 0, slice_of("nothing here\n"));
    }
}

static void on_gone(void *ctx, struct http_exchange *x)
{
    struct serve *v = ctx;
    for (size_t i = 0; i < HELD_MAX; i++)
        if (v->held[i] == x) {
            v->held[i] = NULL;
            atomic_fetch_sub(&v->held_now, 1);
        }
    if (v->flood == x)
        v->flood = NULL;
    atomic_fetch_add(&v->gone, 1);
}

static void on_message(void *ctx, struct http_ws *ws, bool text, struct slice message)
{
    (void)ctx;
    http_ws_send_as(ws, text, message);
}

static void on_closed(void *ctx, struct http_ws *ws)
{
    struct serve *v = ctx;
    (void)ws;
    atomic_fetch_add(&v->sockets_closed, 1);
}

static void answer_all(struct serve *v)
{
    for (size_t i = 0; i < HELD_MAX; i++) {
        struct http_exchange *x = v->held[i];
        v->held[i] = NULL;
        if (x)
            atomic_fetch_sub(&v->held_now, 1);
        if (x && http_streaming(x))
            http_stream_end(x);
        else if (x)
            http_respond(x, 200, "text/plain", NULL, 0, slice_of("at last"));
    }
}

static void load_certificate(struct serve *v);

static void on_wake(void *ctx)
{
    struct serve *v = ctx;
    unsigned orders = atomic_exchange(&v->orders, 0);
    if (orders & SERVE_ANSWER)
        answer_all(v);
    if (orders & SERVE_RELOAD)
        load_certificate(v);
    if (orders & SERVE_DRAIN)
        http_drain(v->s);
    if (orders & SERVE_STOP)
        http_stop(v->s);
}

static void on_tick(void *ctx)
{
    struct serve *v = ctx;
    struct http_stats stats;
    http_stats(v->s, &stats);
    atomic_store(&v->connections, stats.connections);
    atomic_store(&v->exchanges, stats.exchanges);
    atomic_store(&v->refused, (unsigned)stats.connections_refused);
    atomic_fetch_add(&v->ticks, 1);
    if (v->flood)
        http_stream_write(v->flood, (struct slice){zeros, 1 << 20});
}

static void on_signal(void *ctx, int sig)
{
    (void)ctx;
    (void)sig;
}

/* ---- the server ---- */

static void load_certificate(struct serve *v)
{
    struct realm_error err = {0};
    if (http_set_tls(v->s, serve_cert_path, serve_key_path, &err))
        fail_msg("%s", err.message);
}

static void run(void *arg)
{
    struct serve *v = arg;
    http_run(v->s);
}

void serve_open(struct serve *v, const struct http_limits *limits, bool tls)
{
    *v = (struct serve){.tls = tls};
    const struct http_handler handler = {.request = on_request,
                                         .gone = on_gone,
                                         .ws_message = on_message,
                                         .ws_closed = on_closed,
                                         .wake = on_wake,
                                         .tick = on_tick,
                                         .signal = on_signal,
                                         .ctx = v};
    const struct http_options options = {.limits = limits ? *limits : (struct http_limits){0}};
    const struct http_listen at = {.host = "127.0.0.1", .tls = tls};
    struct realm_error err = {0};
    assert_int_equal(http_open(&v->s, &options, &handler, &err), 0);
    if (tls)
        load_certificate(v);
    if (http_listen(v->s, &at, &v->port, &err))
        fail_msg("%s", err.message);
    assert_int_equal(thread_start(&v->thread, "serve", 0, run, v), 0);
}

void serve_tell(struct serve *v, enum serve_order order)
{
    atomic_fetch_or(&v->orders, (unsigned)order);
    http_wake(v->s);
}

void serve_join(struct serve *v)
{
    thread_join(&v->thread);
    v->thread = (struct thread){0};
}

void serve_close(struct serve *v)
{
    if (v->thread.run) {
        serve_tell(v, SERVE_STOP);
        serve_join(v);
    }
    http_close(v->s);
    v->s = NULL;
}
