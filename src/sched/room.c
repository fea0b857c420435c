/* sched/room.c - who may hold pages: admission and preemption. */
#include "base/ckd.h"
#include "sched/sched_impl.h"

/* Sets the counters that others read; `began`: one that had never run was admitted. */
static void note_queue(struct sched *s, bool began, bool preempted)
{
    mutex_lock(&s->lock);
    s->queued -= began;
    s->stats.preempted += preempted;
    s->stats.running = (uint32_t)s->n_running;
    s->stats.waiting += preempted;
    s->stats.waiting -= !preempted;
    mutex_unlock(&s->lock);
}

/* Into a list that is ordered by ticket. */
static void insert(struct list *gens, struct sched_gen *g)
{
    struct list *after = gens->prev;
    while (after != gens && gen_of(after)->ticket > g->ticket)
        after = after->prev;
    list_add_head(after, &g->link);
}

/* Pages for all it has and for one page more, so that a generation that is let
 * in can also begin. */
static int reserve_first(struct sched_gen *g)
{
    uint32_t want = (uint32_t)min_size((size_t)g->n_tokens + KV_PAGE_TOKENS, g->positions_max);
    int status = reuse_open(g);
    if (!status)
        status = kv_seq_reserve(g->seq, want);
    if (!status)
        reuse_begin(g);
    else
        reuse_close(g);
    return status;
}

static void start(struct sched *s, struct sched_gen *g)
{
    list_remove(&g->link);
    insert(&g->model->running, g);
    g->model->n_running++;
    s->n_running++;
    g->state = GEN_RUNNING;
    note_queue(s, !g->began, false);
    g->began = true;
}

static void fail(struct sched_gen *g, int status)
{
    gen_finish(g, (struct outcome){true, REALM_FINISH_ERROR, status});
}

/* In the order of arrival over all models, for they share the pages: the first
 * that does not fit keeps its place until it does. */
void sched_admit(struct sched *s)
{
    for (struct list *i = s->waiting.next, *next; i != &s->waiting; i = next) {
        next = i->next;
        struct sched_gen *g = gen_of(i);
        if (g->model->n_running == FORWARD_LOGITS_MAX)
            continue;
        if (reuse_waits(g))
            continue;
        int status = reserve_first(g);
        if (status == REALM_E_NO_ROOM && s->n_running)
            return;
        if (status)
            fail(g, status);
        else
            start(s, g);
    }
}

static void preempt(struct sched *s, struct sched_gen *g)
{
    reuse_close(g);
    g->computed = 0;
    g->state = GEN_WAITING;
    g->model->n_running--;
    s->n_running--;
    list_remove(&g->link);
    insert(&s->waiting, g);
    note_queue(s, false, true);
}

static struct sched_gen *youngest(struct sched *s)
{
    struct sched_gen *found = NULL;
    for (struct list *i = s->models.next; i != &s->models; i = i->next) {
        struct list *running = &model_of(i)->running;
        if (list_empty(running))
            continue;
        struct sched_gen *g = gen_of(running->prev);
        if (!found || g->ticket > found->ticket)
            found = g;
    }
    return found;
}

/* Makes room for g's tokens; false when g had to go itself. */
static bool make_room(struct sched *s, struct sched_gen *g)
{
    for (;;) {
        int status = kv_seq_reserve(g->seq, g->n_tokens);
        if (!status)
            return true;
        if (status != REALM_E_NO_ROOM) {
            fail(g, status);
            return false;
        }
        struct sched_gen *victim = youngest(s);
        preempt(s, victim);
        if (victim == g)
            return false;
    }
}

void sched_make_room(struct sched *s, struct sched_model *m)
{
    /* Victims are younger than g, so they stand behind it. */
    struct list *before = &m->running;
    while (before->next != &m->running) {
        struct list *i = before->next;
        if (make_room(s, gen_of(i)))
            before = i;
    }
}
