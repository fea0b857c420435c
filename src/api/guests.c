#include "api/guests.h"

#include <string.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/thread.h"
#include "base/wait.h"
#include "tenant/tenant.h"

enum { BUCKETS = 256 };

enum program_state { PREPARING, PREPARED, FAILED };

/* All under the registry's lock; `guest` is used by those who count in `users`. */
struct guest_program {
    struct list link; /* in its bucket; a ring of its own once it is forgotten */
    struct list idle_link;
    uint64_t version;
    uint32_t users; /* leases, and those who prepare it or wait for that */
    enum program_state state;
    struct wasm_guest *guest;
    int status; /* of FAILED, as are the next */
    struct realm_error err;
    uint64_t retry_ns; /* from then on it is tried again */
};

struct guest_sandbox {
    struct list link, idle_link;
    char tenant[TENANT_ID_MAX + 1];
    uint32_t users;
    uint64_t idle_ns; /* since when nobody uses it */
    struct wasm_tenant *box;
};

struct guests {
    struct guests_options options;
    struct mutex lock; /* guards all below */
    struct cond ready; /* a program is PREPARING no more */
    struct list programs[BUCKETS], sandboxes[BUCKETS];
    struct list idle_programs, idle_sandboxes; /* the one idle for longest first */
    uint32_t n_programs, n_idle, n_sandboxes;
    uint64_t idle_bytes;
};

static void init_lists(struct guests *g)
{
    for (size_t i = 0; i < BUCKETS; i++) {
        list_init(&g->programs[i]);
        list_init(&g->sandboxes[i]);
    }
    list_init(&g->idle_programs);
    list_init(&g->idle_sandboxes);
}

int guests_open(struct guests **out, const struct guests_options *options)
{
    *out = NULL;
    struct guests *g = mem_zalloc(sizeof(*g));
    if (!g)
        return REALM_E_NOMEM;
    g->options = *options;
    init_lists(g);
    int status = mutex_init(&g->lock);
    if (status)
        goto no_lock;
    status = cond_init(&g->ready);
    if (status)
        goto no_cond;
    *out = g;
    return 0;

no_cond:
    mutex_destroy(&g->lock);
no_lock:
    mem_free(g);
    return status;
}

static uint64_t now_ns(const struct guests *g)
{
    return clock_ns(g->options.clock);
}

/* ---- letting go: what is to be closed is taken off under the lock, and closed without ---- */

struct waste {
    struct list programs, sandboxes; /* by their idle_link */
};

static void waste_init(struct waste *w)
{
    list_init(&w->programs);
    list_init(&w->sandboxes);
}

static void waste_close(struct waste *w)
{
    while (!list_empty(&w->programs)) {
        struct guest_program *p = CONTAINER_OF(w->programs.next, struct guest_program, idle_link);
        list_remove(&p->idle_link);
        wasm_guest_close(p->guest);
        mem_free(p);
    }
    while (!list_empty(&w->sandboxes)) {
        struct guest_sandbox *s = CONTAINER_OF(w->sandboxes.next, struct guest_sandbox, idle_link);
        list_remove(&s->idle_link);
        wasm_tenant_close(s->box);
        mem_free(s);
    }
}

static size_t code_bytes(const struct guest_program *p)
{
    return p->guest ? wasm_guest_bytes(p->guest) : 0;
}

static void unidle_program(struct guests *g, struct guest_program *p)
{
    if (list_empty(&p->idle_link))
        return;
    list_remove(&p->idle_link);
    g->n_idle--;
    g->idle_bytes -= code_bytes(p);
}

/* Nobody uses it. */
static void waste_program(struct guests *g, struct guest_program *p, struct waste *w)
{
    unidle_program(g, p);
    list_remove(&p->link);
    list_add_tail(&w->programs, &p->idle_link);
    g->n_programs--;
}

static void leave_program(struct guests *g, struct guest_program *p, struct waste *w)
{
    if (--p->users)
        return;
    if (list_empty(&p->link)) {
        waste_program(g, p, w);
        return;
    }
    list_add_tail(&g->idle_programs, &p->idle_link);
    g->n_idle++;
    g->idle_bytes += code_bytes(p);
    while (g->n_idle > GUESTS_IDLE_MAX || g->idle_bytes > GUESTS_IDLE_BYTES_MAX)
        waste_program(g, CONTAINER_OF(g->idle_programs.next, struct guest_program, idle_link), w);
}

static void waste_sandbox(struct guests *g, struct guest_sandbox *s, struct waste *w)
{
    list_remove(&s->link);
    list_remove(&s->idle_link);
    list_add_tail(&w->sandboxes, &s->idle_link);
    g->n_sandboxes--;
}

static void leave_sandbox(struct guests *g, struct guest_sandbox *s)
{
    if (--s->users)
        return;
    s->idle_ns = now_ns(g);
    list_add_tail(&g->idle_sandboxes, &s->idle_link);
}

void guests_close(struct guests *g)
{
    if (!g)
        return;
    struct waste w;
    waste_init(&w);
    while (!list_empty(&g->idle_programs))
        waste_program(g, CONTAINER_OF(g->idle_programs.next, struct guest_program, idle_link), &w);
    while (!list_empty(&g->idle_sandboxes))
        waste_sandbox(g, CONTAINER_OF(g->idle_sandboxes.next, struct guest_sandbox, idle_link), &w);
    waste_close(&w);
    cond_destroy(&g->ready);
    mutex_destroy(&g->lock);
    mem_free(g);
}

/* ---- programs ---- */

static struct list *program_bucket(struct guests *g, uint64_t version)
{
    return &g->programs[version % BUCKETS];
}

static struct guest_program *find_program(struct guests *g, uint64_t version)
{
    struct list *bucket = program_bucket(g, version);
    for (struct list *i = bucket->next; i != bucket; i = i->next) {
        struct guest_program *p = CONTAINER_OF(i, struct guest_program, link);
        if (p->version == version)
            return p;
    }
    return NULL;
}

static struct guest_program *add_program(struct guests *g, uint64_t version)
{
    struct guest_program *p = mem_zalloc(sizeof(*p));
    if (!p)
        return NULL;
    p->version = version;
    p->state = PREPARING;
    list_init(&p->link);
    list_init(&p->idle_link);
    list_add_head(program_bucket(g, version), &p->link);
    g->n_programs++;
    return p;
}

static int compile(struct guests *g, uint64_t version, struct wasm_guest **out,
                   struct realm_error *err)
{
    struct buf wasm;
    buf_init(&wasm, GUEST_MODULE_BYTES_MAX);
    int status = g->options.module(g->options.ctx, version, &wasm, err);
    if (status == REALM_E_NOT_FOUND)
        status = err_set(err, REALM_E_GUEST, "the program was removed meanwhile");
    if (!status)
        status = wasm_guest_open(out, g->options.host, wasm.p, wasm.n, err);
    buf_free(&wasm);
    return status;
}

/* With the lock, which is let go.  A program that is refused is so the next time, too, and
 * finding out costs; what was short may be there again. */
static void prepare(struct guests *g, struct guest_program *p)
{
    struct wasm_guest *guest = NULL;
    struct realm_error err = {0};
    mutex_unlock(&g->lock);
    int status = compile(g, p->version, &guest, &err);
    if (status && !err.status)
        err_set(&err, status, "%s", realm_status_name(status));
    if (status)
        log_line(LOG_WARN, "the program of version %llu cannot be prepared: %s",
                 (unsigned long long)p->version, err.message);
    mutex_lock(&g->lock);
    p->guest = guest;
    p->status = status;
    p->err = err;
    p->state = status ? FAILED : PREPARED;
    const bool lasts = status == REALM_E_GUEST || status == REALM_E_LIMIT;
    p->retry_ns = now_ns(g) + (lasts ? GUESTS_RETRY_MS * 1000000ull : 0);
    cond_broadcast(&g->ready);
}

/* With the lock; the caller counts among p's users when it is 0. */
static int take_program(struct guests *g, uint64_t version, const struct realm_wait *wait,
                        struct guest_program **out, struct waste *w, struct realm_error *err)
{
    struct guest_program *p = find_program(g, version);
    if (p && p->state == FAILED && now_ns(g) >= p->retry_ns) {
        if (p->users)
            list_remove(&p->link); // those whom it still tells free it
        else
            waste_program(g, p, w);
        p = NULL;
    }
    const bool mine = !p;
    if (!p && !(p = add_program(g, version)))
        return err_nomem(err, "a program");
    p->users++;
    unidle_program(g, p);
    if (mine)
        prepare(g, p);
    int status = 0;
    while (p->state == PREPARING && !status) {
        status = wait_given_up(wait, &g->lock);
        if (!status && p->state == PREPARING)
            wait_sleep(wait, &g->ready, &g->lock);
    }
    if (status)
        err_set(err, status, "waiting for the program: %s", realm_status_name(status));
    else if (p->state == FAILED)
        status = err_set(err, p->status, "%s", p->err.message);
    if (status)
        leave_program(g, p, w);
    else
        *out = p;
    return status;
}

/* ---- sandboxes ---- */

static struct list *sandbox_bucket(struct guests *g, const char *tenant)
{
    static const uint64_t key[2] = {0}; // tenants do not choose their ids
    return &g->sandboxes[map_hash(key, tenant, strlen(tenant)) % BUCKETS];
}

static struct guest_sandbox *find_sandbox(struct guests *g, const char *tenant)
{
    struct list *bucket = sandbox_bucket(g, tenant);
    for (struct list *i = bucket->next; i != bucket; i = i->next) {
        struct guest_sandbox *s = CONTAINER_OF(i, struct guest_sandbox, link);
        if (strcmp(s->tenant, tenant) == 0)
            return s;
    }
    return NULL;
}

static struct guest_sandbox *add_sandbox(struct guests *g, const char *tenant)
{
    struct guest_sandbox *s = mem_zalloc(sizeof(*s));
    if (!s || wasm_tenant_open(&s->box, g->options.host, g->options.engine, tenant, 0)) {
        mem_free(s);
        return NULL;
    }
    memcpy(s->tenant, tenant, strlen(tenant) + 1);
    list_init(&s->link);
    list_init(&s->idle_link);
    list_add_head(sandbox_bucket(g, tenant), &s->link);
    g->n_sandboxes++;
    return s;
}

/* Those that are idle for long, and one more if there is no room for another. */
static void clean_sandboxes(struct guests *g, struct waste *w)
{
    const uint64_t now = now_ns(g);
    while (!list_empty(&g->idle_sandboxes)) {
        struct guest_sandbox *s =
            CONTAINER_OF(g->idle_sandboxes.next, struct guest_sandbox, idle_link);
        if (g->n_sandboxes < GUESTS_TENANTS_MAX &&
            now - s->idle_ns < GUESTS_TENANT_IDLE_MS * 1000000ull)
            return;
        waste_sandbox(g, s, w);
    }
}

static int take_sandbox(struct guests *g, const char *tenant, struct guest_sandbox **out,
                        struct waste *w, struct realm_error *err)
{
    if (strlen(tenant) > TENANT_ID_MAX)
        return err_set(err, REALM_E_ARG, "a tenant's id has at most %d bytes", TENANT_ID_MAX);
    struct guest_sandbox *s = find_sandbox(g, tenant);
    if (!s) {
        clean_sandboxes(g, w);
        if (g->n_sandboxes >= GUESTS_TENANTS_MAX)
            return err_set(err, REALM_E_LIMIT, "%d tenants have programs at work",
                           GUESTS_TENANTS_MAX);
        s = add_sandbox(g, tenant);
    }
    if (!s)
        return err_nomem(err, "a tenant's sandbox");
    s->users++;
    list_remove(&s->idle_link);
    *out = s;
    return 0;
}

/* ---- leases ---- */

int guests_take(struct guests *g, const char *tenant, uint64_t version,
                const struct realm_wait *wait, struct guest_lease *out, struct realm_error *err)
{
    struct waste w;
    int status = 0;
    *out = (struct guest_lease){0};
    waste_init(&w);
    mutex_lock(&g->lock);
    if (version)
        status = take_program(g, version, wait, &out->program, &w, err);
    else if (!g->options.common)
        status = err_set(err, REALM_E_GUEST, "there is no program");
    if (!status) {
        status = take_sandbox(g, tenant, &out->sandbox, &w, err);
        if (status && out->program)
            leave_program(g, out->program, &w);
    }
    if (!status) {
        out->guest = version ? out->program->guest : g->options.common;
        out->tenant = out->sandbox->box;
    } else {
        *out = (struct guest_lease){0};
    }
    mutex_unlock(&g->lock);
    waste_close(&w);
    return status;
}

void guests_give(struct guests *g, struct guest_lease *lease)
{
    struct waste w;
    waste_init(&w);
    mutex_lock(&g->lock);
    if (lease->program)
        leave_program(g, lease->program, &w);
    leave_sandbox(g, lease->sandbox);
    mutex_unlock(&g->lock);
    waste_close(&w);
    *lease = (struct guest_lease){0};
}

/* ---- looking ---- */

json_t *guests_log(struct guests *g, const char *tenant)
{
    struct wasm_tenant_stats stats = {0};
    mutex_lock(&g->lock);
    const struct guest_sandbox *s = find_sandbox(g, tenant);
    json_t *log = s ? wasm_tenant_log(s->box) : json_pack("{s:[],s:i}", "lines", "dropped", 0);
    if (s)
        wasm_tenant_stats(s->box, &stats);
    mutex_unlock(&g->lock);
    json_t *counts =
        json_pack("{s:I,s:I,s:I,s:I,s:I}", "requests", (json_int_t)stats.requests, "trapped",
                  (json_int_t)stats.trapped, "limited", (json_int_t)stats.limited, "own_ms",
                  (json_int_t)(stats.own_ns / 1000000u), "running", (json_int_t)stats.running);
    if (!log || !counts || json_object_update(log, counts)) {
        json_decref(log);
        log = NULL;
    }
    json_decref(counts);
    return log;
}

void guests_stats(struct guests *g, struct guests_stats *out)
{
    mutex_lock(&g->lock);
    *out = (struct guests_stats){
        .programs = g->n_programs,
        .idle = g->n_idle,
        .code_bytes = g->idle_bytes,
        .sandboxes = g->n_sandboxes,
    };
    mutex_unlock(&g->lock);
}
