/* wasm/ticker.h - the clock that interrupts guests.
 *
 * Moves the engine's epoch every TICK_MS while a request runs; an idle process
 * is not woken. */
#ifndef WASM_TICKER_H
#define WASM_TICKER_H

#include <stdbool.h>
#include <stdint.h>
#include <wasmtime.h>

#include "base/compiler.h"
#include "base/thread.h"

enum { TICK_MS = 10 };

struct ticker {
    struct mutex lock; /* guards running and stop */
    struct cond wake;
    struct thread thread;
    wasm_engine_t *engine;
    uint32_t running;
    bool stop;
};

MUST_USE int ticker_start(struct ticker *t, wasm_engine_t *engine);
void ticker_stop(struct ticker *t);

/* Around each request. */
void ticker_enter(struct ticker *t);
void ticker_leave(struct ticker *t);

#endif
