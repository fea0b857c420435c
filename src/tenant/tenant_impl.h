/* tenant/tenant_impl.h - inside the layer: who owns what.
 *
 * Locks, in the order in which they may be held together: admin (one administrative change at a
 * time, with its connection), lock (the directory in memory and all counters; nobody waits under
 * it), ledger.lock (the queue of the ledger's thread), reads (the connection for reports). */
#ifndef TENANT_TENANT_IMPL_H
#define TENANT_TENANT_IMPL_H

#include <stdatomic.h>

#include "base/limits.h"
#include "base/list.h"
#include "base/thread.h"
#include "tenant/db.h"
#include "tenant/key.h"
#include "tenant/tenant.h"

enum budget_window { WINDOW_HOUR, WINDOW_DAY, WINDOW_MONTH };

/* 0: none. */
struct limits {
    uint64_t requests_per_min, tokens_per_min, parallel, budget_tokens, kv_bytes_max, max_tokens;
    enum budget_window window;
};

/* What a tenant used; outlives changes of its settings.  Under tenants.lock. */
struct account {
    struct list link; /* in tenants.accounts */
    char id[TENANT_ID_MAX + 1];
    uint32_t refs;
    /* Rates: what is left of a minute's worth, in thousandths, as of then.  Tokens may be owed. */
    int64_t requests_left, tokens_left;
    uint64_t requests_ns, tokens_ns;
    uint64_t running;
    /* The budget's window, which only moves on, and what of it is used and reserved. */
    int64_t window_s;
    uint64_t spent, reserved;
};

struct guest_of {
    char model[MODEL_NAME_MAX + 1]; /* "": of all that have none of their own */
    uint64_t version;
};

/* A tenant as it stood at one time; constant but for refs. */
struct tenant {
    struct list link; /* in tenants.list, as long as it is how the tenant stands now */
    struct tenants *all;
    uint32_t refs; /* under tenants.lock */
    struct account *account;
    struct tenant_view view;
    json_t *models, *defaults; /* an array, an object; NULL: none given */
    struct limits limits;
    int64_t created_s;
    struct guest_of *guests; /* (n_guests) */
    size_t n_guests;
};

struct key_row {
    struct list link; /* in tenants.keys */
    char id[KEY_ID_MAX + 1];
    char tenant[TENANT_ID_MAX + 1];
    uint8_t mac[KEY_MAC];
    int64_t expires_s; /* 0: never */
    bool disabled;
};

/* A request in the ledger's hands: its grant, from admission until its row is durable. */
struct tenant_grant {
    struct list link;   /* in ledger.queue; under ledger.lock, like what follows */
    bool queued;        /* is in it */
    bool closed;        /* row is how it ended */
    bool spooled;       /* its caller was told; the ledger's thread alone */
    uint64_t queued_ns; /* since when it waits */
    char id[REQUEST_ID_MAX + 1];
    char endpoint[32];
    char key[KEY_ID_MAX + 1];
    char tenant_id[TENANT_ID_MAX + 1];
    char model[MODEL_NAME_MAX + 1];
    char guest[96];
    char code[48];
    int64_t started_s;
    struct tenant_row row; /* its texts point to those above */
    void (*committed)(void *ctx, int status);
    void *ctx;
    /* Under tenants.lock. */
    struct tenant *tenant; /* held */
    uint64_t reserved, reserved_window;
    int64_t window_s; /* in which reserved_window stands */
};

struct ledger {
    struct tenants *all;
    struct thread thread;
    struct mutex lock;
    struct cond changed;
    struct list queue; /* of grants, oldest first */
    size_t n_queue;
    bool closing;
    atomic_bool writable;
    uint64_t rows, commits, commit_ns; /* under lock */
    /* The ledger's thread. */
    struct item *items; /* of a group */
    sqlite3 *sql;       /* NULL: it failed, and is to be opened again */
    int spool;          /* -1: there is none */
    size_t spooled;
};

struct tenants {
    struct tenants_options options;
    char db_path[CONF_TEXT_MAX + 16], spool_path[CONF_TEXT_MAX + 16];
    uint8_t pepper[KEY_PEPPER];

    struct mutex admin;
    sqlite3 *sql; /* under admin */
    struct mutex reads;
    sqlite3 *reader; /* under reads */

    struct mutex lock;
    struct list list, keys, accounts; /* under lock */
    struct tenant *nobody;            /* "default" while it has no row of its own; under lock */
    _Atomic uint32_t n_tenants, n_keys;
    uint64_t refused[TENANT_MEMORY + 1]; /* under lock */

    struct ledger ledger;
};

static inline int64_t wall_s(const struct tenants *t)
{
    return t->options.wall_s ? t->options.wall_s(t->options.ctx) : clock_wall_s();
}

/* directory.c; all under tenants.lock */
struct tenant *directory_find(struct tenants *t, const char *id); /* NULL: there is none */
struct key_row *directory_key(struct tenants *t, const char *id);
void tenant_hold(struct tenant *tenant);
void tenant_let_go(struct tenant *tenant);
/* Takes over tenant (whose account is not set yet) as how it stands now. */
MUST_USE int directory_put(struct tenants *t, struct tenant *tenant);
/* Its keys go with it. */
void directory_drop(struct tenants *t, struct tenant *tenant);
/* Without the lock. */
struct tenant *tenant_alloc(const char *id); /* with settings that limit nothing; NULL */
void tenant_free(struct tenant *tenant);     /* one that was never put */
/* Reads all of the database. */
MUST_USE int directory_load(struct tenants *t, struct realm_error *err);
/* The rows of one tenant's guests, from the administration's connection. */
MUST_USE int directory_load_guests(struct tenants *t, struct tenant *tenant,
                                   struct realm_error *err);

/* settings.c */
/* Sets what body says; patch: what it leaves out stays, else has its default. */
MUST_USE int settings_read(struct tenant *tenant, const json_t *body, bool patch,
                           struct realm_error *err);
json_t *settings_json(const struct tenant *tenant); /* NULL: memory is short */
MUST_USE int settings_copy(struct tenant *to, const struct tenant *from);
MUST_USE int settings_write(sqlite3 *sql, const struct tenant *tenant, struct realm_error *err);
MUST_USE int settings_from_row(struct tenant *tenant, sqlite3_stmt *row);
extern const char SETTINGS_COLUMNS[];
bool tenant_id_good(const char *id);

/* limits.c */
int64_t window_start(enum budget_window window, int64_t now_s);
/* Reads what was spent in the account's window; under admin. */
MUST_USE int limits_load(struct tenants *t, struct tenant *tenant, struct realm_error *err);

/* ledger.c */
MUST_USE int ledger_open(struct tenants *t, struct realm_error *err);
void ledger_close(struct ledger *l);
/* Has g's row written, as it stands now. */
void ledger_push(struct tenants *t, struct tenant_grant *g);
extern const char *const outcome_names[TENANT_OUTCOMES];

/* spool.c: rows that the database could not take */
enum { SPOOL_ROWS = 1024 };
/* Makes the file with room for SPOOL_ROWS; -1: there is none, and rows are then not kept. */
int spool_open(const char *path);
/* REALM_E_IO when it is full or failed too. */
MUST_USE int spool_write(int fd, size_t at, const struct tenant_grant *g);
MUST_USE int spool_clear(int fd, size_t rows);
/* Calls each for every row that is there, in order. */
MUST_USE int spool_replay(int fd, int (*each)(void *ctx, struct tenant_grant *g), void *ctx,
                          size_t *rows);

#endif
