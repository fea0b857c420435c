/* api/routes.c - which request goes where. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api_impl.h"
#include "api/openapi.h"
#include "api/query.h"

/* What clients that come again by themselves may be let wait: a minute, by which rates count. */
enum { RETRY_SOON_MS = 60000 };

/* Either a door, or a function that answers at once. */
struct route {
    const char *method, *path;
    const struct door *door;
    void (*answer)(struct api *a, struct http_exchange *x);
};

static void openapi_answer(struct api *a, struct http_exchange *x)
{
    (void)a;
    api_answer_json(x, 200, openapi_document());
}

static const struct route routes[] = {
    {"POST", "/v1/chat/completions", &door_chat, NULL},
    {"POST", "/v1/completions", &door_completion, NULL},
    {"POST", "/v1/embeddings", &door_embeddings, NULL},
    {"POST", "/v1/messages", &door_messages, NULL},
    {"POST", "/v1/messages/count_tokens", &door_count_tokens, NULL},
    {"GET", "/v1/models", &door_models, NULL},
    {"GET", "/v1/guest/log", &door_own_guest_log, NULL},
    {"POST", "/completion", &door_llama, NULL},
    {"POST", "/completions", &door_llama, NULL},
    {"POST", "/embedding", &door_llama_embeddings, NULL},
    {"POST", "/embeddings", &door_llama_embeddings, NULL},
    {"POST", "/tokenize", &door_tokenize, NULL},
    {"POST", "/detokenize", &door_detokenize, NULL},
    {"POST", "/apply-template", &door_apply_template, NULL},
    {"GET", "/props", &door_props, NULL},
    {"GET", "/health", NULL, health_answer},
    {"GET", "/v1/health", NULL, health_answer},
    {"GET", "/ready", NULL, ready_answer},
    {"GET", "/metrics", NULL, metrics_answer},
    {"GET", "/openapi.json", NULL, openapi_answer},
    /* llama-server has these without the version, too. */
    {"POST", "/chat/completions", &door_chat, NULL},
    {"GET", "/models", &door_models, NULL},
};

static const char MODELS[] = "/v1/models/";

void api_answer_json(struct http_exchange *x, int status, json_t *body)
{
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    struct api_error e = {0};
    json_decref(body);
    if (text) {
        http_respond(x, status, "application/json", NULL, 0, slice_of(text));
    } else {
        (void)api_from_status(&e, REALM_E_NOMEM, NULL);
        api_refuse(x, &e);
    }
    free(text);
}

size_t api_retry_headers(int http, uint32_t retry_ms, struct http_header *headers,
                         struct retry_texts *t)
{
    size_t n = 0;
    snprintf(t->seconds, sizeof(t->seconds), "%u", api_retry_seconds(retry_ms));
    snprintf(t->ms, sizeof(t->ms), "%u", retry_ms);
    if (retry_ms) {
        headers[n++] = (struct http_header){"Retry-After", t->seconds};
        headers[n++] = (struct http_header){"retry-after-ms", t->ms};
    }
    if (http == 429 && (retry_ms == 0 || retry_ms > RETRY_SOON_MS))
        headers[n++] = (struct http_header){"x-should-retry", "false"};
    return n;
}

static bool is_anthropic(const struct http_exchange *x)
{
    static const char path[] = "/v1/messages";
    return strncmp(http_path(x), path, strlen(path)) == 0;
}

/* In the form that the path's clients read.  allow: the methods of a 405; NULL: it is none. */
static void refuse_as(struct http_exchange *x, const struct api_error *error, const char *allow)
{
    bool theirs = is_anthropic(x);
    struct api_error e = *error;
    struct api_error_text t;
    struct retry_texts texts;
    struct http_header headers[3 + RETRY_HEADERS_MAX];
    api_error_write(&t, &e, theirs ? api_error_anthropic : api_error_openai, http_shown_id(x));
    size_t n = api_retry_headers(e.http, e.retry_ms, headers, &texts);
    if (e.http == 401)
        headers[n++] = (struct http_header){"WWW-Authenticate", "Bearer"};
    if (theirs)
        headers[n++] = (struct http_header){door_messages.id_field, http_shown_id(x)};
    if (allow)
        headers[n++] = (struct http_header){"Allow", allow};
    http_respond(x, e.http, "application/json", headers, n, slice_of(t.text));
    api_error_text_free(&t);
}

void api_write_refusal(const struct http_exchange *x, struct http_refusal *r)
{
    struct api_error e = {0};
    if (!is_anthropic(x))
        return;
    (void)api_fail(&e, r->status, r->code, "%s", r->message);
    api_error_plain(r->body, sizeof(r->body), &e, api_error_anthropic, r->id);
    r->id_field = door_messages.id_field;
}

void api_refuse(struct http_exchange *x, const struct api_error *e)
{
    refuse_as(x, e, NULL);
}

static void refuse(struct http_exchange *x, int http, const char *code, const char *what)
{
    struct api_error e = {0};
    (void)api_fail(&e, http, code, "%s", what);
    refuse_as(x, &e, NULL);
}

bool api_has_method(const struct http_exchange *x, const char *method)
{
    const char *m = http_method(x);
    return strcmp(m, method) == 0 || (strcmp(m, "HEAD") == 0 && strcmp(method, "GET") == 0);
}

void api_refuse_method(struct http_exchange *x, const char *allow)
{
    struct api_error e = {0};
    (void)api_fail(&e, 405, "method_not_allowed", "this path takes %s", allow);
    refuse_as(x, &e, allow);
}

static bool is_admin(const struct http_exchange *x)
{
    return strncmp(http_path(x), "/admin/", 7) == 0;
}

/* The socket's file permissions let callers in; on the main port the key does, and only
 * from this machine.  To everybody else nothing is there. */
static bool may_administer(const struct api *a, const struct http_exchange *x)
{
    return http_tag(x) == API_ADMIN ||
           (http_tag(x) == API_MAIN && http_from_loopback(x) && auth_is(x, a->admin_key));
}

static void route_admin(struct api *a, struct http_exchange *x)
{
    if (may_administer(a, x))
        admin_route(a, x);
    else
        refuse(x, 404, "not_found", API_NOTHING);
}

static bool is_socket_path(const char *path)
{
    return strcmp(path, "/") == 0 || strcmp(path, "/ws") == 0;
}

/* Who sends x; false: x is answered. */
static bool let_in(struct api *a, struct http_exchange *x, struct tenant_pass *pass)
{
    struct api_error e = {0};
    if (auth_request(&a->auth, x, pass, &e) == 0)
        return true;
    refuse_as(x, &e, NULL);
    return false;
}

/* Doors without a body take the model's name from the query. */
static void open_door(struct api *a, struct http_exchange *x, const struct door *door)
{
    char model[MODEL_NAME_MAX + 1];
    struct tenant_pass pass;
    int found = query_get(http_query(x), "model", model, sizeof(model));
    if (found < 0)
        refuse(x, 400, NULL, "the query's model is no name");
    else if (let_in(a, x, &pass))
        job_open_http(a, x, door, &pass, found && model[0] ? model : NULL);
}

static void refuse_draining(struct http_exchange *x)
{
    struct api_error e = {0};
    (void)api_from_status(&e, REALM_E_SHUTDOWN, NULL);
    api_refuse(x, &e);
}

static void show_model(struct api *a, struct http_exchange *x, const char *name)
{
    struct tenant_pass pass;
    if (a->draining)
        refuse_draining(x);
    else if (let_in(a, x, &pass))
        job_open_http(a, x, &door_model, &pass, name);
}

static void go(struct api *a, struct http_exchange *x, const struct route *r)
{
    if (r->answer) {
        r->answer(a, x);
    } else if (a->draining) {
        refuse_draining(x);
    } else {
        open_door(a, x, r->door);
    }
}

static void find(struct api *a, struct http_exchange *x, const char *path)
{
    const char *allow = NULL;
    for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
        if (strcmp(path, routes[i].path) != 0)
            continue;
        if (api_has_method(x, routes[i].method)) {
            go(a, x, &routes[i]);
            return;
        }
        allow = routes[i].method;
    }
    bool model = strncmp(path, MODELS, strlen(MODELS)) == 0;
    if (model && api_has_method(x, "GET"))
        show_model(a, x, path + strlen(MODELS));
    else if (model)
        api_refuse_method(x, "GET");
    else if (allow)
        api_refuse_method(x, allow);
    else
        refuse(x, 404, "not_found", API_NOTHING);
}

/* The port of those who watch the server. */
static void route_metrics(struct api *a, struct http_exchange *x, const char *path)
{
    static const char *const shown[] = {"/metrics", "/health", "/ready"};
    for (size_t i = 0; i < ARRAY_LEN(shown); i++) {
        if (strcmp(path, shown[i]) == 0) {
            find(a, x, path);
            return;
        }
    }
    refuse(x, 404, "not_found", "this port has /metrics, /health and /ready alone");
}

void api_route(struct api *a, struct http_exchange *x)
{
    const char *path = http_path(x);
    if (http_tag(x) == API_METRICS) {
        route_metrics(a, x, path);
    } else if (is_admin(x)) {
        route_admin(a, x);
    } else if (is_socket_path(path) && http_wants_ws(x)) {
        socket_open(a, x);
    } else {
        find(a, x, path);
    }
}

/* Administration's bodies are small or let in by its own key. */
bool api_wants_body(struct api *a, const struct http_exchange *x, uint32_t *payer)
{
    *payer = 0;
    if (http_tag(x) == API_ADMIN)
        return true;
    if (http_tag(x) == API_METRICS)
        return false;
    if (is_admin(x))
        return may_administer(a, x);
    return auth_lets_in(&a->auth, x, payer);
}
