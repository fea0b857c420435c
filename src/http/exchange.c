/* http/exchange.c - a request as the handler sees it. */
#include <string.h>

#include "base/clock.h"
#include "base/fair.h"
#include "base/mem.h"
#include "http/conn.h"

/* What a client may call a request. */
static bool sane_id(const char *id)
{
    size_t n =
        id ? strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") : 0;
    return n > 0 && n <= HTTP_ID_MAX && id[n] == '\0';
}

struct http_exchange *exchange_new(struct conn *c, struct slice text, struct http_fault *fault)
{
    struct http_server *s = c->s;
    size_t fields_bytes = HTTP_FIELDS_MAX * sizeof(struct head_field);
    struct http_exchange *x = mem_zalloc(sizeof(*x) + fields_bytes + text.n + 1);
    *fault = (struct http_fault){0};
    if (!x)
        return NULL;
    x->c = c;
    buf_init(&x->body, (size_t)s->limits.body_bytes_max);
    server_new_id(s, x->id);
    char *copy = (char *)x + sizeof(*x) + fields_bytes;
    memcpy(copy, text.p, text.n);
    x->text = copy;
    x->text_bytes = text.n;
    const struct head_rules rules = {
        .tls = c->ssl != NULL,
        .check_host = c->check_host,
        .hosts = s->hosts,
        .n_hosts = s->n_hosts,
        .body_bytes_max = s->limits.body_bytes_max,
    };
    (void)(head_read(&x->head, copy, text.n, x->fields, &rules, fault) == 0);
    return x;
}

bool payer_holds(struct conn *c, uint64_t *paid, uint64_t bytes)
{
    struct http_server *s = c->s;
    uint64_t *theirs = &s->payer_bytes[c->payer % HTTP_PAYERS];
    if (bytes > *paid &&
        !fair_fits(*theirs, bytes - *paid, HTTP_BODIES_BYTES_MAX - s->bodies_bytes))
        return false;
    *theirs = *theirs - *paid + bytes;
    s->bodies_bytes = s->bodies_bytes - *paid + bytes;
    *paid = bytes;
    return true;
}

bool exchange_wants_body(struct http_exchange *x)
{
    const struct http_handler *h = &x->c->s->handler;
    bool has_body = x->head.chunked || x->head.content_length;
    uint32_t payer = 0;
    bool wanted = !h->wants_body || h->wants_body(h->ctx, x, &payer);
    conn_set_payer(x->c, payer);
    x->head.close |= x->c->crowded || (has_body && !wanted);
    return wanted || !has_body;
}

void exchange_free(struct http_exchange *x)
{
    if (!x)
        return;
    (void)!payer_holds(x->c, &x->paid, 0);
    mem_wipe(x->text, x->text_bytes); // there may be a key in it
    buf_free(&x->body);
    mem_free(x);
}

void exchange_done(struct http_exchange *x)
{
    struct conn *c = x->c;
    /* One that sends nothing any more still gets what it has asked for, but nothing comes after
     * a request that was the last by its own word. */
    bool close = x->head.close || c->s->draining || (c->eof && queue_bytes(&c->in) == 0);
    c->s->stats.exchanges--;
    c->x = NULL;
    exchange_free(x);
    if (close) {
        conn_close_soon(c);
        return;
    }
    if (c->state == CONN_BUSY)
        c->state = CONN_HEAD;
    c->deadline_ms = conn_now_ms(c) + c->s->limits.idle_ms;
    conn_touch(c);
}

const char *http_method(const struct http_exchange *x)
{
    return x->head.method;
}

const char *http_path(const struct http_exchange *x)
{
    return x->head.path;
}

const char *http_query(const struct http_exchange *x)
{
    return x->head.query;
}

const char *http_field(const struct http_exchange *x, const char *name)
{
    return head_field(&x->head, name);
}

size_t http_field_count(const struct http_exchange *x, const char *name)
{
    return head_field_count(&x->head, name);
}

bool http_crowded(const struct http_exchange *x)
{
    return x->c->crowded;
}

struct slice http_body(const struct http_exchange *x)
{
    return buf_slice(&x->body);
}

const char *http_id(const struct http_exchange *x)
{
    return x->id;
}

const char *http_shown_id(const struct http_exchange *x)
{
    const char *theirs = x->head.readable ? head_field(&x->head, "x-request-id") : NULL;
    return sane_id(theirs) ? theirs : x->id;
}

int http_tag(const struct http_exchange *x)
{
    return x->c->tag;
}

bool http_from_loopback(const struct http_exchange *x)
{
    return x->c->loopback;
}

const uint8_t *http_address(const struct http_exchange *x)
{
    return x->c->address;
}

uint64_t http_arrived_ns(const struct http_exchange *x)
{
    return x->arrived_ns;
}

bool http_arrived_long_ago(const struct http_exchange *x)
{
    uint64_t ms = (clock_ns(clock_system()) - x->arrived_ns) / 1000000u;
    return ms >= x->c->s->limits.keep_alive_ms;
}

void http_set_user(struct http_exchange *x, void *user)
{
    x->user = user;
}

void *http_user(const struct http_exchange *x)
{
    return x->user;
}
