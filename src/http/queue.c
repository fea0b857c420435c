#include "base/ckd.h"
#include "base/mem.h"
#include "http/conn.h"

#include <string.h>

/* A queue that is empty keeps no more than this. */
enum { KEEP_BYTES = 512 };

static void compact(struct queue *q)
{
    size_t rest = queue_bytes(q);
    memmove(q->b.p, q->b.p + q->at, rest);
    mem_wipe(q->b.p + rest, q->at);
    q->b.n = rest;
    q->at = 0;
}

/* In other memory: a reallocation would leave behind what it copies. */
static int grow(struct queue *q, size_t more)
{
    struct queue larger = {.b.max = q->b.max, .at = q->at};
    int status = buf_reserve(&larger.b, q->b.n + more);
    if (status)
        return status;
    if (q->b.n)
        memcpy(larger.b.p, q->b.p, q->b.n);
    larger.b.n = q->b.n;
    queue_free(q);
    *q = larger;
    return 0;
}

int queue_reserve(struct queue *q, size_t more)
{
    /* Moving is paid for by the bytes that were taken since the last time. */
    if (q->at > q->b.n / 2)
        compact(q);
    return more < q->b.cap - q->b.n ? 0 : grow(q, more);
}

int queue_add(struct queue *q, const void *p, size_t n)
{
    int status = queue_reserve(q, n);
    return status ? status : buf_add(&q->b, p, n);
}

void queue_take(struct queue *q, size_t n)
{
    mem_wipe(q->b.p + q->at, n);
    q->at += n;
    if (q->at < q->b.n)
        return;
    q->at = q->b.n = 0;
    if (q->b.cap > KEEP_BYTES)
        buf_free(&q->b);
}

void queue_free(struct queue *q)
{
    mem_wipe(q->b.p + q->at, queue_bytes(q));
    buf_free(&q->b);
    q->at = 0;
}
