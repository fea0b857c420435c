/* tenant/guests.c - the programs of tenants, version by version. */
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "tenant/tenant_impl.h"

#define GUEST_COLUMNS                                                                 \
    "version, tenant, model, sha256, about, withdrawn, created_at, length(wasm),"     \
    " version = (SELECT max(version) FROM guests AS g WHERE g.tenant = guests.tenant" \
    " AND g.model = guests.model AND NOT g.withdrawn)"

static int add_guest(void *ctx, sqlite3_stmt *stmt)
{
    bool described = sqlite3_column_type(stmt, 4) != SQLITE_NULL;
    json_t *about = described ? json_loads(db_column_text(stmt, 4), 0, NULL) : json_object();
    const char *model = db_column_text(stmt, 2);
    json_t *row =
        json_pack("{s:I, s:s, s:o, s:s, s:I, s:I, s:b, s:b}", "version",
                  (json_int_t)sqlite3_column_int64(stmt, 0), "tenant", db_column_text(stmt, 1),
                  "model", model[0] ? json_string(model) : json_null(), "sha256",
                  db_column_text(stmt, 3), "bytes", (json_int_t)sqlite3_column_int64(stmt, 7),
                  "created_at", (json_int_t)sqlite3_column_int64(stmt, 6), "in_use",
                  sqlite3_column_int(stmt, 8), "withdrawn", sqlite3_column_int(stmt, 5));
    int failed = !about || !row || json_object_update_missing(row, about);
    json_decref(about);
    if (failed) {
        json_decref(row);
        return REALM_E_NOMEM;
    }
    return json_array_append_new(ctx, row) ? REALM_E_NOMEM : 0;
}

/* The version in use; 0: there is none. */
static int read_use(struct tenants *t, const char *tenant, const char *model, int64_t *version,
                    struct realm_error *err)
{
    return db_number(t->sql,
                     "SELECT max(version) FROM guests"
                     " WHERE tenant=?1 AND model=?2 AND NOT withdrawn",
                     DB_ARGS(db_text(tenant), db_text(model)), version, err);
}

/* The answer about one version. */
static int show(struct tenants *t, int64_t version, json_t **out, struct realm_error *err)
{
    json_t *rows = json_array();
    int status = rows ? 0 : err_nomem(err, "the answer");
    if (!status)
        status = db_query(t->sql, "SELECT " GUEST_COLUMNS " FROM guests WHERE version=?1",
                          DB_ARGS(db_int((uint64_t)version)), add_guest, rows, err);
    if (!status)
        *out = json_incref(json_array_get(rows, 0));
    json_decref(rows);
    return status;
}

static int digest(struct slice wasm, char hex[65])
{
    uint8_t sum[32];
    size_t n = sizeof(sum);
    if (!EVP_Q_digest(NULL, "SHA256", NULL, wasm.p, wasm.n, sum, &n))
        return REALM_E_NOMEM;
    for (size_t i = 0; i < sizeof(sum); i++)
        snprintf(hex + 2 * i, 3, "%02x", sum[i]);
    return 0;
}

static int check_count(struct tenants *t, const char *tenant, const char *model,
                       struct realm_error *err)
{
    int64_t others;
    int status =
        db_number(t->sql, "SELECT count(DISTINCT model) FROM guests WHERE tenant=?1 AND model<>?2",
                  DB_ARGS(db_text(tenant), db_text(model)), &others, err);
    if (!status && others >= TENANT_GUESTS_MAX)
        status =
            err_set(err, REALM_E_LIMIT, "tenant %s has programs for %d models, and no more may be",
                    tenant, TENANT_GUESTS_MAX);
    return status;
}

/* Older versions go, withdrawn ones first. */
static int prune(struct tenants *t, const char *tenant, const char *model, struct realm_error *err)
{
    return db_run(t->sql,
                  "DELETE FROM guests WHERE version IN (SELECT version FROM guests WHERE tenant=?1"
                  " AND model=?2 ORDER BY withdrawn, version DESC LIMIT -1 OFFSET ?3)",
                  DB_ARGS(db_text(tenant), db_text(model), db_int(TENANT_GUEST_VERSIONS_MAX)), err);
}

static int insert(struct tenants *t, const char *tenant, const char *model, struct slice wasm,
                  const json_t *about, struct realm_error *err)
{
    char hex[65] = "";
    char *text = about ? json_dumps(about, JSON_COMPACT) : NULL;
    int status = (about && !text) || digest(wasm, hex) ? err_nomem(err, "a program") : 0;
    if (!status && text && strlen(text) > TENANT_ABOUT_BYTES_MAX)
        status = err_set(err, REALM_E_LIMIT, "the program has too many exports and imports");
    if (!status)
        status = db_run(t->sql,
                        "INSERT INTO guests (tenant, model, sha256, about, withdrawn, created_at,"
                        " wasm) VALUES (?1, ?2, ?3, ?4, 0, ?5, ?6)",
                        DB_ARGS(db_text(tenant), db_text(model), db_text(hex), db_text(text),
                                db_int((uint64_t)tenants_now_s(t)), db_blob(wasm)),
                        err);
    free(text);
    return status;
}

int tenants_guest_put(struct tenants *t, const char *tenant, const char *model, struct slice wasm,
                      const json_t *about, const char *who, json_t **out, struct realm_error *err)
{
    struct account *a = NULL;
    const char *of = model ? model : "";
    *out = NULL;
    if (wasm.n > GUEST_MODULE_BYTES_MAX)
        return err_set(err, REALM_E_LIMIT, "the program has %zu bytes, the limit is %d", wasm.n,
                       GUEST_MODULE_BYTES_MAX);
    if (strlen(of) > MODEL_NAME_MAX)
        return err_set(err, REALM_E_ARG, "model must be a name of up to %d bytes", MODEL_NAME_MAX);
    int status = change_begin(t, err);
    if (!status)
        status = change_find(t, tenant, &a, err);
    if (!status)
        status = check_count(t, tenant, of, err);
    if (!status)
        status = insert(t, tenant, of, wasm, about, err);
    int64_t version = sqlite3_last_insert_rowid(t->sql);
    if (!status)
        status = prune(t, tenant, of, err);
    if (!status)
        status = show(t, version, out, err);
    if (!status)
        status = change_audit(t, who, "guest.put", tenant, json_incref(*out), err);
    return change_over(t, change_apply(t, a, status, err), out);
}

int tenants_guest_list(struct tenants *t, const char *tenant, json_t **out, struct realm_error *err)
{
    return list_rows(t, tenant, "guests",
                     "SELECT " GUEST_COLUMNS " FROM guests WHERE tenant=?1"
                     " ORDER BY model, version DESC",
                     add_guest, out, err);
}

static int no_program(const char *tenant, const char *model, struct realm_error *err)
{
    return err_set(err, REALM_E_NOT_FOUND, "tenant %.64s has no program for %.100s", tenant,
                   model[0] ? model : "models in general");
}

static int withdraw(struct tenants *t, const char *tenant, const char *model, json_t **out,
                    struct realm_error *err)
{
    int64_t version, before;
    int status = read_use(t, tenant, model, &version, err);
    if (!status && !version)
        status = no_program(tenant, model, err);
    if (!status)
        status = db_run(t->sql, "UPDATE guests SET withdrawn=1 WHERE version=?1",
                        DB_ARGS(db_int((uint64_t)version)), err);
    if (!status)
        status = read_use(t, tenant, model, &before, err);
    if (!status && !before)
        status =
            err_set(err, REALM_E_NOT_FOUND, "there is no version before %lld", (long long)version);
    return status ? status : show(t, before, out, err);
}

int tenants_guest_rollback(struct tenants *t, const char *tenant, const char *model,
                           const char *who, json_t **out, struct realm_error *err)
{
    struct account *a = NULL;
    *out = NULL;
    int status = change_begin(t, err);
    if (!status)
        status = change_find(t, tenant, &a, err);
    if (!status)
        status = withdraw(t, tenant, model ? model : "", out, err);
    if (!status)
        status = change_audit(t, who, "guest.rollback", tenant, json_incref(*out), err);
    return change_over(t, change_apply(t, a, status, err), out);
}

int tenants_guest_remove(struct tenants *t, const char *tenant, const char *model, const char *who,
                         struct realm_error *err)
{
    struct account *a = NULL;
    const char *of = model ? model : "";
    int status = change_begin(t, err);
    if (!status)
        status = change_find(t, tenant, &a, err);
    if (!status)
        status = db_run(t->sql, "DELETE FROM guests WHERE tenant=?1 AND model=?2",
                        DB_ARGS(db_text(tenant), db_text(of)), err);
    if (!status && sqlite3_changes(t->sql) == 0)
        status = no_program(tenant, of, err);
    if (!status)
        status = change_audit(t, who, "guest.remove", tenant,
                              model ? json_pack("{s:s}", "model", model) : NULL, err);
    return change_over(t, change_apply(t, a, status, err), NULL);
}

/* ---- modules ---- */

struct module {
    struct buf *wasm;
    bool found;
};

static int take_module(void *ctx, sqlite3_stmt *stmt)
{
    struct module *m = ctx;
    m->found = true;
    const void *p = sqlite3_column_blob(stmt, 0);
    return buf_add(m->wasm, p, (size_t)sqlite3_column_bytes(stmt, 0));
}

int tenants_guest_module(struct tenants *t, uint64_t version, struct buf *wasm,
                         struct realm_error *err)
{
    struct module m = {wasm, false};
    mutex_lock(&t->modules.lock);
    int status = db_query(t->modules.sql, "SELECT wasm FROM guests WHERE version=?1",
                          DB_ARGS(db_int(version)), take_module, &m, err);
    mutex_unlock(&t->modules.lock);
    if (status == REALM_E_LIMIT)
        return err_set(err, status, "the program does not fit its buffer");
    if (!status && !m.found)
        status = err_set(err, REALM_E_NOT_FOUND, "no program has version %llu",
                         (unsigned long long)version);
    return status;
}
