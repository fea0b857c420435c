/* sched/share.h - what each tenant has had, and whose turn it is.
 *
 * Each tenant has an account with a counter of what was computed for it, divided by its
 * weight: the Virtual Token Counter (Sheng et al., "Fairness in Serving Large Language
 * Models", arXiv 2401.00588).  The one with the least goes first: into the places and pages
 * that are free, and into the rows of a step.  A tenant that comes back after a pause is
 * lifted to the least counter of those that wait, less a question's tokens: who asks now and
 * then is answered at once, and nobody saves up more than that.  When nothing is left to do all
 * begin anew: what was had while nobody else wanted it is not held against anybody.
 *
 * A prompt's token costs 1 and an answer's 2, as in the paper, times the weights of the
 * model that computes it, so that shares hold across models.  What they really cost depends
 * on the machine and on who else was in the step, and must not decide an order that tenants
 * can see: so nothing is measured.  Tokens computed again after a preemption cost nothing,
 * and neither do those found in a cache.
 *
 * Of what is short (bytes of pages, places among the generations of a model that run) each
 * tenant that is busy is due its weight's part of all the busy ones', or kv_bytes_max where
 * that is less.  The first in line gets it from those who hold more than theirs and had more
 * already, whose youngest then gives way: when it holds less than half of its own, or is
 * further behind them than what they lose by it.
 *
 * Of the queue, of those that never ran yet, no tenant comes to have more places than are left to
 * all others (base/fair.h), so that there is one for whoever comes next.
 *
 * Threads: the table of accounts and the numbers for others are under the scheduler's lock;
 * all else belongs to its thread. */
#ifndef SCHED_SHARE_H
#define SCHED_SHARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/list.h"
#include "realm/realm.h"

struct sched;
struct sched_gen;
struct sched_model;

struct account {
    /* Under the scheduler's lock. */
    struct list in_table;
    struct list idle; /* in shares.idle, while it has no generation */
    uint32_t gens;    /* queued, waiting and running */
    uint32_t queued;  /* of these: never ran yet */
    struct realm_tenant_stats stats;

    /* The scheduler's thread. */
    struct list link;    /* in shares.busy, while any of its generations waits or runs */
    struct list waiting; /* higher priorities first, then by ticket */
    size_t n_waiting, n_running;
    double weight;
    uint64_t kv_bytes_max; /* 0: the default */
    uint64_t kv_bytes;     /* of pages that its generations hold */
    double counter;
    /* Of one turn. */
    double owed;   /* what the prompts that run will add to the counter */
    double at;     /* the counter as the rows of the step are handed out */
    size_t places; /* among those that run of the model that is looked at */
    bool passed;   /* its first one has to wait */
};

enum { SHARE_BUCKETS = 256 };

struct shares {
    /* Under the scheduler's lock. */
    struct list table[SHARE_BUCKETS];
    struct list idle; /* whoever has been so for longest is first */
    size_t n_idle;

    /* The scheduler's thread. */
    struct list busy;
    size_t n_waiting; /* generations of all */
    double floor;     /* where who comes back begins, but for its credit; never falls */
    double most;      /* the greatest counter with which a tenant left the busy ones */
    /* Of one turn. */
    double weights; /* of the busy ones */
    double limit;   /* nobody with more than this may go by one that has to wait */
};

void shares_init(struct shares *s);
void shares_free(struct shares *s); /* no generation is there any more */

/* With the lock: as realm_tenant_stats. */
size_t shares_stats(const struct shares *s, struct realm_tenant_stats *out, size_t max);

/* With the lock: g's tenant gets an account and counts it.  REALM_E_LIMIT: the queue is full;
 * REALM_E_NOMEM. */
MUST_USE int share_enter(struct sched *s, struct sched_gen *g, struct realm_error *err);
/* With the lock: g is over, and its account may be gone. */
void share_leave(struct sched *s, struct sched_gen *g);
/* With the lock, from the scheduler's thread: out of the inbox into its tenant's line. */
void share_take(struct sched *s, struct sched_gen *g);

/* Into, and out of, its tenant's line and running generations; lists included. */
void share_wait(struct sched *s, struct sched_gen *g);
void share_run(struct sched *s, struct sched_gen *g);
void share_end(struct sched *s, struct sched_gen *g);

/* After g's sequence was opened, closed or has grown. */
void share_hold(struct sched_gen *g);
/* After a step in which g had rows: what was computed for the first time is charged. */
void share_charge(struct sched_gen *g);

/* Begins a turn: sums up what is said to be of one. */
void share_begin(struct sched *s);
/* The tenant with the least counter among those that wait and have not been passed over;
 * NULL: nobody else may go in this turn. */
struct account *share_next(struct sched *s);
/* Passes over a, of whose waiting g is first.  Others may go by if a holds its part, but only
 * those that are no further ahead of it than g will take; all may if a was capped by its own
 * limit, or (g NULL) waits for a place. */
void share_pass(struct sched *s, struct account *a, const struct sched_gen *g, bool capped);
/* Whether g with so many bytes is more than its tenant may hold while others wait. */
bool share_capped(const struct sched *s, const struct sched_gen *g, uint64_t bytes);

/* Who gives way to g, which wants so many bytes or (m not NULL) a place of m; NULL: nobody. */
struct sched_gen *share_yielding(struct sched *s, const struct sched_gen *g,
                                 const struct sched_model *m, uint64_t bytes);
/* Who goes when pages have run out: the youngest of the tenant that has most beyond its due. */
struct sched_gen *share_victim(struct sched *s);

/* Calls fn for the generations of all tenants that wait, each of which fn may end. */
void share_each_waiting(struct sched *s, void (*fn)(void *ctx, struct sched_gen *g), void *ctx);

#endif
