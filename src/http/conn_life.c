/* http/conn_life.c - how a connection begins, changes hands, and ends. */
#include <string.h>
#include <unistd.h>

#include "base/fair.h"
#include "base/mem.h"
#include "http/conn.h"

struct conn *conn_open(struct http_server *s, const struct conn_origin *from)
{
    struct conn *c = mem_zalloc(sizeof(*c));
    if (!c) {
        close(from->fd);
        return NULL;
    }
    c->s = s;
    c->fd = from->fd;
    c->tag = from->tag;
    c->tcp = from->tcp;
    c->loopback = from->loopback;
    c->check_host = from->check_host;
    c->counted = from->counted;
    memcpy(c->address, from->address, sizeof(c->address));
    c->in.b.max = SIZE_MAX / 4; // bounded by when bytes are read
    c->out.b.max = s->limits.unsent_bytes_max;
    c->state = from->tls ? CONN_HANDSHAKE : CONN_HEAD;
    c->ssl = from->tls ? tls_open(from->tls, from->fd) : NULL;
    if ((from->tls && !c->ssl) || uv_poll_init(&s->loop, &c->poll, c->fd)) {
        tls_close(c->ssl);
        close(c->fd);
        mem_free(c);
        return NULL;
    }
    c->deadline_ms = conn_now_ms(c) + (from->tls ? s->limits.head_ms : s->limits.idle_ms);
    list_add_tail(&s->conns, &c->all);
    list_init(&c->work);
    list_init(&c->by_ip);
    conn_touch(c);
    return c;
}

struct conn *conn_take(struct http_exchange *x, const struct conn_user *user, void *ctx)
{
    struct conn *c = x->c;
    c->s->stats.exchanges--;
    c->x = NULL;
    exchange_free(x);
    c->state = CONN_TAKEN;
    c->user = user;
    c->user_ctx = ctx;
    c->deadline_ms = 0;
    conn_touch(c);
    return c;
}

void conn_set_payer(struct conn *c, uint32_t payer)
{
    struct http_server *s = c->s;
    if (c->payer)
        s->payer_conns[c->payer % HTTP_PAYERS]--;
    c->payer = payer;
    c->crowded = false;
    if (!payer)
        return;
    uint32_t others = s->payer_conns[payer % HTTP_PAYERS]++;
    uint32_t left = s->limits.connections_max - s->stats.connections + 1; // c's own place
    c->crowded = !fair_fits(others, 1, left);
}

static void on_closed(uv_handle_t *handle)
{
    struct conn *c = CONTAINER_OF((uv_poll_t *)handle, struct conn, poll);
    mem_free(c);
}

static void tell_end(struct conn *c)
{
    struct http_exchange *x = c->x;
    c->x = NULL;
    if (x && x->handed) {
        c->s->stats.exchanges--;
        c->s->handler.gone(c->s->handler.ctx, x);
    }
    if (x)
        exchange_free(x);
    const struct conn_user *user = c->user;
    c->user = NULL;
    if (user)
        user->closed(c->user_ctx, c);
}

void conn_drop(struct conn *c)
{
    c->failed = true;
    tell_end(c);
    list_remove(&c->work);
    list_remove(&c->all);
    list_remove(&c->by_ip);
    conn_set_payer(c, 0);
    if (c->counted)
        c->s->stats.connections--;
    else
        c->s->lingering--;
    tls_close(c->ssl);
    queue_free(&c->in);
    queue_free(&c->out);
    uv_close((uv_handle_t *)&c->poll, on_closed); // first: it takes the socket off the loop
    close(c->fd);
}
