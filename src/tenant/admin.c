/* tenant/admin.c - what administration changes: first in the database, with its audit, in one
 * transaction; then in memory. */
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "tenant/tenant_impl.h"

enum { KEYS_MAX = 65536, TENANTS_MAX = 65536, KEY_NAME_MAX = 100 };

/* ---- transactions, under admin ---- */

struct change {
    struct tenants *t;
    const char *who, *action, *subject;
};

static int begin(const struct change *c, struct realm_error *err)
{
    mutex_lock(&c->t->admin);
    return db_exec(c->t->sql, "BEGIN IMMEDIATE", err);
}

/* Writes the audit and commits, or takes all back; detail may be NULL. */
static int commit(const struct change *c, int status, const json_t *detail, struct realm_error *err)
{
    struct tenants *t = c->t;
    char *text = detail ? json_dumps(detail, JSON_COMPACT) : NULL;
    if (!status && detail && !text)
        status = err_nomem(err, "an audit");
    if (!status)
        status = db_run(t->sql,
                        "INSERT INTO audits (at, who, action, subject, detail) "
                        "VALUES (?1, ?2, ?3, ?4, ?5)",
                        DB_ARGS(db_int((uint64_t)wall_s(t)), db_text(c->who), db_text(c->action),
                                db_text(c->subject), db_text(text)),
                        err);
    if (!status)
        status = db_exec(t->sql, "COMMIT", err);
    if (status)
        db_rollback(t->sql);
    free(text);
    return status;
}

static void done(const struct change *c)
{
    mutex_unlock(&c->t->admin);
}

static int no_tenant(const char *id, struct realm_error *err)
{
    return err_set(err, REALM_E_NOT_FOUND, "there is no tenant %.80s", id);
}

static int nomem(struct realm_error *err)
{
    return err_nomem(err, "an answer");
}

/* ---- tenants ---- */

/* The JSON of how it stands now. */
static int show(struct tenants *t, const char *id, json_t **out, struct realm_error *err)
{
    mutex_lock(&t->lock);
    struct tenant *tenant = directory_find(t, id);
    if (tenant)
        tenant_hold(tenant);
    mutex_unlock(&t->lock);
    if (!tenant)
        return no_tenant(id, err);
    *out = settings_json(tenant);
    mutex_lock(&t->lock);
    tenant_let_go(tenant);
    mutex_unlock(&t->lock);
    return *out ? 0 : nomem(err);
}

/* Puts tenant, which is then the directory's, or frees it. */
static int put(struct tenants *t, struct tenant *tenant, struct realm_error *err)
{
    mutex_lock(&t->lock);
    int status = directory_put(t, tenant);
    mutex_unlock(&t->lock);
    if (status)
        tenant_free(tenant);
    return status ? err_nomem(err, "a tenant") : 0;
}

static int new_tenant(struct tenants *t, const json_t *body, struct tenant **out,
                      struct realm_error *err)
{
    const json_t *name = json_object_get(body, "id");
    const char *id = json_string_value(name);
    *out = NULL;
    if (!id || strlen(id) != json_string_length(name) || !tenant_id_good(id))
        return err_set(err, REALM_E_ARG,
                       "id must have 1 to %d of a-z, 0-9, '.', '_' and '-', and begin with a "
                       "letter or digit",
                       TENANT_ID_MAX);
    *out = tenant_alloc(id);
    if (!*out)
        return err_nomem(err, "a tenant");
    (*out)->created_s = wall_s(t);
    return settings_read(*out, body, false, err);
}

static bool is_there(struct tenants *t, const char *id)
{
    mutex_lock(&t->lock);
    bool there = directory_find(t, id) != NULL;
    mutex_unlock(&t->lock);
    return there;
}

int tenants_create(struct tenants *t, const json_t *body, const char *who, json_t **out,
                   struct realm_error *err)
{
    struct tenant *tenant;
    *out = NULL;
    int status = new_tenant(t, body, &tenant, err);
    if (status) {
        tenant_free(tenant);
        return status;
    }
    char id[TENANT_ID_MAX + 1];
    memcpy(id, tenant->view.id, sizeof(id));
    const struct change c = {t, who, "tenant.create", id};
    status = begin(&c, err);
    if (!status && is_there(t, id))
        status = err_set(err, REALM_E_ARG, "id: there is a tenant %s", id);
    else if (!status && atomic_load(&t->n_tenants) >= TENANTS_MAX)
        status = err_set(err, REALM_E_LIMIT, "there are %d tenants already", TENANTS_MAX);
    if (!status)
        status = settings_write(t->sql, tenant, err);
    status = commit(&c, status, body, err);
    if (status)
        tenant_free(tenant);
    else
        status = put(t, tenant, err);
    if (!status) {
        mutex_lock(&t->lock);
        tenant = directory_find(t, id);
        mutex_unlock(&t->lock);
        status = limits_load(t, tenant, err);
    }
    done(&c);
    return status ? status : show(t, id, out, err);
}

int tenants_get(struct tenants *t, const char *id, json_t **out, struct realm_error *err)
{
    *out = NULL;
    return show(t, id, out, err);
}

int tenants_list(struct tenants *t, json_t **out, struct realm_error *err)
{
    json_t *list = json_array();
    int failed = !list;
    mutex_lock(&t->lock);
    for (struct list *i = t->list.next; i != &t->list && !failed; i = i->next)
        failed = json_array_append_new(list, settings_json(CONTAINER_OF(i, struct tenant, link)));
    mutex_unlock(&t->lock);
    *out = failed ? NULL : json_pack("{s:O}", "tenants", list);
    json_decref(list);
    return *out ? 0 : nomem(err);
}

/* A copy of how the tenant stands, to be changed and put; under admin. */
static int copy_of(struct tenants *t, const char *id, struct tenant **out, struct realm_error *err)
{
    mutex_lock(&t->lock);
    struct tenant *now = directory_find(t, id);
    *out = now ? tenant_alloc(id) : NULL;
    int status = *out ? settings_copy(*out, now) : REALM_E_NOMEM;
    mutex_unlock(&t->lock);
    if (!now)
        return no_tenant(id, err);
    return status ? err_nomem(err, "a tenant") : 0;
}

int tenants_change(struct tenants *t, const char *id, const json_t *patch, const char *who,
                   json_t **out, struct realm_error *err)
{
    struct tenant *tenant = NULL;
    const struct change c = {t, who, "tenant.change", id};
    *out = NULL;
    int status = begin(&c, err);
    if (!status)
        status = copy_of(t, id, &tenant, err);
    if (!status)
        status = settings_read(tenant, patch, true, err);
    if (!status)
        status = settings_write(t->sql, tenant, err);
    status = commit(&c, status, patch, err);
    if (status)
        tenant_free(tenant);
    else
        status = put(t, tenant, err);
    done(&c);
    return status ? status : show(t, id, out, err);
}

int tenants_remove(struct tenants *t, const char *id, const char *who, struct realm_error *err)
{
    const struct change c = {t, who, "tenant.remove", id};
    int status = begin(&c, err);
    if (!status && !is_there(t, id))
        status = no_tenant(id, err);
    if (!status)
        status = db_run(t->sql, "DELETE FROM tenants WHERE id = ?1", DB_ARGS(db_text(id)), err);
    status = commit(&c, status, NULL, err);
    if (!status) {
        mutex_lock(&t->lock);
        directory_drop(t, directory_find(t, id));
        mutex_unlock(&t->lock);
    }
    done(&c);
    return status;
}

/* ---- keys ---- */

struct key_body {
    const char *name;
    int64_t expires_s;
    bool disabled;
};

static int read_expiry(const json_t *value, int64_t *out, struct realm_error *err)
{
    json_int_t n = json_integer_value(value);
    if (json_is_null(value))
        n = 0;
    else if (!json_is_integer(value) || n < 1)
        return err_set(err, REALM_E_ARG,
                       "expires_at must be seconds since 1970, or null for a key without an end");
    *out = n;
    return 0;
}

static int read_key_body(const json_t *body, struct key_body *out, struct realm_error *err)
{
    const char *name;
    json_t *value;
    int status = 0;
    if (body && !json_is_null(body) && !json_is_object(body))
        return err_set(err, REALM_E_ARG, "body must be an object");
    json_object_foreach((json_t *)body, name, value)
    {
        if (status)
            break;
        if (strcmp(name, "name") == 0 && json_is_string(value) &&
            json_string_length(value) <= KEY_NAME_MAX &&
            strlen(json_string_value(value)) == json_string_length(value))
            out->name = json_string_value(value);
        else if (strcmp(name, "name") == 0 && !json_is_null(value))
            status = err_set(err, REALM_E_ARG, "name must have at most %d bytes", KEY_NAME_MAX);
        else if (strcmp(name, "expires_at") == 0)
            status = read_expiry(value, &out->expires_s, err);
        else if (strcmp(name, "disabled") == 0 && json_is_boolean(value))
            out->disabled = json_is_true(value);
        else if (strcmp(name, "name") != 0)
            status = err_set(err, REALM_E_ARG, "%.60s: a key has no such setting, or not so", name);
    }
    return status;
}

static int write_key(struct tenants *t, const struct key_row *key, const struct key_body *body,
                     struct realm_error *err)
{
    return db_run(t->sql,
                  "INSERT INTO keys (id, tenant, mac, name, created_at, expires_at, disabled) "
                  "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                  DB_ARGS(db_text(key->id), db_text(key->tenant),
                          db_blob((struct slice){key->mac, KEY_MAC}), db_text(body->name),
                          db_int((uint64_t)wall_s(t)), db_int((uint64_t)key->expires_s),
                          db_int(key->disabled)),
                  err);
}

/* A key that no other has the id of; text is what its owner is shown. */
static int draw(struct tenants *t, const char *tenant, const struct key_body *body, char *text,
                struct key_row **out, struct realm_error *err)
{
    struct key_parts parts;
    struct key_row *key = mem_zalloc(sizeof(*key));
    *out = key;
    if (!key)
        return err_nomem(err, "a key");
    bool taken;
    do {
        if (key_draw(text))
            return err_set(err, REALM_E_SYS, "the system has no random numbers");
        if (key_split(text, KEY_TEXT, &parts) || key_mac(t->pepper, parts.secret, key->mac))
            return err_nomem(err, "a key");
        mutex_lock(&t->lock);
        taken = directory_key(t, parts.id) != NULL;
        mutex_unlock(&t->lock);
    } while (taken);
    memcpy(key->id, parts.id, sizeof(key->id));
    memcpy(key->tenant, tenant, strlen(tenant) + 1);
    key->expires_s = body->expires_s;
    key->disabled = body->disabled;
    return 0;
}

static json_t *key_json(const char *id, const char *tenant, const struct key_body *body,
                        int64_t created_s)
{
    json_t *expires = body->expires_s ? json_integer(body->expires_s) : json_null();
    return json_pack("{s:s,s:s,s:s?,s:I,s:o,s:b}", "id", id, "tenant", tenant, "name", body->name,
                     "created_at", (json_int_t)created_s, "expires_at", expires, "disabled",
                     (int)body->disabled);
}

static void add_key(struct tenants *t, struct key_row *key)
{
    mutex_lock(&t->lock);
    list_add_tail(&t->keys, &key->link);
    atomic_fetch_add(&t->n_keys, 1);
    mutex_unlock(&t->lock);
}

int tenants_key_create(struct tenants *t, const char *tenant, const json_t *body, const char *who,
                       json_t **out, struct realm_error *err)
{
    char text[KEY_TEXT + 1];
    struct key_body wanted = {0};
    struct key_row *key = NULL;
    *out = NULL;
    int status = read_key_body(body, &wanted, err);
    if (status)
        return status;
    struct change c = {t, who, "key.create", tenant};
    status = begin(&c, err);
    if (!status && !is_there(t, tenant))
        status = no_tenant(tenant, err);
    else if (!status && atomic_load(&t->n_keys) >= KEYS_MAX)
        status = err_set(err, REALM_E_LIMIT, "there are %d keys already", KEYS_MAX);
    if (!status)
        status = draw(t, tenant, &wanted, text, &key, err);
    if (!status)
        status = write_key(t, key, &wanted, err);
    if (!status && (!(*out = key_json(key->id, tenant, &wanted, wall_s(t))) ||
                    json_object_set_new(*out, "key", json_string(text))))
        status = nomem(err);
    json_t *detail = status ? NULL : json_pack("{s:s}", "key", key->id);
    status = commit(&c, status, detail, err);
    json_decref(detail);
    OPENSSL_cleanse(text, sizeof(text));
    if (!status) {
        add_key(t, key);
    } else {
        mem_free(key);
        json_decref(*out);
        *out = NULL;
    }
    done(&c);
    return status;
}

static int add_row(void *ctx, sqlite3_stmt *row)
{
    const struct key_body body = {
        .name = sqlite3_column_type(row, 2) == SQLITE_NULL ? NULL : db_column_text(row, 2),
        .expires_s = sqlite3_column_int64(row, 4),
        .disabled = sqlite3_column_int(row, 5) != 0,
    };
    json_t *key = key_json(db_column_text(row, 0), db_column_text(row, 1), &body,
                           sqlite3_column_int64(row, 3));
    return json_array_append_new(ctx, key) ? REALM_E_NOMEM : 0;
}

static const char KEY_COLUMNS[] = "id, tenant, name, created_at, expires_at, disabled";

int tenants_keys(struct tenants *t, const char *tenant, json_t **out, struct realm_error *err)
{
    char text[200];
    json_t *list = json_array();
    *out = NULL;
    snprintf(text, sizeof(text), "SELECT %s FROM keys WHERE tenant = ?1 ORDER BY created_at, id",
             KEY_COLUMNS);
    int status = list ? 0 : nomem(err);
    if (!status && !is_there(t, tenant))
        status = no_tenant(tenant, err);
    mutex_lock(&t->reads);
    if (!status)
        status = db_query(t->reader, text, DB_ARGS(db_text(tenant)), add_row, list, err);
    mutex_unlock(&t->reads);
    if (!status && !(*out = json_pack("{s:O}", "keys", list)))
        status = nomem(err);
    json_decref(list);
    return status;
}

static int no_key(const char *id, struct realm_error *err)
{
    return err_set(err, REALM_E_NOT_FOUND, "there is no key %.20s", id);
}

/* What the key is now, into *body; under admin. */
static int find_key(struct tenants *t, const char *id, struct key_body *body,
                    struct realm_error *err)
{
    if (strlen(id) != KEY_ID_MAX)
        return no_key(id, err);
    mutex_lock(&t->lock);
    const struct key_row *key = directory_key(t, id);
    if (key)
        *body = (struct key_body){NULL, key->expires_s, key->disabled};
    mutex_unlock(&t->lock);
    return key ? 0 : no_key(id, err);
}

static int show_key(struct tenants *t, const char *id, json_t **out, struct realm_error *err)
{
    char text[200];
    json_t *list = json_array();
    snprintf(text, sizeof(text), "SELECT %s FROM keys WHERE id = ?1", KEY_COLUMNS);
    mutex_lock(&t->reads);
    int status =
        list ? db_query(t->reader, text, DB_ARGS(db_text(id)), add_row, list, err) : nomem(err);
    mutex_unlock(&t->reads);
    if (!status && !(*out = json_incref(json_array_get(list, 0))))
        status = no_key(id, err);
    json_decref(list);
    return status;
}

int tenants_key_change(struct tenants *t, const char *id, const json_t *patch, const char *who,
                       json_t **out, struct realm_error *err)
{
    struct key_body body = {0};
    const struct change c = {t, who, "key.change", id};
    *out = NULL;
    int status = begin(&c, err);
    if (!status)
        status = find_key(t, id, &body, err);
    if (!status)
        status = read_key_body(patch, &body, err);
    if (!status)
        status = db_run(t->sql,
                        "UPDATE keys SET expires_at = ?2, disabled = ?3, name = coalesce(?4, name) "
                        "WHERE id = ?1",
                        DB_ARGS(db_text(id), db_int((uint64_t)body.expires_s),
                                db_int(body.disabled), db_text(body.name)),
                        err);
    status = commit(&c, status, patch, err);
    if (!status) {
        mutex_lock(&t->lock);
        struct key_row *key = directory_key(t, id);
        key->expires_s = body.expires_s;
        key->disabled = body.disabled;
        mutex_unlock(&t->lock);
    }
    done(&c);
    return status ? status : show_key(t, id, out, err);
}

int tenants_key_remove(struct tenants *t, const char *id, const char *who, struct realm_error *err)
{
    struct key_body body;
    const struct change c = {t, who, "key.remove", id};
    int status = begin(&c, err);
    if (!status)
        status = find_key(t, id, &body, err);
    if (!status)
        status = db_run(t->sql, "DELETE FROM keys WHERE id = ?1", DB_ARGS(db_text(id)), err);
    status = commit(&c, status, NULL, err);
    if (!status) {
        mutex_lock(&t->lock);
        struct key_row *key = directory_key(t, id);
        list_remove(&key->link);
        atomic_fetch_sub(&t->n_keys, 1);
        mutex_unlock(&t->lock);
        mem_free(key);
    }
    done(&c);
    return status;
}
