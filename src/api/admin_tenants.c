/* api/admin_tenants.c - /admin/…: tenants, their keys, what they used, and what was done to them.
 *
 * Every function here is a door's work: a worker's, which may wait for the disk. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "api/api_impl.h"
#include "api/query.h"
#include "base/log.h"

enum { ROWS_SHOWN = 100, ROWS_SHOWN_MAX = 1000 };

/* ---- tenants ---- */

static int check_default(const char *name, const json_t *value, struct api_error *e)
{
    struct realm_sampling any = {0};
    struct realm_error err;
    char param[64];
    const struct realm_param *p = NULL;
    size_t n;
    const struct realm_param *all = realm_params(&n);
    for (size_t i = 0; i < n; i++)
        if (strcmp(all[i].name, name) == 0)
            p = &all[i];
    snprintf(param, sizeof(param), "defaults.%s", p ? p->name : name);
    if (!p)
        return api_bad(e, param, NULL, "%s is no option that has a default", param);
    bool fits = p->type == REALM_PARAM_F32 ? json_is_number(value) : json_is_integer(value);
    if (!realm_sampling_set(&any, name, fits ? json_number_value(value) : NAN, &err))
        return 0;
    return api_bad(e, param, NULL, "defaults.%s", err.message);
}

/* Options are read as a request's would be: one that no request could have would fail them all. */
static int check_defaults(const json_t *body, struct api_error *e)
{
    json_t *defaults = json_object_get(body, "defaults"), *value;
    const char *name;
    json_object_foreach(defaults, name, value)
    {
        if (check_default(name, value, e))
            return -1;
    }
    return 0;
}

static int read_tenant(struct job *j, struct api_error *e)
{
    return admin_body(j, e) || check_defaults(j->ask.body, e) ? -1 : 0;
}

static int list(struct job *j, struct api_error *e)
{
    struct realm_error err = {0};
    json_t *out = NULL;
    int status = tenants_list(j->api->options.tenants, &out, &err);
    return admin_result(j, status, out, &err, e);
}

static int create(struct job *j, struct api_error *e)
{
    struct realm_error err = {0};
    json_t *out = NULL;
    if (read_tenant(j, e))
        return -1;
    int status = tenants_create(j->api->options.tenants, j->ask.body, j->who, &out, &err);
    return admin_result(j, status, out, &err, e);
}

static int get(struct job *j, struct api_error *e)
{
    struct realm_error err = {0};
    json_t *out = NULL;
    int status = tenants_get(j->api->options.tenants, j->param, &out, &err);
    return admin_result(j, status, out, &err, e);
}

static int change(struct job *j, struct api_error *e)
{
    struct realm_error err = {0};
    json_t *out = NULL;
    if (read_tenant(j, e))
        return -1;
    int status = tenants_change(j->api->options.tenants, j->param, j->ask.body, j->who, &out, &err);
    return admin_result(j, status, out, &err, e);
}

static int drop(struct job *j, struct api_error *e)
{
    struct realm_error err = {0};
    return admin_removed(j, tenants_remove(j->api->options.tenants, j->param, j->who, &err), &err,
                         e);
}

const struct door door_tenants = ADMIN_DOOR("admin_tenants", list);
const struct door door_tenant_create = ADMIN_DOOR("admin_tenant_create", create);
const struct door door_tenant = ADMIN_DOOR("admin_tenant", get);
const struct door door_tenant_change = ADMIN_DOOR("admin_tenant_change", change);
const struct door door_tenant_remove = ADMIN_DOOR("admin_tenant_remove", drop);

/* ---- keys ---- */

static int keys(struct job *j, struct api_error *e)
{
    struct realm_error err = {0};
    json_t *out = NULL;
    int status = tenants_keys(j->api->options.tenants, j->param, &out, &err);
    return admin_result(j, status, out, &err, e);
}

static int key_create(struct job *j, struct api_error *e)
{
    struct realm_error err = {0};
    json_t *out = NULL;
    if (admin_body(j, e))
        return -1;
    int status =
        tenants_key_create(j->api->options.tenants, j->param, j->ask.body, j->who, &out, &err);
    return admin_result(j, status, out, &err, e);
}

static int key_change(struct job *j, struct api_error *e)
{
    struct realm_error err = {0};
    json_t *out = NULL;
    if (admin_body(j, e))
        return -1;
    int status =
        tenants_key_change(j->api->options.tenants, j->param, j->ask.body, j->who, &out, &err);
    return admin_result(j, status, out, &err, e);
}

static int key_drop(struct job *j, struct api_error *e)
{
    struct realm_error err = {0};
    return admin_removed(j, tenants_key_remove(j->api->options.tenants, j->param, j->who, &err),
                         &err, e);
}

const struct door door_keys = ADMIN_DOOR("admin_keys", keys);
const struct door door_key_create = ADMIN_DOOR("admin_key_create", key_create);
const struct door door_key_change = ADMIN_DOOR("admin_key_change", key_change);
const struct door door_key_remove = ADMIN_DOOR("admin_key_remove", key_drop);

/* ---- what was used ---- */

static int read_time(struct job *j, const char *name, int64_t *out, struct api_error *e)
{
    char text[32];
    int found = admin_query(j, name, text, sizeof(text), e);
    if (found > 0 && query_time(text, out))
        return api_bad(e, name, NULL,
                       "%s must be a date as 2026-01-31, a time as 2026-01-31T12:00:00Z, or "
                       "seconds since 1970",
                       name);
    return found < 0 ? -1 : 0;
}

/* One of the words of group_by. */
static bool read_group(const char *word, size_t n, struct tenant_usage_query *q)
{
    const struct {
        const char *name;
        bool *flag;
    } groups[] = {{"tenant", &q->by_tenant},
                  {"key", &q->by_key},
                  {"model", &q->by_model},
                  {"day", &q->by_day}};
    for (size_t i = 0; i < ARRAY_LEN(groups); i++) {
        if (strlen(groups[i].name) == n && memcmp(groups[i].name, word, n) == 0) {
            *groups[i].flag = true;
            return true;
        }
    }
    return false;
}

static int read_groups(struct job *j, struct tenant_usage_query *q, struct api_error *e)
{
    char text[64];
    int found = admin_query(j, "group_by", text, sizeof(text), e);
    if (found <= 0)
        return found;
    for (const char *at = text; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
        if (!read_group(at, strcspn(at, ","), q))
            return api_bad(e, "group_by", NULL,
                           "group_by must be some of tenant, key, model and day, with commas");
    return 0;
}

/* Views of names of the query, where they are given. */
struct usage_names {
    char tenant[TENANT_ID_MAX + 1], key[KEY_ID_MAX + 1], model[MODEL_NAME_MAX + 1];
};

static int read_usage(struct job *j, struct usage_names *names, struct tenant_usage_query *q,
                      struct api_error *e)
{
    int tenant = admin_query(j, "tenant", names->tenant, sizeof(names->tenant), e);
    int key = tenant < 0 ? -1 : admin_query(j, "key", names->key, sizeof(names->key), e);
    int model = key < 0 ? -1 : admin_query(j, "model", names->model, sizeof(names->model), e);
    if (model < 0 || read_time(j, "from", &q->from_s, e) || read_time(j, "to", &q->to_s, e) ||
        read_groups(j, q, e))
        return -1;
    q->tenant = tenant ? names->tenant : NULL;
    q->key = key ? names->key : NULL;
    q->model = model ? names->model : NULL;
    return 0;
}

static int usage(struct job *j, struct api_error *e)
{
    struct realm_error err = {0};
    struct usage_names names;
    struct tenant_usage_query q = {0};
    json_t *out = NULL;
    if (read_usage(j, &names, &q, e))
        return -1;
    int status = tenants_usage(j->api->options.tenants, &q, &out, &err);
    if (status == REALM_E_ARG)
        return api_bad(e, strncmp(err.message, "to ", 3) == 0 ? "to" : "from", NULL, "%s",
                       err.message);
    return admin_result(j, status, out, &err, e);
}

static int read_limit(struct job *j, uint32_t *limit, struct api_error *e)
{
    char text[8];
    unsigned long value = ROWS_SHOWN;
    int found = admin_query(j, "limit", text, sizeof(text), e);
    if (found < 0)
        return -1;
    bool digits = !found || strspn(text, "0123456789") == strlen(text);
    if (found && digits)
        value = strtoul(text, NULL, 10);
    if (!digits || value < 1 || value > ROWS_SHOWN_MAX)
        return api_bad(e, "limit", NULL, "limit must be a whole number from 1 to %d",
                       ROWS_SHOWN_MAX);
    *limit = (uint32_t)value;
    return 0;
}

static int requests(struct job *j, struct api_error *e)
{
    struct realm_error err = {0};
    char tenant[TENANT_ID_MAX + 1];
    uint32_t limit;
    json_t *out = NULL;
    int given = admin_query(j, "tenant", tenant, sizeof(tenant), e);
    if (given < 0 || read_limit(j, &limit, e))
        return -1;
    int status =
        tenants_requests(j->api->options.tenants, given ? tenant : NULL, limit, &out, &err);
    return admin_result(j, status, out, &err, e);
}

static int audits(struct job *j, struct api_error *e)
{
    struct realm_error err = {0};
    uint32_t limit;
    json_t *out = NULL;
    if (read_limit(j, &limit, e))
        return -1;
    int status = tenants_audits(j->api->options.tenants, limit, &out, &err);
    return admin_result(j, status, out, &err, e);
}

/* It is taken over by then, whether this can be written or not. */
static int audit_reload(struct job *j, struct api_error *e)
{
    struct realm_error err = {0};
    (void)e;
    if (tenants_audit(j->api->options.tenants, "signal", "config.reload", "", &err))
        log_line(LOG_ERROR, "a reload is missing among the audits: %s", err.message);
    return 0;
}

const struct door door_usage = ADMIN_DOOR("admin_usage", usage);
const struct door door_requests = ADMIN_DOOR("admin_requests", requests);
const struct door door_audits = ADMIN_DOOR("admin_audits", audits);
const struct door door_reload = ADMIN_DOOR("reload", audit_reload);
