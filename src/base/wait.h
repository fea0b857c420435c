/* base/wait.h - waiting on a condition for a caller who may give up. */
#ifndef BASE_WAIT_H
#define BASE_WAIT_H

#include "base/thread.h"
#include "realm/realm.h"

/* Whether the caller still wants to wait: 0, REALM_E_DEADLINE or REALM_E_CANCELLED.
 * With m locked, which is let go while he is asked; m is NULL where no lock is held.
 * wait may be NULL. */
MUST_USE int wait_given_up(const struct realm_wait *wait, struct mutex *m);

/* Milliseconds that poll may sleep before it is time to ask again; -1: no limit. */
int wait_poll_ms(const struct realm_wait *wait);

/* Sleeps until c is signalled, or until it is time to ask again. */
void wait_sleep(const struct realm_wait *wait, struct cond *c, struct mutex *m);
/* The same for one of n who wait, each of whom is asked less often, so that asking costs little
 * of a processor. */
void wait_sleep_among(const struct realm_wait *wait, struct cond *c, struct mutex *m, unsigned n);

#endif
