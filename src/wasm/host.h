/* wasm/host.h - what the files of this folder share of a host and a guest. */
#ifndef WASM_HOST_H
#define WASM_HOST_H

#include <stdatomic.h>
#include <wasmtime.h>

#include "base/buf.h"
#include "helper/helper.h"
#include "wasm/cache.h"
#include "wasm/ticker.h"
#include "wasm/turn.h"
#include "wasm/wasm.h"

/* Part of the names of cached artefacts: to be raised with every change of
 * wasm_engine_config, and with the engine's version. */
#define WASM_ENGINE_ID "wasmtime-" WASMTIME_VERSION "-1"

struct wasm_host {
    wasm_engine_t *engine;
    wasmtime_linker_t *linker; /* all that is offered */
    struct helper *helper;
    struct cache *cache; /* NULL: none */
    struct chat *chat;
    struct wasm_limits limits;
    struct ticker ticker;
    struct turns turns;
    atomic_uint_fast64_t compiled, from_cache, requests, trapped, limited;
    atomic_uint_fast64_t memory_bytes; /* of guests that run */
    atomic_uint_fast64_t stored_bytes; /* of models that they have stored */
    atomic_uint_fast32_t running;
};

/* How a guest lends a place for the prompt. */
enum guest_alloc { GUEST_ALLOC_LEN, GUEST_ALLOC_LEN_ALIGN, GUEST_ALLOC_GROW };

struct wasm_guest {
    struct wasm_host *host;
    wasmtime_instance_pre_t *pre;
    enum guest_alloc alloc;
    const char *alloc_name; /* NULL: GUEST_ALLOC_GROW */
    bool generates, handles, initializes;
    bool uses_wasi;
    size_t code_bytes;
};

/* The engine that host and child build alike; NULL when memory is short. */
MUST_USE wasm_engine_t *wasm_engine_open(bool parallel);

/* Whether wasm is a core module in binary form and of an allowed size. */
MUST_USE int wasm_check_form(const void *wasm, size_t bytes, struct realm_error *err);

/* Message of e as one line without control bytes, appended to out; frees e. */
void wasm_error_line(wasmtime_error_t *e, struct buf *out);

#endif
