/* conf/conf.h - the server's configuration: one YAML file, one table of keys.
 *
 * The table gives for each key its place, type, range, default and a sentence; reading,
 * checking, --print-config and the documentation all come from it.  A key that is not in
 * the table, or stands twice, is an error with its line. */
#ifndef CONF_CONF_H
#define CONF_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/compiler.h"
#include "http/http.h"
#include "realm/realm.h"

struct conf_alias {
    char *name;
    char *model; /* id or path */
};

/* Texts are owned; NULL: not given. */
struct conf {
    /* listen */
    char *host;           /* "127.0.0.1" */
    uint16_t port;        /* 8080; 0 picks one */
    bool insecure_public; /* host may be more than loopback although there are no keys */
    char *metrics_host;
    uint32_t metrics_port; /* 0: /metrics is on the main port, for loopback */
    bool metrics_public;   /* it needs no key even where there are keys */
    char *tls_cert, *tls_key;
    char **allowed_hosts;
    size_t n_allowed_hosts;
    /* models */
    char *models_dir;
    char *model; /* a single file, or the id of the default model */
    struct conf_alias *aliases;
    size_t n_aliases;
    char **preload; /* ids loaded at the start */
    size_t n_preload;
    char **pin;
    size_t n_pin;
    char **shared_prompts; /* that are no secret of any tenant */
    size_t n_shared_prompts;
    uint64_t bytes_max, kv_bytes_max;
    enum realm_kv_type kv_type;
    uint32_t keep_alive_s; /* idle models are unloaded after it; 0: never */
    uint32_t threads, step_ms, load_wait_ms;
    /* guest */
    char *guest;
    /* api */
    bool compat_llama_server; /* the model's name in requests is ignored */
    uint32_t request_s;       /* most time of a request with its waits; 0: the default, 3600 */
    uint32_t drain_s;         /* 30 */
    struct http_limits http;
    /* tenants */
    uint32_t keep_days; /* 400; of requests' rows; 0: for ever */
    /* log */
    char *log_level;  /* error, warn, info, debug */
    char *log_format; /* text, json */
    /* state */
    char *state_dir; /* default: $XDG_STATE_HOME/realm */
};

/* All defaults. */
MUST_USE int conf_init(struct conf *c);
void conf_free(struct conf *c);

/* Reads the file at path over what c has.  REALM_E_NOT_FOUND, REALM_E_IO, REALM_E_FORMAT:
 * "realm.yaml:12: models.keep_alive: …"; REALM_E_NOMEM.  c is unchanged on failure. */
MUST_USE int conf_read(struct conf *c, const char *path, struct realm_error *err);
/* The same from text; name is for messages. */
MUST_USE int conf_parse(struct conf *c, const char *name, struct slice text,
                        struct realm_error *err);
/* What needs several keys to be judged: tls_cert without tls_key, a public host without …; also
 * after the command line has changed c. */
MUST_USE int conf_check(const struct conf *c, struct realm_error *err);

/* Whether an address is of this machine alone. */
bool conf_is_loopback(const char *host);

/* Appends the names, with ", " between, of the keys whose values differ and that only a new
 * start takes over.  REALM_E_NOMEM, REALM_E_LIMIT. */
MUST_USE int conf_restart_keys(const struct conf *now, const struct conf *next, struct buf *out);

/* A key of the group limits. */
struct conf_limit {
    const char *name, *help;
    const char *unit;         /* "bytes", "bytes/s", "s", "connections" */
    uint64_t value, min, max; /* value: the default */
};

/* The one at place i; false beyond the last. */
bool conf_limit(size_t i, struct conf_limit *out);

/* YAML with every key, its sentence, its range and the value that c has; it can be read back. */
MUST_USE int conf_print(const struct conf *c, struct buf *out);

#endif
