/* sched/events.c - from the scheduler to the thread that reads.
 *
 * Events are records in a buffer.  The reader takes the whole buffer and leaves
 * its own, empty one; so views into what was taken stay good until the next call,
 * and nothing is allocated once both have grown. */
#include <string.h>

#include "base/ckd.h"
#include "base/wait.h"
#include "sched/sched_impl.h"

/* Followed by the text, filled up to a multiple of 4 bytes, and n_top of the
 * likeliest tokens. */
struct record {
    uint32_t kind;
    uint32_t token;
    uint32_t index;
    float logprob;
    uint32_t text_bytes;
    uint32_t n_top;
};
_Static_assert(sizeof(struct record) == 24, "records are packed");
_Static_assert(sizeof(struct realm_logprob) == 8, "and so is what follows");

static int write_record(struct buf *b, const struct sched_gen *g, const struct record *r)
{
    static const char zeros[4];
    size_t top_bytes = r->n_top * sizeof(*g->top);
    int status = buf_reserve(b, sizeof(*r) + r->text_bytes + sizeof(zeros) + top_bytes);
    if (status)
        return status;
    /* There is room for all four, so that none of them fails. */
    status = buf_add(b, r, sizeof(*r));
    if (!status)
        status = buf_add(b, g->text.p, r->text_bytes);
    if (!status)
        status = buf_add(b, zeros, round_up(r->text_bytes, 4) - r->text_bytes);
    if (!status)
        status = buf_add(b, g->top, top_bytes);
    return status;
}

int gen_push_event(struct sched_gen *g, uint32_t token, float logprob)
{
    struct record r = {
        .kind = REALM_EVENT_TOKEN,
        .token = token,
        .index = g->n_tokens - g->n_prompt - 1,
        .logprob = logprob,
        .text_bytes = (uint32_t)g->text.n,
        .n_top = g->n_top,
    };
    mutex_lock(&g->lock);
    int status = write_record(&g->events, g, &r);
    cond_signal(&g->changed);
    mutex_unlock(&g->lock);
    g->untold = true;
    return status;
}

static size_t row_bytes(uint32_t n_top)
{
    return sizeof(struct record) + n_top * sizeof(struct realm_logprob);
}

int gen_reserve_rows(struct sched_gen *g, size_t n, uint32_t last_top)
{
    size_t bytes = (n - 1) * row_bytes(g->n_top) + row_bytes(last_top);
    buf_clear(&g->rows);
    int status = buf_reserve(&g->rows, bytes);
    if (!status)
        g->rows.n = bytes;
    return status;
}

struct realm_logprob *gen_row_top(struct sched_gen *g, uint32_t place)
{
    return (void *)(g->rows.p + place * row_bytes(g->n_top) + sizeof(struct record));
}

void gen_write_row(struct sched_gen *g, uint32_t place, uint32_t index, uint32_t token,
                   float logprob, uint32_t n_top)
{
    const struct record r = {
        .kind = REALM_EVENT_PROMPT,
        .token = token,
        .index = index,
        .logprob = logprob,
        .n_top = n_top,
    };
    memcpy(g->rows.p + place * row_bytes(g->n_top), &r, sizeof(r));
}

int gen_push_rows(struct sched_gen *g)
{
    mutex_lock(&g->lock);
    int status = buf_add(&g->events, g->rows.p, g->rows.n);
    cond_signal(&g->changed);
    mutex_unlock(&g->lock);
    buf_clear(&g->rows);
    g->untold = true;
    return status;
}

static bool ready(const struct sched_gen *g)
{
    return g->events.n || g->done;
}

/* With the lock: waits until there is something to take. */
static int await(struct sched_gen *g, const struct realm_wait *wait)
{
    while (!ready(g)) {
        int status = wait_given_up(wait, &g->lock);
        if (ready(g))
            return 0;
        if (status)
            return status;
        wait_sleep(wait, &g->changed, &g->lock);
    }
    return 0;
}

static void take(struct sched_gen *g)
{
    struct buf empty = g->taken;
    buf_clear(&empty);
    g->taken = g->events;
    g->events = empty;
    g->taken_at = 0;
}

static void read_token(struct sched_gen *g, struct realm_event *event)
{
    const uint8_t *at = g->taken.p + g->taken_at;
    struct record r;
    memcpy(&r, at, sizeof(r));
    const uint8_t *text = at + sizeof(r);
    const uint8_t *top = text + round_up(r.text_bytes, 4);
    g->taken_at = (size_t)(top - g->taken.p) + r.n_top * sizeof(struct realm_logprob);
    *event = (struct realm_event){
        .kind = (enum realm_event_kind)r.kind,
        .token = r.token,
        .index = r.index,
        .text = (const char *)text,
        .text_bytes = r.text_bytes,
        .logprob = r.logprob,
        .top = (const void *)top,
        .n_top = r.n_top,
    };
}

static void read_end(const struct sched_gen *g, struct realm_event *event)
{
    *event = (struct realm_event){
        .kind = REALM_EVENT_END,
        .text = g->tail.n ? (const char *)g->tail.p : "",
        .text_bytes = g->tail.n,
        .finish = g->finish,
        .status = g->status,
        .usage = g->usage,
        .stop_index = g->stopped ? (uint32_t)g->stop.which : UINT32_MAX,
        .embedding = g->status ? NULL : g->embedding,
    };
}

int sched_gen_next(struct sched_gen *g, struct realm_event *event, const struct realm_wait *wait)
{
    if (g->taken_at == g->taken.n) {
        mutex_lock(&g->lock);
        int status = await(g, wait);
        if (!status)
            take(g);
        mutex_unlock(&g->lock);
        if (status)
            return status;
    }
    if (g->taken_at < g->taken.n)
        read_token(g, event);
    else
        read_end(g, event);
    return 0;
}
