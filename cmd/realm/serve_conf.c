/* cmd/realm/serve_conf.c - the configuration of `realm serve`: file and command line. */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "serve.h"

static int replace(char **text, const char *given, struct realm_error *err)
{
    if (!given)
        return 0;
    char *copy = mem_strdup(given);
    if (!copy)
        return err_nomem(err, "the configuration");
    mem_free(*text);
    *text = copy;
    return 0;
}

static int apply(const struct serve_args *a, struct conf *c, struct realm_error *err)
{
    const char *host = a->host && strcmp(a->host, "localhost") == 0 ? "127.0.0.1" : a->host;
    int status = replace(&c->host, host, err);
    if (!status)
        status = replace(&c->model, a->model, err);
    if (!status)
        status = replace(&c->models_dir, a->models_dir, err);
    if (!status)
        status = replace(&c->guest, a->guest, err);
    if (!status)
        status = replace(&c->state_dir, a->state, err);
    if (a->port)
        c->port = (uint16_t)strtoul(a->port, NULL, 10); // checked by cmd_serve
    if (a->compat)
        c->compat_llama_server = true;
    return status;
}

int serve_conf_read(const struct serve_args *a, struct conf *conf, struct realm_error *err)
{
    if (conf_init(conf))
        return err_nomem(err, "the configuration");
    int status = a->config ? conf_read(conf, a->config, err) : 0;
    if (!status)
        status = apply(a, conf, err);
    if (!status)
        status = conf_check(conf, err);
    if (status)
        conf_free(conf);
    return status;
}

void serve_conf_log(const struct conf *conf)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    const char *wanted = getenv("REALM_LOG");
    enum log_level level = LOG_INFO;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strcmp(names[i], conf->log_level) == 0)
            level = (enum log_level)i;
    for (size_t i = 0; wanted && i < ARRAY_LEN(names); i++)
        if (strcmp(names[i], wanted) == 0)
            level = (enum log_level)i;
    log_set_level(level);
    log_set_format(strcmp(conf->log_format, "json") == 0 ? LOG_JSON : LOG_TEXT);
}
