/* api/socket.c - WebSockets: calls of functions, many at once on one connection. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api_impl.h"
#include "api/dispatch.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fair.h"
#include "base/mem.h"

enum { CALL_ID_MAX = 256, SEND_BYTES_MAX = 64 << 20, CROWD_RETRY_MS = 1000 };

struct socket {
    struct list link; /* in api.sockets */
    struct api *api;
    struct http_ws *ws;
    struct list calls; /* that are open */
    size_t n_calls;
    uint64_t n_opened;       /* calls so far */
    struct tenant_pass pass; /* tenant NULL: its key has not come yet */
    uint64_t auth_until_ns;  /* until when it must */
    uint8_t address[16];     /* of the client */
    bool loopback;
    bool closing; /* by us */
};

struct call {
    struct list link;
    struct socket *socket;
    char *id;
    struct job *job;
};

static void socket_free(struct socket *s)
{
    if (s->pass.tenant)
        tenant_pass_drop(&s->pass);
    list_remove(&s->link);
    mem_free(s);
}

/* 1008: the one who speaks may not. */
static void end_socket(struct socket *s, const char *why)
{
    s->closing = true;
    http_ws_close(s->ws, 1008, why);
}

/* While the server drains: what runs is answered before the goodbye. */
static void end_when_idle(struct socket *s)
{
    if (!s->ws || s->closing || !list_empty(&s->calls))
        return;
    s->closing = true;
    http_ws_close(s->ws, 1001, "the server is shutting down");
}

static void ask_for_key(struct socket *s)
{
    s->auth_until_ns = clock_ns(clock_system()) + AUTH_WAIT_MS_MAX * 1000000ull;
    http_ws_guard(s->ws, true);
    http_ws_send(s->ws, slice_of("{\"type\":\"auth_required\",\"message\":\"send "
                                 "{\\\"type\\\":\\\"auth\\\",\\\"api_key\\\":...} first\"}"));
}

/* A key in the request's head is enough; with none there, it may come in a message. */
static int let_in(struct api *a, const struct http_exchange *x, struct tenant_pass *pass,
                  struct api_error *e)
{
    *pass = (struct tenant_pass){0};
    return auth_wanted(&a->auth) && !auth_shown(x) ? 0 : auth_request(&a->auth, x, pass, e);
}

static const char CROWDED[] = "the tenant has its part of the server's connections";

static void refuse_crowd(struct api_error *e)
{
    (void)api_fail(e, 429, "too_many_connections", "%s", CROWDED);
    e->retry_ms = CROWD_RETRY_MS;
}

/* 1013: later perhaps. */
static void set_payer(struct socket *s)
{
    if (http_ws_set_payer(s->ws, fair_hash(tenant_view(&s->pass)->id)))
        return;
    s->closing = true;
    http_ws_close(s->ws, 1013, CROWDED);
}

void socket_open(struct api *a, struct http_exchange *x)
{
    struct api_error e = {0};
    struct tenant_pass pass;
    struct socket *s = a->draining ? NULL : mem_zalloc(sizeof(*s));
    if (!s)
        (void)api_from_status(&e, a->draining ? REALM_E_SHUTDOWN : REALM_E_NOMEM, NULL);
    else if (http_crowded(x))
        refuse_crowd(&e);
    if (e.http || let_in(a, x, &pass, &e)) {
        mem_free(s);
        api_refuse(x, &e);
        return;
    }
    s->api = a;
    s->pass = pass;
    memcpy(s->address, http_address(x), sizeof(s->address));
    s->loopback = http_from_loopback(x);
    list_init(&s->calls);
    list_add_tail(&a->sockets, &s->link);
    s->ws = http_ws_accept(x);
    if (!s->ws) {
        socket_free(s);
        return;
    }
    http_ws_set_user(s->ws, s);
    if (s->pass.tenant)
        set_payer(s);
    else
        ask_for_key(s);
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
    socket_free(s);
}

void socket_drain(struct http_ws *ws)
{
    end_when_idle(http_ws_user(ws));
}

void sockets_tick(struct api *a, uint64_t now_ns)
{
    for (struct list *i = a->sockets.next, *next; i != &a->sockets; i = next) {
        next = i->next;
        struct socket *s = CONTAINER_OF(i, struct socket, link);
        if (s->closing)
            continue;
        if (!s->pass.tenant && now_ns >= s->auth_until_ns)
            end_socket(s, "no key came in time");
        else if (s->pass.tenant && !s->pass.key[0] && auth_wanted(&a->auth))
            end_socket(s, "keys are wanted from now on");
        else if (s->pass.tenant && !tenant_pass_valid(&s->pass))
            end_socket(s, "the key is not valid any more");
    }
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

/* A message that answers no call. */
static void send_message(struct socket *s, json_t *message)
{
    char *text = message ? json_dumps(message, JSON_COMPACT) : NULL;
    json_decref(message);
    if (text)
        http_ws_send(s->ws, slice_of(text));
    else
        http_ws_close(s->ws, 1011, "out of memory");
    free(text);
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
    struct socket *s = c->socket;
    list_remove(&c->link);
    s->n_calls--;
    mem_free(c->id);
    mem_free(c);
    if (s->api->draining)
        end_when_idle(s);
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
    if (!c || !job_cancel(c->job))
        return api_bad(e, "id", NULL, "no open call has this id");
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
        (!json_is_string(tenant) ||
         strcmp(json_string_value(tenant), tenant_view(&s->pass)->id) != 0))
        return api_fail(e, 401, "invalid_tenant", "tenant_id is not the key's own");
    if (json_is_null(params))
        params = NULL;
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
    const struct tenant_pass pass = tenant_pass_share(&s->pass);
    const struct call_message call = {params ? json_incref(params) : json_object(), bytes,
                                      request_id};
    job_open_call(s->api, c, door, &pass, &call);
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

/* {"type":"auth","api_key":…}: whose calls these are. */
static void read_key(struct socket *s, const json_t *message)
{
    struct api_error e = {0};
    const char *type = json_string_value(json_object_get(message, "type"));
    const char *key = json_string_value(json_object_get(message, "api_key"));
    if (type && strcmp(type, "auth") == 0 && key &&
        auth_key(&s->api->auth, key, s->address, s->loopback, &s->pass, &e) == 0) {
        http_ws_guard(s->ws, false);
        set_payer(s);
        if (!s->closing)
            send_message(s, json_pack("{s:s,s:s}", "type", "auth_success", "tenant_id",
                                      tenant_view(&s->pass)->id));
        return;
    }
    send_message(s, json_pack("{s:s,s:s}", "type", "auth_failed", "error",
                              e.message[0] ? e.message : "the first message must be the key"));
    end_socket(s, "not let in");
}

/* The text of a key that is not needed any more. */
static void wipe_key(json_t *message)
{
    const json_t *key = json_object_get(message, "api_key");
    if (json_is_string(key))
        mem_wipe((void *)json_string_value(key), json_string_length(key));
}

void socket_message(struct api *a, struct http_ws *ws, bool text, struct slice message)
{
    (void)a;
    struct socket *s = http_ws_user(ws);
    struct api_error e = {0};
    json_t *json = NULL;
    if (s->closing)
        return;
    if (!text)
        (void)api_bad(&e, NULL, NULL, "messages are text, and this one is binary");
    else
        (void)(ask_json(&json, message.p, message.n, &e) == 0);
    if (!s->pass.tenant) {
        read_key(s, json);
        wipe_key(json);
    } else if (json) {
        read_call(s, json, message.n);
    } else {
        send_error(s, "", &e);
    }
    json_decref(json);
}
