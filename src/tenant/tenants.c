/* tenant/tenants.c - opening and closing all of the layer. */
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "tenant/tenant_impl.h"

static int open_locks(struct tenants *t)
{
    if (mutex_init(&t->admin))
        return REALM_E_SYS;
    if (mutex_init(&t->reads))
        goto no_reads;
    if (mutex_init(&t->lock))
        goto no_lock;
    return 0;

no_lock:
    mutex_destroy(&t->reads);
no_reads:
    mutex_destroy(&t->admin);
    return REALM_E_SYS;
}

static void close_locks(struct tenants *t)
{
    mutex_destroy(&t->lock);
    mutex_destroy(&t->reads);
    mutex_destroy(&t->admin);
}

static void free_directory(struct tenants *t)
{
    mutex_lock(&t->lock);
    while (!list_empty(&t->list))
        directory_drop(t, CONTAINER_OF(t->list.next, struct tenant, link));
    if (t->nobody)
        tenant_let_go(t->nobody);
    mutex_unlock(&t->lock);
}

/* Whoever calls while there are no keys and no tenant of the name. */
static int make_nobody(struct tenants *t, struct realm_error *err)
{
    struct tenant *tenant = tenant_alloc("default");
    mutex_lock(&t->lock);
    int status = tenant ? directory_put(t, tenant) : REALM_E_NOMEM;
    if (!status) {
        list_remove(&tenant->link);
        atomic_fetch_sub(&t->n_tenants, 1);
        t->nobody = tenant;
    }
    mutex_unlock(&t->lock);
    if (status)
        tenant_free(tenant);
    return status ? err_nomem(err, "the tenants") : 0;
}

static int has_keys(struct tenants *t, bool *any, struct realm_error *err)
{
    int64_t n = 0;
    int status = db_number(t->sql, "SELECT count(*) FROM keys", &n, err);
    *any = n > 0;
    return status;
}

static int open_all(struct tenants *t, struct realm_error *err)
{
    bool any = false;
    int status = db_open(&t->sql, t->db_path, err);
    if (!status)
        status = has_keys(t, &any, err);
    if (!status)
        status = key_pepper(t->options.dir, any, t->pepper, err);
    if (!status)
        status = db_connect(&t->reader, t->db_path, true, err);
    if (!status)
        status = ledger_open(t, err);
    if (!status)
        status = make_nobody(t, err);
    return status ? status : directory_load(t, err);
}

int tenants_open(struct tenants **out, const struct tenants_options *options,
                 struct realm_error *err)
{
    *out = NULL;
    struct tenants *t = mem_zalloc(sizeof(*t));
    if (!t)
        return err_nomem(err, "the tenants");
    t->options = *options;
    list_init(&t->list);
    list_init(&t->keys);
    list_init(&t->accounts);
    if (snprintf(t->db_path, sizeof(t->db_path), "%s/realm.db", options->dir) > CONF_TEXT_MAX ||
        open_locks(t)) {
        mem_free(t);
        return err_set(err, REALM_E_SYS, "the tenants cannot be opened");
    }
    snprintf(t->spool_path, sizeof(t->spool_path), "%s/ledger.spool", options->dir);
    int status = open_all(t, err);
    if (status)
        tenants_close(t);
    else
        *out = t;
    return status;
}

void tenants_close(struct tenants *t)
{
    if (!t)
        return;
    ledger_close(&t->ledger);
    free_directory(t);
    db_close(t->reader);
    if (t->sql)
        (void)sqlite3_wal_checkpoint_v2(t->sql, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    db_close(t->sql);
    close_locks(t);
    OPENSSL_cleanse(t->pepper, sizeof(t->pepper));
    mem_free(t);
}

void tenants_stats(struct tenants *t, struct tenants_stats *out)
{
    struct ledger *l = &t->ledger;
    *out = (struct tenants_stats){
        .tenants = atomic_load(&t->n_tenants),
        .keys = atomic_load(&t->n_keys),
        .writable = tenants_writable(t),
    };
    mutex_lock(&t->lock);
    memcpy(out->refused, t->refused, sizeof(out->refused));
    mutex_unlock(&t->lock);
    mutex_lock(&l->lock);
    out->rows = l->rows;
    out->commits = l->commits;
    out->commit_ns = l->commit_ns;
    out->waiting = (uint32_t)l->n_queue;
    mutex_unlock(&l->lock);
}
