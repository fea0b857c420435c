/* api/admin_guests.c - /admin/tenants/{id}/guest: the programs of a tenant; and /v1/guest/log, what
 * it sees of them itself.
 *
 * Every function here is a door's work: a worker's, which may wait for the disk and for the
 * helper process that compiles. */
#include <string.h>

#include "api/api_impl.h"
#include "base/err.h"

static int no_guests(struct api_error *e)
{
    return api_fail(e, 501, "unsupported", "this server runs no guests");
}

/* The model of the query: *out is NULL when the call is about the program for all others. */
static int read_model(struct job *j, char name[MODEL_NAME_MAX + 1], const char **out,
                      struct api_error *e)
{
    int found = admin_query(j, "model", name, MODEL_NAME_MAX + 1, e);
    *out = found > 0 ? name : NULL;
    return found < 0 ? -1 : 0;
}

/* A program for a model that there is not would wait for its first request for ever. */
static int check_model(struct job *j, const char *model, struct api_error *e)
{
    struct realm_error err = {0};
    int status = model ? catalog_find(j->api->catalog, model, &j->named, &err) : 0;
    if (status)
        (void)api_from_status(e, status, &err);
    if (status == REALM_E_NOT_FOUND)
        snprintf(e->param, sizeof(e->param), "model");
    return status ? -1 : 0;
}

/* Compiling takes its time, so that a tenant that there is not is found out before. */
static int check_tenant(struct job *j, struct api_error *e)
{
    struct realm_error err = {0};
    json_t *tenant = NULL;
    int status = tenants_get(j->api->options.tenants, j->param, &tenant, &err);
    if (status)
        return admin_result(j, status, NULL, &err, e);
    json_decref(tenant);
    return 0;
}

/* Prepares the module as a request would, and tells what it declares. */
static int validate(struct job *j, json_t **about, struct api_error *e)
{
    struct realm_error err = {0};
    struct wasm_guest *guest;
    if (!j->api->options.wasm)
        return no_guests(e);
    int status = wasm_guest_open(&guest, j->api->options.wasm, j->body.p, j->body.n, &err);
    if (status == REALM_E_GUEST)
        return api_fail(e, 422, "guest_invalid", "%s", err.message);
    if (status)
        return api_from_status(e, status, &err);
    *about = wasm_guest_about(guest);
    wasm_guest_close(guest);
    return *about ? 0 : api_from_status(e, REALM_E_NOMEM, NULL);
}

static int put(struct job *j, struct api_error *e)
{
    struct realm_error err = {0};
    char name[MODEL_NAME_MAX + 1];
    const char *model;
    json_t *about = NULL, *out = NULL;
    if (read_model(j, name, &model, e) || check_model(j, model, e) || check_tenant(j, e) ||
        validate(j, &about, e))
        return -1;
    int status = tenants_guest_put(j->api->options.tenants, j->param, model, buf_slice(&j->body),
                                   about, j->who, &out, &err);
    json_decref(about);
    return admin_result(j, status, out, &err, e);
}

static int list(struct job *j, struct api_error *e)
{
    struct realm_error err = {0};
    json_t *out = NULL;
    int status = tenants_guest_list(j->api->options.tenants, j->param, &out, &err);
    return admin_result(j, status, out, &err, e);
}

static int rollback(struct job *j, struct api_error *e)
{
    struct realm_error err = {0};
    char name[MODEL_NAME_MAX + 1];
    const char *model;
    json_t *out = NULL;
    if (read_model(j, name, &model, e))
        return -1;
    int status =
        tenants_guest_rollback(j->api->options.tenants, j->param, model, j->who, &out, &err);
    return admin_result(j, status, out, &err, e);
}

static int drop(struct job *j, struct api_error *e)
{
    struct realm_error err = {0};
    char name[MODEL_NAME_MAX + 1];
    const char *model;
    if (read_model(j, name, &model, e))
        return -1;
    int status = tenants_guest_remove(j->api->options.tenants, j->param, model, j->who, &err);
    return admin_removed(j, status, &err, e);
}

static int lines(struct job *j, struct api_error *e)
{
    const struct realm_error err = {0};
    if (check_tenant(j, e))
        return -1;
    if (!j->api->guests)
        return no_guests(e);
    return admin_result(j, 0, guests_log(j->api->guests, j->param), &err, e);
}

/* For the tenant itself, with any of its keys. */
static int own_lines(struct job *j, struct api_error *e)
{
    const struct realm_error err = {0};
    if (!j->api->guests)
        return no_guests(e);
    return admin_result(j, 0, guests_log(j->api->guests, tenant_view(&j->pass)->id), &err, e);
}

const struct door door_own_guest_log = ADMIN_DOOR("guest_log", own_lines);
const struct door door_guest_log = ADMIN_DOOR("admin_guest_log", lines);
const struct door door_guest_put = ADMIN_DOOR("admin_guest_put", put);
const struct door door_guests = ADMIN_DOOR("admin_guests", list);
const struct door door_guest_rollback = ADMIN_DOOR("admin_guest_rollback", rollback);
const struct door door_guest_remove = ADMIN_DOOR("admin_guest_remove", drop);
