/* tenant/admin.c - changes: to the database first, then to what is in memory. */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "tenant/tenant_impl.h"

/* ---- a change ---- */

/* A transaction that stayed would keep the ledger from writing. */
static void take_back(struct tenants *t)
{
    if (sqlite3_get_autocommit(t->sql))
        return;
    (void)sqlite3_step(t->rollback);
    (void)sqlite3_reset(t->rollback);
}

int change_begin(struct tenants *t, struct realm_error *err)
{
    mutex_lock(&t->changes);
    take_back(t);
    return db_exec(t->sql, "BEGIN IMMEDIATE", err);
}

int change_end(struct tenants *t, int status, struct realm_error *err)
{
    if (!status)
        status = db_exec(t->sql, "COMMIT", err);
    if (status)
        take_back(t);
    return status;
}

int change_over(struct tenants *t, int status, json_t **out)
{
    mutex_unlock(&t->changes);
    if (status && out) {
        json_decref(*out);
        *out = NULL;
    }
    return status;
}

int change_audit(struct tenants *t, const char *who, const char *action, const char *subject,
                 json_t *detail, struct realm_error *err)
{
    char *text = detail ? json_dumps(detail, JSON_COMPACT | JSON_REAL_PRECISION(15)) : NULL;
    int status = detail && !text ? err_nomem(err, "an audit") : 0;
    if (!status)
        status = db_run(t->sql,
                        "INSERT INTO audits (at, who, action, subject, detail)"
                        " VALUES (?1, ?2, ?3, ?4, ?5)",
                        DB_ARGS(db_int((uint64_t)tenants_now_s(t)), db_text(who ? who : ""),
                                db_text(action), db_text(subject), db_text(text)),
                        err);
    free(text);
    json_decref(detail);
    return status;
}

int tenants_audit(struct tenants *t, const char *who, const char *action, const char *subject,
                  struct realm_error *err)
{
    int status = change_begin(t, err);
    if (!status)
        status = change_audit(t, who, action, subject, NULL, err);
    return change_over(t, change_end(t, status, err), NULL);
}

static int count(struct tenants *t, const char *id, int64_t *n, struct realm_error *err)
{
    return db_number(t->sql, "SELECT count(*) FROM tenants WHERE id=?1", DB_ARGS(db_text(id)), n,
                     err);
}

int change_find(struct tenants *t, const char *id, struct account **out, struct realm_error *err)
{
    int64_t found;
    int status = count(t, id, &found, err);
    if (!status && !found)
        status = err_set(err, REALM_E_NOT_FOUND, "no tenant is named %.64s", id);
    mutex_lock(&t->lock);
    *out = status ? NULL : directory_find(t, id);
    mutex_unlock(&t->lock);
    return status;
}

int change_apply(struct tenants *t, struct account *a, int status, struct realm_error *err)
{
    struct tenant *s = NULL;
    if (!status)
        status = load_snapshot(&s, a, t->sql, err);
    status = change_end(t, status, err);
    if (!status) {
        mutex_lock(&t->lock);
        s = directory_set(a, s);
        mutex_unlock(&t->lock);
    }
    snapshot_drop(s);
    return status;
}

static int answer(json_t **out, json_t *json, struct realm_error *err)
{
    *out = json;
    return json ? 0 : err_nomem(err, "the answer");
}

/* ---- tenants ---- */

/* A new account, which the directory does not have yet; "default" is there already. */
static int make_account(struct tenants *t, const char *id, struct account **a, bool *fresh,
                        struct realm_error *err)
{
    int64_t taken;
    int status = count(t, id, &taken, err);
    if (!status && taken)
        status = err_set(err, REALM_E_ARG, "id %s is taken", id);
    if (!status && t->n_accounts >= TENANTS_MAX)
        status =
            err_set(err, REALM_E_LIMIT, "there are %d tenants, and no more may be", TENANTS_MAX);
    *a = t->everybody;
    *fresh = false;
    if (status || strcmp(id, (*a)->id) == 0)
        return status;
    *a = account_new(t, id);
    *fresh = *a != NULL;
    return *a ? load_spent(*a, t->sql, err) : err_nomem(err, "a tenant");
}

int tenants_create(struct tenants *t, const json_t *body, const char *who, json_t **out,
                   struct realm_error *err)
{
    struct spec s;
    struct account *a = NULL;
    bool fresh = false;
    spec_init(&s);
    s.created_at = tenants_now_s(t);
    *out = NULL;
    int status = spec_apply(&s, body, true, err);
    if (status) {
        spec_free(&s);
        return status;
    }
    status = change_begin(t, err);
    if (!status)
        status = make_account(t, s.id, &a, &fresh, err);
    if (!status)
        status = spec_write(&s, t->sql, err);
    if (!status)
        status = answer(out, spec_json(&s), err);
    if (!status)
        status = change_audit(t, who, "tenant.create", s.id, json_incref(*out), err);
    status = change_apply(t, a, status, err);
    mutex_lock(&t->lock);
    if (!status && fresh)
        directory_add(t, a);
    t->n_accounts += !status;
    mutex_unlock(&t->lock);
    if (status && fresh)
        account_drop(a);
    spec_free(&s);
    return change_over(t, status, out);
}

static int add_tenant(void *ctx, sqlite3_stmt *stmt)
{
    struct spec s;
    int status = spec_read(&s, stmt);
    if (status)
        return status;
    status = json_array_append_new(ctx, spec_json(&s)) ? REALM_E_NOMEM : 0;
    spec_free(&s);
    return status;
}

int list_rows(struct tenants *t, const char *tenant, const char *name, const char *text,
              int (*row)(void *array, sqlite3_stmt *stmt), json_t **out, struct realm_error *err)
{
    struct account *a;
    const struct db_arg of = db_text(tenant);
    json_t *rows = json_array();
    *out = NULL;
    mutex_lock(&t->changes);
    int status = rows ? 0 : err_nomem(err, "the answer");
    if (!status && tenant)
        status = change_find(t, tenant, &a, err);
    if (!status)
        status = db_query(t->sql, text, &of, tenant ? 1 : 0, row, rows, err);
    mutex_unlock(&t->changes);
    if (status)
        json_decref(rows);
    return status ? status : answer(out, json_pack("{s:o}", name, rows), err);
}

int tenants_list(struct tenants *t, json_t **out, struct realm_error *err)
{
    return list_rows(t, NULL, "tenants", "SELECT " SPEC_COLUMNS " FROM tenants ORDER BY id",
                     add_tenant, out, err);
}

static int read_current(struct tenants *t, const char *id, struct account **a, struct spec *s,
                        struct realm_error *err)
{
    int status = change_find(t, id, a, err);
    if (status)
        return status;
    /* Whoever holds `changes` is the only one who replaces it. */
    spec_copy(s, &(*a)->current->spec);
    return 0;
}

int tenants_get(struct tenants *t, const char *id, json_t **out, struct realm_error *err)
{
    struct account *a;
    struct spec s;
    spec_init(&s);
    *out = NULL;
    mutex_lock(&t->changes);
    int status = read_current(t, id, &a, &s, err);
    mutex_unlock(&t->changes);
    if (!status)
        status = answer(out, spec_json(&s), err);
    spec_free(&s);
    return status;
}

int tenants_change(struct tenants *t, const char *id, const json_t *patch, const char *who,
                   json_t **out, struct realm_error *err)
{
    struct account *a = NULL;
    struct spec s;
    spec_init(&s);
    *out = NULL;
    int status = change_begin(t, err);
    if (!status)
        status = read_current(t, id, &a, &s, err);
    if (!status)
        status = spec_apply(&s, patch, false, err);
    if (!status)
        status = spec_write(&s, t->sql, err);
    if (!status)
        status = answer(out, spec_json(&s), err);
    if (!status)
        status = change_audit(t, who, "tenant.change", id, json_incref((json_t *)patch), err);
    status = change_apply(t, a, status, err);
    spec_free(&s);
    return change_over(t, status, out);
}

/* "default" goes on as if nobody had made it. */
static int remove_made(struct tenants *t, struct account *a, int status, struct realm_error *err)
{
    struct tenant *s = NULL;
    if (!status && a == t->everybody)
        status = load_snapshot(&s, a, t->sql, err);
    status = change_end(t, status, err);
    if (!status) {
        mutex_lock(&t->lock);
        directory_remove(t, a);
        t->n_accounts--;
        s = directory_set(a, s);
        mutex_unlock(&t->lock);
        if (a != t->everybody)
            account_drop(a);
    }
    snapshot_drop(s);
    return status;
}

int tenants_remove(struct tenants *t, const char *id, const char *who, struct realm_error *err)
{
    struct account *a = NULL;
    int status = change_begin(t, err);
    if (!status)
        status = change_find(t, id, &a, err);
    if (!status)
        status = db_run(t->sql, "DELETE FROM tenants WHERE id=?1", DB_ARGS(db_text(id)), err);
    if (!status)
        status = change_audit(t, who, "tenant.remove", id, NULL, err);
    status = remove_made(t, a, status, err);
    return change_over(t, status, NULL);
}
