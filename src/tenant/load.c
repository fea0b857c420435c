/* tenant/load.c - from the database's rows to the directory in memory. */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "tenant/tenant_impl.h"

struct uses {
    struct guest_use *at;
    size_t n;
};

static int add_use(void *ctx, sqlite3_stmt *stmt)
{
    struct uses *u = ctx;
    if (u->n == TENANT_GUESTS_MAX)
        return REALM_E_FORMAT;
    struct guest_use *use = &u->at[u->n++];
    snprintf(use->model, sizeof(use->model), "%s", db_column_text(stmt, 0));
    use->version = (uint64_t)sqlite3_column_int64(stmt, 1);
    return 0;
}

static int read_spec(void *ctx, sqlite3_stmt *stmt)
{
    struct spec *s = ctx;
    spec_free(s);
    return spec_read(s, stmt);
}

int load_snapshot(struct tenant **out, struct account *a, sqlite3 *sql, struct realm_error *err)
{
    struct spec s;
    struct uses uses = {mem_array(TENANT_GUESTS_MAX, sizeof(struct guest_use)), 0};
    spec_init(&s);
    *out = NULL;
    int status = uses.at ? 0 : err_nomem(err, "a tenant");
    if (!status)
        status = db_query(sql, "SELECT " SPEC_COLUMNS " FROM tenants WHERE id=?1",
                          DB_ARGS(db_text(a->id)), read_spec, &s, err);
    if (!status)
        status = db_query(sql,
                          "SELECT model, max(version) FROM guests"
                          " WHERE tenant=?1 AND NOT withdrawn GROUP BY model",
                          DB_ARGS(db_text(a->id)), add_use, &uses, err);
    if (!status && !(*out = snapshot_new(a, &s, uses.at, uses.n)))
        status = err_nomem(err, "a tenant");
    spec_free(&s);
    mem_free(uses.at);
    return status;
}

static int take_spent(void *ctx, sqlite3_stmt *stmt)
{
    struct counters *c = ctx;
    for (int i = 0; i < BUDGET_WINDOWS; i++)
        c->windows[i][0].used = (uint64_t)sqlite3_column_int64(stmt, i);
    return 0;
}

int load_spent(struct account *a, sqlite3 *sql, struct realm_error *err)
{
    limits_roll(&a->counters, tenants_now_s(a->tenants));
    const struct window(*w)[2] = (const struct window(*)[2])a->counters.windows;
    return db_query(sql,
                    "SELECT coalesce(sum(tokens) FILTER (WHERE hour >= ?2), 0),"
                    " coalesce(sum(tokens) FILTER (WHERE hour >= ?3), 0),"
                    " coalesce(sum(tokens), 0) FROM spent WHERE tenant=?1 AND hour >= ?4",
                    DB_ARGS(db_text(a->id), db_int((uint64_t)w[BUDGET_HOUR][0].start_s),
                            db_int((uint64_t)w[BUDGET_DAY][0].start_s),
                            db_int((uint64_t)w[BUDGET_MONTH][0].start_s)),
                    take_spent, &a->counters, err);
}

/* The directory has it, and drops it at the end, even when reading the rest fails. */
static int load_account(struct tenants *t, struct account *a, struct realm_error *err)
{
    struct tenant *s;
    int status = load_snapshot(&s, a, t->sql, err);
    (void)directory_set(a, s);
    return status ? status : load_spent(a, t->sql, err);
}

struct loading {
    struct tenants *t;
    struct realm_error *err;
};

static int add_account(void *ctx, sqlite3_stmt *stmt)
{
    const struct loading *l = ctx;
    struct tenants *t = l->t;
    t->n_accounts++;
    const char *id = db_column_text(stmt, 0);
    if (directory_find(t, id))
        return 0;
    struct account *a = account_new(t, id);
    if (!a)
        return REALM_E_NOMEM;
    directory_add(t, a);
    return load_account(t, a, l->err);
}

static int add_key(void *ctx, sqlite3_stmt *stmt)
{
    struct tenants *t = ctx;
    struct account *a = directory_find(t, db_column_text(stmt, 1));
    if (!a || sqlite3_column_bytes(stmt, 2) != KEY_MAC)
        return REALM_E_FORMAT;
    struct key *k = mem_zalloc(sizeof(*k));
    if (!k)
        return REALM_E_NOMEM;
    snprintf(k->id, sizeof(k->id), "%s", db_column_text(stmt, 0));
    memcpy(k->mac, sqlite3_column_blob(stmt, 2), KEY_MAC);
    k->expires_at = sqlite3_column_int64(stmt, 3);
    k->disabled = sqlite3_column_int(stmt, 4) != 0;
    k->account = a;
    directory_add_key(t, k);
    return 0;
}

int load_directory(struct tenants *t, struct realm_error *err)
{
    t->everybody = account_new(t, "default");
    if (!t->everybody)
        return err_nomem(err, "the tenants");
    directory_add(t, t->everybody);
    struct loading l = {t, err};
    int status = load_account(t, t->everybody, err);
    if (!status)
        status = db_query(t->sql, "SELECT id FROM tenants", NULL, 0, add_account, &l, err);
    if (!status)
        status = db_query(t->sql, "SELECT id, tenant, mac, expires_at, disabled FROM keys", NULL, 0,
                          add_key, t, err);
    if (status == REALM_E_FORMAT)
        (void)err_set(err, status, "%s holds tenants or keys that make no sense", t->path);
    return status;
}
