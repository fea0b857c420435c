/* sched/reuse.c - what generations take from the cache of pages and leave in it.
 *
 * A generation begins with what is there of its tokens but the last, which it computes in any
 * case: there is something to draw from then.  Its pages go into the cache as they become full,
 * so that others find them while it runs; what is left of it goes there when it ends or is
 * preempted.  A page's bits depend on the tokens up to its end alone, so that it makes no
 * difference to what comes of a generation.
 *
 * Two prompts of one tenant that begin alike and come together: the second waits until the
 * first has computed what they share. */
#include <string.h>

#include "base/ckd.h"
#include "kv/cache.h"
#include "sched/sched_impl.h"

/* An encoder's pages have a layer, and what they hold depends on the whole text. */
static bool leaves(const struct sched_gen *g)
{
    return !g->sched->options.cache_off && !g->model->model->config.encoder;
}

/* Where something is wanted of each position, each is computed. */
static bool takes(const struct sched_gen *g)
{
    return leaves(g) && !g->prompt_logprobs && g->pooling == REALM_POOL_NONE;
}

static uint32_t public_pages(const struct sched_gen *g)
{
    return g->n_public / KV_PAGE_TOKENS;
}

int reuse_open(struct sched_gen *g)
{
    int status = kv_seq_open(&g->seq, g->model->kv);
    if (!status && leaves(g))
        status = kv_seq_own(g->seq, g->tenant, public_pages(g));
    if (!status && takes(g))
        (void)kv_seq_share(g->seq, g->tokens, g->n_tokens - 1);
    return status;
}

void reuse_begin(struct sched_gen *g)
{
    g->computed = takes(g) ? kv_seq_copy(g->seq, g->tokens, g->n_tokens - 1) : 0;
    if (!g->began)
        g->n_cached = g->computed;
}

void reuse_keep(struct sched_gen *g)
{
    kv_seq_keep(g->seq, g->tokens, g->computed);
}

void reuse_close(struct sched_gen *g)
{
    if (g->seq)
        kv_seq_leave(g->seq, g->tokens, g->computed);
    kv_seq_close(g->seq);
    g->seq = NULL;
}

/* Whole pages with which two generations begin alike, and which both of them would find under
 * the same name. */
static uint32_t pages_alike(const struct sched_gen *g, const struct sched_gen *h)
{
    size_t most = min_size(g->n_tokens - 1, h->n_tokens), same = 0;
    while (same < most && g->tokens[same] == h->tokens[same])
        same++;
    uint32_t pages = (uint32_t)(same / KV_PAGE_TOKENS);
    uint32_t a = public_pages(g), b = public_pages(h);
    return a == b || (a >= pages && b >= pages) ? pages : a < b ? a : b;
}

/* The one that computes what g would, the furthest; sets g->behind to it, by its ticket. */
static bool find_ahead(struct sched_gen *g)
{
    const struct list *running = &g->model->running;
    uint32_t most = 0;
    for (struct list *i = running->next; i != running; i = i->next) {
        const struct sched_gen *h = gen_of(i);
        if (h->computed >= h->n_prompt || strcmp(g->tenant, h->tenant) != 0)
            continue;
        uint32_t pages = pages_alike(g, h);
        if (pages <= h->computed / KV_PAGE_TOKENS || pages <= most)
            continue;
        most = pages;
        g->behind = h->ticket;
        g->behind_until = pages * KV_PAGE_TOKENS;
    }
    return most && most > kv_cached_pages(g->model->kv, g->tenant, public_pages(g), g->tokens,
                                          g->n_tokens - 1);
}

/* Whether the one that g waits for still runs and has not yet come so far. */
static bool still_behind(const struct sched_gen *g)
{
    const struct list *running = &g->model->running;
    for (struct list *i = running->next; g->behind && i != running; i = i->next)
        if (gen_of(i)->ticket == g->behind)
            return gen_of(i)->computed < g->behind_until;
    return false;
}

bool reuse_waits(struct sched_gen *g)
{
    if (!takes(g))
        return false;
    if (still_behind(g) || find_ahead(g))
        return true;
    g->behind = 0;
    return false;
}
