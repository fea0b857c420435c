/* wasm/turn.h - which guests compute now.
 *
 * Guests share the processors with the engine, which is to have them, and with each other.
 * So a guest computes in a turn, of which there are so many at one time; it gives its turn
 * back when it waits in a host call, and takes one again.  While others wait a turn ends with
 * a tick of the guests' clock; and a tick comes at once when somebody sets out to wait who is
 * to go before those that compute.
 *
 * Turns go to the tenant that has computed least for its weight; one that comes back after a
 * pause is lifted to the least of those that are there, but for a tick, so that nobody saves
 * up.  Inside a tenant who came first goes first, and who has had a slice comes last.
 *
 * Threads: any; one lock, not held while a callback is called.  A turn belongs to one thread. */
#ifndef WASM_TURN_H
#define WASM_TURN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/compiler.h"
#include "base/list.h"
#include "base/thread.h"
#include "realm/realm.h"

struct turns_options {
    unsigned most; /* at one time */
    const struct clock *clock;
    void (*tick)(void *ctx); /* has turn_tick called for all that compute, soon */
    void *ctx;
};

struct turns {
    struct turns_options options;
    atomic_uint computing, waiting; /* guests; anyone may read, who changes them has the lock */
    struct mutex lock;              /* guards all below, and what the lines have */
    struct list lines;              /* of tenants whose guests compute or wait */
    uint64_t floor;                 /* where one that comes back begins; never falls */
};

/* A tenant's, in use while any of its guests is. */
struct turn_line {
    struct list link; /* in turns.lines */
    struct list waiting;
    unsigned computing;
    uint64_t had; /* ns of turns, divided by weights */
};

/* A guest's. */
struct turn {
    struct turns *turns; /* NULL: it could not be made */
    struct turn_line *line;
    uint32_t weight;
    struct list link; /* in line.waiting */
    struct cond wake; /* it has one */
    bool held;        /* changes for another thread only while that waits */
    uint64_t since_ns,
        charged_ns; /* of one that is held: when it began, up to when it is counted */
};

MUST_USE int turns_init(struct turns *t, const struct turns_options *options);
void turns_destroy(struct turns *t); /* no turn is there any more */

void turn_line_init(struct turn_line *line);

/* weight: 1 or more; 0 stands for 1. */
MUST_USE int turn_init(struct turn *u, struct turns *t, struct turn_line *line, uint32_t weight);
void turn_destroy(struct turn *u); /* gives it back if it is held */

/* Waits for one, if it is not held: 0, REALM_E_DEADLINE or REALM_E_CANCELLED. */
MUST_USE int turn_take(struct turn *u, const struct realm_wait *wait);
void turn_give(struct turn *u); /* if it is held */
/* Of one that is held: lets another one go first whose turn it is.  As turn_take. */
MUST_USE int turn_tick(struct turn *u, const struct realm_wait *wait);

#endif
