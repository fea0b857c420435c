/* http/ws.c - a WebSocket on a connection of this server. */
#include "http/ws.h"

#include <stdio.h>

#include "base/mem.h"

enum { GOODBYE_MS = 5000, SLOW_GRACE_MS = 5000, WS_POLICY = 1008, WS_TRY_LATER = 1013 };

struct http_ws {
    struct conn *c;
    struct ws_frames *frames;
    void *user;
    char id[32];
    uint64_t heard_ms;  /* when the client last sent something */
    uint64_t pinged_ms; /* when it was last asked to */
    uint64_t ending_ms; /* since when a closing handshake runs; 0: none does */
    uint64_t paid; /* bytes, of a message in part, that are counted to the connection's payer */
    bool told;     /* the handler knows that it is over */
};

/* Called from the loop alone. */
static void tell_closed(struct http_ws *ws)
{
    if (ws->told)
        return;
    ws->told = true;
    ws->c->s->stats.websockets--;
    ws->c->s->handler.ws_closed(ws->c->s->handler.ctx, ws);
}

static void on_message(void *ctx, bool text, struct slice message)
{
    struct http_ws *ws = ctx;
    if (!ws->told && !ws->ending_ms)
        ws->c->s->handler.ws_message(ws->c->s->handler.ctx, ws, text, message);
}

static void on_write(void *ctx, struct slice bytes)
{
    conn_write(((struct http_ws *)ctx)->c, bytes);
}

/* The handler's calls end with the handshake's begin, not with the connection. */
static void note_ending(struct http_ws *ws, uint64_t now_ms)
{
    if (!ws->ending_ms && ws_frames_ending(ws->frames))
        ws->ending_ms = now_ms;
    if (ws->ending_ms)
        tell_closed(ws);
}

/* Many who never end their messages hold no more than many who never end their bodies. */
static bool may_hold(struct http_ws *ws)
{
    uint64_t since_ms, bytes;
    bool partial = ws_frames_partial(ws->frames, &since_ms, &bytes);
    return payer_holds(ws->c, &ws->paid, partial ? bytes : 0);
}

static void on_bytes(void *ctx, struct conn *c, struct slice in)
{
    struct http_ws *ws = ctx;
    ws->heard_ms = conn_now_ms(c);
    bool more = ws_frames_take(ws->frames, in, ws->heard_ms);
    if (more && !ws->ending_ms && !may_hold(ws)) {
        ws_frames_refuse(ws->frames, WS_TRY_LATER, "the server holds as many bytes as it may");
        more = false;
    }
    note_ending(ws, ws->heard_ms);
    if (!more) {
        tell_closed(ws);
        conn_close_soon(c);
    }
}

/* A message comes as fast as a body must, or its sender holds memory for nothing. */
static bool is_slow(const struct http_ws *ws, uint64_t now_ms)
{
    uint64_t since_ms, bytes;
    if (!ws_frames_partial(ws->frames, &since_ms, &bytes) || now_ms - since_ms < SLOW_GRACE_MS)
        return false;
    uint64_t spent_ms = now_ms - since_ms - SLOW_GRACE_MS;
    return bytes < spent_ms * ws->c->s->limits.body_bytes_per_s / 1000;
}

static void on_tick(void *ctx, struct conn *c, uint64_t now_ms)
{
    struct http_ws *ws = ctx;
    note_ending(ws, now_ms);
    if (ws->ending_ms) {
        if (now_ms - ws->ending_ms >= GOODBYE_MS)
            conn_close_soon(c);
        return;
    }
    uint64_t ping_ms = c->s->limits.ws_ping_ms, silent_ms = now_ms - ws->heard_ms;
    if (silent_ms >= 2 * ping_ms) {
        conn_fail(c);
    } else if (is_slow(ws, now_ms)) {
        http_ws_close(ws, WS_POLICY, "the message comes too slowly");
    } else if (silent_ms >= ping_ms && now_ms - ws->pinged_ms >= ping_ms) {
        ws->pinged_ms = now_ms;
        if (ws_frames_ping(ws->frames))
            conn_fail(c);
    }
}

static void on_drain(void *ctx, struct conn *c)
{
    struct http_ws *ws = ctx;
    const struct http_handler *h = &c->s->handler;
    if (h->ws_drain && !ws->told)
        h->ws_drain(h->ctx, ws);
    else
        http_ws_close(ws, 1001, "the server is shutting down");
}

static void on_closed(void *ctx, struct conn *c)
{
    struct http_ws *ws = ctx;
    tell_closed(ws);
    (void)!payer_holds(c, &ws->paid, 0);
    ws_frames_close(ws->frames);
    mem_free(ws);
}

struct http_ws *http_ws_accept(struct http_exchange *x)
{
    static const struct conn_user user = {on_bytes, on_tick, on_drain, on_closed};
    struct conn *c = x->c;
    struct http_ws *ws = mem_zalloc(sizeof(*ws));
    if (!ws)
        goto no_memory;
    ws->c = c;
    ws->heard_ms = ws->pinged_ms = conn_now_ms(c);
    snprintf(ws->id, sizeof(ws->id), "%s", x->id);
    const struct ws_events events = {on_message, on_write, ws};
    if (ws_frames_open(&ws->frames, &events))
        goto no_memory;
    ws_answer_101(x);
    conn_take(x, &user, ws);
    c->s->stats.websockets++;
    return ws;

no_memory:
    mem_free(ws);
    conn_fail(c);
    return NULL;
}

void http_ws_set_user(struct http_ws *ws, void *user)
{
    ws->user = user;
}

bool http_ws_set_payer(struct http_ws *ws, uint32_t payer)
{
    (void)!payer_holds(ws->c, &ws->paid, 0); // on_bytes counts again
    conn_set_payer(ws->c, payer);
    return !ws->c->crowded;
}

void *http_ws_user(const struct http_ws *ws)
{
    return ws->user;
}

const char *http_ws_id(const struct http_ws *ws)
{
    return ws->id;
}

bool http_ws_from_loopback(const struct http_ws *ws)
{
    return ws->c->loopback;
}

void http_ws_guard(struct http_ws *ws, bool on)
{
    if (ws_frames_guard(ws->frames, on))
        conn_fail(ws->c);
}

void http_ws_send(struct http_ws *ws, struct slice text)
{
    http_ws_send_as(ws, true, text);
}

void http_ws_send_as(struct http_ws *ws, bool text, struct slice message)
{
    if (ws->ending_ms)
        return;
    if (ws_frames_send(ws->frames, text, message))
        conn_fail(ws->c);
}

void http_ws_close(struct http_ws *ws, uint16_t code, const char *reason)
{
    if (ws->ending_ms)
        return;
    if (ws_frames_end(ws->frames, code, reason))
        conn_fail(ws->c);
    ws->ending_ms = conn_now_ms(ws->c);
}
