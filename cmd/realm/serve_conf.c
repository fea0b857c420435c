/* cmd/realm/serve_conf.c - the configuration of `realm serve`: file and command line. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

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

/* Without a folder of models a bare name that -m gives can only be a file's; in a
 * configuration it never is, wherever the server is started. */
static int replace_model(struct conf *c, const char *given, struct realm_error *err)
{
    char path[PATH_MAX];
    struct stat st;
    bool alias = false;
    for (size_t i = 0; given && i < c->n_aliases; i++)
        alias = alias || strcmp(c->aliases[i].name, given) == 0;
    if (given && !alias && !c->models_dir && !serve_is_file(given) && stat(given, &st) == 0 &&
        snprintf(path, sizeof(path), "./%s", given) < (int)sizeof(path))
        given = path;
    return replace(&c->model, given, err);
}

static int apply(const struct serve_args *a, struct conf *c, struct realm_error *err)
{
    const char *host = a->host && strcmp(a->host, "localhost") == 0 ? "127.0.0.1" : a->host;
    int status = replace(&c->host, host, err);
    if (!status)
        status = replace(&c->models_dir, a->models_dir, err);
    if (!status)
        status = replace_model(c, a->model, err);
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
