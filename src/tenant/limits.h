/* tenant/limits.h - the counters of one tenant: rates, parallel requests, budgets.
 *
 * Whoever calls holds the lock of all counters, so that to look and to take is one thing.
 * Counts end at their greatest value instead of beginning again. */
#ifndef TENANT_LIMITS_H
#define TENANT_LIMITS_H

#include "tenant/spec.h"

/* What was taken of a rate and has not come back yet: it comes back evenly, all in a minute. */
struct bucket {
    uint64_t spent;
    uint64_t at_us; /* of the monotonic clock: what came back until then is off */
    uint64_t rest;  /* of the last division, so that nothing is lost by looking often */
};

/* A window of the calendar, UTC.  A clock that goes back finds the one that it came from; one that
 * goes back further than that stays in the one that it has. */
struct window {
    int64_t start_s;
    uint64_t used, reserved;
};

/* All windows are counted for every tenant, so that a budget may be set at any time.  [1] is the
 * one before, or that from which a clock came back: a request belongs to the window in which it
 * began, and once that is gone to none. */
struct counters {
    struct bucket requests, tokens;
    uint32_t running;
    struct window windows[BUDGET_WINDOWS][2];
};

/* What one request holds of them. */
struct taken {
    uint64_t tokens;                 /* reserved in all */
    int64_t start_s[BUDGET_WINDOWS]; /* the windows it belongs to */
};

struct limits_now {
    uint64_t us;    /* monotonic */
    int64_t wall_s; /* UTC */
};

/* First second of the window that at_s is in. */
int64_t limits_window_start(enum budget_window window, int64_t at_s);
void limits_roll(struct counters *c, int64_t wall_s);

MUST_USE int limits_admit(struct counters *c, const struct spec *s, struct limits_now now,
                          struct taken *out, struct tenant_refusal *why);
MUST_USE int limits_reserve(struct counters *c, const struct spec *s, struct limits_now now,
                            struct taken *taken, uint64_t tokens, uint64_t rated,
                            struct tenant_refusal *why);
/* free_of_charge: the request itself does not count either. */
void limits_settle(struct counters *c, const struct spec *s, struct limits_now now,
                   const struct taken *taken, uint64_t used, bool free_of_charge);
void limits_rates(struct counters *c, const struct spec *s, struct limits_now now,
                  struct tenant_rates *out);

#endif
