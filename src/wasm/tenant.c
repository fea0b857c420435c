/* wasm/tenant.c - the models that a tenant's guests may name. */
#include "wasm/tenant.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/fair.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/thread.h"
#include "wasm/host.h"

static const uint64_t MODELS_BYTES_DEFAULT = 256 * MiB;

/* Either a name of models_dir, or a lease on a model that a guest stored. */
struct entry {
    uint32_t id; /* 0: free */
    char *name;
    struct realm_model *stored;
    uint64_t bytes; /* what a stored one takes */
};

struct wasm_tenant {
    struct wasm_host *host;
    struct realm *engine;
    char *name;
    uint64_t bytes_max;
    struct turn_line line; /* the host's */
    atomic_uint_fast64_t memory_bytes;
    struct mutex lock; /* guards all below */
    struct entry entries[GUEST_MODELS_MAX];
    uint32_t last_id; /* ids are handed out once, so that a stale one is unknown */
    uint64_t bytes;
    struct wasm_tenant_stats stats;
    struct lines lines;
};

int wasm_tenant_open(struct wasm_tenant **out, struct wasm_host *h, struct realm *engine,
                     const char *name, uint64_t models_bytes_max)
{
    *out = NULL;
    struct wasm_tenant *t = mem_zalloc(sizeof(*t));
    if (!t)
        return REALM_E_NOMEM;
    t->host = h;
    t->engine = engine;
    t->bytes_max = models_bytes_max ? models_bytes_max : MODELS_BYTES_DEFAULT;
    turn_line_init(&t->line);
    t->name = mem_strdup(name);
    int status = t->name ? mutex_init(&t->lock) : REALM_E_NOMEM;
    if (status) {
        mem_free(t->name);
        mem_free(t);
        return status;
    }
    *out = t;
    return 0;
}

static void clear_entry(struct wasm_tenant *t, struct entry *e)
{
    mem_free(e->name);
    realm_model_close(e->stored);
    t->bytes -= e->bytes;
    atomic_fetch_sub(&t->host->stored_bytes, e->bytes);
    *e = (struct entry){0};
}

void wasm_tenant_close(struct wasm_tenant *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < GUEST_MODELS_MAX; i++)
        clear_entry(t, &t->entries[i]);
    lines_free(&t->lines);
    mutex_destroy(&t->lock);
    mem_free(t->name);
    mem_free(t);
}

const char *tenant_name(const struct wasm_tenant *t)
{
    return t->name;
}

struct turn_line *tenant_line(struct wasm_tenant *t)
{
    return &t->line;
}

atomic_uint_fast64_t *tenant_memory(struct wasm_tenant *t)
{
    return &t->memory_bytes;
}

/* ---- with the lock held ---- */

/* id 0 finds a free entry. */
static struct entry *find(struct wasm_tenant *t, uint32_t id)
{
    for (size_t i = 0; i < GUEST_MODELS_MAX; i++)
        if (t->entries[i].id == id)
            return &t->entries[i];
    return NULL;
}

static struct entry *find_name(struct wasm_tenant *t, const char *name)
{
    for (size_t i = 0; i < GUEST_MODELS_MAX; i++)
        if (t->entries[i].name && strcmp(t->entries[i].name, name) == 0)
            return &t->entries[i];
    return NULL;
}

static uint32_t new_id(struct wasm_tenant *t)
{
    do
        t->last_id = t->last_id == INT32_MAX ? 1 : t->last_id + 1;
    while (find(t, t->last_id));
    return t->last_id;
}

static int put_name(struct wasm_tenant *t, const char *name, uint32_t *id, struct realm_error *err)
{
    struct entry *e = find_name(t, name);
    if (e) {
        *id = e->id;
        return 0;
    }
    e = find(t, 0);
    if (!e)
        return err_set(err, REALM_E_LIMIT, "this tenant has %d models, and no more are allowed",
                       GUEST_MODELS_MAX);
    char *copy = mem_strdup(name);
    if (!copy)
        return err_nomem(err, "a model's name");
    *e = (struct entry){.id = new_id(t), .name = copy};
    *id = e->id;
    return 0;
}

/* Whether t may have `more` in the place of `freed`.  What guests store is held until they remove
 * it, so half of the engine's bytes is for other models whatever all of them store, and of that
 * half a tenant has no more than is left to the others. */
static int check_bytes(struct wasm_tenant *t, uint64_t more, uint64_t freed,
                       struct realm_error *err)
{
    struct realm_stats stats;
    const uint64_t own = t->bytes - freed;
    if (more > t->bytes_max || own > t->bytes_max - more)
        return err_set(err, REALM_E_LIMIT,
                       "the model takes %llu bytes, and the tenant has %llu of %llu left",
                       (unsigned long long)more, (unsigned long long)(t->bytes_max - own),
                       (unsigned long long)t->bytes_max);
    realm_stats(t->engine, &stats);
    const uint64_t all = atomic_load(&t->host->stored_bytes) - freed, most = stats.bytes_max / 2;
    if (!fair_fits(own, more, most > all ? most - all : 0))
        return err_set(err, REALM_E_LIMIT,
                       "the model takes %llu bytes, more than the tenants leave to each other of"
                       " what their programs may store",
                       (unsigned long long)more);
    return 0;
}

static int put_stored(struct wasm_tenant *t, struct realm_model *m, uint64_t bytes, uint32_t *id,
                      struct realm_error *err)
{
    struct entry *e = *id ? find(t, *id) : NULL;
    int status = check_bytes(t, bytes, e ? e->bytes : 0, err);
    if (status)
        return status;
    if (e)
        clear_entry(t, e);
    else
        e = find(t, 0);
    if (!e)
        return err_set(err, REALM_E_LIMIT, "this tenant has %d models, and no more are allowed",
                       GUEST_MODELS_MAX);
    if (*id == 0)
        *id = new_id(t);
    *e = (struct entry){.id = *id, .stored = m, .bytes = bytes};
    t->bytes += bytes;
    atomic_fetch_add(&t->host->stored_bytes, bytes);
    return 0;
}

/* ---- without ---- */

/* The same for every name that is not to be had, so that a guest cannot tell them apart. */
static int no_name(struct realm_error *err)
{
    return err_set(err, REALM_E_NOT_FOUND, "no model has this name");
}

int tenant_open_name(const struct wasm_request *r, const char *name, const struct realm_wait *wait,
                     struct lease *out, struct realm_error *err)
{
    struct realm *engine = r->tenant->engine;
    struct wasm_found found;
    *out = (struct lease){0};
    if (!r->find) {
        snprintf(out->id, sizeof(out->id), "%s", name);
        return realm_model_open_name(&out->model, engine, name, wait, err);
    }
    int status = r->find(r->ctx, name, &found);
    if (status && status != REALM_E_NOT_FOUND)
        return err_set(err, status, "%s", realm_status_name(status));
    if (!status)
        status = realm_model_find(&out->model, engine, found.path, err);
    else
        return no_name(err);
    if (status == REALM_E_NOT_FOUND)
        status = realm_model_open(&out->model, engine, found.path, wait, err);
    if (!status) {
        memcpy(out->id, found.id, sizeof(out->id));
        return 0;
    }
    /* Where the file lies, and how much memory there is, is the operator's to know. */
    return status == REALM_E_NOT_FOUND ? no_name(err)
                                       : err_set(err, status, "the model %s cannot be opened: %s",
                                                 name, realm_status_name(status));
}

int tenant_model(const struct wasm_request *r, uint32_t id, const struct realm_wait *wait,
                 struct lease *out, struct realm_error *err)
{
    struct wasm_tenant *t = r->tenant;
    char *name = NULL;
    *out = (struct lease){.id = WASM_STORED};
    mutex_lock(&t->lock);
    struct entry *e = id ? find(t, id) : NULL;
    int status = e ? 0 : REALM_E_ARG;
    if (e && e->stored)
        status = realm_model_share(&out->model, e->stored);
    else if (e && !(name = mem_strdup(e->name)))
        status = REALM_E_NOMEM;
    mutex_unlock(&t->lock);
    if (name)
        status = tenant_open_name(r, name, wait, out, err);
    else if (status)
        err_set(err, status, "%s", status == REALM_E_ARG ? "no such model" : "out of memory");
    /* A name that cannot be opened is not an id that nobody has. */
    if (name && status == REALM_E_ARG)
        status = REALM_E_NOT_FOUND;
    mem_free(name);
    return status;
}

int tenant_add_name(const struct wasm_request *r, const char *name, const struct realm_wait *wait,
                    uint32_t *id, struct realm_error *err)
{
    struct wasm_tenant *t = r->tenant;
    struct lease found;
    int status = tenant_open_name(r, name, wait, &found, err);
    if (status)
        return status;
    realm_model_close(found.model);
    mutex_lock(&t->lock);
    status = put_name(t, name, id, err);
    mutex_unlock(&t->lock);
    return status;
}

/* Refuses what cannot fit before it costs anything. */
static int check_room(struct wasm_tenant *t, size_t bytes, uint32_t id, struct realm_error *err)
{
    mutex_lock(&t->lock);
    const struct entry *replaced = id ? find(t, id) : NULL;
    int status = 0;
    if (!replaced && !find(t, 0))
        status = err_set(err, REALM_E_LIMIT, "this tenant has %d models, and no more are allowed",
                         GUEST_MODELS_MAX);
    if (!status)
        status = check_bytes(t, bytes, replaced ? replaced->bytes : 0, err);
    mutex_unlock(&t->lock);
    return status;
}

int tenant_add_bytes(struct wasm_tenant *t, const void *gguf, size_t bytes,
                     const struct realm_wait *wait, uint32_t *id, struct realm_error *err)
{
    struct realm_model *m;
    struct realm_model_info info;
    int status = check_room(t, bytes, *id, err);
    if (status)
        return status;
    status = realm_model_open_memory(&m, t->engine, gguf, bytes, wait, err);
    if (status)
        return status;
    realm_model_info(m, &info);
    mutex_lock(&t->lock);
    status = put_stored(t, m, info.reserved_bytes, id, err);
    mutex_unlock(&t->lock);
    if (status)
        realm_model_close(m);
    return status;
}

int tenant_remove(struct wasm_tenant *t, uint32_t id)
{
    mutex_lock(&t->lock);
    struct entry *e = id ? find(t, id) : NULL;
    if (e)
        clear_entry(t, e);
    mutex_unlock(&t->lock);
    return e ? 0 : REALM_E_ARG;
}

void tenant_enter(struct wasm_tenant *t)
{
    mutex_lock(&t->lock);
    t->stats.running++;
    mutex_unlock(&t->lock);
}

void tenant_leave(struct wasm_tenant *t, int status, uint64_t own_ns)
{
    mutex_lock(&t->lock);
    t->stats.running--;
    t->stats.requests++;
    t->stats.trapped += status == REALM_E_GUEST;
    t->stats.limited += status == REALM_E_LIMIT;
    t->stats.own_ns += own_ns;
    mutex_unlock(&t->lock);
}

void wasm_tenant_stats(struct wasm_tenant *t, struct wasm_tenant_stats *out)
{
    mutex_lock(&t->lock);
    *out = t->stats;
    mutex_unlock(&t->lock);
}

void tenant_log(struct wasm_tenant *t, enum line_source from, const char *line, size_t n)
{
    mutex_lock(&t->lock);
    bool may = lines_may(&t->lines, from, clock_ns(clock_system()));
    if (may)
        lines_add(&t->lines, from, line, n);
    mutex_unlock(&t->lock);
    if (may)
        log_line(from == LINE_STDOUT ? LOG_INFO : LOG_WARN, "guest of %s: %.*s", t->name, (int)n,
                 line);
}

json_t *wasm_tenant_log(struct wasm_tenant *t)
{
    mutex_lock(&t->lock);
    json_t *log = lines_json(&t->lines);
    mutex_unlock(&t->lock);
    return log;
}
