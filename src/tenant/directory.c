/* tenant/directory.c - tenants and keys in memory, and who may come in.
 *
 * Two tables of chains under tenants->lock.  A struct tenant never changes: a change puts
 * another in its place, and whoever holds the old one goes on with it. */
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "tenant/tenant_impl.h"

/* ---- references ---- */

struct account *account_new(struct tenants *t, const char *id)
{
    struct account *a = mem_zalloc(sizeof(*a));
    if (!a)
        return NULL;
    atomic_init(&a->refs, 1);
    a->tenants = t;
    snprintf(a->id, sizeof(a->id), "%s", id);
    return a;
}

void account_drop(struct account *a)
{
    if (a && atomic_fetch_sub(&a->refs, 1) == 1)
        mem_free(a);
}

struct tenant *snapshot_new(struct account *a, const struct spec *s, const struct guest_use *uses,
                            size_t n)
{
    struct tenant *p = mem_zalloc(sizeof(*p) + n * sizeof(*uses));
    if (!p)
        return NULL;
    atomic_init(&p->refs, 1);
    atomic_fetch_add(&a->refs, 1);
    p->account = a;
    spec_copy(&p->spec, s);
    p->n_guests = n;
    if (n)
        memcpy(p->guests, uses, n * sizeof(*uses));
    snprintf(p->view.id, sizeof(p->view.id), "%s", a->id);
    p->view.weight = (uint32_t)s->weight;
    p->view.kv_bytes_max = s->kv_bytes_max;
    p->view.max_tokens = (uint32_t)s->max_tokens;
    p->view.defaults = p->spec.defaults;
    return p;
}

void snapshot_drop(struct tenant *s)
{
    if (!s || atomic_fetch_sub(&s->refs, 1) != 1)
        return;
    account_drop(s->account);
    spec_free(&s->spec);
    mem_free(s);
}

static struct tenant *held(struct tenant *s)
{
    atomic_fetch_add(&s->refs, 1);
    return s;
}

/* ---- tables ---- */

static size_t bucket(const struct tenants *t, const char *id, size_t n)
{
    return map_hash(t->seed, id, strlen(id)) % n;
}

struct account *directory_find(struct tenants *t, const char *id)
{
    struct account *a = t->accounts[bucket(t, id, TENANT_BUCKETS)];
    while (a && strcmp(a->id, id) != 0)
        a = a->next;
    return a;
}

void directory_add(struct tenants *t, struct account *a)
{
    struct account **at = &t->accounts[bucket(t, a->id, TENANT_BUCKETS)];
    a->next = *at;
    *at = a;
}

struct tenant *directory_set(struct account *a, struct tenant *s)
{
    struct tenant *before = a->current;
    a->current = s;
    return before;
}

struct key *directory_find_key(struct tenants *t, const char *id)
{
    struct key *k = t->keys[bucket(t, id, KEY_BUCKETS)];
    while (k && strcmp(k->id, id) != 0)
        k = k->next;
    return k;
}

void directory_add_key(struct tenants *t, struct key *k)
{
    struct key **at = &t->keys[bucket(t, k->id, KEY_BUCKETS)];
    atomic_fetch_add(&k->account->refs, 1);
    k->next = *at;
    *at = k;
    atomic_fetch_add(&t->n_keys, 1);
}

/* *at is the link to the key that goes. */
static void unlink_key(struct tenants *t, struct key **at)
{
    struct key *k = *at;
    *at = k->next;
    atomic_fetch_sub(&t->n_keys, 1);
    account_drop(k->account);
    OPENSSL_cleanse(k->mac, sizeof(k->mac));
    mem_free(k);
}

void directory_remove_key(struct tenants *t, struct key *k)
{
    struct key **at = &t->keys[bucket(t, k->id, KEY_BUCKETS)];
    while (*at != k)
        at = &(*at)->next;
    unlink_key(t, at);
}

/* NULL: of all. */
static void remove_keys_of(struct tenants *t, const struct account *a)
{
    for (size_t i = 0; i < KEY_BUCKETS; i++)
        for (struct key **at = &t->keys[i]; *at;) {
            if (!a || (*at)->account == a)
                unlink_key(t, at);
            else
                at = &(*at)->next;
        }
}

void directory_remove(struct tenants *t, struct account *a)
{
    remove_keys_of(t, a);
    if (a == t->everybody)
        return;
    struct account **at = &t->accounts[bucket(t, a->id, TENANT_BUCKETS)];
    while (*at != a)
        at = &(*at)->next;
    *at = a->next;
    a->removed = true;
}

void directory_free(struct tenants *t)
{
    remove_keys_of(t, NULL);
    for (size_t i = 0; i < TENANT_BUCKETS; i++)
        for (struct account *a = t->accounts[i], *next; a; a = next) {
            next = a->next;
            snapshot_drop(a->current);
            account_drop(a);
        }
}

/* ---- the door ---- */

bool tenants_have_keys(const struct tenants *t)
{
    return atomic_load(&t->n_keys) > 0;
}

static bool key_holds(const struct key *k, int64_t now_s)
{
    return !k->disabled && (k->expires_at == 0 || now_s < k->expires_at);
}

/* One comparison in any case: with nobody's mac where there is no such key. */
static struct tenant *find_caller(struct tenants *t, const char *id, const uint8_t mac[KEY_MAC])
{
    static const uint8_t nobody[KEY_MAC];
    int64_t now_s = tenants_now_s(t);
    mutex_lock(&t->lock);
    const struct key *k = directory_find_key(t, id);
    bool same = CRYPTO_memcmp(mac, k ? k->mac : nobody, KEY_MAC) == 0;
    struct tenant *s = k && same && key_holds(k, now_s) ? held(k->account->current) : NULL;
    mutex_unlock(&t->lock);
    return s;
}

static struct tenant *anybody(struct tenants *t)
{
    mutex_lock(&t->lock);
    struct tenant *s = held(t->everybody->current);
    mutex_unlock(&t->lock);
    return s;
}

enum tenant_auth tenants_auth(struct tenants *t, const char *key, size_t n, struct tenant_pass *out)
{
    struct key_parts parts;
    uint8_t mac[KEY_MAC];
    *out = (struct tenant_pass){0};
    if (!tenants_have_keys(t)) {
        out->tenant = anybody(t);
        return TENANT_AUTH_OK;
    }
    if (!key)
        return TENANT_AUTH_MISSING;
    if (key_split(key, n, &parts) || key_mac(t->pepper, parts.secret, mac))
        return TENANT_AUTH_WRONG;
    out->tenant = find_caller(t, parts.id, mac);
    OPENSSL_cleanse(mac, sizeof(mac));
    if (!out->tenant)
        return TENANT_AUTH_WRONG;
    memcpy(out->key, parts.id, sizeof(out->key));
    return TENANT_AUTH_OK;
}

void tenant_pass_drop(struct tenant_pass *pass)
{
    snapshot_drop(pass->tenant);
    pass->tenant = NULL;
}

struct tenant_pass tenant_pass_share(const struct tenant_pass *pass)
{
    struct account *a = pass->tenant->account;
    struct tenant_pass copy = *pass;
    mutex_lock(&a->tenants->lock);
    copy.tenant = held(a->removed ? pass->tenant : a->current);
    mutex_unlock(&a->tenants->lock);
    return copy;
}

bool tenant_pass_valid(const struct tenant_pass *pass)
{
    struct account *a = pass->tenant->account;
    struct tenants *t = a->tenants;
    int64_t now_s = tenants_now_s(t);
    mutex_lock(&t->lock);
    bool valid = !a->removed;
    if (valid && pass->key[0]) {
        const struct key *k = directory_find_key(t, pass->key);
        valid = k && k->account == a && key_holds(k, now_s);
    }
    mutex_unlock(&t->lock);
    return valid;
}

/* ---- what a pass allows ---- */

const struct tenant_view *tenant_view(const struct tenant_pass *pass)
{
    return &pass->tenant->view;
}

bool tenant_may_use(const struct tenant_pass *pass, const char *model)
{
    const json_t *models = pass->tenant->spec.models;
    for (size_t i = 0; i < json_array_size(models); i++)
        if (strcmp(json_string_value(json_array_get(models, i)), model) == 0)
            return true;
    return !models;
}

bool tenant_guest(const struct tenant_pass *pass, const char *model, uint64_t *version)
{
    const struct tenant *s = pass->tenant;
    const struct guest_use *found = NULL;
    for (size_t i = 0; i < s->n_guests; i++) {
        const struct guest_use *u = &s->guests[i];
        if (strcmp(u->model, model) == 0 || (!found && !u->model[0]))
            found = u;
    }
    if (found)
        *version = found->version;
    return found != NULL;
}
