#include "base/ckd.h"
#include "http/conn.h"

#include <string.h>

/* A queue that is empty keeps no more than this. */
enum { KEEP_BYTES = 512 };

static void compact(struct queue *q)
{
    if (q->at == 0)
        return;
    memmove(q->b.p, q->b.p + q->at, q->b.n - q->at);
    q->b.n -= q->at;
    q->at = 0;
}

int queue_reserve(struct queue *q, size_t more)
{
    /* Moving is paid for by the bytes that were taken since the last time. */
    if (q->at > q->b.n / 2)
        compact(q);
    return buf_reserve(&q->b, more);
}

int queue_add(struct queue *q, const void *p, size_t n)
{
    int status = queue_reserve(q, n);
    return status ? status : buf_add(&q->b, p, n);
}

void queue_take(struct queue *q, size_t n)
{
    q->at += n;
    if (q->at < q->b.n)
        return;
    q->at = q->b.n = 0;
    if (q->b.cap > KEEP_BYTES)
        buf_free(&q->b);
}

void queue_free(struct queue *q)
{
    buf_free(&q->b);
    q->at = 0;
}
