/* cmd/realm/serve_watchdog.c - a thread that sees whether the engine gets on.
 *
 * The engine counts its turns, and within a step its layers.  When there is work and the
 * count stands still for longer than STILL_MS and the longest step so far, /health says so;
 * GIVE_UP_MS later the process ends with EXIT_STUCK, for its supervisor to start it again.
 *
 * What counts is time that this thread saw pass in small pieces: a process that was stopped,
 * or a machine that slept, has not stood still. */
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/thread.h"
#include "serve.h"

enum {
    LOOK_MS = 250,
    PIECE_MS_MAX = 2 * LOOK_MS, /* most that one look adds */
    STILL_MS = 2000,
    GIVE_UP_MS = 10000,
    LEAVE_MS = 5000,
    EXIT_STUCK = 70,
};

struct watchdog {
    struct thread thread;
    struct mutex lock; /* held while the engine is looked at, so that leaving waits for that */
    struct cond wake;
    bool leaving, over; /* under lock */
    struct realm *engine;
    struct api *api;

    /* The thread's own. */
    uint64_t last_ns, turns;
    uint64_t still_ns; /* since the turns moved, or there was nothing to do */
    uint64_t leaving_ns;
    bool stuck;
};

static void set_stuck(struct watchdog *w, bool stuck)
{
    if (w->stuck == stuck)
        return;
    w->stuck = stuck;
    api_set_stuck(w->api, stuck);
    if (stuck)
        log_line(LOG_ERROR, "the engine stands still: /health says so");
    else
        log_line(LOG_WARN, "the engine moves again");
}

static void look(struct watchdog *w, uint64_t piece_ns)
{
    struct realm_stats stats;
    realm_stats(w->engine, &stats);
    bool moves = stats.turns != w->turns || stats.running + stats.waiting == 0;
    w->turns = stats.turns;
    w->still_ns = moves ? 0 : w->still_ns + piece_ns;
    uint64_t limit_ns = STILL_MS * 1000000ull + stats.step_ns_max;
    set_stuck(w, w->still_ns > limit_ns);
    if (w->still_ns <= limit_ns + GIVE_UP_MS * 1000000ull)
        return;
    log_line(LOG_ERROR, "the engine has stood still for %llu s: the process ends with status %d",
             (unsigned long long)(w->still_ns / 1000000000u), EXIT_STUCK);
    _exit(EXIT_STUCK);
}

static void look_at_leaving(struct watchdog *w, uint64_t piece_ns)
{
    w->leaving_ns += piece_ns;
    if (w->leaving_ns <= LEAVE_MS * 1000000ull)
        return;
    log_line(LOG_WARN, "closing takes too long: the process ends");
    _exit(EXIT_DONE);
}

static void watch(void *arg)
{
    struct watchdog *w = arg;
    mutex_lock(&w->lock);
    w->last_ns = clock_ns(clock_system());
    while (!w->over) {
        cond_wait_until(&w->wake, &w->lock, w->last_ns + LOOK_MS * 1000000ull);
        uint64_t now = clock_ns(clock_system()), piece_ns = now - w->last_ns;
        if (w->over || piece_ns < LOOK_MS * 1000000ull)
            continue;
        w->last_ns = now;
        if (piece_ns > PIECE_MS_MAX * 1000000ull)
            piece_ns = PIECE_MS_MAX * 1000000ull;
        if (w->leaving)
            look_at_leaving(w, piece_ns);
        else
            look(w, piece_ns);
    }
    mutex_unlock(&w->lock);
}

int watchdog_open(struct watchdog **out, struct realm *engine, struct api *api)
{
    *out = NULL;
    struct watchdog *w = mem_zalloc(sizeof(*w));
    if (!w)
        return REALM_E_NOMEM;
    w->engine = engine;
    w->api = api;
    int status = mutex_init(&w->lock);
    if (status)
        goto no_lock;
    status = cond_init(&w->wake);
    if (status)
        goto no_cond;
    status = thread_start(&w->thread, "realm-watchdog", 0, watch, w);
    if (status)
        goto no_thread;
    *out = w;
    return 0;

no_thread:
    cond_destroy(&w->wake);
no_cond:
    mutex_destroy(&w->lock);
no_lock:
    mem_free(w);
    return status;
}

void watchdog_leave(struct watchdog *w)
{
    mutex_lock(&w->lock);
    w->leaving = true;
    mutex_unlock(&w->lock);
}

void watchdog_close(struct watchdog *w)
{
    if (!w)
        return;
    mutex_lock(&w->lock);
    w->over = true;
    cond_signal(&w->wake);
    mutex_unlock(&w->lock);
    thread_join(&w->thread);
    cond_destroy(&w->wake);
    mutex_destroy(&w->lock);
    mem_free(w);
}
