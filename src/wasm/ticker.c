/* wasm/ticker.c - the clock that interrupts guests. */
#include "wasm/ticker.h"

#include "base/clock.h"

static void tick(void *arg)
{
    struct ticker *t = arg;
    uint64_t next = 0;
    mutex_lock(&t->lock);
    while (!t->stop) {
        if (t->running == 0) {
            cond_wait(&t->wake, &t->lock);
            next = clock_ns(clock_system());
            continue;
        }
        next += TICK_MS * 1000000ull;
        while (!t->stop && cond_wait_until(&t->wake, &t->lock, next))
            ;
        wasmtime_engine_increment_epoch(t->engine);
    }
    mutex_unlock(&t->lock);
}

int ticker_start(struct ticker *t, wasm_engine_t *engine)
{
    *t = (struct ticker){.engine = engine};
    int status = mutex_init(&t->lock);
    if (status)
        return status;
    status = cond_init(&t->wake);
    if (!status) {
        status = thread_start(&t->thread, "guest-clock", 0, tick, t);
        if (status)
            cond_destroy(&t->wake);
    }
    if (status)
        mutex_destroy(&t->lock);
    return status;
}

void ticker_stop(struct ticker *t)
{
    mutex_lock(&t->lock);
    t->stop = true;
    cond_signal(&t->wake);
    mutex_unlock(&t->lock);
    thread_join(&t->thread);
    cond_destroy(&t->wake);
    mutex_destroy(&t->lock);
}

void ticker_enter(struct ticker *t)
{
    mutex_lock(&t->lock);
    if (t->running++ == 0)
        cond_signal(&t->wake);
    mutex_unlock(&t->lock);
}

void ticker_leave(struct ticker *t)
{
    mutex_lock(&t->lock);
    t->running--;
    mutex_unlock(&t->lock);
}
