/* store/store_int.h - inside the store: entries, and who may touch them. */
#ifndef STORE_STORE_INT_H
#define STORE_STORE_INT_H

#include "base/list.h"
#include "base/thread.h"
#include "store/store.h"

enum entry_state {
    ENTRY_LOADING, /* queued for the loader, or in its hands */
    ENTRY_READY,
    ENTRY_FAILED, /* off the index; waits for its waiters to read the error */
};

/* A model by name.  All fields are under the store's lock. */
struct entry {
    struct list all;  /* store->entries: may be found by name */
    struct list lru;  /* store->idle: no lease, not kept; or store->graves */
    struct list load; /* store->queue */
    char *name;
    enum entry_state state;
    uint32_t waiters; /* threads in store_lease_open that wait for the load */
    uint32_t leases;
    bool keep;
    bool doomed; /* off the index; goes with its last lease */
    void *model;
    uint64_t bytes; /* reserved in store->stats.bytes */
    uint64_t idle_since_ms;
    struct realm_error err; /* of a failed load */

    /* The loader's, while it is in store->queue. */
    void *plan; /* NULL: not made yet */
    uint64_t plan_bytes;
    uint64_t plan_ns;       /* spent making it */
    uint64_t room_until_ns; /* how long it waits for room */
};

struct store {
    struct store_limits limits;
    struct store_ops ops;
    const struct clock *clock;

    struct mutex lock;
    struct cond changed; /* a load or a wait for one ended, a lease closed, a list grew, closing */
    struct list entries;
    struct list idle;   /* least recently used first */
    struct list graves; /* no lease, off the index: for the loader to unload */
    struct list queue;  /* first come, first served, but for what waits for room */
    bool closing;
    struct store_stats stats;
    bool waiting_for_room; /* bytes are wanted: lease_close must say so */
    struct thread loader;
};

/* With the lock held; each may let go of it meanwhile and takes it again. */
void store_unload(struct store *s, struct entry *e); /* frees e */
bool store_evict_one(struct store *s);
void store_entry_free(struct entry *e);

/* With the lock held: what evicting every idle model would free. */
uint64_t store_idle_bytes(const struct store *s);

/* The loader thread. */
void store_loader(void *arg);

#endif
