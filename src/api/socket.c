/* api/socket.c - WebSockets: calls of functions, many at once on one connection. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api_impl.h"
#include "api/dispatch.h"
#include "base/err.h"
#include "base/mem.h"

enum { CALL_ID_MAX = 256, SEND_BYTES_MAX = 64 << 20 };

struct socket {
    struct list link; /* in api.sockets */
    struct api *api;
    struct http_ws *ws;
    struct list calls; /* that are open */
    size_t n_calls;
    uint64_t n_opened; /* calls so far */
};

struct call {
    struct list link;
    struct socket *socket;
    char *id;
    struct job *job;
};

void socket_open(struct api *a, struct http_exchange *x)
{
    struct api_error e = {0};
    struct socket *s = a->draining ? NULL : mem_zalloc(sizeof(*s));
    if (!s) {
        (void)api_from_status(&e, a->draining ? REALM_E_SHUTDOWN : REALM_E_NOMEM, NULL);
        api_refuse(x, &e);
        return;
    }
    s->api = a;
    list_init(&s->calls);
    list_add_tail(&a->sockets, &s->link);
    s->ws = http_ws_accept(x);
    if (!s->ws) {
        list_remove(&s->link);
        mem_free(s);
        return;
    }
    http_ws_set_user(s->ws, s);
}

void socket_closed(struct api *a, struct http_ws *ws)
{
    (void)a;
    struct socket *s = http_ws_user(ws);
    s->ws = NULL;
    while (!list_empty(&s->calls)) {
        struct call *c = CONTAINER_OF(s->calls.next, struct call, link);
        if (c->job)
            job_gone(c->job);
        else
            call_over(c);
    }
    list_remove(&s->link);
    mem_free(s);
}

/* ---- answers ---- */

/* {"id":…,"status":…,NAME:VALUE}, with value as JSON text; none when it is empty. */
static void send(struct socket *s, const char *id, const char *status, const char *name,
                 struct slice value)
{
    struct buf text;
    buf_init(&text, SEND_BYTES_MAX);
    struct writer w = writer_to(&text);
    write_text(&w, "{\"id\":");
    write_quoted(&w, id);
    write_f(&w, ",\"status\":\"%s\"", status);
    if (value.n) {
        write_f(&w, ",\"%s\":", name);
        write_bytes(&w, value.p, value.n);
    }
    write_text(&w, "}");
    if (w.status)
        http_ws_close(s->ws, 1011,
                      w.status == REALM_E_LIMIT ? "the answer is too long" : "out of memory");
    else
        http_ws_send(s->ws, buf_slice(&text));
    buf_free(&text);
}

static void send_json(struct socket *s, const char *id, const char *status, const char *name,
                      json_t *value)
{
    char *text = value ? json_dumps(value, JSON_COMPACT) : NULL;
    json_decref(value);
    if (text)
        send(s, id, status, name, slice_of(text));
    else
        http_ws_close(s->ws, 1011, "out of memory");
    free(text);
}

static void send_error(struct socket *s, const char *id, const struct api_error *e)
{
    send_json(s, id, "error", "error", api_error_ws(e));
}

void call_send(struct call *c, const char *status, struct slice data)
{
    if (c->socket->ws)
        send(c->socket, c->id, status, "data", data);
}

void call_send_error(struct call *c, const struct api_error *e)
{
    if (c->socket->ws)
        send_error(c->socket, c->id, e);
}

void call_over(struct call *c)
{
    list_remove(&c->link);
    c->socket->n_calls--;
    mem_free(c->id);
    mem_free(c);
}

void call_set_job(struct call *c, struct job *j)
{
    c->job = j;
}

/* ---- calls ---- */

static struct call *find(struct socket *s, const char *id)
{
    for (struct list *i = s->calls.next; i != &s->calls; i = i->next) {
        struct call *c = CONTAINER_OF(i, struct call, link);
        if (strcmp(c->id, id) == 0)
            return c;
    }
    return NULL;
}

static struct call *call_open(struct socket *s, const char *id, struct api_error *e)
{
    if (s->n_calls == WS_CALLS_MAX) {
        (void)api_from_status(e, REALM_E_LIMIT, NULL);
        return NULL;
    }
    struct call *c = mem_zalloc(sizeof(*c));
    char *copy = mem_strdup(id);
    if (!c || !copy) {
        mem_free(c);
        mem_free(copy);
        (void)api_from_status(e, REALM_E_NOMEM, NULL);
        return NULL;
    }
    *c = (struct call){.socket = s, .id = copy};
    list_add_tail(&s->calls, &c->link);
    s->n_calls++;
    return c;
}

/* Ends another call of this connection. */
static int cancel(struct socket *s, const json_t *params, struct api_error *e)
{
    const char *id = json_string_value(json_object_get(params, "id"));
    struct call *c = id ? find(s, id) : NULL;
    if (!c)
        return api_bad(e, "id", NULL, "no open call has this id");
    call_send(c, "cancelled", (struct slice){0});
    job_gone(c->job);
    return 0;
}

/* Functions that answer at once; false: it is none of them. */
static bool answer_now(struct socket *s, const char *id, const char *function, const json_t *params,
                       struct api_error *e, int *status)
{
    if (strcmp(function, "health") == 0) {
        send_json(s, id, "complete", "data", health_json(s->api));
    } else if (strcmp(function, "metadata") == 0) {
        send_json(s, id, "complete", "data", dispatch_metadata());
    } else if (strcmp(function, "cancel") == 0) {
        *status = cancel(s, params, e);
        if (!*status)
            send(s, id, "complete", "data", slice_of("{\"cancelled\":true}"));
    } else if (strcmp(function, "pipeline") == 0) {
        *status = api_bad(e, "pipeline", NULL, "no pipeline is configured");
    } else {
        return false;
    }
    return true;
}

static const struct door *door_of(const char *function)
{
    if (strcmp(function, "generate") == 0)
        return &door_generate_call;
    return strcmp(function, "chat") == 0 ? &door_chat_call : NULL;
}

static int dispatch(struct socket *s, const char *id, const json_t *message, size_t bytes,
                    struct api_error *e)
{
    const char *function = json_string_value(json_object_get(message, "function"));
    json_t *params = json_object_get(message, "params");
    const json_t *tenant = json_object_get(message, "tenant_id");
    int status = 0;
    if (!function)
        return api_bad(e, "function", NULL, "function must be a string");
    if (tenant && !json_is_null(tenant) &&
        (!json_is_string(tenant) || strcmp(json_string_value(tenant), "default") != 0))
        return api_fail(e, 401, "invalid_tenant", "tenant_id is not the key's own");
    if (params && !json_is_object(params))
        return api_bad(e, "params", NULL, "params must be an object");
    if (find(s, id))
        return api_bad(e, "id", NULL, "a call with this id is open");
    if (answer_now(s, id, function, params, e, &status))
        return status;
    const struct door *door = door_of(function);
    if (!door)
        return api_fail(e, 404, "unknown_function", "there is no such function");
    if (s->api->draining)
        return api_from_status(e, REALM_E_SHUTDOWN, NULL);
    struct call *c = call_open(s, id, e);
    if (!c)
        return -1;
    char request_id[40];
    snprintf(request_id, sizeof(request_id), "%s-%llu", http_ws_id(s->ws),
             (unsigned long long)++s->n_opened);
    params = params ? json_incref(params) : json_object();
    job_open_call(s->api, c, door, params, bytes, request_id);
    return 0;
}

/* bytes: that the message came in. */
static void read_call(struct socket *s, const json_t *message, size_t bytes)
{
    struct api_error e = {0};
    const json_t *id = json_object_get(message, "id");
    if (!json_is_string(id) || json_string_length(id) > CALL_ID_MAX ||
        strlen(json_string_value(id)) != json_string_length(id)) {
        (void)api_bad(&e, "id", NULL, "id must be a string of at most %d bytes", CALL_ID_MAX);
        send_error(s, "", &e);
        return;
    }
    if (dispatch(s, json_string_value(id), message, bytes, &e))
        send_error(s, json_string_value(id), &e);
}

void socket_message(struct api *a, struct http_ws *ws, bool text, struct slice message)
{
    (void)a;
    struct socket *s = http_ws_user(ws);
    struct api_error e = {0};
    json_t *json = NULL;
    if (!text)
        (void)api_bad(&e, NULL, NULL, "messages are text, and this one is binary");
    else if (ask_json(&json, message.p, message.n, &e) == 0)
        read_call(s, json, message.n);
    if (!json)
        send_error(s, "", &e);
    json_decref(json);
}
