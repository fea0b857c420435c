/* cmd/realm/serve_reload.c - SIGHUP: the configuration is read again.
 *
 * Either all of the new one is taken over that can be, or nothing. */
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "serve.h"

static bool has(char *const *list, size_t n, const char *text)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i], text) == 0)
            return true;
    return false;
}

/* What is listed now and was not before. */
static void preload_new(struct serve *s, char *const *next, size_t n, char *const *before,
                        size_t n_before, bool pin)
{
    for (size_t i = 0; i < n; i++)
        if (!has(before, n_before, next[i]))
            api_preload(s->api, (const char *const *)&next[i], 1, pin);
}

/* Certificates are read again although their names are the same: that is how they are
 * renewed. */
static int take_tls(struct serve *s, const struct conf *next, struct realm_error *err)
{
    if (!s->first.tls_cert != !next->tls_cert) {
        log_line(LOG_WARN, "reload: a new start is needed to turn TLS %s",
                 next->tls_cert ? "on" : "off");
        return 0;
    }
    return next->tls_cert ? http_set_tls(s->http, next->tls_cert, next->tls_key, err) : 0;
}

int serve_set_shared(struct serve *s, const struct conf *c, struct realm_error *err)
{
    return api_set_shared(s->api, (const char *const *)c->shared_prompts, c->n_shared_prompts)
               ? err_nomem(err, "shared prompts")
               : 0;
}

static int take_over(struct serve *s, const struct conf *next, struct serve_models *models,
                     struct realm_error *err)
{
    struct realm_error ignored;
    int status = serve_models_open(models, next, err);
    if (status)
        return status;
    status = api_set_models(s->api, &models->api, err);
    if (status) {
        serve_models_close(models);
        return status;
    }
    status = serve_set_shared(s, next, err);
    if (!status)
        status = take_tls(s, next, err);
    if (status) {
        if (api_set_models(s->api, &s->models.api, &ignored) ||
            serve_set_shared(s, &s->conf, &ignored))
            log_line(LOG_ERROR, "reload: the old models and shared prompts cannot be set again: %s",
                     ignored.message);
        serve_models_close(models);
    }
    return status;
}

static void tell_of_restart(const struct serve *s, const struct conf *next)
{
    struct buf keys;
    buf_init(&keys, 2048);
    const char *text = NULL;
    if (!conf_restart_keys(&s->first, next, &keys) && keys.n)
        text = buf_cstr(&keys);
    if (text)
        log_line(LOG_WARN, "reload: a new start is needed for %s", text);
    buf_free(&keys);
}

void serve_reload(struct serve *s)
{
    struct realm_error err;
    struct conf next;
    struct serve_models models;
    if (!s->args->config) {
        log_line(LOG_WARN, "reload: there is no --config FILE to read again");
        return;
    }
    int status = serve_conf_read(s->args, &next, &err);
    if (!status) {
        status = take_over(s, &next, &models, &err);
        if (status)
            conf_free(&next);
    }
    if (status) {
        log_line(LOG_ERROR, "reload: %s; the old configuration stays", err.message);
        return;
    }
    api_set_limits(s->api, next.compat_llama_server, next.request_s * 1000);
    api_audit_reload(s->api);
    tenants_keep(s->tenants, next.keep_days);
    preload_new(s, next.preload, next.n_preload, s->conf.preload, s->conf.n_preload, false);
    preload_new(s, next.pin, next.n_pin, s->conf.pin, s->conf.n_pin, true);
    serve_conf_log(&next);
    tell_of_restart(s, &next);
    serve_models_close(&s->models);
    conf_free(&s->conf);
    s->models = models;
    s->conf = next;
    log_line(LOG_INFO, "reload: the configuration is taken over");
}
