/* store/loader.c - the one thread that reads models.
 *
 * One load at a time, in the order they were asked for: two at once would only
 * halve the disk between them.  What has to wait for room lets the others go first.
 * The lock is held for bookkeeping alone. */
#include "base/assert.h"
#include "base/err.h"
#include "base/log.h"
#include "store/store_int.h"

/* The longest sleep while idle models are watched. */
enum { IDLE_CHECK_MS_MAX = 1000 };

/* What else an entry's turn can come to, beside a status. */
enum {
    LATER = 1, /* it waits for room */
    AGAIN,     /* it went a step further, and the lock was let go */
};

/* One load in the loader's hands. */
struct job {
    struct store *store;
    struct entry *entry;
};

static bool still_wanted(void *arg)
{
    struct job *job = arg;
    mutex_lock(&job->store->lock);
    bool wanted = job->entry->waiters > 0 && !job->store->closing;
    mutex_unlock(&job->store->lock);
    return wanted;
}

static int no_room(const struct store *s, uint64_t bytes, const char *why, struct realm_error *err)
{
    return err_set(err, REALM_E_NO_ROOM, "the model needs %.1f MiB, the budget is %.1f MiB%s",
                   (double)bytes / (1 << 20), (double)s->limits.bytes_max / (1 << 20), why);
}

/* What waiting does not give back. */
static uint64_t kept_bytes(const struct store *s)
{
    uint64_t bytes = 0;
    for (const struct list *l = s->entries.next; l != &s->entries; l = l->next) {
        const struct entry *e = CONTAINER_OF(l, const struct entry, all);
        bytes += e->keep ? e->bytes : 0;
    }
    return bytes;
}

/* Opens what e stands for; called and left with the lock held. */
static int make_plan(struct store *s, struct entry *e, struct realm_error *err)
{
    mutex_unlock(&s->lock);
    uint64_t start = clock_ns(s->clock);
    int status = s->ops.plan(s->ops.ctx, e->name, &e->plan, &e->plan_bytes, err);
    e->plan_ns = clock_ns(s->clock) - start;
    e->room_until_ns = clock_ns(clock_system()) + s->limits.load_wait_ms * 1000000ull;
    mutex_lock(&s->lock);
    return status ? status : AGAIN;
}

static void drop_plan(struct store *s, struct entry *e)
{
    if (!e->plan)
        return;
    mutex_unlock(&s->lock);
    s->ops.discard(s->ops.ctx, e->plan);
    mutex_lock(&s->lock);
    e->plan = NULL;
}

/* Reserves the bytes of e's plan, evicting idle models once that is enough: 0, AGAIN
 * after an eviction, LATER, or an error.  Lock held. */
static int reserve(struct store *s, struct entry *e, struct realm_error *err)
{
    uint64_t bytes = e->plan_bytes;
    if (bytes > s->limits.bytes_max)
        return no_room(s, bytes, "", err);
    uint64_t most = s->limits.bytes_max - bytes;
    if (s->stats.bytes > most) {
        if (s->stats.bytes - store_idle_bytes(s) <= most && store_evict_one(s))
            return AGAIN;
        if (clock_ns(clock_system()) < e->room_until_ns)
            return LATER;
        /* By this word callers know that waiting helps. */
        const char *why = kept_bytes(s) > most ? " and models in it are pinned"
                                               : " and the models in it are in use";
        return no_room(s, bytes, why, err);
    }
    e->bytes = bytes;
    s->stats.bytes += bytes;
    if (s->stats.bytes > s->stats.bytes_peak)
        s->stats.bytes_peak = s->stats.bytes;
    return 0;
}

/* Loads e as planned into the bytes reserved; called and left with the lock held. */
static int load(struct store *s, struct entry *e, struct realm_error *err)
{
    struct job job = {s, e};
    mutex_unlock(&s->lock);
    uint64_t start = clock_ns(s->clock);
    int status = s->ops.load(s->ops.ctx, e->plan, still_wanted, &job, &e->model, err);
    uint64_t took = e->plan_ns + clock_ns(s->clock) - start;
    if (!status)
        log_line(LOG_INFO, "loaded %s: %.1f MiB in %.0f ms", e->name,
                 (double)e->plan_bytes / (1 << 20), (double)took / 1e6);
    mutex_lock(&s->lock);
    if (status) {
        s->stats.bytes -= e->bytes;
        e->bytes = 0;
        cond_broadcast(&s->changed);
    } else {
        s->stats.load_ns += took;
        s->stats.load_ns_last = took;
    }
    return status;
}

/* Takes e one step further: 0 when it is loaded, LATER, AGAIN or an error. */
static int advance(struct store *s, struct entry *e, struct realm_error *err)
{
    if (e->waiters == 0 || s->closing)
        return REALM_E_CANCELLED;
    if (!e->plan)
        return make_plan(s, e, err);
    int status = reserve(s, e, err);
    return status ? status : load(s, e, err);
}

static void publish_model(struct store *s, struct entry *e)
{
    e->state = ENTRY_READY;
    s->stats.loads++;
    s->stats.models++;
    /* Each waiter wakes up as a lease, so nothing can be evicted under him. */
    e->leases = e->waiters;
    e->waiters = 0;
    if (e->leases == 0) {
        e->idle_since_ms = clock_ms(s->clock);
        list_add_tail(&s->idle, &e->lru);
    }
}

/* A failure is told to those who wait and then forgotten: the next call loads. */
static void publish_failure(struct store *s, struct entry *e, const struct realm_error *err)
{
    list_remove(&e->all);
    if (err->status != REALM_E_CANCELLED)
        s->stats.loads_failed++;
    if (e->waiters == 0) {
        store_entry_free(e);
        return;
    }
    e->state = ENTRY_FAILED;
    e->err = *err;
}

/* Serves an entry of the queue; false when it has to wait for room. */
static bool serve(struct store *s, struct entry *e)
{
    struct realm_error err = {0};
    int status = advance(s, e, &err);
    if (status == LATER || status == AGAIN)
        return status == AGAIN;
    drop_plan(s, e);
    /* Somebody may have joined after the load had been given up. */
    if (status == REALM_E_CANCELLED && e->waiters && !s->closing)
        return true;
    list_remove(&e->load);
    s->stats.loading--;
    if (!status) {
        publish_model(s, e);
    } else {
        if (err.status != status)
            err_set(&err, s->closing ? REALM_E_SHUTDOWN : status, "the load was given up");
        publish_failure(s, e, &err);
    }
    cond_broadcast(&s->changed);
    return true;
}

/* Serves the first that can be served.  false: all wait for room, for *sleep_ms at most
 * if that is not 0. */
static bool serve_first(struct store *s, uint64_t *sleep_ms)
{
    uint64_t now = clock_ns(clock_system());
    for (struct list *l = s->queue.next; l != &s->queue; l = l->next) {
        struct entry *e = CONTAINER_OF(l, struct entry, load);
        if (serve(s, e))
            return true;
        uint64_t left = e->room_until_ns > now ? (e->room_until_ns - now) / 1000000u + 1 : 1;
        *sleep_ms = *sleep_ms == 0 || left < *sleep_ms ? left : *sleep_ms;
    }
    s->waiting_for_room = !list_empty(&s->queue);
    return false;
}

/* Evicts what has been idle too long; returns how long to sleep, 0: no limit. */
static uint64_t expire_idle(struct store *s)
{
    if (!s->limits.idle_ms_max)
        return 0;
    while (!list_empty(&s->idle)) {
        const struct entry *e = CONTAINER_OF(s->idle.next, struct entry, lru);
        uint64_t idle = clock_ms(s->clock) - e->idle_since_ms;
        if (idle < s->limits.idle_ms_max) {
            uint64_t left = s->limits.idle_ms_max - idle;
            return left < IDLE_CHECK_MS_MAX ? left : IDLE_CHECK_MS_MAX;
        }
        store_evict_one(s);
    }
    return 0;
}

/* Unloads what others left to this thread; true if it let go of the lock meanwhile. */
static bool bury(struct store *s)
{
    if (list_empty(&s->graves))
        return false;
    while (!list_empty(&s->graves))
        store_unload(s, CONTAINER_OF(s->graves.next, struct entry, lru));
    return true;
}

void store_loader(void *arg)
{
    struct store *s = arg;
    mutex_lock(&s->lock);
    while (!s->closing || !list_empty(&s->queue) || !list_empty(&s->graves)) {
        uint64_t sleep_ms = expire_idle(s);
        if (bury(s))
            continue;
        /* Nothing lets go of the lock between the last look and the sleep. */
        if (serve_first(s, &sleep_ms) || s->closing)
            continue;
        if (sleep_ms)
            cond_wait_until(&s->changed, &s->lock, clock_ns(clock_system()) + sleep_ms * 1000000u);
        else
            cond_wait(&s->changed, &s->lock);
    }
    mutex_unlock(&s->lock);
}
