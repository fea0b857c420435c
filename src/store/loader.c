/* store/loader.c - the one thread that reads models.
 *
 * One load at a time, in the order they were asked for: two at once would only
 * halve the disk between them.  The lock is held for bookkeeping alone. */
#include "base/assert.h"
#include "base/err.h"
#include "base/log.h"
#include "store/store_int.h"

/* The longest sleep while idle models are watched. */
enum { IDLE_CHECK_MS_MAX = 1000 };

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

/* Reserves bytes for e, evicting idle models once that is enough; lock held. */
static int reserve(struct store *s, struct entry *e, uint64_t bytes, struct realm_error *err)
{
    if (bytes > s->limits.bytes_max)
        return no_room(s, bytes, "", err);
    uint64_t deadline = clock_ns(clock_system()) + s->limits.load_wait_ms * 1000000ull;
    bool in_time = true;
    int status = 0;
    s->waiting_for_room++;
    while (s->stats.bytes > s->limits.bytes_max - bytes) {
        if (e->waiters == 0 || s->closing) {
            status = REALM_E_CANCELLED;
            break;
        }
        bool enough = s->stats.bytes - store_idle_bytes(s) <= s->limits.bytes_max - bytes;
        if (enough && store_evict_one(s))
            continue;
        if (!in_time) {
            status = no_room(s, bytes, " and the models in it are in use", err);
            break;
        }
        in_time = cond_wait_until(&s->changed, &s->lock, deadline);
    }
    s->waiting_for_room--;
    if (status)
        return status;
    e->bytes = bytes;
    s->stats.bytes += bytes;
    if (s->stats.bytes > s->stats.bytes_peak)
        s->stats.bytes_peak = s->stats.bytes;
    return 0;
}

/* Plans, reserves and loads; called and left with the lock held. */
static int load(struct store *s, struct entry *e, struct realm_error *err)
{
    struct job job = {s, e};
    void *plan = NULL;
    uint64_t bytes = 0;
    mutex_unlock(&s->lock);
    uint64_t start = clock_ns(s->clock);
    int status = s->ops.plan(s->ops.ctx, e->name, &plan, &bytes, err);
    mutex_lock(&s->lock);
    if (!status)
        status = reserve(s, e, bytes, err);
    mutex_unlock(&s->lock);
    if (!status)
        status = s->ops.load(s->ops.ctx, plan, still_wanted, &job, &e->model, err);
    if (plan)
        s->ops.discard(s->ops.ctx, plan);
    uint64_t took = clock_ns(s->clock) - start;
    if (!status)
        log_line(LOG_INFO, "loaded a model of %.1f MiB in %.0f ms", (double)bytes / (1 << 20),
                 (double)took / 1e6);
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

static void load_first(struct store *s)
{
    struct entry *e = CONTAINER_OF(s->queue.next, struct entry, load);
    list_remove(&e->load);
    struct realm_error err = {0};
    int status;
    do {
        err = (struct realm_error){0};
        status = e->waiters && !s->closing ? load(s, e, &err) : REALM_E_CANCELLED;
        /* Somebody may have joined after the load had been given up. */
    } while (status == REALM_E_CANCELLED && e->waiters && !s->closing);
    s->stats.loading--;
    if (!status) {
        publish_model(s, e);
    } else {
        if (err.status != status)
            err_set(&err, s->closing ? REALM_E_SHUTDOWN : status, "the load was given up");
        publish_failure(s, e, &err);
    }
    cond_broadcast(&s->changed);
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

void store_loader(void *arg)
{
    struct store *s = arg;
    mutex_lock(&s->lock);
    while (!s->closing || !list_empty(&s->queue)) {
        if (!list_empty(&s->queue)) {
            load_first(s);
            continue;
        }
        uint64_t sleep_ms = expire_idle(s);
        if (!list_empty(&s->queue) || s->closing)
            continue;
        if (sleep_ms)
            cond_wait_until(&s->changed, &s->lock, clock_ns(clock_system()) + sleep_ms * 1000000u);
        else
            cond_wait(&s->changed, &s->lock);
    }
    mutex_unlock(&s->lock);
}
