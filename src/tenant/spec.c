#include "tenant/spec.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"

const char *const budget_window_names[BUDGET_WINDOWS] = {"hour", "day", "month"};

struct limit {
    const char *name;
    size_t at;
    uint64_t max;
};

/* Rates stay where a minute of microseconds times them fits 64 bits. */
static const struct limit limits[] = {
    {"requests_per_min", offsetof(struct spec, requests_per_min), 100000000000u},
    {"tokens_per_min", offsetof(struct spec, tokens_per_min), 100000000000u},
    {"parallel", offsetof(struct spec, parallel), UINT32_MAX},
    {"budget_tokens", offsetof(struct spec, budget_tokens), INT64_MAX / 2},
    {"kv_bytes_max", offsetof(struct spec, kv_bytes_max), INT64_MAX},
    {"max_tokens", offsetof(struct spec, max_tokens), UINT32_MAX},
};

static uint64_t *limit_of(struct spec *s, const struct limit *l)
{
    return (uint64_t *)((char *)s + l->at);
}

void spec_init(struct spec *s)
{
    *s = (struct spec){.weight = 1, .budget_window = BUDGET_DAY};
}

void spec_free(struct spec *s)
{
    json_decref(s->models);
    json_decref(s->defaults);
    s->models = s->defaults = NULL;
}

void spec_copy(struct spec *to, const struct spec *from)
{
    *to = *from;
    json_incref(to->models);
    json_incref(to->defaults);
}

/* ---- bodies ---- */

int body_check(const json_t *body, const char *const *names, const char *where,
               struct realm_error *err)
{
    const char *name;
    json_t *value;
    if (!json_is_object(body))
        return err_set(err, REALM_E_ARG, "%s must be an object", where);
    json_object_foreach((json_t *)body, name, value)
    {
        size_t i = 0;
        while (names[i] && strcmp(names[i], name) != 0)
            i++;
        if (!names[i])
            return err_set(err, REALM_E_ARG, "%.64s is no member of %s", name, where);
    }
    return 0;
}

int body_name(const json_t *value, const char *member, const char **out, struct realm_error *err)
{
    *out = NULL;
    if (json_is_null(value))
        return 0;
    size_t n = json_string_length(value);
    if (!json_is_string(value) || n == 0 || n > TENANT_TEXT_MAX)
        return err_set(err, REALM_E_ARG, "%s must be a text of 1 to %d bytes", member,
                       TENANT_TEXT_MAX);
    *out = json_string_value(value);
    return 0;
}

static bool is_id(const char *id)
{
    static const char first[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    static const char further[] = "abcdefghijklmnopqrstuvwxyz0123456789._-";
    size_t n = strlen(id);
    return n > 0 && n <= TENANT_ID_MAX && strchr(first, id[0]) && strspn(id, further) == n;
}

static int take_id(struct spec *s, const json_t *value, struct realm_error *err)
{
    const char *id = json_string_value(value);
    if (!id || strlen(id) != json_string_length(value) || !is_id(id))
        return err_set(err, REALM_E_ARG,
                       "id must be 1 to %d of a-z, 0-9, '.', '_' and '-', and begin with a letter "
                       "or a digit",
                       TENANT_ID_MAX);
    memcpy(s->id, id, strlen(id) + 1);
    return 0;
}

static int take_number(uint64_t *out, const json_t *value, const char *name, uint64_t max,
                       const char *null_is, struct realm_error *err)
{
    json_int_t n = json_integer_value(value);
    if (!json_is_integer(value) || n < 1 || (uint64_t)n > max)
        return err_set(err, REALM_E_ARG, "%s must be a whole number from 1 to %llu%s", name,
                       (unsigned long long)max, null_is);
    *out = (uint64_t)n;
    return 0;
}

static int take_models(struct spec *s, json_t *value, struct realm_error *err)
{
    size_t n = json_array_size(value);
    bool fits = json_is_null(value) || (json_is_array(value) && n <= TENANT_MODELS_MAX);
    for (size_t i = 0; i < n && fits; i++) {
        const json_t *name = json_array_get(value, i);
        size_t length = json_string_length(name);
        fits = length > 0 && length <= MODEL_NAME_MAX && strlen(json_string_value(name)) == length;
    }
    if (!fits)
        return err_set(err, REALM_E_ARG, "models must be a list of up to %d names, or null for all",
                       TENANT_MODELS_MAX);
    json_decref(s->models);
    s->models = json_is_null(value) ? NULL : json_deep_copy(value);
    return s->models || json_is_null(value) ? 0 : err_nomem(err, "models");
}

static int take_defaults(struct spec *s, json_t *value, struct realm_error *err)
{
    bool none = json_is_null(value);
    char *text = json_is_object(value) ? json_dumps(value, JSON_COMPACT) : NULL;
    bool fits = none || (text && strlen(text) <= TENANT_DEFAULTS_BYTES_MAX);
    free(text);
    if (!fits && json_is_object(value) && !text)
        return err_nomem(err, "defaults");
    if (!fits)
        return err_set(err, REALM_E_ARG,
                       "defaults must be an object of options, of up to %d bytes, or null",
                       TENANT_DEFAULTS_BYTES_MAX);
    json_decref(s->defaults);
    s->defaults = none ? NULL : json_deep_copy(value);
    return none || s->defaults ? 0 : err_nomem(err, "defaults");
}

static int take_window(struct spec *s, const json_t *value, struct realm_error *err)
{
    const char *name = json_is_null(value) ? "day" : json_string_value(value);
    for (int i = 0; i < BUDGET_WINDOWS && name; i++)
        if (strcmp(name, budget_window_names[i]) == 0) {
            s->budget_window = (uint64_t)i;
            return 0;
        }
    return err_set(err, REALM_E_ARG, "limits.budget_window must be hour, day or month");
}

static int take_limit(struct spec *s, const char *name, const json_t *value,
                      struct realm_error *err)
{
    char shown[64];
    if (strcmp(name, "budget_window") == 0)
        return take_window(s, value, err);
    for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
        if (strcmp(name, limits[i].name) != 0)
            continue;
        snprintf(shown, sizeof(shown), "limits.%s", name);
        if (!json_is_null(value))
            return take_number(limit_of(s, &limits[i]), value, shown, limits[i].max,
                               ", or null for no limit", err);
        *limit_of(s, &limits[i]) = 0;
        return 0;
    }
    return err_set(err, REALM_E_ARG, "limits.%.64s is no limit", name);
}

static int take_limits(struct spec *s, json_t *body, struct realm_error *err)
{
    const char *name;
    json_t *value;
    if (json_is_null(body)) {
        for (size_t i = 0; i < ARRAY_LEN(limits); i++)
            *limit_of(s, &limits[i]) = 0;
        s->budget_window = BUDGET_DAY;
        return 0;
    }
    if (!json_is_object(body))
        return err_set(err, REALM_E_ARG, "limits must be an object, or null for none");
    json_object_foreach(body, name, value)
    {
        int status = take_limit(s, name, value, err);
        if (status)
            return status;
    }
    return 0;
}

int spec_apply(struct spec *s, const json_t *body, bool making, struct realm_error *err)
{
    static const char *const names[] = {"id", "weight", "models", "defaults", "limits", NULL};
    int status = body_check(body, names, "a tenant", err);
    const json_t *id = json_object_get(body, "id"), *weight = json_object_get(body, "weight");
    json_t *models = json_object_get(body, "models"), *defaults = json_object_get(body, "defaults");
    json_t *l = json_object_get(body, "limits");
    if (!status && making)
        status = take_id(s, id, err);
    else if (!status && id && (!json_is_string(id) || strcmp(json_string_value(id), s->id) != 0))
        status = err_set(err, REALM_E_ARG, "id cannot be changed");
    if (!status && weight)
        status = take_number(&s->weight, weight, "weight", TENANT_WEIGHT_MAX, "", err);
    if (!status && models)
        status = take_models(s, models, err);
    if (!status && defaults)
        status = take_defaults(s, defaults, err);
    if (!status && l)
        status = take_limits(s, l, err);
    return status;
}

/* ---- answers ---- */

static json_t *limits_json(const struct spec *s)
{
    json_t *json = json_object();
    bool ok = json != NULL;
    for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
        uint64_t value = *limit_of((struct spec *)s, &limits[i]);
        if (value && ok)
            ok = json_object_set_new(json, limits[i].name, json_integer((json_int_t)value)) == 0;
    }
    if (s->budget_tokens && ok)
        ok = json_object_set_new(json, "budget_window",
                                 json_string(budget_window_names[s->budget_window])) == 0;
    if (ok)
        return json;
    json_decref(json);
    return NULL;
}

json_t *spec_json(const struct spec *s)
{
    json_t *l = limits_json(s);
    if (!l)
        return NULL;
    return json_pack("{s:s, s:I, s:O*, s:O*, s:o, s:I}", "id", s->id, "weight",
                     (json_int_t)s->weight, "models", s->models, "defaults", s->defaults, "limits",
                     l, "created_at", (json_int_t)s->created_at);
}

/* ---- rows ---- */

/* NULL stays NULL; REALM_E_NOMEM, or REALM_E_FORMAT for what is not JSON. */
static int read_json(json_t **out, sqlite3_stmt *stmt, int column)
{
    *out = NULL;
    if (sqlite3_column_type(stmt, column) == SQLITE_NULL)
        return 0;
    const char *text = (const char *)sqlite3_column_text(stmt, column);
    *out = text ? json_loads(text, 0, NULL) : NULL;
    if (*out)
        return 0;
    /* jansson says of text for which it has no memory that it is wrong. */
    int64_t valid;
    int status = db_number(sqlite3_db_handle(stmt), "SELECT json_valid(?1)", DB_ARGS(db_text(text)),
                           &valid, NULL);
    return !text || status || valid ? REALM_E_NOMEM : REALM_E_FORMAT;
}

int spec_read(struct spec *s, sqlite3_stmt *stmt)
{
    uint64_t *const numbers[] = {&s->requests_per_min, &s->tokens_per_min, &s->parallel,
                                 &s->budget_tokens,    &s->budget_window,  &s->kv_bytes_max,
                                 &s->max_tokens};
    spec_init(s);
    snprintf(s->id, sizeof(s->id), "%s", db_column_text(stmt, 0));
    s->weight = (uint64_t)sqlite3_column_int64(stmt, 1);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        *numbers[i] = (uint64_t)sqlite3_column_int64(stmt, 4 + (int)i);
    s->created_at = sqlite3_column_int64(stmt, 11);
    if (s->budget_window >= BUDGET_WINDOWS || s->weight < 1 || s->weight > TENANT_WEIGHT_MAX)
        return REALM_E_FORMAT;
    int status = read_json(&s->models, stmt, 2);
    if (!status)
        status = read_json(&s->defaults, stmt, 3);
    if (status)
        spec_free(s);
    return status;
}

int spec_write(const struct spec *s, sqlite3 *sql, struct realm_error *err)
{
    char *models = s->models ? json_dumps(s->models, JSON_COMPACT) : NULL;
    char *defaults = s->defaults ? json_dumps(s->defaults, JSON_COMPACT) : NULL;
    int status = (s->models && !models) || (s->defaults && !defaults) ? err_nomem(err, "a row") : 0;
    if (!status)
        status = db_run(
            sql,
            "INSERT INTO tenants (" SPEC_COLUMNS ")"
            " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)"
            " ON CONFLICT (id) DO UPDATE SET weight=?2, models=?3, defaults=?4,"
            " requests_per_min=?5, tokens_per_min=?6, parallel=?7, budget_tokens=?8,"
            " budget_window=?9, kv_bytes_max=?10, max_tokens=?11",
            DB_ARGS(db_text(s->id), db_int(s->weight), db_text(models), db_text(defaults),
                    db_int(s->requests_per_min), db_int(s->tokens_per_min), db_int(s->parallel),
                    db_int(s->budget_tokens), db_int(s->budget_window), db_int(s->kv_bytes_max),
                    db_int(s->max_tokens), db_int((uint64_t)s->created_at)),
            err);
    free(models);
    free(defaults);
    return status;
}
