/* tenant/directory.c - tenants and keys in memory: who calls, and what he may. */
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "tenant/tenant_impl.h"

/* ---- lifetimes, under the lock ---- */

static struct account *find_account(struct tenants *t, const char *id)
{
    for (struct list *i = t->accounts.next; i != &t->accounts; i = i->next) {
        struct account *a = CONTAINER_OF(i, struct account, link);
        if (strcmp(a->id, id) == 0)
            return a;
    }
    return NULL;
}

static struct account *hold_account(struct tenants *t, const char *id)
{
    struct account *a = find_account(t, id);
    if (!a) {
        a = mem_zalloc(sizeof(*a));
        if (!a)
            return NULL;
        memcpy(a->id, id, strlen(id) + 1);
        a->requests_left = a->tokens_left = INT64_MAX; // a minute's worth, once it is known
        list_add_tail(&t->accounts, &a->link);
    }
    a->refs++;
    return a;
}

static void let_account_go(struct account *a)
{
    if (a && --a->refs == 0) {
        list_remove(&a->link);
        mem_free(a);
    }
}

struct tenant *tenant_alloc(const char *id)
{
    struct tenant *tenant = mem_zalloc(sizeof(*tenant));
    if (!tenant)
        return NULL;
    list_init(&tenant->link);
    memcpy(tenant->view.id, id, strlen(id) + 1);
    tenant->view.weight = 1;
    return tenant;
}

void tenant_free(struct tenant *tenant)
{
    if (!tenant)
        return;
    let_account_go(tenant->account);
    json_decref(tenant->models);
    json_decref(tenant->defaults);
    mem_free(tenant->guests);
    mem_free(tenant);
}

void tenant_hold(struct tenant *tenant)
{
    tenant->refs++;
}

void tenant_let_go(struct tenant *tenant)
{
    if (--tenant->refs == 0)
        tenant_free(tenant);
}

struct tenant *directory_find(struct tenants *t, const char *id)
{
    for (struct list *i = t->list.next; i != &t->list; i = i->next) {
        struct tenant *tenant = CONTAINER_OF(i, struct tenant, link);
        if (strcmp(tenant->view.id, id) == 0)
            return tenant;
    }
    return NULL;
}

struct key_row *directory_key(struct tenants *t, const char *id)
{
    for (struct list *i = t->keys.next; i != &t->keys; i = i->next) {
        struct key_row *key = CONTAINER_OF(i, struct key_row, link);
        if (memcmp(key->id, id, KEY_ID_MAX) == 0)
            return key;
    }
    return NULL;
}

static void forget(struct tenants *t, struct tenant *tenant)
{
    list_remove(&tenant->link);
    atomic_fetch_sub(&t->n_tenants, 1);
    tenant_let_go(tenant);
}

int directory_put(struct tenants *t, struct tenant *tenant)
{
    struct tenant *before = directory_find(t, tenant->view.id);
    tenant->account = hold_account(t, tenant->view.id);
    if (!tenant->account)
        return REALM_E_NOMEM;
    tenant->all = t;
    tenant->refs = 1;
    tenant->view.defaults = tenant->defaults;
    tenant->view.kv_bytes_max = tenant->limits.kv_bytes_max;
    tenant->view.max_tokens = (uint32_t)tenant->limits.max_tokens;
    list_add_tail(&t->list, &tenant->link);
    atomic_fetch_add(&t->n_tenants, 1);
    if (before)
        forget(t, before);
    return 0;
}

void directory_drop(struct tenants *t, struct tenant *tenant)
{
    for (struct list *i = t->keys.next, *next; i != &t->keys; i = next) {
        struct key_row *key = CONTAINER_OF(i, struct key_row, link);
        next = i->next;
        if (strcmp(key->tenant, tenant->view.id) != 0)
            continue;
        list_remove(&key->link);
        atomic_fetch_sub(&t->n_keys, 1);
        mem_free(key);
    }
    forget(t, tenant);
}

/* ---- loading ---- */

static int take_tenant(void *ctx, sqlite3_stmt *row)
{
    struct tenants *t = ctx;
    const char *id = db_column_text(row, 0);
    if (!tenant_id_good(id))
        return REALM_E_FORMAT;
    struct tenant *tenant = tenant_alloc(id);
    int status = tenant ? settings_from_row(tenant, row) : REALM_E_NOMEM;
    if (!status)
        status = directory_put(t, tenant);
    if (status)
        tenant_free(tenant);
    return status;
}

static int take_key(void *ctx, sqlite3_stmt *row)
{
    struct tenants *t = ctx;
    const char *id = db_column_text(row, 0), *tenant = db_column_text(row, 1);
    if (strlen(id) != KEY_ID_MAX || sqlite3_column_bytes(row, 2) != KEY_MAC ||
        !directory_find(t, tenant))
        return REALM_E_FORMAT;
    struct key_row *key = mem_zalloc(sizeof(*key));
    if (!key)
        return REALM_E_NOMEM;
    memcpy(key->id, id, KEY_ID_MAX);
    memcpy(key->tenant, tenant, strlen(tenant) + 1);
    memcpy(key->mac, sqlite3_column_blob(row, 2), KEY_MAC);
    key->expires_s = sqlite3_column_int64(row, 3);
    key->disabled = sqlite3_column_int(row, 4) != 0;
    list_add_tail(&t->keys, &key->link);
    atomic_fetch_add(&t->n_keys, 1);
    return 0;
}

static int take_guest(void *ctx, sqlite3_stmt *row)
{
    struct tenant *tenant = ctx;
    const char *model = db_column_text(row, 0);
    struct guest_of *more =
        mem_realloc_array(tenant->guests, tenant->n_guests + 1, sizeof(*tenant->guests));
    if (!more)
        return REALM_E_NOMEM;
    tenant->guests = more;
    struct guest_of *g = &more[tenant->n_guests++];
    *g = (struct guest_of){.version = (uint64_t)sqlite3_column_int64(row, 1)};
    if (strlen(model) > MODEL_NAME_MAX)
        return REALM_E_FORMAT;
    memcpy(g->model, model, strlen(model) + 1);
    return 0;
}

int directory_load_guests(struct tenants *t, struct tenant *tenant, struct realm_error *err)
{
    return db_query(t->sql,
                    "SELECT model, max(version) FROM guests WHERE tenant = ?1 AND withdrawn = 0 "
                    "GROUP BY model",
                    DB_ARGS(db_text(tenant->view.id)), take_guest, tenant, err);
}

int directory_load(struct tenants *t, struct realm_error *err)
{
    char text[512];
    snprintf(text, sizeof(text), "SELECT %s FROM tenants", SETTINGS_COLUMNS);
    int status = db_query(t->sql, text, NULL, 0, take_tenant, t, err);
    if (!status)
        status = db_query(t->sql, "SELECT id, tenant, mac, expires_at, disabled FROM keys", NULL, 0,
                          take_key, t, err);
    for (struct list *i = t->list.next; i != &t->list && !status; i = i->next) {
        struct tenant *tenant = CONTAINER_OF(i, struct tenant, link);
        status = directory_load_guests(t, tenant, err);
        if (!status)
            status = limits_load(t, tenant, err);
    }
    if (status == REALM_E_FORMAT)
        return err_set(err, status, "%s: a row of tenants or keys is damaged", t->db_path);
    return status;
}

/* ---- who calls ---- */

bool tenants_have_keys(const struct tenants *t)
{
    return atomic_load(&t->n_keys) > 0;
}

/* Who needs no key: the tenant "default", with the settings it has if it was created. */
static struct tenant *anybody(struct tenants *t)
{
    struct tenant *tenant = directory_find(t, "default");
    return tenant ? tenant : t->nobody;
}

static bool key_alive(const struct tenants *t, const struct key_row *key)
{
    return !key->disabled && (key->expires_s == 0 || wall_s(t) < key->expires_s);
}

/* A comparison is made whether there is such a key or not. */
static struct tenant *match(struct tenants *t, const struct key_parts *parts,
                            const uint8_t mac[KEY_MAC])
{
    static const uint8_t none[KEY_MAC];
    const struct key_row *key = directory_key(t, parts->id);
    bool same = CRYPTO_memcmp(key ? key->mac : none, mac, KEY_MAC) == 0;
    return key && same && key_alive(t, key) ? directory_find(t, key->tenant) : NULL;
}

enum tenant_auth tenants_auth(struct tenants *t, const char *key, size_t n, struct tenant_pass *out)
{
    struct key_parts parts = {.id = ""};
    uint8_t mac[KEY_MAC] = {0};
    *out = (struct tenant_pass){0};
    bool needed = tenants_have_keys(t);
    if (needed && !key)
        return TENANT_AUTH_MISSING;
    if (needed && (key_split(key, n, &parts) || key_mac(t->pepper, parts.secret, mac)))
        return TENANT_AUTH_WRONG;
    mutex_lock(&t->lock);
    out->tenant = needed ? match(t, &parts, mac) : anybody(t);
    if (out->tenant)
        tenant_hold(out->tenant);
    mutex_unlock(&t->lock);
    if (!out->tenant)
        return TENANT_AUTH_WRONG;
    memcpy(out->key, parts.id, sizeof(out->key));
    return TENANT_AUTH_OK;
}

void tenant_pass_drop(struct tenant_pass *pass)
{
    struct tenants *t = pass->tenant->all;
    mutex_lock(&t->lock);
    tenant_let_go(pass->tenant);
    mutex_unlock(&t->lock);
    *pass = (struct tenant_pass){0};
}

struct tenant_pass tenant_pass_share(const struct tenant_pass *pass)
{
    struct tenants *t = pass->tenant->all;
    struct tenant_pass out = *pass;
    mutex_lock(&t->lock);
    struct tenant *now = directory_find(t, pass->tenant->view.id);
    if (now)
        out.tenant = now;
    tenant_hold(out.tenant);
    mutex_unlock(&t->lock);
    return out;
}

bool tenant_pass_valid(const struct tenant_pass *pass)
{
    struct tenants *t = pass->tenant->all;
    bool valid;
    if (!pass->key[0])
        return true;
    mutex_lock(&t->lock);
    const struct key_row *key = directory_key(t, pass->key);
    valid = key && key_alive(t, key);
    mutex_unlock(&t->lock);
    return valid;
}

const struct tenant_view *tenant_view(const struct tenant_pass *pass)
{
    return &pass->tenant->view;
}

bool tenant_may_use(const struct tenant_pass *pass, const char *model)
{
    size_t i;
    json_t *name;
    if (!pass->tenant->models)
        return true;
    json_array_foreach(pass->tenant->models, i, name)
    {
        if (strcmp(json_string_value(name), model) == 0)
            return true;
    }
    return false;
}

bool tenant_guest(const struct tenant_pass *pass, const char *model, uint64_t *version)
{
    const struct tenant *tenant = pass->tenant;
    const struct guest_of *found = NULL;
    for (size_t i = 0; i < tenant->n_guests; i++) {
        const struct guest_of *g = &tenant->guests[i];
        if (strcmp(g->model, model) == 0 || (!g->model[0] && !found))
            found = g;
    }
    *version = found ? found->version : 0;
    return found != NULL;
}
