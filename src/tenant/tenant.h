/* tenant/tenant.h - who may do how much, and the ledger of what was done.
 *
 * Three things on one database, STATE/realm.db (SQLite, WAL, synchronous=FULL):
 *
 * - the directory: tenants, their keys and programs.  It is held in memory, too, so that a
 *   request is let in without a look at the disk;
 * - the limits: counters in memory, in one place (admit, reserve, settle).  A request that is
 *   refused costs nothing;
 * - the ledger: a row for each request, written by one thread in groups.  A row is durable
 *   before the request's last byte is sent.
 *
 * Life of a request: tenants_auth says whose it is; tenants_admit lets it in and opens its
 * row; tenant_reserve takes tokens out of the budgets before they are computed; and
 * tenant_settle, exactly once, gives back what was not used and closes the row.
 *
 * Threads: any.  Nothing said to be quick waits for the disk or for a lock that is held
 * while somebody else does; all else is for workers. */
#ifndef TENANT_TENANT_H
#define TENANT_TENANT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/compiler.h"
#include "realm/status.h"

enum {
    TENANT_ID_MAX = 64, /* [a-z0-9] and, further on, [a-z0-9._-] */
    KEY_ID_MAX = 8,     /* [A-Za-z0-9] */
    KEY_TEXT_MAX = 64,  /* "rlm_", id, "_", secret and checksum */
    TENANT_WEIGHT_MAX = 1000,
    REQUEST_ID_MAX = 48,
};

struct tenants; /* all of it */
struct tenant;  /* one of them, as long as somebody holds it */

/* ---------------------------------------------------------------- opening -- */

struct tenants_options {
    const char *dir;           /* the state directory, which the caller has locked */
    const struct clock *clock; /* monotonic: rates */
    /* Seconds since 1970, UTC: windows of budgets, ends of keys, rows.  NULL: the system's. */
    int64_t (*wall_s)(void *ctx);
    void *ctx;
    uint32_t keep_days; /* as tenants_keep takes it */
};

/* Opens or makes the database (mode 0600) and moves an older one up; rows that a process
 * that is gone left open become `interrupted`, with the tokens that were noted last.
 *   REALM_E_FORMAT       damaged (integrity_check), or made by a newer program: both versions
 *                        are named, and nothing is changed
 *   REALM_E_IO           the disk; REALM_E_SYS, REALM_E_NOMEM */
MUST_USE int tenants_open(struct tenants **out, const struct tenants_options *options,
                          struct realm_error *err);
/* Writes what is queued, moves the log into the database and closes it.  Every pass and grant
 * must be over.  NULL is fine. */
void tenants_close(struct tenants *t);

/* Rows of requests that began over so many days ago are folded into totals of their day, in the
 * background and for good: reports of usage stay as they are, those of single requests lose them.
 * 0: none is. */
void tenants_keep(struct tenants *t, uint32_t days);

/* Whether there is any key: then every call needs one.  Quick. */
bool tenants_have_keys(const struct tenants *t);

/* ------------------------------------------------------------ one request -- */

/* What a tenant may, as it stood when it was asked for; constant. */
struct tenant_view {
    char id[TENANT_ID_MAX + 1];
    uint32_t weight;        /* of its share of the engine, 1 to TENANT_WEIGHT_MAX */
    uint64_t kv_bytes_max;  /* of keys and values while others wait; 0: the engine's default */
    uint32_t max_tokens;    /* of one answer; 0: no cap */
    const json_t *defaults; /* options for requests that leave them out; an object, or NULL */
};

/* Somebody who was let in at the door. */
struct tenant_pass {
    struct tenant *tenant;
    char key[KEY_ID_MAX + 1]; /* "": no key was needed */
};

enum tenant_auth {
    TENANT_AUTH_OK,
    TENANT_AUTH_MISSING, /* there are keys, and none was shown */
    TENANT_AUTH_WRONG,   /* malformed, unknown, disabled or past its end: nobody is told which */
};

/* key: as the client sent it, n bytes; NULL: none.  Without any key in the directory everybody
 * is tenant "default".  Takes the same time for every wrong key of the right form.  Quick. */
enum tenant_auth tenants_auth(struct tenants *t, const char *key, size_t n,
                              struct tenant_pass *out);
void tenant_pass_drop(struct tenant_pass *pass); /* quick; once for each pass that was OK */
/* A second one for the same caller, with the tenant as it stands now. */
struct tenant_pass tenant_pass_share(const struct tenant_pass *pass);
/* false: its key was disabled, removed or ran out, or its tenant was removed.  Quick. */
bool tenant_pass_valid(const struct tenant_pass *pass);
const struct tenant_view *tenant_view(const struct tenant_pass *pass);
/* Whether the tenant may name this model: the id that a client names, or what its alias stands
 * for.  Quick. */
bool tenant_may_use(const struct tenant_pass *pass, const char *model);

enum tenant_limit {
    TENANT_REQUESTS, /* per minute */
    TENANT_TOKENS,   /* per minute */
    TENANT_PARALLEL,
    TENANT_BUDGET,
    TENANT_LEDGER, /* nothing can be written: nobody is let in */
    TENANT_MEMORY,
};

struct tenant_refusal {
    enum tenant_limit limit;
    uint32_t retry_ms; /* when it may be otherwise; 0: waiting does not help by itself */
    uint64_t left;     /* of tenant_reserve: so many tokens more could be had now; where it took
                          them, what the budget still has; UINT64_MAX: there is no budget */
    char message[160]; /* with the limit's number; no secrets */
};

/* What the x-ratelimit headers say.  limit 0: there is none. */
struct tenant_rates {
    uint64_t requests_limit, requests_left, tokens_limit, tokens_left;
    uint32_t requests_reset_ms, tokens_reset_ms; /* until all is left again */
};

void tenant_rates(const struct tenant_pass *pass, struct tenant_rates *out); /* quick */

/* A request that was let in. */
struct tenant_grant;

struct tenant_request {
    const char *id;       /* unique: "req_…" */
    const char *endpoint; /* "chat" */
};

/* Counts the request against the limits and opens its row.  0, or -1 and *why: then nothing
 * was counted.  Quick. */
MUST_USE int tenants_admit(struct tenant_grant **out, struct tenants *t,
                           const struct tenant_pass *pass, const struct tenant_request *request,
                           struct tenant_refusal *why);

/* Raises what the request has reserved to `tokens` in all, prompt and answers together (it never
 * shrinks).  0, or -1 and *why, with what it had.  rated: for so many in all, up to an answer's
 * beginning, the rate must have room.  What comes after them, or with 0 all, is owed, for no rate
 * breaks off an answer: the next request waits for it.  Quick. */
MUST_USE int tenant_reserve(struct tenant_grant *g, uint64_t tokens, uint64_t rated,
                            struct tenant_refusal *why);

/* What a request had of one model. */
struct tenant_part {
    const char *model;      /* "": none was opened */
    uint64_t prompt_tokens; /* each prompt once */
    uint64_t cached_tokens; /* of these */
    uint64_t completion_tokens;
};

/* What was used so far, for the case that the process is killed; written with the next group.
 * parts: 1 to REQUEST_MODELS_MAX, each of another model, the one that the request named first. */
void tenant_note(struct tenant_grant *g, const struct tenant_part *parts, size_t n);

enum tenant_outcome {
    TENANT_OK,
    TENANT_CANCELLED,
    TENANT_REFUSED,
    TENANT_FAILED,
    TENANT_INTERRUPTED, /* by the end of the process */
    TENANT_OUTCOMES
};

/* How a request ended. */
struct tenant_row {
    enum tenant_outcome outcome;
    const char *code;                /* of its error; NULL: none */
    const char *guest;               /* "alias@version"; "": none answered */
    const struct tenant_part *parts; /* as tenant_note has them */
    size_t n_parts;
    uint32_t queued_ms, first_token_ms, total_ms;
    bool by_limit; /* it was refused by a limit, its own or the server's: it costs nothing */
};

/* Ends the request: limits get back what was reserved and not used (a request without tokens
 * that a limit refused costs nothing), and the row goes to the ledger.  committed is called once,
 * from the ledger's thread, with 0 when it is durable, or REALM_E_IO when it is not and is not
 * going to be; it must return soon.  g is dead.  Never fails; quick. */
void tenant_settle(struct tenant_grant *g, const struct tenant_row *row,
                   void (*committed)(void *ctx, int status), void *ctx);

/* ---------------------------------------------------------- administration -- */

/* These may wait for the disk.  Bodies and answers are those of docs/api.md's /admin calls;
 * *out is a new reference.  They are written to the database, and to its table of audits with
 * `who`, before they hold; requests that run go on.
 *   REALM_E_ARG        a member is wrong, or its id is taken: its name begins the sentence
 *   REALM_E_NOT_FOUND, REALM_E_LIMIT, REALM_E_IO, REALM_E_NOMEM */
MUST_USE int tenants_create(struct tenants *t, const json_t *body, const char *who, json_t **out,
                            struct realm_error *err);
MUST_USE int tenants_list(struct tenants *t, json_t **out, struct realm_error *err);
MUST_USE int tenants_get(struct tenants *t, const char *id, json_t **out, struct realm_error *err);
MUST_USE int tenants_change(struct tenants *t, const char *id, const json_t *patch, const char *who,
                            json_t **out, struct realm_error *err);
/* With its keys and programs; its rows stay.  "default" has no row until it is created. */
MUST_USE int tenants_remove(struct tenants *t, const char *id, const char *who,
                            struct realm_error *err);

/* The answer's member `key` is the only place where the key ever stands. */
MUST_USE int tenants_key_create(struct tenants *t, const char *tenant, const json_t *body,
                                const char *who, json_t **out, struct realm_error *err);
MUST_USE int tenants_keys(struct tenants *t, const char *tenant, json_t **out,
                          struct realm_error *err);
MUST_USE int tenants_key_change(struct tenants *t, const char *key, const json_t *patch,
                                const char *who, json_t **out, struct realm_error *err);
MUST_USE int tenants_key_remove(struct tenants *t, const char *key, const char *who,
                                struct realm_error *err);

/* A tenant's program: for one model alias, or with model NULL for all that have none of their
 * own.  The module was validated; about: what is known of it (exports, imports), kept as it
 * is.  Versions count up; the newest is in use until a rollback makes the one before it so. */
MUST_USE int tenants_guest_put(struct tenants *t, const char *tenant, const char *model,
                               struct slice wasm, const json_t *about, const char *who,
                               json_t **out, struct realm_error *err);
MUST_USE int tenants_guest_list(struct tenants *t, const char *tenant, json_t **out,
                                struct realm_error *err);
MUST_USE int tenants_guest_rollback(struct tenants *t, const char *tenant, const char *model,
                                    const char *who, json_t **out, struct realm_error *err);
MUST_USE int tenants_guest_remove(struct tenants *t, const char *tenant, const char *model,
                                  const char *who, struct realm_error *err);
/* Which program answers for the model: true and its version, unique in the database.  Quick. */
bool tenant_guest(const struct tenant_pass *pass, const char *model, uint64_t *version);
/* The module of a version, into an empty buffer of at least its size. */
MUST_USE int tenants_guest_module(struct tenants *t, uint64_t version, struct buf *wasm,
                                  struct realm_error *err);

/* Notes in the table of audits what was done to something else: a model, say. */
MUST_USE int tenants_audit(struct tenants *t, const char *who, const char *action,
                           const char *subject, struct realm_error *err);

struct tenant_usage_query {
    const char *tenant, *key, *model; /* NULL: all */
    int64_t from_s, to_s;             /* rows that began in [from, to); 0: no bound */
    bool by_tenant, by_key, by_model, by_day;
};

/* {"rows":[{…,"requests","prompt_tokens","cached_tokens","completion_tokens"}]} of what is
 * durable; requests that run are not in it.  Tokens are their model's; a request is one of the
 * model that it named.  REALM_E_ARG: "from" or "to" parts a day that is folded. */
MUST_USE int tenants_usage(struct tenants *t, const struct tenant_usage_query *query, json_t **out,
                           struct realm_error *err);
/* {"rows":[…]}, newest first; tenant NULL: all; limit 1 to 1000. */
MUST_USE int tenants_requests(struct tenants *t, const char *tenant, uint32_t limit, json_t **out,
                              struct realm_error *err);
/* The same of what administration did. */
MUST_USE int tenants_audits(struct tenants *t, uint32_t limit, json_t **out,
                            struct realm_error *err);

struct tenants_stats {
    uint64_t rows, commits; /* durable so far */
    uint64_t commit_ns;     /* spent in them */
    uint64_t folded;        /* rows that were, since the start */
    uint32_t waiting;       /* rows that are not durable yet */
    uint32_t tenants, keys;
    uint64_t refused[TENANT_MEMORY + 1]; /* by limit */
    bool writable; /* false: the disk is full or failed, and new requests are refused */
};

void tenants_stats(struct tenants *t, struct tenants_stats *out);

#endif
