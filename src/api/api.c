#include "api/api_impl.h"

#include <signal.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"

enum { REQUEST_MS = 3600 * 1000 };

static int read_module(void *ctx, uint64_t version, struct buf *wasm, struct realm_error *err)
{
    return tenants_guest_module(ctx, version, wasm, err);
}

static int open_guests(struct api *a)
{
    const struct api_options *o = &a->options;
    const struct guests_options options = {
        .engine = o->engine,
        .host = o->wasm,
        .common = o->guest,
        .module = read_module,
        .ctx = o->tenants,
        .clock = clock_system(),
    };
    return o->wasm ? guests_open(&a->guests, &options) : 0;
}

static int copy_keys(struct api *a)
{
    const struct api_options *o = &a->options;
    a->admin_key = o->admin_key ? mem_strdup(o->admin_key) : NULL;
    a->metrics_key = o->metrics_key ? mem_strdup(o->metrics_key) : NULL;
    bool failed = (o->admin_key && !a->admin_key) || (o->metrics_key && !a->metrics_key);
    return failed ? REALM_E_NOMEM : 0;
}

static void free_keys(struct api *a)
{
    mem_free(a->admin_key);
    mem_free(a->metrics_key);
}

int api_open(struct api **out, const struct api_options *options, struct realm_error *err)
{
    *out = NULL;
    struct api *a = mem_zalloc(sizeof(*a));
    if (!a)
        return err_nomem(err, "the api");
    a->options = *options;
    a->started_ns = clock_ns(clock_system());
    list_init(&a->jobs);
    list_init(&a->sockets);
    a->auth = (struct auth){.tenants = options->tenants, .needs_key = options->needs_key};
    list_init(&a->ready);
    counts_init(&a->counts);
    api_set_limits(a, options->compat_llama_server, options->request_ms);
    int status = mutex_init(&a->ready_lock);
    if (status)
        goto no_lock;
    status = catalog_open(&a->catalog);
    if (status)
        goto no_catalog;
    status = shared_open(&a->shared);
    if (status)
        goto no_shared;
    status = open_guests(a);
    if (status)
        goto no_guests;
    status = copy_keys(a);
    if (!status)
        status = parties_open(&a->parties);
    if (status)
        goto no_parties;
    *out = a;
    return 0;

no_parties:
    free_keys(a);
    guests_close(a->guests);
no_guests:
    shared_close(a->shared);
no_shared:
    catalog_close(a->catalog);
no_catalog:
    mutex_destroy(&a->ready_lock);
no_lock:
    mem_free(a);
    return err_set(err, status, "cannot start the api: %s", realm_status_name(status));
}

static struct job *job_of(struct list *link)
{
    return CONTAINER_OF(link, struct job, link);
}

void api_close(struct api *a)
{
    if (!a)
        return;
    api_attach(a, NULL);
    for (struct list *i = a->jobs.next; i != &a->jobs; i = i->next)
        atomic_store(&job_of(i)->cancelled, true);
    parties_stop(&a->parties);
    while (!list_empty(&a->jobs))
        job_drop(job_of(a->jobs.next));
    free_keys(a);
    guests_close(a->guests);
    shared_close(a->shared);
    catalog_close(a->catalog);
    mutex_destroy(&a->ready_lock);
    mem_free(a);
}

void api_attach(struct api *a, struct http_server *s)
{
    mutex_lock(&a->ready_lock);
    a->server = s;
    mutex_unlock(&a->ready_lock);
}

int api_set_models(struct api *a, const struct api_models *models, struct realm_error *err)
{
    return catalog_set(a->catalog, models, err);
}

int api_set_shared(struct api *a, const char *const *texts, size_t n)
{
    return shared_set(a->shared, texts, n);
}

void api_preload(struct api *a, const char *const *ids, size_t n, bool pin)
{
    for (size_t i = 0; i < n; i++)
        job_open_own(a, pin ? &door_pin : &door_load, ids[i]);
}

void api_audit_reload(struct api *a)
{
    job_open_own(a, &door_reload, "");
}

void api_set_limits(struct api *a, bool compat_llama_server, uint32_t request_ms)
{
    atomic_store(&a->compat, compat_llama_server);
    atomic_store(&a->request_ms, request_ms ? request_ms : REQUEST_MS);
}

void api_set_stuck(struct api *a, bool stuck)
{
    atomic_store(&a->stuck, stuck);
}

void api_drain(struct api *a)
{
    a->draining = true;
}

void api_cut(struct api *a)
{
    struct api_error e = {0};
    (void)api_from_status(&e, REALM_E_SHUTDOWN, NULL);
    for (struct list *i = a->jobs.next; i != &a->jobs; i = i->next)
        job_fail(job_of(i), &e);
}

/* ---- the handler ---- */

static bool on_head(void *ctx, const struct http_exchange *x, uint32_t *payer)
{
    return api_wants_body(ctx, x, payer);
}

static void on_request(void *ctx, struct http_exchange *x)
{
    api_route(ctx, x);
}

static void on_refusal(void *ctx, const struct http_exchange *x, struct http_refusal *r)
{
    (void)ctx;
    api_write_refusal(x, r);
}

static void on_gone(void *ctx, struct http_exchange *x)
{
    (void)ctx;
    struct job *j = http_user(x);
    if (j)
        job_gone(j);
}

static void on_ws_message(void *ctx, struct http_ws *ws, bool text, struct slice message)
{
    socket_message(ctx, ws, text, message);
}

static void on_ws_drain(void *ctx, struct http_ws *ws)
{
    (void)ctx;
    socket_drain(ws);
}

static void on_ws_closed(void *ctx, struct http_ws *ws)
{
    socket_closed(ctx, ws);
}

/* The next job that was woken; NULL: there is none. */
static struct job *next_ready(struct api *a, struct job_news *news)
{
    struct job *j = NULL;
    mutex_lock(&a->ready_lock);
    if (!list_empty(&a->ready)) {
        j = CONTAINER_OF(a->ready.next, struct job, ready_link);
        list_remove(&j->ready_link);
        j->ready = false;
        *news = j->news;
    }
    mutex_unlock(&a->ready_lock);
    return j;
}

static void on_wake(void *ctx)
{
    struct api *a = ctx;
    struct job_news news;
    struct job *j;
    while ((j = next_ready(a, &news)))
        job_look(j, &news);
}

/* Who is no longer let in is not served to the end. */
static void look_after(struct job *j, uint64_t now_ns)
{
    struct api_error e;
    job_tick(j, now_ns);
    if (job_ended(j) || !j->pass.tenant)
        return;
    account_tick(j, now_ns);
    if (tenant_pass_valid(&j->pass))
        return;
    (void)api_fail(&e, 401, "invalid_api_key", "the API key is not valid any more");
    job_fail(j, &e);
}

static void on_tick(void *ctx)
{
    struct api *a = ctx;
    uint64_t now = clock_ns(clock_system());
    struct api_error e = {0};
    (void)api_from_status(&e, REALM_E_DEADLINE, NULL);
    for (struct list *i = a->jobs.next; i != &a->jobs; i = i->next) {
        if (job_of(i)->deadline_ns <= now)
            job_fail(job_of(i), &e);
        look_after(job_of(i), now);
    }
    sockets_tick(a, now);
    if (a->options.on_tick)
        a->options.on_tick(a->options.ctx);
}

static void on_signal(void *ctx, int sig)
{
    struct api *a = ctx;
    if (a->options.on_signal)
        a->options.on_signal(a->options.ctx, sig);
}

struct http_handler api_handler(struct api *a)
{
    return (struct http_handler){
        .wants_body = on_head,
        .request = on_request,
        .refusal = on_refusal,
        .gone = on_gone,
        .ws_message = on_ws_message,
        .ws_drain = on_ws_drain,
        .ws_closed = on_ws_closed,
        .wake = on_wake,
        .tick = on_tick,
        .signal = on_signal,
        .ctx = a,
    };
}
