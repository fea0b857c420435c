/* tenant/tenant_impl.h - what the files of this layer share.
 *
 * Locks, outermost first: `changes` (one change at a time; held while the database is
 * written, by workers alone), `lock` (directory and counters: held for moments), and the
 * ledger's own.  Each reader's is for its connection. */
#ifndef TENANT_TENANT_IMPL_H
#define TENANT_TENANT_IMPL_H

#include <stdatomic.h>

#include "base/limits.h"
#include "base/list.h"
#include "base/thread.h"
#include "tenant/db.h"
#include "tenant/key.h"
#include "tenant/ledger.h"
#include "tenant/limits.h"
#include "tenant/spec.h"
#include "tenant/tenant.h"

enum { TENANT_BUCKETS = 1024, KEY_BUCKETS = 4096 };

/* Which program answers for a model ("": for all others). */
struct guest_use {
    char model[MODEL_NAME_MAX + 1];
    uint64_t version;
};

/* A tenant as it was between two changes: constant but for refs. */
struct tenant {
    atomic_uint_fast32_t refs;
    struct account *account;
    struct spec spec;
    struct tenant_view view;
    size_t n_guests;
    struct guest_use guests[];
};

/* A tenant through all of its changes.  The directory and each struct tenant hold it. */
struct account {
    atomic_uint_fast32_t refs;
    struct tenants *tenants;
    char id[TENANT_ID_MAX + 1];
    /* Under tenants->lock: */
    struct account *next; /* of its bucket */
    struct tenant *current;
    bool removed;
    struct counters counters;
};

struct key {
    struct key *next; /* of its bucket */
    char id[KEY_ID_MAX + 1];
    uint8_t mac[KEY_MAC];
    int64_t expires_at; /* 0: never */
    bool disabled;
    struct account *account;
};

/* A connection that reads what is durable, while others write. */
struct reader {
    struct mutex lock;
    sqlite3 *sql; /* under lock */
};

struct tenants {
    const struct clock *clock;
    int64_t (*wall_s)(void *ctx);
    void *ctx;
    char path[CONF_TEXT_MAX + 16];
    uint8_t pepper[KEY_PEPPER];
    uint64_t seed[2]; /* of the tables; constant */

    struct mutex changes;
    sqlite3 *sql;                   /* under changes; so is the next */
    sqlite3_stmt *rollback;         /* prepared, so that it works without memory */
    struct reader reports, modules; /* a report may take long; a request waits for a module */

    struct mutex lock; /* guards all to the next blank line */
    struct account *accounts[TENANT_BUCKETS];
    struct key *keys[KEY_BUCKETS];
    uint32_t n_accounts; /* that administration made */
    uint64_t refused[TENANT_MEMORY + 1];

    struct account *everybody;   /* "default": there even when nobody made it */
    atomic_uint_fast32_t n_keys; /* changed under lock */
    struct ledger *ledger;
};

static inline int64_t tenants_now_s(const struct tenants *t)
{
    return t->wall_s(t->ctx);
}

/* ---- directory.c ---- */

/* One reference each; s and uses are copied.  NULL: memory. */
struct account *account_new(struct tenants *t, const char *id);
void account_drop(struct account *a);
struct tenant *snapshot_new(struct account *a, const struct spec *s, const struct guest_use *uses,
                            size_t n);
void snapshot_drop(struct tenant *s);

/* With t->lock. */
struct account *directory_find(struct tenants *t, const char *id);
/* Put in take over the reference. */
void directory_add(struct tenants *t, struct account *a);
void directory_remove(struct tenants *t, struct account *a);       /* with its keys */
struct tenant *directory_set(struct account *a, struct tenant *s); /* the one before, to drop */
struct key *directory_find_key(struct tenants *t, const char *id);
void directory_add_key(struct tenants *t, struct key *k); /* takes a reference to its account */
void directory_remove_key(struct tenants *t, struct key *k);
/* At the end. */
void directory_free(struct tenants *t);

/* ---- load.c ---- */

/* Reads the tenant, as the connection sees it now, into a new struct tenant of a. */
MUST_USE int load_snapshot(struct tenant **out, struct account *a, sqlite3 *sql,
                           struct realm_error *err);
/* All of the directory. */
MUST_USE int load_directory(struct tenants *t, struct realm_error *err);
/* What the tenant spent in the windows that run. */
MUST_USE int load_spent(struct account *a, sqlite3 *sql, struct realm_error *err);

/* ---- admin.c ---- */

/* A change: locks, begins; change_end commits or, after a failure, takes all back; either way
 * the lock is held until change_over, which returns the status, and after a failure takes the
 * answer back; out may be NULL. */
MUST_USE int change_begin(struct tenants *t, struct realm_error *err);
MUST_USE int change_end(struct tenants *t, int status, struct realm_error *err);
int change_over(struct tenants *t, int status, json_t **out);
/* Notes within a change who does it; takes over detail, which may be NULL. */
MUST_USE int change_audit(struct tenants *t, const char *who, const char *action,
                          const char *subject, json_t *detail, struct realm_error *err);
/* Whether there is such a tenant; REALM_E_NOT_FOUND. */
MUST_USE int change_find(struct tenants *t, const char *id, struct account **out,
                         struct realm_error *err);
/* change_end for a change of what the tenant is: reads it anew and has it hold. */
MUST_USE int change_apply(struct tenants *t, struct account *a, int status,
                          struct realm_error *err);

/* {name: [...]} of what row puts into its array for each row of the query, about tenant ?1, which
 * must be there (REALM_E_NOT_FOUND); tenant NULL: about all. */
MUST_USE int list_rows(struct tenants *t, const char *tenant, const char *name, const char *text,
                       int (*row)(void *array, sqlite3_stmt *stmt), json_t **out,
                       struct realm_error *err);

#endif
