/* cmd/realm/serve.c - the parts of the server: opened, listening, draining, closed.
 *
 * Closing goes backwards through opening, but that the api is told first that there is no
 * server any more, and everything that holds a lease on a model ends before the engine. */
#include "serve.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/io.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"

enum { FLUSH_MS = 1000 }; /* for the last events of what was cut */

/* ---- signals and time, on the server's thread ---- */

static void drain(struct serve *s, int sig)
{
    struct http_stats stats;
    http_stats(s->http, &stats);
    log_line(LOG_INFO, "%s: no new requests; %u still run and have %u s", strsignal(sig),
             stats.exchanges + stats.websockets, s->conf.drain_s);
    s->draining = true;
    s->cut_ns = clock_ns(clock_system()) + s->conf.drain_s * 1000000000ull;
    api_drain(s->api);
    http_drain(s->http);
}

static void on_signal(void *ctx, int sig)
{
    struct serve *s = ctx;
    if (sig == SIGHUP) {
        serve_reload(s);
    } else if (!s->draining) {
        drain(s, sig);
    } else {
        log_line(LOG_WARN, "%s again: what still runs is given up", strsignal(sig));
        http_stop(s->http);
    }
}

static void on_tick(void *ctx)
{
    struct serve *s = ctx;
    uint64_t now = clock_ns(clock_system());
    if (!s->draining)
        return;
    if (s->stop_ns && now >= s->stop_ns) {
        http_stop(s->http);
    } else if (!s->stop_ns && now >= s->cut_ns) {
        log_line(LOG_WARN, "%u s are over: what still runs is ended", s->conf.drain_s);
        api_cut(s->api);
        s->stop_ns = now + FLUSH_MS * 1000000ull;
    }
}

/* ---- opening ---- */

static int open_engine(struct serve *s, struct realm_error *err)
{
    const struct conf *c = &s->first;
    const struct realm_options options = {
        .threads = c->threads,
        .bytes_max = c->bytes_max,
        .kv_bytes_max = c->kv_bytes_max,
        .kv_type = c->kv_type,
        .step_ms = c->step_ms,
        .idle_ms_max = c->keep_alive_s * 1000,
        .load_wait_ms = c->load_wait_ms,
        .models_dir = c->models_dir,
    };
    int status = realm_open(&s->engine, &options, err);
    if (status)
        return status;
    return chat_open(&s->chat, NULL) ? err_nomem(err, "chat templates") : 0;
}

/* One that cannot be served is told at once, not to the first client. */
static int load_first(struct serve *s, struct realm_error *err)
{
    const char *path = serve_models_first(&s->models);
    struct realm_model *model;
    if (!path)
        return 0;
    int status = realm_model_open(&model, s->engine, path, NULL, err);
    if (status)
        cmd_add_path(err, path);
    else
        realm_model_close(model);
    return status;
}

/* An address that others can reach wants keys that tell who may. */
static bool needs_key(const struct serve *s)
{
    return !s->first.insecure_public && !conf_is_loopback(s->first.host);
}

static int open_tenants(struct serve *s, struct realm_error *err)
{
    const struct tenants_options options = {
        .dir = s->state.dir, .clock = clock_system(), .keep_days = s->conf.keep_days};
    int status = tenants_open(&s->tenants, &options, err);
    if (status)
        return status;
    if (needs_key(s) && !tenants_have_keys(s->tenants))
        return err_set(err, REALM_E_ARG,
                       "listen.host: others can reach %s, and there are no keys that would tell "
                       "who may: make one (realm keys create) while the server is at 127.0.0.1, "
                       "or set listen.insecure_public if a gateway in front of it tells",
                       s->first.host);
    return 0;
}

static int open_guest(struct serve *s, struct realm_error *err)
{
    const struct wasm_host_options options = {.cache_dir = s->state.guests, .chat = s->chat};
    uint8_t *wasm;
    size_t n;
    int status = wasm_host_open(&s->wasm, &options, err);
    if (status || !s->conf.guest)
        return status;
    status = io_read_file(io_system(), s->conf.guest, GUEST_MODULE_BYTES_MAX, &wasm, &n, err);
    if (status)
        return status;
    status = wasm_guest_open(&s->guest, s->wasm, wasm, n, err);
    mem_free(wasm);
    return status ? err_prefix(err, status, "the guest %s", s->conf.guest) : 0;
}

/* The key leaves the environment, which child processes get a copy of. */
static const char *take_key(const char *name)
{
    const char *key = getenv(name);
    unsetenv(name);
    return key && key[0] ? key : NULL;
}

static int open_api(struct serve *s, const char *admin_key, const char *metrics_key,
                    struct realm_error *err)
{
    const struct api_options options = {
        .engine = s->engine,
        .chat = s->chat,
        .tenants = s->tenants,
        .wasm = s->wasm,
        .guest = s->guest,
        .compat_llama_server = s->conf.compat_llama_server,
        .request_ms = s->conf.request_s * 1000,
        .needs_key = needs_key(s),
        .admin_key = admin_key,
        .metrics_key = metrics_key,
        .metrics_public = s->first.metrics_public,
        .on_signal = on_signal,
        .on_tick = on_tick,
        .ctx = s,
    };
    int status = api_open(&s->api, &options, err);
    if (!status)
        status = api_set_models(s->api, &s->models.api, err);
    return status ? status : serve_set_shared(s, &s->conf, err);
}

static int open_http(struct serve *s, struct realm_error *err)
{
    const struct conf *c = &s->first;
    const struct http_options options = {
        .limits = c->http,
        .hosts = (const char *const *)c->allowed_hosts,
        .n_hosts = c->n_allowed_hosts,
    };
    const struct http_handler handler = api_handler(s->api);
    int status = http_open(&s->http, &options, &handler, err);
    if (status)
        return status;
    api_attach(s->api, s->http);
    return c->tls_cert ? http_set_tls(s->http, c->tls_cert, c->tls_key, err) : 0;
}

static struct http_listen main_place(const struct conf *c)
{
    return (struct http_listen){
        .host = c->host, .port = c->port, .tls = c->tls_cert != NULL, .tag = API_MAIN};
}

static struct http_listen metrics_place(const struct conf *c)
{
    return (struct http_listen){
        .host = c->metrics_host, .port = (uint16_t)c->metrics_port, .tag = API_METRICS};
}

/* A port that is in use is told before a model is loaded, which takes its time. */
static int check_ports(const struct serve *s, struct realm_error *err)
{
    const struct http_listen main_port = main_place(&s->first);
    const struct http_listen metrics = metrics_place(&s->first);
    int status = http_listen_check(&main_port, err);
    return status || !s->first.metrics_port ? status : http_listen_check(&metrics, err);
}

static int listen_at_all(struct serve *s, struct realm_error *err)
{
    const struct http_listen main_port = main_place(&s->first);
    const struct http_listen metrics = metrics_place(&s->first);
    const struct http_listen admin = {.unix_path = s->state.socket, .tag = API_ADMIN};
    int status = http_listen(s->http, &main_port, &s->port, err);
    if (!status && s->first.metrics_port)
        status = http_listen(s->http, &metrics, &s->metrics_port, err);
    if (!status)
        status = http_listen(s->http, &admin, NULL, err);
    return status;
}

static void preload(struct serve *s)
{
    const struct conf *c = &s->conf;
    api_preload(s->api, (const char *const *)c->preload, c->n_preload, false);
    api_preload(s->api, (const char *const *)c->pin, c->n_pin, true);
}

int serve_open(struct serve *s, struct realm_error *err)
{
    const char *admin_key = take_key("REALM_ADMIN_KEY");
    const char *metrics_key = take_key("REALM_METRICS_KEY");
    int status = serve_state_open(&s->state, s->conf.state_dir, err);
    if (!status)
        status = open_tenants(s, err);
    if (!status)
        status = check_ports(s, err);
    if (!status)
        status = serve_models_open(&s->models, &s->conf, err);
    if (!status)
        status = open_engine(s, err);
    if (!status)
        status = open_guest(s, err);
    /* Before signals are the loop's, so that Ctrl-C ends a long load. */
    if (!status)
        status = load_first(s, err);
    if (!status)
        status = open_api(s, admin_key, metrics_key, err);
    if (!status)
        status = open_http(s, err);
    if (!status)
        status = listen_at_all(s, err);
    if (!status && watchdog_open(&s->watchdog, s->engine, s->api))
        status = err_set(err, REALM_E_SYS, "the watchdog's thread cannot be started");
    if (!status) {
        serve_models_look(&s->conf);
        preload(s);
    }
    return status;
}

/* While it closes, a signal changes nothing: that it ends soon is the watchdog's care. */
static void block_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
}

void serve_close(struct serve *s)
{
    block_signals();
    if (s->watchdog)
        watchdog_leave(s->watchdog);
    if (s->api)
        api_attach(s->api, NULL);
    if (s->http)
        http_close(s->http);
    api_close(s->api);
    tenants_close(s->tenants);
    if (s->guest)
        wasm_guest_close(s->guest);
    if (s->wasm)
        wasm_host_close(s->wasm);
    if (s->chat)
        chat_close(s->chat);
    realm_close(s->engine);
    watchdog_close(s->watchdog);
    serve_models_close(&s->models);
    serve_state_close(&s->state);
}
