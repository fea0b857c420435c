/* tenant/guests.c - tenants' programs, version by version.
 *
 * The newest version that was not withdrawn answers; a rollback withdraws it. */
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "tenant/tenant_impl.h"

enum { SHA_BYTES = 32, VERSIONS_MAX = 1000 };

static int no_tenant(const char *id, struct realm_error *err)
{
    return err_set(err, REALM_E_NOT_FOUND, "there is no tenant %.80s", id);
}

static int no_guest(const char *tenant, struct realm_error *err)
{
    return err_set(err, REALM_E_NOT_FOUND, "tenant %.80s has no such program", tenant);
}

static int digest(struct slice wasm, char out[2 * SHA_BYTES + 1], struct realm_error *err)
{
    unsigned char sum[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    if (EVP_Digest(wasm.p, wasm.n, sum, &n, EVP_sha256(), NULL) != 1 || n != SHA_BYTES)
        return err_nomem(err, "a digest");
    for (size_t i = 0; i < SHA_BYTES; i++)
        snprintf(out + 2 * i, 3, "%02x", sum[i]);
    return 0;
}

/* ---- changes ---- */

/* The tenant with its programs as the database has them now. */
static int reload(struct tenants *t, const char *id, struct realm_error *err)
{
    mutex_lock(&t->lock);
    struct tenant *now = directory_find(t, id);
    struct tenant *next = now ? tenant_alloc(id) : NULL;
    int status = next ? settings_copy(next, now) : REALM_E_NOMEM;
    mutex_unlock(&t->lock);
    if (!status) {
        next->n_guests = 0;
        status = directory_load_guests(t, next, err);
    }
    mutex_lock(&t->lock);
    if (!status)
        status = directory_put(t, next);
    mutex_unlock(&t->lock);
    if (status)
        tenant_free(next);
    return status ? err_nomem(err, "a tenant's programs") : 0;
}

static int begin(struct tenants *t, const char *tenant, struct realm_error *err)
{
    mutex_lock(&t->admin);
    mutex_lock(&t->lock);
    bool there = directory_find(t, tenant) != NULL;
    mutex_unlock(&t->lock);
    return there ? db_exec(t->sql, "BEGIN IMMEDIATE", err) : no_tenant(tenant, err);
}

static int end(struct tenants *t, const char *who, const char *action, const char *tenant,
               int status, struct realm_error *err)
{
    if (!status)
        status = db_run(
            t->sql, "INSERT INTO audits (at, who, action, subject) VALUES (?1, ?2, ?3, ?4)",
            DB_ARGS(db_int((uint64_t)wall_s(t)), db_text(who), db_text(action), db_text(tenant)),
            err);
    if (!status)
        status = db_exec(t->sql, "COMMIT", err);
    if (status)
        db_rollback(t->sql);
    if (!status)
        status = reload(t, tenant, err);
    mutex_unlock(&t->admin);
    return status;
}

/* ---- what there is ---- */

static const char LIST[] =
    "SELECT version, model, sha256, length(wasm), created_at, withdrawn, about FROM guests "
    "WHERE tenant = ?1 AND (?2 IS NULL OR model = ?2) ORDER BY version DESC";

static int add_row(void *ctx, sqlite3_stmt *row)
{
    const char *model = db_column_text(row, 1);
    json_t *about = sqlite3_column_type(row, 6) == SQLITE_NULL
                        ? NULL
                        : json_loads(db_column_text(row, 6), 0, NULL);
    json_t *object = json_pack(
        "{s:I,s:s?,s:s,s:I,s:I,s:b}", "version", (json_int_t)sqlite3_column_int64(row, 0), "model",
        model[0] ? model : NULL, "sha256", db_column_text(row, 2), "bytes",
        (json_int_t)sqlite3_column_int64(row, 3), "created_at",
        (json_int_t)sqlite3_column_int64(row, 4), "withdrawn", sqlite3_column_int(row, 5) != 0);
    if (object && about)
        (void)json_object_update(object, about);
    json_decref(about);
    return json_array_append_new(ctx, object) ? REALM_E_NOMEM : 0;
}

static int list(struct tenants *t, const char *tenant, const char *model, json_t **out,
                struct realm_error *err)
{
    *out = json_array();
    mutex_lock(&t->reads);
    int status = *out ? db_query(t->reader, LIST, DB_ARGS(db_text(tenant), db_text(model)), add_row,
                                 *out, err)
                      : err_nomem(err, "programs");
    mutex_unlock(&t->reads);
    if (status) {
        json_decref(*out);
        *out = NULL;
    }
    return status;
}

int tenants_guest_list(struct tenants *t, const char *tenant, json_t **out, struct realm_error *err)
{
    json_t *rows;
    *out = NULL;
    mutex_lock(&t->lock);
    bool there = directory_find(t, tenant) != NULL;
    mutex_unlock(&t->lock);
    if (!there)
        return no_tenant(tenant, err);
    int status = list(t, tenant, NULL, &rows, err);
    if (status)
        return status;
    *out = json_pack("{s:o}", "guests", rows);
    return *out ? 0 : err_nomem(err, "programs");
}

/* The one that answers now. */
static int show(struct tenants *t, const char *tenant, const char *model, json_t **out,
                struct realm_error *err)
{
    json_t *rows, *row;
    size_t i;
    int status = list(t, tenant, model ? model : "", &rows, err);
    if (status)
        return status;
    json_array_foreach(rows, i, row)
    {
        if (!json_is_true(json_object_get(row, "withdrawn")) && !*out)
            *out = json_incref(row);
    }
    json_decref(rows);
    return *out ? 0 : no_guest(tenant, err);
}

int tenants_guest_put(struct tenants *t, const char *tenant, const char *model, struct slice wasm,
                      const json_t *about, const char *who, json_t **out, struct realm_error *err)
{
    char sha[2 * SHA_BYTES + 1];
    char *text = about ? json_dumps(about, JSON_COMPACT) : NULL;
    *out = NULL;
    int status = about && !text ? err_nomem(err, "a program") : digest(wasm, sha, err);
    if (status || wasm.n > GUEST_MODULE_BYTES_MAX) {
        free(text);
        return status ? status : err_set(err, REALM_E_LIMIT, "the program is too large");
    }
    status = begin(t, tenant, err);
    if (!status)
        status = db_run(t->sql,
                        "INSERT INTO guests (tenant, model, sha256, about, withdrawn, created_at, "
                        "wasm) VALUES (?1, ?2, ?3, ?4, 0, ?5, ?6)",
                        DB_ARGS(db_text(tenant), db_text(model ? model : ""), db_text(sha),
                                db_text(text), db_int((uint64_t)wall_s(t)), db_blob(wasm)),
                        err);
    /* Old ones go, but for those that a rollback may want. */
    if (!status)
        status = db_run(t->sql,
                        "DELETE FROM guests WHERE tenant = ?1 AND model = ?2 AND version NOT IN "
                        "(SELECT version FROM guests WHERE tenant = ?1 AND model = ?2 "
                        "ORDER BY version DESC LIMIT 16)",
                        DB_ARGS(db_text(tenant), db_text(model ? model : "")), err);
    status = end(t, who, "guest.put", tenant, status, err);
    free(text);
    return status ? status : show(t, tenant, model, out, err);
}

int tenants_guest_rollback(struct tenants *t, const char *tenant, const char *model,
                           const char *who, json_t **out, struct realm_error *err)
{
    static const char live[] = "FROM guests WHERE tenant = ?1 AND model = ?2 AND withdrawn = 0";
    char text[256];
    *out = NULL;
    int status = begin(t, tenant, err);
    /* Only where an earlier one is left. */
    snprintf(text, sizeof(text),
             "UPDATE guests SET withdrawn = 1 WHERE version = (SELECT max(version) %s) AND "
             "(SELECT count(*) %s) > 1",
             live, live);
    if (!status)
        status = db_run(t->sql, text, DB_ARGS(db_text(tenant), db_text(model ? model : "")), err);
    if (!status && sqlite3_changes(t->sql) == 0)
        status = err_set(err, REALM_E_NOT_FOUND, "there is no earlier version to go back to");
    status = end(t, who, "guest.rollback", tenant, status, err);
    return status ? status : show(t, tenant, model, out, err);
}

int tenants_guest_remove(struct tenants *t, const char *tenant, const char *model, const char *who,
                         struct realm_error *err)
{
    int status = begin(t, tenant, err);
    if (!status)
        status = db_run(t->sql, "DELETE FROM guests WHERE tenant = ?1 AND model = ?2",
                        DB_ARGS(db_text(tenant), db_text(model ? model : "")), err);
    if (!status && sqlite3_changes(t->sql) == 0)
        status = no_guest(tenant, err);
    return end(t, who, "guest.remove", tenant, status, err);
}

static int take_module(void *ctx, sqlite3_stmt *row)
{
    return buf_add(ctx, sqlite3_column_blob(row, 0), (size_t)sqlite3_column_bytes(row, 0));
}

int tenants_guest_module(struct tenants *t, uint64_t version, struct buf *wasm,
                         struct realm_error *err)
{
    mutex_lock(&t->reads);
    int status = db_query(t->reader, "SELECT wasm FROM guests WHERE version = ?1",
                          DB_ARGS(db_int(version)), take_module, wasm, err);
    mutex_unlock(&t->reads);
    if (!status && wasm->n == 0)
        status = err_set(err, REALM_E_NOT_FOUND, "this version of the program is gone");
    return status;
}
