/* wasm/host.c - a host: engine, imports, clock, limits, cache. */
#include "wasm/host.h"

#include "base/err.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/machine.h"
#include "base/mem.h"
#include "wasm/imports.h"

static void set_limits(struct wasm_limits *l, const struct wasm_limits *wanted)
{
    *l = *wanted;
    if (!l->memory_bytes)
        l->memory_bytes = GUEST_MEMORY_BYTES_MAX;
    if (!l->all_bytes)
        l->all_bytes = GUESTS_MEMORY_MIB_MAX * MiB;
    if (!l->output_bytes)
        l->output_bytes = GUEST_OUTPUT_BYTES_MAX;
    if (!l->own_ms)
        l->own_ms = GUEST_OWN_TIME_MS_MAX;
    if (!l->request_ms)
        l->request_ms = GUEST_REQUEST_MS_MAX;
    if (!l->host_calls)
        l->host_calls = GUEST_HOST_CALLS_MAX;
    if (!l->computing)
        l->computing = (machine_threads("") + 1) / 2;
}

/* Of turns: every guest that computes looks up. */
static void tick(void *engine)
{
    wasmtime_engine_increment_epoch(engine);
}

static int start_clocks(struct wasm_host *h, struct realm_error *err)
{
    const struct turns_options options = {
        .most = h->limits.computing,
        .clock = clock_system(),
        .tick = tick,
        .ctx = h->engine,
    };
    int status = turns_init(&h->turns, &options);
    if (!status) {
        status = ticker_start(&h->ticker, h->engine);
        if (status)
            turns_destroy(&h->turns);
    }
    return status ? err_set(err, status, "the guests' clock cannot be started") : 0;
}

/* Without a cache guests still run, each compiled once in every process. */
static void open_cache(struct wasm_host *h, const char *dir)
{
    struct realm_error err;
    if (dir && cache_open(&h->cache, dir, &err))
        log_line(LOG_WARN, "compiled guests are not kept: %s", err.message);
}

static int open_engine(struct wasm_host *h, struct realm_error *err)
{
    h->engine = wasm_engine_open(true);
    if (h->engine)
        h->linker = wasmtime_linker_new(h->engine);
    return h->linker ? imports_define(h->linker, err) : err_nomem(err, "the guests' engine");
}

static void free_parts(struct wasm_host *h)
{
    cache_close(h->cache);
    helper_close(h->helper);
    if (h->linker)
        wasmtime_linker_delete(h->linker);
    if (h->engine)
        wasm_engine_delete(h->engine);
    mem_free(h);
}

int wasm_host_open(struct wasm_host **out, const struct wasm_host_options *options,
                   struct realm_error *err)
{
    *out = NULL;
    struct wasm_host *h = mem_zalloc(sizeof(*h));
    if (!h)
        return err_nomem(err, "the host of guests");
    h->chat = options->chat;
    set_limits(&h->limits, &options->limits);
    int status = helper_open(&h->helper, options->helper_exe);
    if (status)
        err_nomem(err, "the helper");
    if (!status)
        status = open_engine(h, err);
    if (!status) {
        open_cache(h, options->cache_dir);
        status = start_clocks(h, err);
    }
    if (status) {
        free_parts(h);
        return status;
    }
    *out = h;
    return 0;
}

void wasm_host_close(struct wasm_host *h)
{
    if (!h)
        return;
    ticker_stop(&h->ticker);
    turns_destroy(&h->turns);
    free_parts(h);
}

void wasm_stats(struct wasm_host *h, struct wasm_stats *out)
{
    *out = (struct wasm_stats){
        .compiled = atomic_load(&h->compiled),
        .from_cache = atomic_load(&h->from_cache),
        .requests = atomic_load(&h->requests),
        .trapped = atomic_load(&h->trapped),
        .limited = atomic_load(&h->limited),
        .memory_bytes = atomic_load(&h->memory_bytes),
        .running = (uint32_t)atomic_load(&h->running),
        .computing = atomic_load(&h->turns.computing),
        .waiting = atomic_load(&h->turns.waiting),
    };
}
