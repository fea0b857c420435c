#include "store/store.h"

#include <string.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/wait.h"
#include "store/store_int.h"

struct store_lease {
    struct store *store;
    struct entry *entry;
};

int store_open(struct store **out, const struct store_limits *limits, const struct store_ops *ops,
               const struct clock *clock)
{
    *out = NULL;
    struct store *s = mem_zalloc(sizeof(*s));
    if (!s)
        return REALM_E_NOMEM;
    s->limits = *limits;
    s->ops = *ops;
    s->clock = clock;
    list_init(&s->entries);
    list_init(&s->idle);
    list_init(&s->graves);
    list_init(&s->queue);
    int status = mutex_init(&s->lock);
    if (status)
        goto no_mutex;
    status = cond_init(&s->changed);
    if (status)
        goto no_cond;
    status = thread_start(&s->loader, "realm-loader", 0, store_loader, s);
    if (status)
        goto no_thread;
    *out = s;
    return 0;

no_thread:
    cond_destroy(&s->changed);
no_cond:
    mutex_destroy(&s->lock);
no_mutex:
    mem_free(s);
    return status;
}

void store_close(struct store *s)
{
    if (!s)
        return;
    mutex_lock(&s->lock);
    s->closing = true;
    cond_broadcast(&s->changed);
    mutex_unlock(&s->lock);
    thread_join(&s->loader);

    mutex_lock(&s->lock);
    while (!list_empty(&s->entries)) {
        struct entry *e = CONTAINER_OF(s->entries.next, struct entry, all);
        ASSERT(e->leases == 0 && e->waiters == 0);
        store_unload(s, e);
    }
    mutex_unlock(&s->lock);
    cond_destroy(&s->changed);
    mutex_destroy(&s->lock);
    mem_free(s);
}

void store_entry_free(struct entry *e)
{
    mem_free(e->name);
    mem_free(e);
}

void store_unload(struct store *s, struct entry *e)
{
    list_remove(&e->all);
    list_remove(&e->lru);
    s->stats.models--;
    mutex_unlock(&s->lock);
    s->ops.unload(s->ops.ctx, e->model);
    mutex_lock(&s->lock);
    /* Only now is the memory really free. */
    s->stats.bytes -= e->bytes;
    store_entry_free(e);
    cond_broadcast(&s->changed);
}

uint64_t store_idle_bytes(const struct store *s)
{
    uint64_t bytes = 0;
    for (const struct list *l = s->idle.next; l != &s->idle; l = l->next)
        bytes += CONTAINER_OF(l, struct entry, lru)->bytes;
    return bytes;
}

bool store_evict_one(struct store *s)
{
    if (list_empty(&s->idle))
        return false;
    s->stats.evictions++;
    store_unload(s, CONTAINER_OF(s->idle.next, struct entry, lru));
    return true;
}

static struct entry *find(struct store *s, const char *name)
{
    for (struct list *l = s->entries.next; l != &s->entries; l = l->next) {
        struct entry *e = CONTAINER_OF(l, struct entry, all);
        if (strcmp(e->name, name) == 0)
            return e;
    }
    return NULL;
}

/* A new entry at the end of the loader's queue; NULL when memory is short. */
static struct entry *enqueue(struct store *s, const char *name)
{
    struct entry *e = mem_zalloc(sizeof(*e));
    if (!e)
        return NULL;
    e->name = mem_strdup(name);
    if (!e->name) {
        mem_free(e);
        return NULL;
    }
    list_init(&e->lru);
    list_add_tail(&s->entries, &e->all);
    list_add_tail(&s->queue, &e->load);
    s->stats.loading++;
    cond_broadcast(&s->changed);
    return e;
}

/* Waits for the load of e, on which the caller is counted as a waiter.  On
 * success he is counted as a lease instead; on failure as nothing, and e may be
 * gone. */
static int await_load(struct store *s, struct entry *e, const struct realm_wait *wait,
                      struct realm_error *err)
{
    int status = 0;
    while (e->state == ENTRY_LOADING) {
        status = s->closing ? REALM_E_SHUTDOWN : wait_given_up(wait, &s->lock);
        if (status || e->state != ENTRY_LOADING)
            break;
        wait_sleep(wait, &s->changed, &s->lock);
    }
    /* A load that is done is not thrown away for a deadline that has just passed. */
    if (e->state == ENTRY_READY)
        return 0;
    e->waiters--;
    if (e->state == ENTRY_LOADING) {
        cond_broadcast(&s->changed); // the loader may be waiting for room for nobody now
        return err_set(err, status, "the wait for the model to load ended: %s",
                       realm_status_name(status));
    }
    status = err_set(err, e->err.status, "%s", e->err.message);
    if (e->waiters == 0)
        store_entry_free(e);
    return status;
}

/* A lease on the model of this name if it is loaded; *seen is its entry, loaded or not. */
static bool acquire_loaded(struct store *s, const char *name, struct entry **seen)
{
    *seen = find(s, name);
    if (!*seen || (*seen)->state != ENTRY_READY)
        return false;
    s->stats.hits++;
    list_remove(&(*seen)->lru);
    (*seen)->leases++;
    return true;
}

static int acquire(struct store *s, const char *name, const struct realm_wait *wait,
                   struct entry **out, struct realm_error *err)
{
    if (s->closing)
        return err_set(err, REALM_E_SHUTDOWN, "the engine is closing");
    if (acquire_loaded(s, name, out))
        return 0;
    struct entry *e = *out ? *out : enqueue(s, name);
    if (!e)
        return err_nomem(err, "a model's entry");
    s->stats.misses++;
    e->waiters++;
    int status = await_load(s, e, wait, err);
    if (!status)
        *out = e;
    return status;
}

static int find_loaded(struct store *s, const char *name, struct entry **out,
                       struct realm_error *err)
{
    if (s->closing)
        return err_set(err, REALM_E_SHUTDOWN, "the engine is closing");
    if (acquire_loaded(s, name, out))
        return 0;
    return err_set(err, REALM_E_NOT_FOUND, "the model is not loaded");
}

/* load: whether an absent model is loaded. */
static int open_lease(struct store_lease **out, struct store *s, const char *name, bool load,
                      const struct realm_wait *wait, struct realm_error *err)
{
    *out = NULL;
    struct store_lease *lease = mem_zalloc(sizeof(*lease));
    if (!lease)
        return err_nomem(err, "a lease");
    lease->store = s;
    mutex_lock(&s->lock);
    int status = load ? acquire(s, name, wait, &lease->entry, err)
                      : find_loaded(s, name, &lease->entry, err);
    if (!status)
        s->stats.leases++;
    mutex_unlock(&s->lock);
    if (status) {
        mem_free(lease);
        return status;
    }
    *out = lease;
    return 0;
}

int store_lease_open(struct store_lease **out, struct store *s, const char *name,
                     const struct realm_wait *wait, struct realm_error *err)
{
    return open_lease(out, s, name, true, wait, err);
}

int store_lease_find(struct store_lease **out, struct store *s, const char *name,
                     struct realm_error *err)
{
    return open_lease(out, s, name, false, NULL, err);
}

int store_lease_share(struct store_lease **out, struct store_lease *lease)
{
    *out = mem_alloc(sizeof(**out));
    if (!*out)
        return REALM_E_NOMEM;
    **out = *lease;
    mutex_lock(&lease->store->lock);
    lease->entry->leases++;
    lease->store->stats.leases++;
    mutex_unlock(&lease->store->lock);
    return 0;
}

/* What becomes of an entry that nobody holds any more; now: this thread may unload it. */
static void settle_idle(struct store *s, struct entry *e, bool now)
{
    if (e->leases)
        return;
    if (e->doomed && now) {
        store_unload(s, e);
        return;
    }
    if (e->doomed) {
        list_add_tail(&s->graves, &e->lru);
        cond_broadcast(&s->changed);
        return;
    }
    list_remove(&e->lru);
    if (e->keep)
        return;
    e->idle_since_ms = clock_ms(s->clock);
    list_add_tail(&s->idle, &e->lru);
    if (s->waiting_for_room || s->limits.idle_ms_max)
        cond_broadcast(&s->changed);
}

static void close_lease(struct store_lease *lease, bool now)
{
    if (!lease)
        return;
    struct store *s = lease->store;
    mutex_lock(&s->lock);
    lease->entry->leases--;
    s->stats.leases--;
    settle_idle(s, lease->entry, now);
    mutex_unlock(&s->lock);
    mem_free(lease);
}

void store_lease_close(struct store_lease *lease)
{
    close_lease(lease, true);
}

void store_lease_drop(struct store_lease *lease)
{
    close_lease(lease, false);
}

void *store_lease_model(const struct store_lease *lease)
{
    return lease->entry->model;
}

void store_lease_keep(struct store_lease *lease, bool keep)
{
    mutex_lock(&lease->store->lock);
    lease->entry->keep = keep;
    mutex_unlock(&lease->store->lock);
}

void store_lease_forget(struct store_lease *lease)
{
    mutex_lock(&lease->store->lock);
    lease->entry->doomed = true;
    list_remove(&lease->entry->all);
    mutex_unlock(&lease->store->lock);
}

void store_status(struct store *s, const char *name, struct realm_model_status *out)
{
    *out = (struct realm_model_status){.state = REALM_MODEL_ABSENT};
    mutex_lock(&s->lock);
    const struct entry *e = find(s, name);
    if (e)
        *out = (struct realm_model_status){
            .state = e->state == ENTRY_READY ? REALM_MODEL_LOADED : REALM_MODEL_LOADING,
            .leases = e->leases,
            .pinned = e->keep,
            .bytes = e->bytes,
        };
    mutex_unlock(&s->lock);
}

/* Off the index: it goes with its last lease. */
static void doom(struct store *s, struct entry *e)
{
    e->doomed = true;
    list_remove(&e->all);
    s->stats.evictions++;
}

int store_evict(struct store *s, const char *name)
{
    mutex_lock(&s->lock);
    struct entry *e = find(s, name);
    bool loaded = e && e->state == ENTRY_READY;
    if (loaded) {
        doom(s, e);
        settle_idle(s, e, true);
    }
    mutex_unlock(&s->lock);
    return loaded ? 0 : REALM_E_NOT_FOUND;
}

uint64_t store_clear(struct store *s)
{
    mutex_lock(&s->lock);
    uint64_t before = s->stats.bytes;
    for (struct list *l = s->entries.next, *next; l != &s->entries; l = next) {
        next = l->next;
        struct entry *e = CONTAINER_OF(l, struct entry, all);
        if (e->state != ENTRY_READY || !e->leases || e->keep)
            continue;
        doom(s, e);
    }
    while (store_evict_one(s))
        ;
    uint64_t after = s->stats.bytes;
    mutex_unlock(&s->lock);
    return before > after ? before - after : 0;
}

void store_stats(struct store *s, struct store_stats *out)
{
    mutex_lock(&s->lock);
    *out = s->stats;
    mutex_unlock(&s->lock);
}
