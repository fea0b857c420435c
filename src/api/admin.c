/* api/admin.c - /admin/…: which call goes where, and what they share.
 *
 * Whatever may wait for a disk is a door, whose work a worker does. */
#include <stdlib.h>
#include <string.h>

#include "api/api_impl.h"
#include "api/query.h"

static void cache_stats(struct api *a, struct http_exchange *x)
{
    struct realm_stats s;
    realm_stats(a->options.engine, &s);
    api_answer_json(
        x, 200,
        json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:i,s:i,s:i,s:I,s:I,s:I}", "hits",
                  (json_int_t)s.hits, "misses", (json_int_t)s.misses, "loads", (json_int_t)s.loads,
                  "loads_failed", (json_int_t)s.loads_failed, "evictions", (json_int_t)s.evictions,
                  "bytes", (json_int_t)s.bytes, "bytes_peak", (json_int_t)s.bytes_peak, "bytes_max",
                  (json_int_t)s.bytes_max, "models", (int)s.models, "leases", (int)s.leases,
                  "loading", (int)s.loading, "kv_pages", (json_int_t)s.kv_pages, "kv_bytes",
                  (json_int_t)s.kv_bytes, "kv_bytes_max", (json_int_t)s.kv_bytes_max));
}

/* ---- which call goes where ---- */

/* A path without an id is `before`; one with an id is before, id and after.  Either a door, or a
 * function that answers at once. */
struct call_row {
    const char *method, *before, *after;
    const struct door *door;
    void (*answer)(struct api *a, struct http_exchange *x);
};

#define TENANTS "/admin/tenants/"
#define KEYS "/admin/keys/"
#define MODELS "/admin/models/"

static const struct call_row calls[] = {
    {"GET", "/admin/tenants", NULL, &door_tenants, NULL},
    {"POST", "/admin/tenants", NULL, &door_tenant_create, NULL},
    {"GET", TENANTS, "", &door_tenant, NULL},
    {"PATCH", TENANTS, "", &door_tenant_change, NULL},
    {"DELETE", TENANTS, "", &door_tenant_remove, NULL},
    {"GET", TENANTS, "/keys", &door_keys, NULL},
    {"POST", TENANTS, "/keys", &door_key_create, NULL},
    {"PATCH", KEYS, "", &door_key_change, NULL},
    {"DELETE", KEYS, "", &door_key_remove, NULL},
    {"GET", TENANTS, "/guest", &door_guests, NULL},
    {"PUT", TENANTS, "/guest", &door_guest_put, NULL},
    {"DELETE", TENANTS, "/guest", &door_guest_remove, NULL},
    {"GET", TENANTS, "/guest/log", &door_guest_log, NULL},
    {"POST", TENANTS, "/guest/rollback", &door_guest_rollback, NULL},
    {"GET", "/admin/usage", NULL, &door_usage, NULL},
    {"GET", "/admin/requests", NULL, &door_requests, NULL},
    {"GET", "/admin/audits", NULL, &door_audits, NULL},
    {"GET", "/admin/models", NULL, &door_models, NULL},
    {"POST", MODELS, "/load", &door_load, NULL},
    {"POST", MODELS, "/unload", &door_unload, NULL},
    {"POST", MODELS, "/pin", &door_pin, NULL},
    {"POST", MODELS, "/unpin", &door_unpin, NULL},
    {"GET", "/admin/cache", NULL, NULL, cache_stats},
    {"POST", "/admin/cache/clear", NULL, &door_clear, NULL},
};

/* The id's place in the path.  Names of models alone may have slashes in them. */
static bool matches(const struct call_row *c, const char *path, struct slice *id)
{
    *id = (struct slice){NULL, 0};
    if (!c->after)
        return strcmp(path, c->before) == 0;
    size_t before = strlen(c->before), after = strlen(c->after), n = strlen(path);
    if (n <= before + after || strncmp(path, c->before, before) != 0 ||
        strcmp(path + n - after, c->after) != 0)
        return false;
    *id = (struct slice){(const uint8_t *)path + before, n - before - after};
    return strcmp(c->before, MODELS) == 0 || !memchr(id->p, '/', id->n);
}

static void refuse(struct http_exchange *x, int http, const char *code, const char *what)
{
    struct api_error e = {0};
    (void)api_fail(&e, http, code, "%s", what);
    api_refuse(x, &e);
}

static void go(struct api *a, struct http_exchange *x, const struct call_row *c, struct slice at)
{
    char name[HTTP_LINE_MAX], id[HTTP_LINE_MAX];
    if (c->answer) {
        c->answer(a, x);
        return;
    }
    if (at.n >= sizeof(name)) {
        refuse(x, 404, "not_found", "nothing has such an id");
        return;
    }
    snprintf(name, sizeof(name), "%.*s", (int)at.n, at.n ? (const char *)at.p : "");
    if (models_read_id(name, id)) // a slash of a model's name may come as %2F
        refuse(x, 404, "not_found", "nothing has such an id");
    else
        job_open_admin(a, x, c->door, c->after ? id : NULL);
}

void admin_route(struct api *a, struct http_exchange *x)
{
    char allow[64] = "";
    struct slice id;
    for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
        if (!matches(&calls[i], http_path(x), &id))
            continue;
        if (api_has_method(x, calls[i].method)) {
            go(a, x, &calls[i], id);
            return;
        }
        size_t n = strlen(allow);
        snprintf(allow + n, sizeof(allow) - n, "%s%s", n ? ", " : "", calls[i].method);
    }
    if (allow[0])
        api_refuse_method(x, allow);
    else
        refuse(x, 404, "not_found", "there is no such admin call");
}

/* ---- what they share ---- */

int admin_body(struct job *j, struct api_error *e)
{
    if (j->body.n)
        return ask_json(&j->ask.body, j->body.p, j->body.n, e);
    j->ask.body = json_object();
    return j->ask.body ? 0 : api_from_status(e, REALM_E_NOMEM, NULL);
}

int admin_query(struct job *j, const char *name, char *out, size_t max, struct api_error *e)
{
    int found = query_get(j->query, name, out, max);
    if (found < 0)
        return api_bad(e, name, NULL, "the query's %s is malformed or too long", name);
    return found && out[0];
}

/* The member that a sentence begins with, as "limits.parallel": its length. */
static size_t member_at(const json_t *body, const char *text)
{
    char name[32];
    size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyz_");
    if (!n || n >= sizeof(name))
        return 0;
    snprintf(name, sizeof(name), "%.*s", (int)n, text);
    if (!json_object_get(body, name) && strcmp(name, "id") != 0)
        return 0; // a word as any other
    return strspn(text, "abcdefghijklmnopqrstuvwxyz_0123456789.[]");
}

static int fail(const struct job *j, int status, const struct realm_error *err, struct api_error *e)
{
    char param[sizeof(e->param)];
    if (status == REALM_E_NOT_FOUND && err->message[0])
        return api_fail(e, 404, "not_found", "%s", err->message);
    if (status != REALM_E_ARG || !err->message[0])
        return api_from_status(e, status, err);
    snprintf(param, sizeof(param), "%.*s", (int)member_at(j->ask.body, err->message), err->message);
    return api_bad(e, param, NULL, "%s", err->message);
}

int admin_result(struct job *j, int status, json_t *out, const struct realm_error *err,
                 struct api_error *e)
{
    if (status)
        return fail(j, status, err, e);
    char *text = out ? json_dumps(out, JSON_COMPACT | JSON_REAL_PRECISION(15)) : NULL;
    json_decref(out);
    if (!text)
        return api_from_status(e, REALM_E_NOMEM, NULL);
    write_text(&j->w, text);
    free(text);
    return 0;
}

int admin_removed(struct job *j, int status, const struct realm_error *err, struct api_error *e)
{
    if (status)
        return fail(j, status, err, e);
    write_text(&j->w, "{\"id\":");
    write_quoted(&j->w, j->param);
    write_text(&j->w, ",\"removed\":true}");
    return 0;
}

void admin_finish(struct job *j)
{
    job_answer(j, 200);
}
