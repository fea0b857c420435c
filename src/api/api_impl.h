/* api/api_impl.h - inside the api: its parts, and what the endpoints share. */
#ifndef API_API_IMPL_H
#define API_API_IMPL_H

#include <stdatomic.h>

#include "api/api.h"
#include "api/auth.h"
#include "api/catalog.h"
#include "api/guests.h"
#include "api/job.h"
#include "api/party.h"
#include "api/shared.h"
#include "base/list.h"
#include "base/thread.h"
#include "metrics/metrics.h"

enum { DOORS_MAX = 64, TENANTS_SHOWN_MAX = 100 };

struct tenant_counts {
    char id[TENANT_ID_MAX + 1];
    uint64_t requests[OUTCOMES];
    uint64_t prompt_tokens, cached_tokens, completion_tokens;
    uint64_t running, waiting, kv_pages; /* as the engine said last */
    uint64_t guest_requests, guest_traps, guest_limits, guest_own_ms;
};

struct api_counts {
    const struct door *doors[DOORS_MAX]; /* in the order of their first request */
    size_t n_doors;
    uint64_t requests[DOORS_MAX][OUTCOMES];
    struct histogram first_token, between_tokens, queued, whole, admit;
    struct tenant_counts tenants[TENANTS_SHOWN_MAX], others;
    size_t n_tenants; /* of tenants, in the order of their first request */
};

struct api {
    struct api_options options;
    char *admin_key, *metrics_key;
    struct http_server *server;
    struct catalog *catalog;
    struct guests *guests; /* NULL: no programs are run */
    struct shared *shared;
    uint64_t started_ns;
    atomic_bool stuck;
    atomic_bool compat;
    _Atomic uint32_t request_ms;

    /* The server's thread. */
    struct list jobs;
    struct parties parties;
    struct list sockets;
    struct auth auth;
    bool draining;
    struct api_counts counts;

    struct mutex ready_lock;
    struct list ready; /* under ready_lock: jobs to be looked at */
};

/* routes.c */
void api_route(struct api *a, struct http_exchange *x);
/* Whether x's body is worth reading: its sender, to whom it is counted, is going to be let in. */
bool api_wants_body(struct api *a, const struct http_exchange *x, uint32_t *payer);
/* Puts what the http layer says to x into the form of the path's clients. */
void api_write_refusal(const struct http_exchange *x, struct http_refusal *r);
/* When to come again, of an answer with this status: Retry-After, retry-after-ms, and for clients
 * that would come by themselves, in vain, x-should-retry.  Returns how many; texts live in t. */
enum { RETRY_HEADERS_MAX = 3 };
struct retry_texts {
    char seconds[16], ms[16];
};
size_t api_retry_headers(int http, uint32_t retry_ms, struct http_header *headers,
                         struct retry_texts *t);
/* Answers a request that never became a job; takes its Retry-After from *e. */
void api_refuse(struct http_exchange *x, const struct api_error *e);
void api_answer_json(struct http_exchange *x, int status, json_t *body);
/* 405; allow: the methods that the path takes. */
void api_refuse_method(struct http_exchange *x, const char *allow);
/* Whether x has it; a HEAD request is a GET whose body stays here. */
bool api_has_method(const struct http_exchange *x, const char *method);

/* socket.c: WebSockets of the dispatch protocol */
struct call;
void socket_open(struct api *a, struct http_exchange *x);
void socket_message(struct api *a, struct http_ws *ws, bool text, struct slice message);
void socket_closed(struct api *a, struct http_ws *ws);
void socket_drain(struct http_ws *ws);
/* Closes those whose key came too late, or is not valid any more. */
void sockets_tick(struct api *a, uint64_t now_ns);
/* An answer to a call; data is JSON text, or empty. */
void call_send(struct call *c, const char *status, struct slice data);
void call_send_error(struct call *c, const struct api_error *e);
void call_over(struct call *c); /* c is dead afterwards */
void call_set_job(struct call *c, struct job *j);

/* health.c */
json_t *health_json(struct api *a); /* NULL when memory is short */
void health_answer(struct api *a, struct http_exchange *x);
void ready_answer(struct api *a, struct http_exchange *x);

/* metrics.c */
void metrics_answer(struct api *a, struct http_exchange *x);
void counts_init(struct api_counts *c);
void counts_job(struct api *a, const struct job *j);
void counts_token(struct api *a, struct job *j, uint64_t now_ns);

/* tenant_metrics.c */
void counts_tenant(struct api_counts *c, const struct job *j); /* of a request that ended */
void metrics_tenants(struct metrics_out *o, struct api_counts *c, struct realm *engine);
void metrics_ledger(struct metrics_out *o, struct tenants *tenants);

/* admin.c: whoever comes here has been let in */
void admin_route(struct api *a, struct http_exchange *x);
/* Worker.  The body into j->ask.body; an empty one is {}. */
MUST_USE int admin_body(struct job *j, struct api_error *e);
/* Worker.  A value of the query.  1: it is there; 0: it is not, or empty; -1: *e. */
MUST_USE int admin_query(struct job *j, const char *name, char *out, size_t max,
                         struct api_error *e);
/* Worker.  How a call of the tenants' layer ended: writes what it gave (a reference that this
 * takes over), or says in *e why it failed. */
MUST_USE int admin_result(struct job *j, int status, json_t *out, const struct realm_error *err,
                          struct api_error *e);
/* Worker.  The same of what has gone: {"id":…,"removed":true}. */
MUST_USE int admin_removed(struct job *j, int status, const struct realm_error *err,
                           struct api_error *e);
void admin_finish(struct job *j);
#define ADMIN_DOOR(what, does)                                                            \
    {                                                                                     \
        .name = (what), .work = (does), .error = api_error_openai, .finish = admin_finish \
    }

/* models.c */
/* The id that a name of a path means, where %2F stands for a slash; REALM_E_ARG: it is too long. */
MUST_USE int models_read_id(const char *name, char id[MODEL_NAME_MAX + 1]);

/* The doors, each in the file of its name. */
extern const struct door door_chat, door_completion, door_embeddings, door_messages,
    door_count_tokens, door_llama, door_llama_embeddings, door_tokenize, door_detokenize,
    door_apply_template, door_props, door_generate_call, door_chat_call, door_models, door_model,
    door_load, door_pin, door_unpin, door_unload, door_clear, door_reload;

/* admin_tenants.c, admin_guests.c */
extern const struct door door_tenants, door_tenant_create, door_tenant, door_tenant_change,
    door_tenant_remove, door_keys, door_key_create, door_key_change, door_key_remove, door_usage,
    door_requests, door_audits, door_guest_put, door_guests, door_guest_rollback, door_guest_remove,
    door_guest_log, door_own_guest_log;

#endif
