/* tenant/keys.c - administration of keys. */
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "tenant/tenant_impl.h"

#define KEY_COLUMNS "id, tenant, name, created_at, expires_at, disabled"

static json_t *key_json(sqlite3_stmt *stmt)
{
    bool ends = sqlite3_column_int64(stmt, 4) != 0;
    json_t *expires = ends ? json_integer(sqlite3_column_int64(stmt, 4)) : json_null();
    bool named = sqlite3_column_type(stmt, 2) != SQLITE_NULL;
    json_t *name = named ? json_string(db_column_text(stmt, 2)) : json_null();
    return json_pack("{s:s, s:s, s:o, s:I, s:o, s:b}", "id", db_column_text(stmt, 0), "tenant",
                     db_column_text(stmt, 1), "name", name, "created_at",
                     (json_int_t)sqlite3_column_int64(stmt, 3), "expires_at", expires, "disabled",
                     sqlite3_column_int(stmt, 5));
}

static int take_key(void *ctx, sqlite3_stmt *stmt)
{
    json_t **out = ctx;
    json_decref(*out);
    *out = key_json(stmt);
    return *out ? 0 : REALM_E_NOMEM;
}

static int add_key(void *ctx, sqlite3_stmt *stmt)
{
    return json_array_append_new(ctx, key_json(stmt)) ? REALM_E_NOMEM : 0;
}

/* As the connection sees it now. */
static int read_key(struct tenants *t, const char *id, json_t **out, struct realm_error *err)
{
    int status = db_query(t->sql, "SELECT " KEY_COLUMNS " FROM keys WHERE id=?1",
                          DB_ARGS(db_text(id)), take_key, out, err);
    if (!status && !*out)
        status = err_set(err, REALM_E_NOT_FOUND, "no key has the id %.16s", id);
    return status;
}

/* ---- bodies ---- */

struct key_body {
    const char *name;
    int64_t expires_at;
    bool disabled;
};

static int take_expiry(const json_t *value, int64_t *out, struct realm_error *err)
{
    json_int_t at = json_is_null(value) ? 0 : json_integer_value(value);
    if (!json_is_null(value) && (!json_is_integer(value) || at < 1))
        return err_set(err, REALM_E_ARG,
                       "expires_at must be seconds since 1970 (UTC), or null for never");
    *out = at;
    return 0;
}

/* Members that body does not have stay. */
static int take_body(struct key_body *b, const json_t *body, bool making, struct realm_error *err)
{
    static const char *const names[] = {"name", "expires_at", "disabled", NULL};
    const json_t *name = json_object_get(body, "name");
    const json_t *expires = json_object_get(body, "expires_at");
    const json_t *disabled = json_object_get(body, "disabled");
    int status = making && !body ? 0 : body_check(body, names, "a key", err);
    if (!status && name)
        status = body_name(name, "name", &b->name, err);
    if (!status && expires)
        status = take_expiry(expires, &b->expires_at, err);
    if (!status && disabled && !json_is_boolean(disabled))
        status = err_set(err, REALM_E_ARG, "disabled must be true or false");
    if (!status && disabled)
        b->disabled = json_is_true(disabled);
    return status;
}

/* ---- making ---- */

static int check_count(struct tenants *t, const char *tenant, struct realm_error *err)
{
    int64_t n;
    int status = db_number(t->sql, "SELECT count(*) FROM keys WHERE tenant=?1",
                           DB_ARGS(db_text(tenant)), &n, err);
    if (!status && n >= TENANT_KEYS_MAX)
        status = err_set(err, REALM_E_LIMIT, "tenant %s has %d keys, and no more may be", tenant,
                         TENANT_KEYS_MAX);
    return status;
}

static int draw(struct tenants *t, struct key *k, char text[KEY_TEXT + 1], struct realm_error *err)
{
    struct key_parts parts;
    if (key_draw(text) || key_split(text, KEY_TEXT, &parts))
        return err_set(err, REALM_E_SYS, "the system has no random numbers");
    memcpy(k->id, parts.id, sizeof(k->id));
    return key_mac(t->pepper, parts.secret, k->mac) ? err_nomem(err, "a key") : 0;
}

static int insert(struct tenants *t, const struct key *k, const struct key_body *b,
                  struct realm_error *err)
{
    return db_run(t->sql,
                  "INSERT INTO keys (id, tenant, mac, name, created_at, expires_at, disabled)"
                  " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                  DB_ARGS(db_text(k->id), db_text(k->account->id),
                          db_blob((struct slice){k->mac, KEY_MAC}), db_text(b->name),
                          db_int((uint64_t)tenants_now_s(t)), db_int((uint64_t)b->expires_at),
                          db_int(b->disabled)),
                  err);
}

/* Within a change; *shown: the answer without the key itself. */
static int make(struct tenants *t, const char *tenant, struct key *k, const struct key_body *b,
                const char *who, json_t **shown, struct realm_error *err)
{
    int status = insert(t, k, b, err);
    if (!status)
        status = read_key(t, k->id, shown, err);
    if (!status)
        status = change_audit(t, who, "key.create", tenant, json_incref(*shown), err);
    return status;
}

int tenants_key_create(struct tenants *t, const char *tenant, const json_t *body, const char *who,
                       json_t **out, struct realm_error *err)
{
    struct key_body b = {0};
    char text[KEY_TEXT + 1] = "";
    struct key *k = mem_zalloc(sizeof(*k));
    *out = NULL;
    int status = k ? take_body(&b, body, true, err) : err_nomem(err, "a key");
    if (status) {
        mem_free(k);
        return status;
    }
    k->expires_at = b.expires_at;
    k->disabled = b.disabled;
    status = change_begin(t, err);
    if (!status)
        status = change_find(t, tenant, &k->account, err);
    if (!status)
        status = check_count(t, tenant, err);
    if (!status)
        status = draw(t, k, text, err);
    if (!status)
        status = make(t, tenant, k, &b, who, out, err);
    if (!status && json_object_set_new(*out, "key", json_string(text)))
        status = err_nomem(err, "a key");
    status = change_end(t, status, err);
    if (!status) {
        mutex_lock(&t->lock);
        directory_add_key(t, k);
        mutex_unlock(&t->lock);
    } else {
        mem_free(k);
    }
    OPENSSL_cleanse(text, sizeof(text));
    return change_over(t, status, out);
}

/* ---- the rest ---- */

int tenants_keys(struct tenants *t, const char *tenant, json_t **out, struct realm_error *err)
{
    return list_rows(t, tenant, "keys",
                     "SELECT " KEY_COLUMNS " FROM keys WHERE tenant=?1 ORDER BY created_at, id",
                     add_key, out, err);
}

static int update(struct tenants *t, const char *id, const json_t *patch, const struct key_body *b,
                  struct realm_error *err)
{
    return db_run(t->sql,
                  "UPDATE keys SET name=iif(?2, ?3, name), expires_at=iif(?4, ?5, expires_at),"
                  " disabled=iif(?6, ?7, disabled) WHERE id=?1",
                  DB_ARGS(db_text(id), db_int(json_object_get(patch, "name") != NULL),
                          db_text(b->name), db_int(json_object_get(patch, "expires_at") != NULL),
                          db_int((uint64_t)b->expires_at),
                          db_int(json_object_get(patch, "disabled") != NULL), db_int(b->disabled)),
                  err);
}

int tenants_key_change(struct tenants *t, const char *key, const json_t *patch, const char *who,
                       json_t **out, struct realm_error *err)
{
    struct key_body b = {0};
    *out = NULL;
    int status = take_body(&b, patch, false, err);
    if (status)
        return status;
    status = change_begin(t, err);
    if (!status)
        status = update(t, key, patch, &b, err);
    if (!status)
        status = read_key(t, key, out, err);
    if (!status)
        status = change_audit(t, who, "key.change", key, json_incref((json_t *)patch), err);
    status = change_end(t, status, err);
    if (!status) {
        mutex_lock(&t->lock);
        struct key *k = directory_find_key(t, key);
        k->expires_at = json_integer_value(json_object_get(*out, "expires_at"));
        k->disabled = json_is_true(json_object_get(*out, "disabled"));
        mutex_unlock(&t->lock);
    }
    return change_over(t, status, out);
}

int tenants_key_remove(struct tenants *t, const char *key, const char *who, struct realm_error *err)
{
    json_t *shown = NULL;
    int status = change_begin(t, err);
    if (!status)
        status = read_key(t, key, &shown, err);
    if (!status)
        status = db_run(t->sql, "DELETE FROM keys WHERE id=?1", DB_ARGS(db_text(key)), err);
    if (!status)
        status = change_audit(t, who, "key.remove", key, json_incref(shown), err);
    status = change_end(t, status, err);
    if (!status) {
        mutex_lock(&t->lock);
        directory_remove_key(t, directory_find_key(t, key));
        mutex_unlock(&t->lock);
    }
    json_decref(shown);
    return change_over(t, status, NULL);
}
