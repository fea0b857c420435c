/* tenant/tenants.c - opening and closing, and the life of a request. */
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/rng.h"
#include "tenant/tenant_impl.h"

struct tenant_grant {
    struct tenants *tenants;
    struct tenant *tenant; /* a reference: the account stays */
    struct taken taken;    /* under tenants->lock */
    bool refused;          /* under tenants->lock: it is counted among those that a limit met */
    struct ledger_entry entry;
};

/* ---- opening ---- */

static int64_t system_wall(void *ctx)
{
    (void)ctx;
    return clock_wall_s();
}

static int init_locks(struct tenants *t)
{
    struct mutex *const all[] = {&t->changes, &t->reports.lock, &t->modules.lock, &t->lock};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        if (!mutex_init(all[i]))
            continue;
        while (i > 0)
            mutex_destroy(all[--i]);
        return REALM_E_SYS;
    }
    return 0;
}

/* All of it but the ledger, which settles what the last process left first. */
static int open_directory(struct tenants *t, const char *dir, struct realm_error *err)
{
    int64_t n_keys;
    if (sqlite3_prepare_v3(t->sql, "ROLLBACK", -1, SQLITE_PREPARE_PERSISTENT, &t->rollback, NULL))
        return db_failed(t->sql, err);
    int status = db_number(t->sql, "SELECT count(*) FROM keys", NULL, 0, &n_keys, err);
    if (!status)
        status = key_pepper(dir, n_keys > 0, t->pepper, err);
    if (!status)
        status = load_directory(t, err);
    if (!status)
        status = db_connect(&t->reports.sql, t->path, true, err);
    if (!status)
        status = db_connect(&t->modules.sql, t->path, true, err);
    return status;
}

int tenants_open(struct tenants **out, const struct tenants_options *options,
                 struct realm_error *err)
{
    struct tenants *t = mem_zalloc(sizeof(*t));
    *out = NULL;
    if (!t)
        return err_nomem(err, "the tenants");
    t->clock = options->clock;
    t->wall_s = options->wall_s ? options->wall_s : system_wall;
    t->ctx = options->ctx;
    size_t n = (size_t)snprintf(t->path, sizeof(t->path), "%s/realm.db", options->dir);
    if (n >= sizeof(t->path) || rng_system(t->seed, sizeof(t->seed)) || init_locks(t)) {
        mem_free(t);
        return err_set(err, REALM_E_SYS, "the tenants cannot be opened");
    }
    const struct ledger_options ledger = {.path = t->path,
                                          .dir = options->dir,
                                          .wall_s = t->wall_s,
                                          .ctx = t->ctx,
                                          .keep_days = options->keep_days};
    int status = db_open(&t->sql, t->path, err);
    if (!status)
        status = ledger_open(&t->ledger, &ledger, err);
    if (!status)
        status = open_directory(t, options->dir, err);
    if (status)
        tenants_close(t);
    else
        *out = t;
    return status;
}

void tenants_close(struct tenants *t)
{
    if (!t)
        return;
    ledger_close(t->ledger);
    db_close(t->reports.sql);
    db_close(t->modules.sql);
    sqlite3_finalize(t->rollback);
    if (t->sql)
        (void)sqlite3_wal_checkpoint_v2(t->sql, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    db_close(t->sql);
    directory_free(t);
    OPENSSL_cleanse(t->pepper, sizeof(t->pepper));
    mutex_destroy(&t->lock);
    mutex_destroy(&t->modules.lock);
    mutex_destroy(&t->reports.lock);
    mutex_destroy(&t->changes);
    mem_free(t);
}

void tenants_keep(struct tenants *t, uint32_t days)
{
    ledger_keep(t->ledger, days);
}

/* ---- one request ---- */

static struct limits_now now(struct tenants *t)
{
    return (struct limits_now){clock_ns(t->clock) / 1000u, tenants_now_s(t)};
}

/* With the lock: the limits that hold now, which may be later ones than the pass's. */
static const struct spec *spec_now(const struct tenant *s)
{
    return s->account->removed ? &s->spec : &s->account->current->spec;
}

void tenant_rates(const struct tenant_pass *pass, struct tenant_rates *out)
{
    struct account *a = pass->tenant->account;
    struct tenants *t = a->tenants;
    struct limits_now at = now(t);
    mutex_lock(&t->lock);
    limits_rates(&a->counters, spec_now(pass->tenant), at, out);
    mutex_unlock(&t->lock);
}

static void entry_done(struct ledger_entry *e)
{
    mem_free(CONTAINER_OF(e, struct tenant_grant, entry));
}

static struct tenant_grant *grant_new(struct tenants *t, const struct tenant_pass *pass,
                                      const struct tenant_request *request, int64_t wall_s)
{
    struct tenant_grant *g = mem_zalloc(sizeof(*g));
    if (!g)
        return NULL;
    g->tenants = t;
    g->tenant = pass->tenant;
    atomic_fetch_add(&g->tenant->refs, 1);
    struct ledger_row *r = &g->entry.row;
    snprintf(r->id, sizeof(r->id), "%s", request->id);
    snprintf(r->tenant, sizeof(r->tenant), "%s", pass->tenant->account->id);
    snprintf(r->key, sizeof(r->key), "%s", pass->key);
    snprintf(r->endpoint, sizeof(r->endpoint), "%s", request->endpoint);
    r->started_s = wall_s;
    r->outcome = OUTCOME_RUNS;
    r->n_parts = 1;
    g->entry.done = entry_done;
    list_init(&g->entry.link);
    return g;
}

static int refuse(struct tenants *t, struct tenant_refusal *why, enum tenant_limit limit,
                  const char *message)
{
    *why = (struct tenant_refusal){.limit = limit, .retry_ms = 1000};
    snprintf(why->message, sizeof(why->message), "%s", message);
    mutex_lock(&t->lock);
    t->refused[limit]++;
    mutex_unlock(&t->lock);
    return -1;
}

int tenants_admit(struct tenant_grant **out, struct tenants *t, const struct tenant_pass *pass,
                  const struct tenant_request *request, struct tenant_refusal *why)
{
    struct limits_now at = now(t);
    *out = NULL;
    if (!ledger_writable(t->ledger) || !ledger_has_room(t->ledger))
        return refuse(t, why, TENANT_LEDGER, "usage cannot be written down at the moment");
    struct tenant_grant *g = grant_new(t, pass, request, at.wall_s);
    if (!g)
        return refuse(t, why, TENANT_MEMORY, "out of memory");
    mutex_lock(&t->lock);
    int refused =
        limits_admit(&g->tenant->account->counters, spec_now(g->tenant), at, &g->taken, why);
    if (refused)
        t->refused[why->limit]++;
    mutex_unlock(&t->lock);
    if (refused) {
        snapshot_drop(g->tenant);
        mem_free(g);
        return -1;
    }
    ledger_begin(t->ledger, &g->entry);
    *out = g;
    return 0;
}

int tenant_reserve(struct tenant_grant *g, uint64_t tokens, uint64_t rated,
                   struct tenant_refusal *why)
{
    struct tenants *t = g->tenants;
    struct limits_now at = now(t);
    mutex_lock(&t->lock);
    int refused = limits_reserve(&g->tenant->account->counters, spec_now(g->tenant), at, &g->taken,
                                 tokens, rated, why);
    if (refused && !g->refused) {
        g->refused = true;
        t->refused[why->limit]++;
    }
    mutex_unlock(&t->lock);
    return refused;
}

static uint64_t sum(uint64_t a, uint64_t b)
{
    return a > INT64_MAX || b > INT64_MAX - a ? INT64_MAX : a + b;
}

/* All tokens of the parts. */
static uint64_t set_parts(struct ledger_row *r, const struct tenant_part *parts, size_t n)
{
    uint64_t tokens = 0;
    ASSERT(n >= 1 && n <= REQUEST_MODELS_MAX);
    for (size_t i = 0; i < n; i++) {
        struct ledger_part *to = &r->parts[i];
        snprintf(to->model, sizeof(to->model), "%s", parts[i].model ? parts[i].model : "");
        to->prompt_tokens = parts[i].prompt_tokens;
        to->cached_tokens = parts[i].cached_tokens;
        to->completion_tokens = parts[i].completion_tokens;
        tokens = sum(tokens, sum(parts[i].prompt_tokens, parts[i].completion_tokens));
    }
    r->n_parts = (uint32_t)n;
    return tokens;
}

void tenant_note(struct tenant_grant *g, const struct tenant_part *parts, size_t n)
{
    struct ledger_row r = g->entry.row;
    (void)set_parts(&r, parts, n);
    ledger_note(g->tenants->ledger, &g->entry, &r);
}

void tenant_settle(struct tenant_grant *g, const struct tenant_row *row,
                   void (*committed)(void *ctx, int status), void *ctx)
{
    struct tenants *t = g->tenants;
    struct limits_now at = now(t);
    struct ledger_row r = g->entry.row;
    uint64_t used = set_parts(&r, row->parts, row->n_parts);
    bool free_of_charge = row->by_limit && used == 0;
    mutex_lock(&t->lock);
    limits_settle(&g->tenant->account->counters, spec_now(g->tenant), at, &g->taken, used,
                  free_of_charge);
    mutex_unlock(&t->lock);
    snapshot_drop(g->tenant);
    r.outcome = (int32_t)row->outcome;
    snprintf(r.code, sizeof(r.code), "%s", row->code ? row->code : "");
    snprintf(r.guest, sizeof(r.guest), "%s", row->guest ? row->guest : "");
    r.queued_ms = row->queued_ms;
    r.first_token_ms = row->first_token_ms;
    r.total_ms = row->total_ms;
    g->entry.committed = committed;
    g->entry.ctx = ctx;
    ledger_end(t->ledger, &g->entry, &r);
}

void tenants_stats(struct tenants *t, struct tenants_stats *out)
{
    *out = (struct tenants_stats){.keys = (uint32_t)atomic_load(&t->n_keys)};
    mutex_lock(&t->lock);
    out->tenants = t->n_accounts;
    memcpy(out->refused, t->refused, sizeof(out->refused));
    mutex_unlock(&t->lock);
    ledger_stats(t->ledger, out);
}
