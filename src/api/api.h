/* api/api.h - the server's endpoints over the engine.
 *
 * One file for each endpoint; job.h says how they share work.  The api is the handler of
 * an http_server, and everything in it that a client waits for happens on that server's
 * thread, but for what may block: loading a model, rendering a template, tokenising,
 * running a guest.  That is done by workers (workers.h). */
#ifndef API_API_H
#define API_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "chat/chat.h"
#include "http/http.h"
#include "realm/realm.h"
#include "tenant/tenant.h"
#include "wasm/wasm.h"

struct api;

/* What http_tag says of an exchange. */
enum api_tag {
    API_MAIN = 1,    /* clients */
    API_METRICS = 2, /* the port of /metrics alone */
    API_ADMIN = 3,   /* the socket for administration: whoever can open it may */
};

struct api_model {
    const char *id;
    const char *path;
};

/* The models that clients may name.  Copied. */
struct api_models {
    const char *dir; /* every *.gguf in it is one, by its name without .gguf; NULL: none */
    const struct api_model *named; /* files beside dir's */
    size_t n_named;
    const struct api_model *aliases; /* path: the id that it stands for */
    size_t n_aliases;
    const char *main_model; /* id for requests that name none; NULL: the only one, if it is */
};

struct api_options {
    struct realm *engine;
    struct chat *chat;
    struct tenants *tenants;  /* who may do what, and the ledger */
    struct wasm_host *wasm;   /* NULL: no guests */
    struct wasm_guest *guest; /* answers for tenants without a program; NULL: the model does */
    bool compat_llama_server;
    uint32_t request_ms;
    bool needs_key;          /* callers are let in by keys alone, even while there is none */
    const char *admin_key;   /* for /admin on the main port from loopback; NULL: not there */
    const char *metrics_key; /* for /metrics, from anywhere; NULL: there is none */
    bool metrics_public;     /* /metrics needs no key even where all else does */
    void (*on_signal)(void *ctx, int sig); /* handed on from the http_server */
    void (*on_tick)(void *ctx);            /* so is this */
    void *ctx;
};

/* REALM_E_NOMEM, REALM_E_SYS. */
MUST_USE int api_open(struct api **out, const struct api_options *options, struct realm_error *err);
/* First api_attach(a, NULL), then http_close, then this; waits for the workers. */
void api_close(struct api *a);

/* For http_open.  api_attach tells the api which server that became. */
struct http_handler api_handler(struct api *a);
void api_attach(struct api *a, struct http_server *s);

/* Replaces the models that clients may name; requests that run go on.  REALM_E_NOMEM,
 * REALM_E_ARG: two models have one id, an alias stands for nothing. */
MUST_USE int api_set_models(struct api *a, const struct api_models *models,
                            struct realm_error *err);
/* Replaces the texts that all tenants may share in the cache (shared.h).  REALM_E_NOMEM. */
MUST_USE int api_set_shared(struct api *a, const char *const *texts, size_t n);
/* Starts loading the models of these ids, pinned or not, without waiting. */
void api_preload(struct api *a, const char *const *ids, size_t n, bool pin);
/* Has it stand among the audits that the configuration was taken over, without waiting. */
void api_audit_reload(struct api *a);
void api_set_limits(struct api *a, bool compat_llama_server, uint32_t request_ms);

/* Whether the engine stands still, for /health.  Any thread. */
void api_set_stuck(struct api *a, bool stuck);

/* No new work from now on: /ready and new requests answer 503. */
void api_drain(struct api *a);
/* Ends what still runs with an error event `shutdown`. */
void api_cut(struct api *a);

#endif
