/* cmd/realm/serve.h - `realm serve`: the parts of the server and their order.
 *
 * Threads: everything here is the main thread's, which becomes the http_server's in
 * http_run, but for the watchdog (serve_watchdog.c). */
#ifndef CMD_REALM_SERVE_H
#define CMD_REALM_SERVE_H

#include "api/api.h"
#include "chat/chat.h"
#include "cmd.h"
#include "conf/conf.h"
#include "http/http.h"
#include "tenant/tenant.h"
#include "wasm/wasm.h"

/* ---- configuration (serve_conf.c) ---- */

/* The command line; it goes before the file, at each reload again. */
struct serve_args {
    const char *config, *host, *port, *model, *models_dir, *guest, *state, *compat;
    bool print_config, check_config;
};

/* Defaults, the file, the command line, checked.  0, or a status with its sentence; conf is
 * to be freed after success alone. */
MUST_USE int serve_conf_read(const struct serve_args *a, struct conf *conf,
                             struct realm_error *err);
/* Level and format of the log; REALM_LOG goes before the file's level. */
void serve_conf_log(const struct conf *conf);

/* ---- models (serve_models.c) ---- */

/* What the configuration calls a file: it ends in .gguf or has a slash. */
bool serve_is_file(const char *model);

/* The models that clients may name, as api_set_models takes them. */
struct serve_models {
    struct api_models api; /* views of conf and of what is below */
    struct api_model *named, *aliases;
    char *id;   /* of the default model, when that is a file */
    char *tiny; /* path of the model that comes along, if it is served */
};

/* The file that is to be loaded before the server listens: models.default when it is one, or
 * the model that comes along; NULL: none. */
const char *serve_models_first(const struct serve_models *m);
/* Warns of a folder that has no model, which is seldom meant. */
void serve_models_look(const struct conf *conf);
/* Outlived by conf.  0, or a status with its sentence. */
MUST_USE int serve_models_open(struct serve_models *m, const struct conf *conf,
                               struct realm_error *err);
void serve_models_close(struct serve_models *m);

/* ---- state directory (serve_state.c) ---- */

struct serve_state {
    char *dir, *guests, *socket; /* STATE, STATE/guests, STATE/admin.sock */
    int lock_fd;
};

/* STATE/admin.sock of the given folder, or of the user's own; for mem_free.  REALM_E_ARG: there is
 * none; REALM_E_NOMEM. */
MUST_USE int serve_state_socket(char **out, const char *given, struct realm_error *err);
/* Makes the folder (given, or the user's own) and takes its lock: REALM_E_ARG when another
 * server has it, or when others may write to it; REALM_E_SYS, REALM_E_NOMEM. */
MUST_USE int serve_state_open(struct serve_state *s, const char *given, struct realm_error *err);
void serve_state_close(struct serve_state *s);

/* ---- watchdog (serve_watchdog.c) ---- */

struct watchdog;

/* Sees whether the engine gets on: see serve_watchdog.c.  REALM_E_NOMEM, REALM_E_SYS. */
MUST_USE int watchdog_open(struct watchdog **out, struct realm *engine, struct api *api);
/* From here on engine and api are left alone; if watchdog_close does not come within some
 * seconds, the process ends with status 0: whoever stops a server does not want to wait. */
void watchdog_leave(struct watchdog *w);
void watchdog_close(struct watchdog *w); /* NULL is fine */

/* ---- the server (serve.c) ---- */

struct serve {
    const struct serve_args *args;
    struct conf first; /* with which it was started: what only a new start changes */
    struct conf conf;  /* now */
    struct serve_models models;
    struct serve_state state;
    struct realm *engine;
    struct tenants *tenants;
    struct chat *chat;
    struct wasm_host *wasm;
    struct wasm_guest *guest;
    struct api *api;
    struct http_server *http;
    struct watchdog *watchdog;
    uint16_t port, metrics_port; /* in use */
    uint64_t cut_ns, stop_ns;    /* while it drains: when to end what runs, and the rest; or 0 */
    bool draining;
};

/* Opens everything and listens.  0, or a status with its sentence; closed in either case. */
MUST_USE int serve_open(struct serve *s, struct realm_error *err);
void serve_close(struct serve *s);

/* Reads the configuration again (serve_reload.c); what is wrong is logged and changes
 * nothing. */
void serve_reload(struct serve *s);
/* Has the api take c's shared prompts; REALM_E_NOMEM. */
MUST_USE int serve_set_shared(struct serve *s, const struct conf *c, struct realm_error *err);

#endif
