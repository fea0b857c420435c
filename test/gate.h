/* test/gate.h - holds an engine at a notice of one generation, so that what comes meanwhile has
 * come by then: on a machine of any speed, whichever thread is paused. */
#ifndef TEST_GATE_H
#define TEST_GATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <time.h>

#include "realm/realm.h"

struct gate {
    unsigned calls; /* the notice at which it holds; 0: the first */
    atomic_uint called;
    atomic_bool open;
};

static inline void gate_nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
}

/* What a notice does; of a test that has a notice of its own. */
static inline void gate_notice(void *ctx)
{
    struct gate *gate = ctx;
    const unsigned at = gate->calls ? gate->calls : 1;
    if (atomic_fetch_add(&gate->called, 1) + 1 == at)
        while (!atomic_load(&gate->open))
            gate_nap();
}

static inline void gate_hold(struct realm_request *r, struct gate *gate)
{
    r->notify = gate_notice;
    r->notify_ctx = gate;
}

/* Until it holds. */
static inline void gate_await(const struct gate *gate)
{
    while (atomic_load(&gate->called) < (gate->calls ? gate->calls : 1))
        gate_nap();
}

static inline void gate_let_go(struct gate *gate)
{
    atomic_store(&gate->open, true);
}

#endif
