/* api/models.c - GET /v1/models and what administration does to models. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "api/api_impl.h"
#include "base/err.h"
#include "base/log.h"

static const char *state_name(enum realm_model_state state)
{
    static const char *const names[] = {"unloaded", "loading", "loaded"};
    return names[state];
}

/* As RFC 3339 writes it. */
static void write_date(char out[32], int64_t at_s)
{
    struct tm tm;
    time_t t = (time_t)at_s;
    if (!gmtime_r(&t, &tm)) // a year beyond an int's
        tm = (struct tm){.tm_mday = 1, .tm_year = 70};
    strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

/* A model that comes or goes tells a tenant when others use it. */
static bool may_see_state(const struct tenant_pass *pass)
{
    return !pass->tenant || !pass->key[0];
}

/* OpenAI's four members, Anthropic's three beside id, and what else there is to know. */
static json_t *model_json(struct api *a, const struct catalog_model *m, const char *alias_of,
                          const struct tenant_pass *pass)
{
    struct realm_model_status status;
    char at[32];
    realm_model_status(a->options.engine, m->path, &status);
    write_date(at, m->created_s);
    json_t *json =
        json_pack("{s:s,s:s,s:I,s:s,s:s,s:s,s:s,s:b}", "id", m->id, "object", "model", "created",
                  (json_int_t)m->created_s, "owned_by", "realm", "type", "model", "display_name",
                  m->id, "created_at", at, "pinned", (int)status.pinned);
    if (may_see_state(pass)) {
        json_object_set_new(json, "state", json_string(state_name(status.state)));
        json_object_set_new(json, "memory_bytes", json_integer((json_int_t)status.bytes));
    }
    if (alias_of)
        json_object_set_new(json, "alias_of", json_string(alias_of));
    return json;
}

/* Whether this caller may see the model. */
static bool may_see(const struct tenant_pass *pass, const struct catalog_model *m,
                    const char *alias_of)
{
    return !pass->tenant || tenant_may_use(pass, m->id) ||
           (alias_of && tenant_may_use(pass, alias_of));
}

struct listing {
    struct api *api;
    const struct tenant_pass *pass;
    json_t *data;
};

static void add(void *ctx, const struct catalog_model *m, const char *alias_of)
{
    struct listing *l = ctx;
    if (may_see(l->pass, m, alias_of))
        json_array_append_new(l->data, model_json(l->api, m, alias_of, l->pass));
}

/* Takes over body; NULL: memory. */
static int write_json(struct job *j, json_t *body, struct api_error *e)
{
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    json_decref(body);
    if (text)
        write_text(&j->w, text);
    free(text);
    return text ? 0 : api_from_status(e, REALM_E_NOMEM, NULL);
}

static const char *id_at(const json_t *data, size_t i)
{
    return json_string_value(json_object_get(json_array_get(data, i), "id"));
}

/* One list for OpenAI's clients and Anthropic's, to which it is a page without further ones.
 * A folder with many files, or one that is far away, takes its time: a worker reads it. */
static int list(struct job *j, struct api_error *e)
{
    struct listing l = {j->api, &j->pass, json_array()};
    int status = catalog_each(j->api->catalog, add, &l);
    size_t n = json_array_size(l.data);
    const char *first = n ? id_at(l.data, 0) : NULL, *last = n ? id_at(l.data, n - 1) : NULL;
    json_t *body = json_pack("{s:s,s:b,s:s?,s:s?,s:o}", "object", "list", "has_more", 0, "first_id",
                             first, "last_id", last, "data", l.data);
    if (!status)
        return write_json(j, body, e);
    json_decref(body);
    return api_from_status(e, status, NULL);
}

static void finish(struct job *j)
{
    job_answer(j, 200);
}

const struct door door_models = {
    .name = "models", .work = list, .error = api_error_openai, .finish = finish};

/* A slash of a name comes as %2F from careful clients, and as it is from others. */
int models_read_id(const char *name, char id[MODEL_NAME_MAX + 1])
{
    size_t n = 0;
    for (const char *at = name; *at; n++) {
        bool slash = strncasecmp(at, "%2f", 3) == 0;
        if (n == MODEL_NAME_MAX)
            return REALM_E_ARG;
        id[n] = slash ? '/' : *at;
        at += slash ? 3 : 1;
    }
    id[n] = '\0';
    return 0;
}

/* Whether a file of the folder is there is the disk's to say. */
static int show(struct job *j, struct api_error *e)
{
    struct realm_error err = {0};
    char id[MODEL_NAME_MAX + 1];
    int status = models_read_id(j->param, id)
                     ? err_set(&err, REALM_E_NOT_FOUND, "no model has such a name")
                     : catalog_find(j->api->catalog, id, &j->named, &err);
    if (status)
        return api_from_status(e, status, &err);
    struct catalog_model shown = j->named;
    const char *alias_of = strcmp(j->named.id, id) != 0 ? j->named.id : NULL;
    snprintf(shown.id, sizeof(shown.id), "%s", id);
    if (!may_see(&j->pass, &shown, alias_of))
        return api_from_status(e, catalog_unknown(id, &err), &err);
    return write_json(j, model_json(j->api, &shown, alias_of, &j->pass), e);
}

const struct door door_model = {
    .name = "model", .work = show, .error = api_error_openai, .finish = finish};

/* ---- loading by an admin call, or at the start ---- */

/* What is done is done, even where it cannot be written down who did it. */
static void audit(const struct job *j, const char *action, const char *subject)
{
    struct realm_error err = {0};
    if (j->who && tenants_audit(j->api->options.tenants, j->who, action, subject, &err))
        log_line(LOG_ERROR, "%s of %s is missing among the audits: %s", action, subject,
                 err.message);
}

static int load(struct job *j, struct api_error *e)
{
    if (job_open_named(j, j->param, e))
        return -1;
    if (j->pin)
        realm_model_pin(j->model, true);
    audit(j, j->pin ? "model.pin" : "model.load", j->named.id);
    write_text(&j->w, "{\"id\":");
    write_quoted(&j->w, j->named.id);
    write_f(&j->w, ",\"state\":\"loaded\",\"memory_bytes\":%llu}",
            (unsigned long long)j->info.memory_bytes);
    return 0;
}

static int load_pinned(struct job *j, struct api_error *e)
{
    j->pin = true;
    return load(j, e);
}

const struct door door_load = {
    .name = "load", .work = load, .error = api_error_openai, .finish = finish};
const struct door door_pin = {
    .name = "pin", .work = load_pinned, .error = api_error_openai, .finish = finish};

/* Giving gigabytes back to the system takes its time, so that a worker does it. */
static int unload(struct job *j, struct api_error *e)
{
    struct realm_error err = {0};
    int status = catalog_find(j->api->catalog, j->param, &j->named, &err);
    if (!status)
        status = realm_model_unload(j->api->options.engine, j->named.path, &err);
    if (status)
        return api_from_status(e, status, &err);
    audit(j, "model.unload", j->named.id);
    write_text(&j->w, "{\"id\":");
    write_quoted(&j->w, j->named.id);
    write_text(&j->w, ",\"state\":\"unloaded\"}");
    return 0;
}

static int unpin(struct job *j, struct api_error *e)
{
    struct realm_error err = {0};
    int status = catalog_find(j->api->catalog, j->param, &j->named, &err);
    if (!status)
        status = realm_model_find(&j->model, j->api->options.engine, j->named.path, &err);
    if (status)
        return api_from_status(e, status, &err);
    realm_model_pin(j->model, false);
    audit(j, "model.unpin", j->named.id);
    write_text(&j->w, "{\"id\":");
    write_quoted(&j->w, j->named.id);
    write_text(&j->w, ",\"pinned\":false}");
    return 0;
}

static int clear(struct job *j, struct api_error *e)
{
    (void)e;
    uint64_t freed = realm_clear(j->api->options.engine);
    audit(j, "cache.clear", "");
    write_f(&j->w, "{\"freed_bytes\":%llu}", (unsigned long long)freed);
    return 0;
}

const struct door door_unpin = {
    .name = "unpin", .work = unpin, .error = api_error_openai, .finish = finish};
const struct door door_unload = {
    .name = "unload", .work = unload, .error = api_error_openai, .finish = finish};
const struct door door_clear = {
    .name = "clear", .work = clear, .error = api_error_openai, .finish = finish};
