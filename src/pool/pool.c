/* pool/pool.c - a phase is a ticket that counts up to zero.
 *
 * The caller publishes fn and ctx, then stores -n into `ticket`.  Whoever adds 1
 * and finds t < 0 owns item n + t, and the phase cannot end before that item is
 * done: so fn and ctx stand still while anybody may read them.  A worker that
 * comes late finds t >= 0, or an item of the next phase, and either is right.
 * `left` counts the items that are not done yet.
 *
 * Waiting is the same for both sides: look for some microseconds, then sleep on
 * a condition.  A sleeper announces itself before it looks for the last time, and
 * who changes the value looks for sleepers afterwards; both in sequentially
 * consistent order, so one of them sees the other. */
#include "pool/pool.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/thread.h"
#include "realm/status.h"

enum {
    SPINS = 1000, /* some tens of microseconds */
    STACK_BYTES = 1 << 20,
};

struct worker {
    struct pool *pool;
    struct thread thread;
    unsigned index;
};

struct pool {
    unsigned threads;
    unsigned spins; /* none when threads share processors: spinning would stop the others */
    pool_fn fn;     /* of the phase that runs */
    void *ctx;
    size_t n;

    ALIGNED(CACHE_LINE) atomic_int_fast64_t ticket;
    ALIGNED(CACHE_LINE) atomic_int_fast64_t left;
    ALIGNED(CACHE_LINE) atomic_uint sleepers; /* workers that wait for a phase */
    atomic_bool caller_sleeps;
    atomic_bool closing;

    struct mutex lock; /* for the two conditions alone */
    struct cond work;
    struct cond done;
    unsigned started;
    struct worker workers[]; /* (threads - 1) */
};

/* Takes items until there are none left; returns how many this thread did. */
static int64_t take_items(struct pool *p, unsigned worker)
{
    int64_t done = 0;
    for (;;) {
        int64_t t = atomic_fetch_add(&p->ticket, 1);
        if (t >= 0)
            return done;
        p->fn(p->ctx, p->n - (size_t)-t, worker);
        done++;
    }
}

static bool has_work(struct pool *p)
{
    return atomic_load(&p->ticket) < 0 || atomic_load(&p->closing);
}

static void wait_for_work(struct pool *p)
{
    for (unsigned i = 0; i < p->spins; i++) {
        if (has_work(p))
            return;
        CPU_RELAX();
    }
    mutex_lock(&p->lock);
    atomic_fetch_add(&p->sleepers, 1);
    while (!has_work(p))
        cond_wait(&p->work, &p->lock);
    atomic_fetch_sub(&p->sleepers, 1);
    mutex_unlock(&p->lock);
}

static void wait_for_end(struct pool *p)
{
    for (unsigned i = 0; i < p->spins; i++) {
        if (atomic_load(&p->left) == 0)
            return;
        CPU_RELAX();
    }
    mutex_lock(&p->lock);
    atomic_store(&p->caller_sleeps, true);
    while (atomic_load(&p->left) != 0)
        cond_wait(&p->done, &p->lock);
    atomic_store(&p->caller_sleeps, false);
    mutex_unlock(&p->lock);
}

static void report(struct pool *p, int64_t done)
{
    if (atomic_fetch_sub(&p->left, done) != done || !atomic_load(&p->caller_sleeps))
        return;
    mutex_lock(&p->lock);
    cond_signal(&p->done);
    mutex_unlock(&p->lock);
}

static void work(void *arg)
{
    const struct worker *w = arg;
    struct pool *p = w->pool;
    while (!atomic_load(&p->closing)) {
        int64_t done = take_items(p, w->index);
        if (done)
            report(p, done);
        wait_for_work(p);
    }
}

static void wake_workers(struct pool *p)
{
    if (!atomic_load(&p->sleepers))
        return;
    mutex_lock(&p->lock);
    cond_broadcast(&p->work);
    mutex_unlock(&p->lock);
}

void pool_run(struct pool *p, pool_fn fn, void *ctx, size_t n)
{
    ASSERT(n <= INT64_MAX);
    if (p->threads == 1 || n < 2) { // a phase of one item is a call
        for (size_t i = 0; i < n; i++)
            fn(ctx, i, 0);
        return;
    }
    p->fn = fn;
    p->ctx = ctx;
    p->n = n;
    atomic_store(&p->left, (int64_t)n);
    atomic_store(&p->ticket, -(int64_t)n);
    wake_workers(p);
    int64_t done = take_items(p, 0);
    if (atomic_fetch_sub(&p->left, done) != done)
        wait_for_end(p);
}

static int start_workers(struct pool *p)
{
    for (unsigned i = 0; i + 1 < p->threads; i++) {
        struct worker *w = &p->workers[i];
        w->pool = p;
        w->index = i + 1;
        int rc = thread_start(&w->thread, "realm-compute", STACK_BYTES, work, w);
        if (rc)
            return rc;
        p->started++;
    }
    return 0;
}

static int init_sync(struct pool *p)
{
    if (mutex_init(&p->lock))
        return REALM_E_SYS;
    if (cond_init(&p->work))
        goto lock;
    if (cond_init(&p->done))
        goto work;
    return 0;
work:
    cond_destroy(&p->work);
lock:
    mutex_destroy(&p->lock);
    return REALM_E_SYS;
}

int pool_open(struct pool **out, unsigned threads)
{
    ASSERT(threads >= 1 && threads <= POOL_THREADS_MAX);
    *out = NULL;
    size_t bytes = sizeof(struct pool) + (threads - 1) * sizeof(struct worker);
    struct pool *p = mem_aligned(CACHE_LINE, bytes);
    if (!p)
        return REALM_E_NOMEM;
    *p = (struct pool){.threads = threads, .spins = threads <= thread_cpus() ? SPINS : 0};
    int rc = init_sync(p);
    if (rc) {
        mem_free(p);
        return rc;
    }
    rc = start_workers(p);
    if (rc) {
        pool_close(p);
        return rc;
    }
    *out = p;
    return 0;
}

void pool_close(struct pool *p)
{
    if (!p)
        return;
    atomic_store(&p->closing, true);
    wake_workers(p);
    for (unsigned i = 0; i < p->started; i++)
        thread_join(&p->workers[i].thread);
    cond_destroy(&p->done);
    cond_destroy(&p->work);
    mutex_destroy(&p->lock);
    mem_free(p);
}

unsigned pool_threads(const struct pool *p)
{
    return p->threads;
}
