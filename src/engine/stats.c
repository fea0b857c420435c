#include "base/mem.h"
#include "engine/engine_impl.h"

static void add_store(struct realm_stats *out, struct realm *r)
{
    struct store_stats s;
    store_stats(r->store, &s);
    out->hits = s.hits;
    out->misses = s.misses;
    out->loads = s.loads;
    out->loads_failed = s.loads_failed;
    out->evictions = s.evictions;
    out->load_ns = s.load_ns;
    out->load_ns_last = s.load_ns_last;
    out->bytes = s.bytes;
    out->bytes_peak = s.bytes_peak;
    out->bytes_max = r->options.bytes_max - r->options.kv_bytes_max;
    out->models = s.models;
    out->leases = s.leases;
    out->loading = s.loading;
}

static void add_sched(struct realm_stats *out, struct realm *r)
{
    struct sched_stats s;
    sched_stats(r->sched, &s);
    out->steps = s.steps;
    out->prompt_rows = s.prompt_rows;
    out->decode_rows = s.decode_rows;
    out->decode_steps = s.decode_steps;
    out->decode_batch_max = s.decode_batch_max;
    out->step_ns = s.step_ns;
    out->step_ns_max = s.step_ns_max;
    out->turns = s.turns;
    out->running = s.running;
    out->waiting = s.waiting;
    out->preempted = s.preempted;
    out->started = s.started;
    out->finished = s.finished;
    out->cancelled = s.cancelled;
    out->failed = s.failed;
    out->prompt_tokens = s.prompt_tokens;
    out->cached_tokens = s.cached_tokens;
    out->completion_tokens = s.completion_tokens;
    out->kv_pages = s.kv_pages;
    out->kv_cached_pages = s.kv_cached_pages;
    out->kv_bytes = s.kv_bytes;
    out->kv_bytes_max = r->options.kv_bytes_max;
}

size_t realm_tenant_stats(struct realm *r, struct realm_tenant_stats *out, size_t max)
{
    return sched_tenant_stats(r->sched, out, max);
}

void realm_stats(struct realm *r, struct realm_stats *out)
{
    *out = (struct realm_stats){0};
    add_store(out, r);
    add_sched(out, r);
    out->allocations = mem_live();
}
