/* store/store.h - the models this process has in memory.
 *
 * Owns: loaded models, the byte budget, the LRU order, the counters, the loader
 * thread.  What a model is, the store does not know: it is told how to plan,
 * load and unload one (struct store_ops).
 * Threads: every function may be called from any thread.
 * Lock: one mutex, never held while a file is read or a model is freed.
 *
 * A model is pinned while a lease on it is open and idle otherwise.  Only idle
 * models are on the LRU list, so "on the list" and "may be evicted" are one fact.
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/compiler.h"
#include "realm/realm.h"

struct store;
struct store_lease;

/* How a model comes and goes.  plan, load and discard are called by the loader
 * thread alone, unload by any thread; none with the store's lock held. */
struct store_ops {
    /* Opens what name stands for and says what loading it will take; nothing
     * large is read before the bytes are reserved. */
    int (*plan)(void *ctx, const char *name, void **plan, uint64_t *bytes, struct realm_error *err);
    /* Loads it.  go_on, asked between pieces, returns false when nobody waits
     * any more: the load then ends with REALM_E_CANCELLED. */
    int (*load)(void *ctx, void *plan, bool (*go_on)(void *arg), void *arg, void **model,
                struct realm_error *err);
    /* Frees a plan, loaded or not. */
    void (*discard)(void *ctx, void *plan);
    void (*unload)(void *ctx, void *model);
    void *ctx;
};

struct store_limits {
    uint64_t bytes_max;    /* of all models */
    uint32_t idle_ms_max;  /* 0: idle models stay until room is needed */
    uint32_t load_wait_ms; /* how long a load waits for leased models to be released */
};

struct store_stats {
    uint64_t hits, misses, loads, loads_failed, evictions;
    uint64_t load_ns, load_ns_last;
    uint64_t bytes, bytes_peak;
    uint32_t models, leases, loading;
};

/* Opens an empty store and starts its loader thread; clock owns time. */
MUST_USE int store_open(struct store **out, const struct store_limits *limits,
                        const struct store_ops *ops, const struct clock *clock);

/* Closes the store.  Every lease must have been closed before. */
void store_close(struct store *store);

/* Opens a lease on the model of this name, loading it first if need be.  Callers
 * that ask for one absent model share one load, its result and its error; a
 * failure is not remembered.  wait may be NULL.
 *
 * Returns 0 and a lease the caller must close, or, with *out NULL, what plan or
 * load returned, or:
 *   REALM_E_NO_ROOM    too large for the budget (nothing was evicted), or leased
 *                      models were not released in load_wait_ms
 *   REALM_E_CANCELLED, REALM_E_DEADLINE  as wait says
 *   REALM_E_SHUTDOWN   the store is closing */
MUST_USE int store_lease_open(struct store_lease **out, struct store *store, const char *name,
                              const struct realm_wait *wait, struct realm_error *err);

/* A lease if the model of this name is loaded, without a wait for its load.
 * REALM_E_NOT_FOUND, REALM_E_NOMEM, REALM_E_SHUTDOWN. */
MUST_USE int store_lease_find(struct store_lease **out, struct store *store, const char *name,
                              struct realm_error *err);

/* Another lease on the same model. */
MUST_USE int store_lease_share(struct store_lease **out, struct store_lease *lease);
void store_lease_close(struct store_lease *lease);
/* The same from a thread that must not wait: where the model goes with its last
 * lease, the loader thread unloads it. */
void store_lease_drop(struct store_lease *lease);

/* Valid while the lease is open. */
void *store_lease_model(const struct store_lease *lease);

/* With keep, the model stays loaded when idle, whatever else needs room. */
void store_lease_keep(struct store_lease *lease, bool keep);

/* The model is nobody else's: it goes with its last lease. */
void store_lease_forget(struct store_lease *lease);

/* What is known of the model of this name; never waits. */
void store_status(struct store *store, const char *name, struct realm_model_status *out);

/* Unloads the loaded model of this name, kept or not, or lets it go with its last
 * lease.  REALM_E_NOT_FOUND: it is not loaded. */
MUST_USE int store_evict(struct store *store, const char *name);

/* Evicts every idle model that is not kept and returns the bytes freed.  Models
 * on lease that are not kept go when their last lease is closed. */
uint64_t store_clear(struct store *store);

/* A copy of the counters.  Idle time-outs are the loader thread's own business. */
void store_stats(struct store *store, struct store_stats *out);

#endif
