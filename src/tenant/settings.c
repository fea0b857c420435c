/* tenant/settings.c - a tenant's settings: from JSON, to JSON, to the database and back. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "realm/realm.h"
#include "tenant/tenant_impl.h"

static const char *const window_names[] = {"hour", "day", "month"};

/* One number of struct limits. */
struct limit {
    const char *name;
    size_t at;
    uint64_t max;
};

#define AT(field) offsetof(struct limits, field)
static const struct limit limit_rows[] = {
    {"requests_per_min", AT(requests_per_min), 1000000000},
    {"tokens_per_min", AT(tokens_per_min), 1000000000000},
    {"parallel", AT(parallel), 1000000},
    {"budget_tokens", AT(budget_tokens), 1000000000000000},
    {"kv_bytes_max", AT(kv_bytes_max), 1ull << 50},
    {"max_tokens", AT(max_tokens), UINT32_MAX},
};
#undef AT

static uint64_t *number_of(struct limits *l, const struct limit *row)
{
    return (uint64_t *)((char *)l + row->at);
}

bool tenant_id_good(const char *id)
{
    static const char first[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    static const char rest[] = "abcdefghijklmnopqrstuvwxyz0123456789._-";
    size_t n = strnlen(id, TENANT_ID_MAX + 1);
    return n > 0 && n <= TENANT_ID_MAX && strchr(first, id[0]) && strspn(id, rest) == n;
}

/* ---- from JSON ---- */

static int read_limit(struct limits *l, const struct limit *row, const json_t *value,
                      struct realm_error *err)
{
    json_int_t n = json_integer_value(value);
    if (json_is_null(value))
        n = 0;
    else if (!json_is_integer(value) || n < 0 || (uint64_t)n > row->max)
        return err_set(err, REALM_E_ARG,
                       "limits.%s must be a whole number up to %llu, or 0 or null for none",
                       row->name, (unsigned long long)row->max);
    *number_of(l, row) = (uint64_t)n;
    return 0;
}

static int read_window(struct limits *l, const json_t *value, struct realm_error *err)
{
    const char *text = json_string_value(value);
    for (size_t i = 0; text && i < ARRAY_LEN(window_names); i++) {
        if (strcmp(text, window_names[i]) == 0) {
            l->window = (enum budget_window)i;
            return 0;
        }
    }
    return err_set(err, REALM_E_ARG, "limits.budget_window must be hour, day or month");
}

static int read_limits(struct limits *l, const json_t *body, bool patch, struct realm_error *err)
{
    const char *name;
    json_t *value;
    if (!patch || json_is_null(body))
        *l = (struct limits){.window = WINDOW_DAY};
    if (!body || json_is_null(body))
        return 0;
    if (!json_is_object(body))
        return err_set(err, REALM_E_ARG, "limits must be an object");
    json_object_foreach((json_t *)body, name, value)
    {
        size_t i = 0;
        int status;
        while (i < ARRAY_LEN(limit_rows) && strcmp(name, limit_rows[i].name) != 0)
            i++;
        if (i < ARRAY_LEN(limit_rows))
            status = read_limit(l, &limit_rows[i], value, err);
        else if (strcmp(name, "budget_window") == 0)
            status = read_window(l, value, err);
        else
            status = err_set(err, REALM_E_ARG, "limits.%.60s: there is no such limit", name);
        if (status)
            return status;
    }
    return 0;
}

static int read_models(struct tenant *tenant, const json_t *value, struct realm_error *err)
{
    size_t i;
    json_t *name;
    if (!json_is_null(value) && !json_is_array(value))
        return err_set(err, REALM_E_ARG, "models must be an array of names, or null for all");
    json_array_foreach(value, i, name)
    {
        size_t n = json_string_length(name);
        if (!json_is_string(name) || n == 0 || n > MODEL_NAME_MAX ||
            strlen(json_string_value(name)) != n)
            return err_set(err, REALM_E_ARG, "models[%zu] must be a model's name", i);
    }
    json_decref(tenant->models);
    tenant->models = json_is_array(value) ? json_deep_copy(value) : NULL;
    return json_is_array(value) && !tenant->models ? err_nomem(err, "a tenant") : 0;
}

/* Options of the one table, in its ranges. */
static int check_default(const char *name, const json_t *value, struct realm_error *err)
{
    struct realm_sampling sampling;
    realm_sampling_init(&sampling, REALM_DOOR_OPENAI);
    if (strcmp(name, "seed") == 0 || !json_is_number(value))
        return err_set(err, REALM_E_ARG, "defaults.%.60s must be a number, and no seed", name);
    int status = realm_sampling_set(&sampling, name, json_number_value(value), err);
    return status ? err_prefix(err, REALM_E_ARG, "defaults") : 0;
}

static int read_defaults(struct tenant *tenant, const json_t *value, struct realm_error *err)
{
    const char *name;
    json_t *option;
    if (!json_is_null(value) && !json_is_object(value))
        return err_set(err, REALM_E_ARG, "defaults must be an object of options, or null");
    json_object_foreach((json_t *)value, name, option)
    {
        int status = check_default(name, option, err);
        if (status)
            return status;
    }
    json_decref(tenant->defaults);
    bool some = json_is_object(value) && json_object_size(value) > 0;
    tenant->defaults = some ? json_deep_copy(value) : NULL;
    return some && !tenant->defaults ? err_nomem(err, "a tenant") : 0;
}

static int read_weight(struct tenant *tenant, const json_t *value, struct realm_error *err)
{
    json_int_t n = json_is_null(value) ? 1 : json_integer_value(value);
    if ((!json_is_integer(value) && !json_is_null(value)) || n < 1 || n > TENANT_WEIGHT_MAX)
        return err_set(err, REALM_E_ARG, "weight must be a whole number from 1 to %d",
                       TENANT_WEIGHT_MAX);
    tenant->view.weight = (uint32_t)n;
    return 0;
}

int settings_read(struct tenant *tenant, const json_t *body, bool patch, struct realm_error *err)
{
    const char *name;
    json_t *value;
    int status = 0;
    if (!json_is_object(body))
        return err_set(err, REALM_E_ARG, "body must be an object");
    if (!patch)
        status = read_limits(&tenant->limits, json_object_get(body, "limits"), false, err);
    json_object_foreach((json_t *)body, name, value)
    {
        if (status)
            break;
        if (strcmp(name, "weight") == 0)
            status = read_weight(tenant, value, err);
        else if (strcmp(name, "models") == 0)
            status = read_models(tenant, value, err);
        else if (strcmp(name, "defaults") == 0)
            status = read_defaults(tenant, value, err);
        else if (strcmp(name, "limits") == 0)
            status = patch ? read_limits(&tenant->limits, value, true, err) : 0;
        else if (patch || strcmp(name, "id") != 0)
            status = err_set(err, REALM_E_ARG, "%.60s: a tenant has no such setting", name);
    }
    return status;
}

int settings_copy(struct tenant *to, const struct tenant *from)
{
    to->view.weight = from->view.weight;
    to->limits = from->limits;
    to->created_s = from->created_s;
    to->models = from->models ? json_deep_copy(from->models) : NULL;
    to->defaults = from->defaults ? json_deep_copy(from->defaults) : NULL;
    to->guests = mem_array(from->n_guests, sizeof(*to->guests));
    if (!to->guests || (from->models && !to->models) || (from->defaults && !to->defaults))
        return REALM_E_NOMEM;
    if (from->n_guests)
        memcpy(to->guests, from->guests, from->n_guests * sizeof(*to->guests));
    to->n_guests = from->n_guests;
    return 0;
}

/* ---- to JSON ---- */

json_t *settings_json(const struct tenant *tenant)
{
    json_t *limits = json_object();
    int failed = !limits;
    for (size_t i = 0; i < ARRAY_LEN(limit_rows) && !failed; i++) {
        uint64_t n = *number_of((struct limits *)&tenant->limits, &limit_rows[i]);
        if (n)
            failed = json_object_set_new(limits, limit_rows[i].name, json_integer((json_int_t)n));
    }
    if (!failed && tenant->limits.budget_tokens)
        failed = json_object_set_new(limits, "budget_window",
                                     json_string(window_names[tenant->limits.window]));
    if (failed) {
        json_decref(limits);
        return NULL;
    }
    return json_pack("{s:s,s:i,s:O?,s:O?,s:o,s:I}", "id", tenant->view.id, "weight",
                     (int)tenant->view.weight, "models", tenant->models, "defaults",
                     tenant->defaults, "limits", limits, "created_at",
                     (json_int_t)tenant->created_s);
}

/* ---- the database ---- */

const char SETTINGS_COLUMNS[] =
    "id, weight, models, defaults, requests_per_min, tokens_per_min, parallel, budget_tokens, "
    "budget_window, kv_bytes_max, max_tokens, created_at";

int settings_write(sqlite3 *sql, const struct tenant *tenant, struct realm_error *err)
{
    char text[512];
    char *models = tenant->models ? json_dumps(tenant->models, JSON_COMPACT) : NULL;
    char *defaults = tenant->defaults ? json_dumps(tenant->defaults, JSON_COMPACT) : NULL;
    const struct limits *l = &tenant->limits;
    int status = (tenant->models && !models) || (tenant->defaults && !defaults)
                     ? err_nomem(err, "a tenant")
                     : 0;
    snprintf(text, sizeof(text),
             "INSERT INTO tenants (%s) VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12) "
             "ON CONFLICT(id) DO UPDATE SET weight=?2, models=?3, defaults=?4, "
             "requests_per_min=?5, tokens_per_min=?6, parallel=?7, budget_tokens=?8, "
             "budget_window=?9, kv_bytes_max=?10, max_tokens=?11",
             SETTINGS_COLUMNS);
    if (!status)
        status =
            db_run(sql, text,
                   DB_ARGS(db_text(tenant->view.id), db_int(tenant->view.weight), db_text(models),
                           db_text(defaults), db_int(l->requests_per_min),
                           db_int(l->tokens_per_min), db_int(l->parallel), db_int(l->budget_tokens),
                           db_int(l->window), db_int(l->kv_bytes_max), db_int(l->max_tokens),
                           db_int((uint64_t)tenant->created_s)),
                   err);
    free(models);
    free(defaults);
    return status;
}

static json_t *json_column(sqlite3_stmt *row, int column)
{
    if (sqlite3_column_type(row, column) == SQLITE_NULL)
        return NULL;
    return json_loads(db_column_text(row, column), 0, NULL);
}

int settings_from_row(struct tenant *tenant, sqlite3_stmt *row)
{
    int64_t weight = sqlite3_column_int64(row, 1), window = sqlite3_column_int64(row, 8);
    struct limits *l = &tenant->limits;
    tenant->models = json_column(row, 2);
    tenant->defaults = json_column(row, 3);
    l->requests_per_min = (uint64_t)sqlite3_column_int64(row, 4);
    l->tokens_per_min = (uint64_t)sqlite3_column_int64(row, 5);
    l->parallel = (uint64_t)sqlite3_column_int64(row, 6);
    l->budget_tokens = (uint64_t)sqlite3_column_int64(row, 7);
    l->kv_bytes_max = (uint64_t)sqlite3_column_int64(row, 9);
    l->max_tokens = (uint64_t)sqlite3_column_int64(row, 10);
    tenant->created_s = sqlite3_column_int64(row, 11);
    if (weight < 1 || weight > TENANT_WEIGHT_MAX || window < WINDOW_HOUR || window > WINDOW_MONTH)
        return REALM_E_FORMAT;
    tenant->view.weight = (uint32_t)weight;
    l->window = (enum budget_window)window;
    return 0;
}
