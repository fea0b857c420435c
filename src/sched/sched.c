/* sched/sched.c - the scheduler's thread, its inbox and its counters. */
#include "sched/sched.h"

#include "base/assert.h"
#include "base/ckd.h"
#include "base/mem.h"
#include "kv/cache.h"
#include "sched/sched_impl.h"

/* How long the thread looks for a generation that is expected. */
static const uint64_t EXPECT_NS = 250000;

static void run(void *arg);

static const struct sched_forward real = {
    .open = forward_open,
    .close = forward_close,
    .step = forward_step,
    .row_bad = forward_row_bad,
    .logits = forward_logits,
    .hidden = forward_hidden,
};

static int open_sync(struct sched *s)
{
    if (mutex_init(&s->lock))
        return REALM_E_SYS;
    if (cond_init(&s->wake))
        goto no_wake;
    if (cond_init(&s->called))
        goto no_called;
    return 0;

no_called:
    cond_destroy(&s->wake);
no_wake:
    mutex_destroy(&s->lock);
    return REALM_E_SYS;
}

static void close_sync(struct sched *s)
{
    cond_destroy(&s->called);
    cond_destroy(&s->wake);
    mutex_destroy(&s->lock);
}

int sched_open(struct sched **out, const struct sched_options *options)
{
    *out = NULL;
    struct sched *s = mem_zalloc(sizeof(*s));
    if (!s)
        return REALM_E_NOMEM;
    s->options = *options;
    s->forward = options->forward ? options->forward : &real;
    s->places_max = options->running_max ? min_size(options->running_max, FORWARD_LOGITS_MAX)
                                         : (size_t)FORWARD_LOGITS_MAX;
    kv_budget_init(&s->budget, options->kv_bytes_max);
    s->budget.poison = options->poison;
    if (options->hash_mask)
        s->budget.hash_mask = options->hash_mask;
    list_init(&s->inbox);
    list_init(&s->calls);
    list_init(&s->models);
    shares_init(&s->shares);
    int status = REALM_E_NOMEM;
    s->scratch = mem_zarray(pool_threads(options->pool), sizeof(struct sample_scratch *));
    if (!s->scratch)
        goto no_scratch;
    status = open_sync(s);
    if (status)
        goto no_sync;
    status = options->manual ? 0 : thread_start(&s->thread, "realm-sched", 0, run, s);
    if (status)
        goto no_thread;
    *out = s;
    return 0;

no_thread:
    close_sync(s);
no_sync:
    mem_free(s->scratch);
no_scratch:
    mem_free(s);
    return status;
}

void sched_wake(struct sched *s)
{
    atomic_store_explicit(&s->woken, true, memory_order_relaxed);
    cond_signal(&s->wake);
}

void sched_expect(struct sched *s)
{
    mutex_lock(&s->lock);
    s->look_until_ns = clock_ns(clock_system()) + EXPECT_NS;
    if (s->sleeps)
        cond_signal(&s->wake);
    mutex_unlock(&s->lock);
}

void sched_shutdown(struct sched *s)
{
    mutex_lock(&s->lock);
    atomic_store(&s->shutdown, true);
    sched_wake(s);
    mutex_unlock(&s->lock);
}

void sched_close(struct sched *s)
{
    if (!s)
        return;
    mutex_lock(&s->lock);
    s->closing = true;
    sched_wake(s);
    mutex_unlock(&s->lock);
    if (!s->options.manual)
        thread_join(&s->thread);
    ASSERT(list_empty(&s->models) && list_empty(&s->inbox));
    shares_free(&s->shares);
    sched_scratch_close(s);
    close_sync(s);
    mem_free(s);
}

int sched_call(struct sched *s, int (*fn)(struct sched *s, struct sched_model *m),
               struct sched_model *m)
{
    if (s->options.manual)
        return fn(s, m);
    struct call call = {.fn = fn, .model = m};
    mutex_lock(&s->lock);
    list_add_tail(&s->calls, &call.link);
    sched_wake(s);
    while (!call.done)
        cond_wait(&s->called, &s->lock);
    mutex_unlock(&s->lock);
    return call.status;
}

void sched_stats(struct sched *s, struct sched_stats *out)
{
    mutex_lock(&s->lock);
    *out = s->stats;
    mutex_unlock(&s->lock);
    out->turns += atomic_load_explicit(&s->layers, memory_order_relaxed);
    out->kv_pages = atomic_load(&s->budget.pages_used);
    out->kv_cached_pages = atomic_load(&s->budget.pages_cached);
    out->kv_bytes = atomic_load(&s->budget.bytes);
}

/* With the lock, which the calls are made without. */
static void answer_calls(struct sched *s)
{
    while (!list_empty(&s->calls)) {
        struct call *call = CONTAINER_OF(s->calls.next, struct call, link);
        list_remove(&call->link);
        mutex_unlock(&s->lock);
        int status = call->fn(s, call->model);
        mutex_lock(&s->lock);
        call->status = status;
        call->done = true;
        cond_broadcast(&s->called);
    }
}

static bool idle(const struct sched *s)
{
    return list_empty(&s->inbox) && list_empty(&s->calls) && s->shares.n_waiting == 0 &&
           s->n_running == 0 && !s->closing;
}

/* With the lock, which it is without meanwhile: looks for what is expected. */
static void look(struct sched *s)
{
    uint64_t until = s->look_until_ns;
    atomic_store_explicit(&s->woken, false, memory_order_relaxed);
    mutex_unlock(&s->lock);
    while (!atomic_load_explicit(&s->woken, memory_order_relaxed) &&
           clock_ns(clock_system()) < until)
        thread_yield(); // to the one that brings it, where both share a processor
    mutex_lock(&s->lock);
}

/* With the lock. */
static void wait_for_work(struct sched *s)
{
    if (clock_ns(clock_system()) < s->look_until_ns) {
        look(s);
        return;
    }
    s->sleeps = true;
    cond_wait(&s->wake, &s->lock);
    s->sleeps = false;
}

/* Takes in what has come, waiting for it when there is nothing else to do.
 * false: the scheduler is to end. */
static bool collect(struct sched *s)
{
    mutex_lock(&s->lock);
    while (idle(s) && !s->options.manual)
        wait_for_work(s);
    answer_calls(s);
    atomic_store_explicit(&s->woken, false, memory_order_relaxed);
    while (!list_empty(&s->inbox))
        share_take(s, gen_of(s->inbox.next));
    s->stats.turns++;
    bool go_on = !s->closing;
    mutex_unlock(&s->lock);
    return go_on;
}

/* What is to be ended between steps. */
struct reaper {
    bool shutdown;
    uint64_t now_ns;
};

static void reap_one(void *ctx, struct sched_gen *g)
{
    const struct reaper *r = ctx;
    struct outcome end = {.over = true, .finish = REALM_FINISH_ERROR};
    if (atomic_load(&g->cancelled))
        end.status = REALM_E_CANCELLED;
    else if (r->shutdown)
        end.status = REALM_E_SHUTDOWN;
    else if (!g->began && r->now_ns - g->start_ns > QUEUE_MS_MAX * 1000000ull)
        end.status = REALM_E_LIMIT;
    if (end.status)
        gen_finish(g, end);
}

/* Ends what was cancelled or has waited for too long, or all when the scheduler shuts down. */
static void reap(struct sched *s)
{
    struct reaper r = {atomic_load(&s->shutdown), clock_ns(s->options.clock)};
    share_each_waiting(s, reap_one, &r);
    for (struct list *i = s->models.next; i != &s->models; i = i->next) {
        struct list *running = &model_of(i)->running;
        for (struct list *j = running->next, *next; j != running; j = next) {
            next = j->next;
            reap_one(&r, gen_of(j));
        }
    }
}

/* The next model with work, which then goes to the end of the line. */
static struct sched_model *next_model(struct sched *s)
{
    for (struct list *i = s->models.next; i != &s->models; i = i->next) {
        if (list_empty(&model_of(i)->running))
            continue;
        list_remove(i);
        list_add_tail(&s->models, i);
        return model_of(i);
    }
    return NULL;
}

static void turn(struct sched *s)
{
    reap(s);
    sched_admit(s);
    struct sched_model *m = next_model(s);
    if (m)
        sched_step(s, m);
    ASSERT(!s->options.audit || !kv_audit(&s->budget));
}

static void run(void *arg)
{
    struct sched *s = arg;
    while (collect(s))
        turn(s);
}

bool sched_turn(struct sched *s)
{
    ASSERT(s->options.manual);
    (void)collect(s);
    turn(s);
    return s->shares.n_waiting + s->n_running > 0;
}

size_t sched_tenant_stats(struct sched *s, struct realm_tenant_stats *out, size_t max)
{
    mutex_lock(&s->lock);
    size_t n = shares_stats(&s->shares, out, max);
    mutex_unlock(&s->lock);
    return n;
}
