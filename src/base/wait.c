#include "base/wait.h"

#include "base/clock.h"

/* How often a caller is asked whether he was cancelled. */
static const uint64_t CANCEL_POLL_NS = 5000000;
enum { POLL_MS_MAX = 60000 };

int wait_given_up(const struct realm_wait *wait, struct mutex *m)
{
    if (!wait)
        return 0;
    if (wait->deadline_ns && clock_ns(clock_system()) >= wait->deadline_ns)
        return REALM_E_DEADLINE;
    if (!wait->cancelled)
        return 0;
    if (m)
        mutex_unlock(m);
    bool cancelled = wait->cancelled(wait->ctx);
    if (m)
        mutex_lock(m);
    return cancelled ? REALM_E_CANCELLED : 0;
}

/* When the caller is to be asked again; 0: never. */
static uint64_t next_question_ns(const struct realm_wait *wait)
{
    uint64_t until = wait ? wait->deadline_ns : 0;
    if (wait && wait->cancelled) {
        uint64_t poll = clock_ns(clock_system()) + CANCEL_POLL_NS;
        until = until && until < poll ? until : poll;
    }
    return until;
}

int wait_poll_ms(const struct realm_wait *wait)
{
    uint64_t until = next_question_ns(wait), now = clock_ns(clock_system());
    if (!until)
        return -1;
    uint64_t ms = until > now ? (until - now) / 1000000u + 1 : 0;
    return ms < POLL_MS_MAX ? (int)ms : POLL_MS_MAX;
}

void wait_sleep(const struct realm_wait *wait, struct cond *c, struct mutex *m)
{
    uint64_t until = next_question_ns(wait);
    if (until)
        cond_wait_until(c, m, until);
    else
        cond_wait(c, m);
}
