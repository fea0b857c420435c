/* http/server.c - the loop: time, signals, wake-ups, and the connections' work. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/rng.h"
#include "http/conn.h"
#include "http/listen.h"

enum { TICKS_NS = 50000 }; /* of ticks between two looks for events */

static void do_work(struct http_server *s)
{
    while (!list_empty(&s->work)) {
        struct conn *c = CONTAINER_OF(s->work.next, struct conn, work);
        list_remove(&c->work);
        conn_work(c);
    }
}

static bool is_done(const struct http_server *s)
{
    return s->draining && s->stats.connections == 0;
}

/* Before and after the loop waits for events. */
static void work_and_end(struct http_server *s)
{
    do_work(s);
    if (is_done(s))
        uv_stop(&s->loop);
}

static void on_prepare(uv_prepare_t *prepare)
{
    work_and_end(CONTAINER_OF(prepare, struct http_server, prepare));
}

static void on_check(uv_check_t *check)
{
    work_and_end(CONTAINER_OF(check, struct http_server, check));
}

static void on_wake(uv_async_t *wake)
{
    struct http_server *s = CONTAINER_OF(wake, struct http_server, wake);
    s->handler.wake(s->handler.ctx);
}

/* Ticks the connection that has waited longest for it. */
static void tick_next(struct http_server *s)
{
    struct conn *c = CONTAINER_OF(s->conns.next, struct conn, all);
    list_remove(&c->all);
    list_add_tail(&s->conns, &c->all);
    conn_tick(c, uv_now(&s->loop));
    if (list_empty(&c->work))
        return;
    list_remove(&c->work);
    conn_work(c);
}

/* Some of a round of ticks, then the loop looks for events: many slow clients may end in one
 * round, and another's request is not to wait for them. */
static void on_idle(uv_idle_t *idle)
{
    struct http_server *s = CONTAINER_OF(idle, struct http_server, idle);
    uint64_t until_ns = uv_hrtime() + TICKS_NS;
    while (s->to_tick && !list_empty(&s->conns) && uv_hrtime() < until_ns) {
        s->to_tick--;
        tick_next(s);
    }
    if (s->to_tick == 0 || list_empty(&s->conns))
        (void)uv_idle_stop(idle);
}

static void on_timer(uv_timer_t *timer)
{
    struct http_server *s = CONTAINER_OF(timer, struct http_server, timer);
    s->to_tick = s->stats.connections + s->lingering;
    (void)uv_idle_start(&s->idle, on_idle); // fails only without a callback
    listeners_resume(s);
    s->handler.tick(s->handler.ctx);
}

static void on_signal(uv_signal_t *handle, int sig)
{
    struct http_server *s = handle->data;
    s->handler.signal(s->handler.ctx, sig);
}

static void fill_limits(struct http_limits *l)
{
    const struct {
        uint32_t *field, value;
    } defaults[] = {
        {&l->connections_max, HTTP_CONNECTIONS_MAX},
        {&l->connections_per_ip_max, HTTP_CONNECTIONS_PER_IP_MAX},
        {&l->head_ms, HTTP_HEAD_MS_MAX},
        {&l->idle_ms, HTTP_IDLE_MS_MAX},
        {&l->stall_ms, HTTP_STALL_MS_MAX},
        {&l->body_bytes_per_s, HTTP_BODY_BYTES_PER_S_MIN},
        {&l->keep_alive_ms, HTTP_KEEP_ALIVE_MS},
        {&l->ws_ping_ms, WS_PING_MS},
    };
    for (size_t i = 0; i < ARRAY_LEN(defaults); i++)
        if (*defaults[i].field == 0)
            *defaults[i].field = defaults[i].value;
    if (l->body_bytes_max == 0)
        l->body_bytes_max = HTTP_BODY_MAX;
    if (l->unsent_bytes_max == 0)
        l->unsent_bytes_max = HTTP_UNSENT_BYTES_MAX;
}

/* Handles are closed by http_close, however far this comes. */
static int open_handles(struct http_server *s)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    int failed = uv_async_init(&s->loop, &s->wake, on_wake) || uv_timer_init(&s->loop, &s->timer) ||
                 uv_idle_init(&s->loop, &s->idle) || uv_prepare_init(&s->loop, &s->prepare) ||
                 uv_check_init(&s->loop, &s->check) ||
                 uv_timer_start(&s->timer, on_timer, HTTP_TICK_MS, HTTP_TICK_MS) ||
                 uv_prepare_start(&s->prepare, on_prepare) || uv_check_start(&s->check, on_check);
    for (size_t i = 0; i < ARRAY_LEN(signals) && !failed; i++) {
        failed = uv_signal_init(&s->loop, &s->signals[i]);
        s->signals[i].data = s;
        if (!failed)
            failed = uv_signal_start(&s->signals[i], on_signal, signals[i]);
    }
    return failed ? REALM_E_SYS : 0;
}

int http_open(struct http_server **out, const struct http_options *options,
              const struct http_handler *handler, struct realm_error *err)
{
    *out = NULL;
    struct http_server *s = mem_zalloc(sizeof(*s));
    if (!s)
        return err_nomem(err, "the server");
    s->handler = *handler;
    s->limits = options->limits;
    fill_limits(&s->limits);
    s->hosts = options->hosts;
    s->n_hosts = options->n_hosts;
    list_init(&s->conns);
    list_init(&s->work);
    for (size_t i = 0; i < HTTP_IP_BUCKETS; i++)
        list_init(&s->ips[i]);
    for (size_t i = 0; i < HTTP_SPARE_FDS; i++)
        s->spare[i] = -1;
    spares_open(s);
    if (uv_loop_init(&s->loop)) {
        spares_close(s);
        mem_free(s);
        return err_set(err, REALM_E_SYS, "the event loop cannot be made");
    }
    int status = rng_system(s->ip_key, sizeof(s->ip_key));
    if (!status)
        status = rng_system(&s->id_key, sizeof(s->id_key));
    if (!status)
        status = rng_system(&s->id_high, sizeof(s->id_high));
    if (!status)
        status = open_handles(s);
    (void)signal(SIGPIPE, SIG_IGN);
    if (status) {
        http_close(s);
        return err_set(err, status, "the event loop cannot be made");
    }
    *out = s;
    return 0;
}

static void close_handle(uv_handle_t *handle, void *ctx)
{
    (void)ctx;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

void http_close(struct http_server *s)
{
    if (!s)
        return;
    s->draining = true;
    while (!list_empty(&s->conns))
        conn_drop(CONTAINER_OF(s->conns.next, struct conn, all));
    listeners_close(s);
    uv_walk(&s->loop, close_handle, NULL);
    while (uv_loop_close(&s->loop) == UV_EBUSY)
        uv_run(&s->loop, UV_RUN_DEFAULT); // returns at once where http_stop came last
    listeners_free(s);
    spares_close(s);
    tls_context_free(s->tls);
    mem_free(s);
}

int http_set_tls(struct http_server *s, const char *cert_path, const char *key_path,
                 struct realm_error *err)
{
    struct ssl_ctx_st *tls;
    int status = tls_context(&tls, cert_path, key_path, err);
    if (status)
        return status;
    tls_context_free(s->tls);
    s->tls = tls;
    return 0;
}

void http_run(struct http_server *s)
{
    (void)uv_run(&s->loop, UV_RUN_DEFAULT);
}

void http_drain(struct http_server *s)
{
    s->draining = true;
    listeners_close(s);
    for (struct list *i = s->conns.next; i != &s->conns; i = i->next)
        conn_touch(CONTAINER_OF(i, struct conn, all));
}

void http_stop(struct http_server *s)
{
    uv_stop(&s->loop);
}

void http_wake(struct http_server *s)
{
    (void)uv_async_send(&s->wake);
}

void http_stats(const struct http_server *s, struct http_stats *out)
{
    *out = s->stats;
}

const char *server_date(struct http_server *s)
{
    int64_t now = clock_wall_s();
    if (now != s->date_s) {
        struct tm tm;
        time_t t = now;
        gmtime_r(&t, &tm);
        strftime(s->date, sizeof(s->date), "%a, %d %b %Y %H:%M:%S GMT", &tm);
        s->date_s = now;
    }
    return s->date;
}

void server_new_id(struct http_server *s, char out[32])
{
    uint32_t r[4];
    rng_philox(s->id_key, s->id_high, ++s->id_next, r);
    snprintf(out, 32, "req_%08x%08x%08x", r[0], r[1], r[2]);
}
