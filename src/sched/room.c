/* sched/room.c - who may hold pages: admission and preemption, as the tenants' accounts say. */
#include "base/ckd.h"
#include "sched/sched_impl.h"

/* Pages for all it has and for one page more, so that a generation that is let
 * in can also begin. */
static uint32_t first_tokens(const struct sched_gen *g)
{
    return (uint32_t)min_size((size_t)g->n_tokens + KV_PAGE_TOKENS, g->positions_max);
}

static uint64_t first_bytes(const struct sched_gen *g)
{
    return round_up(first_tokens(g), KV_PAGE_TOKENS) / KV_PAGE_TOKENS * kv_page_bytes(g->model->kv);
}

static int reserve_first(struct sched_gen *g)
{
    int status = reuse_open(g);
    if (!status)
        status = kv_seq_reserve(g->seq, first_tokens(g));
    if (!status)
        reuse_begin(g);
    else
        reuse_close(g);
    return status;
}

static void fail(struct sched_gen *g, int status)
{
    gen_finish(g, (struct outcome){true, REALM_FINISH_ERROR, status});
}

static void preempt(struct sched *s, struct sched_gen *g)
{
    reuse_close(g);
    g->computed = 0;
    share_wait(s, g);
}

/* The first of a's whose model has a place, or would get one from another tenant's *yields
 * (NULL: it has one).  Those that stand behind for another model's sake are no worse off, nor
 * is one that waits for what another of a's computes. */
static struct sched_gen *head(struct sched *s, const struct account *a, struct sched_gen **yields)
{
    *yields = NULL;
    for (struct list *i = a->waiting.next; i != &a->waiting; i = i->next) {
        struct sched_gen *g = gen_of(i);
        if (reuse_waits(g))
            continue;
        if (g->model->n_running < s->places_max)
            return g;
        *yields = share_yielding(s, g, g->model, 0);
        if (*yields)
            return g;
    }
    return NULL;
}

/* With the place of `yields`, or (NULL) one that is free.  false: there is no room for g as long
 * as others run. */
static bool let_in(struct sched *s, struct sched_gen *g, struct sched_gen *yields)
{
    if (yields)
        preempt(s, yields);
    int status = reserve_first(g);
    while (status == REALM_E_NO_ROOM && s->n_running) {
        yields = share_yielding(s, g, NULL, first_bytes(g));
        if (!yields)
            return false;
        preempt(s, yields);
        status = reserve_first(g);
    }
    if (status)
        fail(g, status);
    else
        share_run(s, g);
    return true;
}

/* Tenant by tenant, over all models, for they share the pages. */
void sched_admit(struct sched *s)
{
    struct account *a;
    share_begin(s);
    while ((a = share_next(s)) != NULL) {
        struct sched_gen *yields, *g = head(s, a, &yields);
        bool capped = g && share_capped(s, g, first_bytes(g));
        if (!g || capped || !let_in(s, g, yields))
            share_pass(s, a, g, capped);
    }
}

/* Makes room for g's tokens; false when g had to go itself. */
static bool make_room(struct sched *s, struct sched_gen *g)
{
    for (;;) {
        int status = kv_seq_reserve(g->seq, g->n_tokens);
        if (!status)
            break;
        if (status != REALM_E_NO_ROOM) {
            fail(g, status);
            return false;
        }
        struct sched_gen *victim = share_victim(s);
        preempt(s, victim);
        if (victim == g)
            return false;
    }
    share_hold(g);
    return true;
}

/* The next of m's that has no room yet. */
static struct sched_gen *without_room(struct sched_model *m)
{
    for (struct list *i = m->running.next; i != &m->running; i = i->next)
        if (kv_seq_room(gen_of(i)->seq) < gen_of(i)->n_tokens)
            return gen_of(i);
    return NULL;
}

void sched_make_room(struct sched *s, struct sched_model *m)
{
    /* A victim may stand anywhere in the list; it leaves more room behind than there was. */
    struct sched_gen *g;
    while ((g = without_room(m)) != NULL)
        (void)make_room(s, g);
}
