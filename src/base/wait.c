#include "base/wait.h"

#include "base/clock.h"

/* How often a caller is asked whether he was cancelled: one of few, one of many, and any of
 * them. */
static const uint64_t CANCEL_POLL_NS = 5000000, CANCEL_POLL_NS_MAX = 50000000,
                      CANCEL_POLL_ALL_NS = 500000;
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
static uint64_t next_question_ns(const struct realm_wait *wait, uint64_t poll_ns)
{
    uint64_t until = wait ? wait->deadline_ns : 0;
    if (wait && wait->cancelled) {
        uint64_t poll = clock_ns(clock_system()) + poll_ns;
        until = until && until < poll ? until : poll;
    }
    return until;
}

int wait_poll_ms(const struct realm_wait *wait)
{
    uint64_t until = next_question_ns(wait, CANCEL_POLL_NS), now = clock_ns(clock_system());
    if (!until)
        return -1;
    uint64_t ms = until > now ? (until - now) / 1000000u + 1 : 0;
    return ms < POLL_MS_MAX ? (int)ms : POLL_MS_MAX;
}

void wait_sleep(const struct realm_wait *wait, struct cond *c, struct mutex *m)
{
    wait_sleep_among(wait, c, m, 1);
}

void wait_sleep_among(const struct realm_wait *wait, struct cond *c, struct mutex *m, unsigned n)
{
    uint64_t poll = n * CANCEL_POLL_ALL_NS;
    poll = poll > CANCEL_POLL_NS_MAX ? CANCEL_POLL_NS_MAX : poll;
    poll = poll < CANCEL_POLL_NS ? CANCEL_POLL_NS : poll;
    uint64_t until = next_question_ns(wait, poll);
    if (until)
        cond_wait_until(c, m, until);
    else
        cond_wait(c, m);
}
