/* api/tenant_metrics.c - what /metrics says of tenants.
 *
 * The first TENANTS_SHOWN_MAX that come have labels of their own; all others share one, so that
 * nobody can make the page grow. */
#include <stdio.h>
#include <string.h>

#include "api/api_impl.h"
#include "base/ckd.h"
#include "base/mem.h"

static struct tenant_counts *counts_of(struct api_counts *c, const char *id)
{
    for (size_t i = 0; i < c->n_tenants; i++)
        if (strcmp(c->tenants[i].id, id) == 0)
            return &c->tenants[i];
    if (c->n_tenants == TENANTS_SHOWN_MAX)
        return &c->others;
    struct tenant_counts *t = &c->tenants[c->n_tenants++];
    snprintf(t->id, sizeof(t->id), "%s", id);
    return t;
}

void counts_tenant(struct api_counts *c, const struct job *j)
{
    struct realm_usage u = job_usage(j);
    struct tenant_counts *t = counts_of(c, tenant_view(&j->pass)->id);
    t->requests[j->outcome]++;
    t->prompt_tokens += u.prompt_tokens;
    t->cached_tokens += u.cached_tokens;
    t->completion_tokens += u.completion_tokens;
    guest_count(j, t);
}

/* ---- what the engine knows ---- */

static void add_engine(struct api_counts *c, const struct realm_tenant_stats *s)
{
    struct tenant_counts *t = counts_of(c, s->tenant);
    t->running += s->running;
    t->waiting += s->waiting;
    t->kv_pages += s->kv_pages;
}

static void ask_engine(struct api_counts *c, struct realm *engine)
{
    enum { ASKED_MAX = 4096 };
    for (size_t i = 0; i <= c->n_tenants; i++) {
        struct tenant_counts *t = i < c->n_tenants ? &c->tenants[i] : &c->others;
        t->running = t->waiting = 0;
        t->kv_pages = 0;
    }
    struct realm_tenant_stats *all = mem_array(ASKED_MAX, sizeof(*all));
    if (!all)
        return;
    size_t n = min_size(realm_tenant_stats(engine, all, ASKED_MAX), ASKED_MAX);
    for (size_t i = 0; i < n; i++)
        add_engine(c, &all[i]);
    mem_free(all);
}

/* ---- the page ---- */

static const char *label_of(const struct api_counts *c, size_t i)
{
    return i < c->n_tenants ? c->tenants[i].id : "(others)";
}

/* One family: a number of each. */
struct family {
    const char *name, *help;
    enum metrics_type type;
    size_t at;    /* of a uint64_t in struct tenant_counts */
    double scale; /* what is shown is the number times this */
};

static void write_family(struct metrics_out *o, const struct api_counts *c, const struct family *f)
{
    metrics_family(o, f->name, f->type, f->help);
    for (size_t i = 0; i <= c->n_tenants; i++) {
        const struct tenant_counts *t = i < c->n_tenants ? &c->tenants[i] : &c->others;
        const struct metrics_label label = {"tenant", label_of(c, i)};
        uint64_t value;
        memcpy(&value, (const char *)t + f->at, sizeof(value));
        metrics_sample(o, f->name, &label, 1, (double)value * f->scale);
    }
}

static void write_requests(struct metrics_out *o, const struct api_counts *c)
{
    static const char NAME[] = "realm_tenant_requests_total";
    static const char *const outcomes[] = {"ok", "cancelled", "refused", "failed"};
    metrics_family(o, NAME, METRICS_COUNTER, "Requests that ended, by tenant.");
    for (size_t i = 0; i <= c->n_tenants; i++) {
        const struct tenant_counts *t = i < c->n_tenants ? &c->tenants[i] : &c->others;
        for (size_t k = 0; k < OUTCOMES; k++) {
            const struct metrics_label labels[] = {{"tenant", label_of(c, i)},
                                                   {"outcome", outcomes[k]}};
            metrics_sample(o, NAME, labels, ARRAY_LEN(labels), (double)t->requests[k]);
        }
    }
}

void metrics_tenants(struct metrics_out *o, struct api_counts *c, struct realm *engine)
{
#define AT(field) offsetof(struct tenant_counts, field)
    static const struct family families[] = {
        {"realm_tenant_prompt_tokens_total", "Tokens of prompts.", METRICS_COUNTER,
         AT(prompt_tokens), 1},
        {"realm_tenant_cached_tokens_total", "Of these, found in the cache.", METRICS_COUNTER,
         AT(cached_tokens), 1},
        {"realm_tenant_completion_tokens_total", "Tokens generated.", METRICS_COUNTER,
         AT(completion_tokens), 1},
        {"realm_tenant_requests_running", "Generations in the batch.", METRICS_GAUGE, AT(running),
         1},
        {"realm_tenant_requests_waiting", "Generations that wait.", METRICS_GAUGE, AT(waiting), 1},
        {"realm_tenant_kv_pages_used", "Pages of keys and values in use.", METRICS_GAUGE,
         AT(kv_pages), 1},
        {"realm_tenant_guest_requests_total", "Requests that its programs answered.",
         METRICS_COUNTER, AT(guest_requests), 1},
        {"realm_tenant_guest_traps_total", "Of these, trapped or without an answer.",
         METRICS_COUNTER, AT(guest_traps), 1},
        {"realm_tenant_guest_limits_total", "Of these, stopped at a limit of guests.",
         METRICS_COUNTER, AT(guest_limits), 1},
        {"realm_tenant_guest_seconds_total", "Processor time of its programs.", METRICS_COUNTER,
         AT(guest_own_ms), 1e-3},
    };
#undef AT
    ask_engine(c, engine);
    write_requests(o, c);
    for (size_t i = 0; i < ARRAY_LEN(families); i++)
        write_family(o, c, &families[i]);
}

void metrics_ledger(struct metrics_out *o, struct tenants *tenants)
{
    static const char *const limits[] = {"requests", "tokens", "parallel",
                                         "budget",   "ledger", "memory"};
    struct tenants_stats s;
    tenants_stats(tenants, &s);
    metrics_one(o, "realm_ledger_rows_total", METRICS_COUNTER, "Rows of requests made durable.",
                (double)s.rows);
    metrics_one(o, "realm_ledger_commits_total", METRICS_COUNTER, "Groups in which they were.",
                (double)s.commits);
    metrics_one(o, "realm_ledger_commit_seconds_total", METRICS_COUNTER, "Time spent on that.",
                (double)s.commit_ns * 1e-9);
    metrics_one(o, "realm_ledger_folded_rows_total", METRICS_COUNTER,
                "Old rows that were added up by day.", (double)s.folded);
    metrics_one(o, "realm_ledger_rows_waiting", METRICS_GAUGE, "Rows that are not durable yet.",
                s.waiting);
    metrics_one(o, "realm_ledger_writable", METRICS_GAUGE,
                "1; 0 when nothing can be written, and requests are refused.", s.writable);
    metrics_one(o, "realm_tenants", METRICS_GAUGE, "Tenants that there are.", s.tenants);
    metrics_one(o, "realm_keys", METRICS_GAUGE, "Keys that there are.", s.keys);
    metrics_family(o, "realm_limit_refusals_total", METRICS_COUNTER,
                   "Requests that met a tenant's limit, by the first one, each once.");
    for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
        const struct metrics_label label = {"limit", limits[i]};
        metrics_sample(o, "realm_limit_refusals_total", &label, 1, (double)s.refused[i]);
    }
}
