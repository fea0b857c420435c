/* tenant/ledger.h - the thread that writes rows, in groups.
 *
 * A row goes in a moment after its request is let in (one that ends before is written once), is
 * noted now and then, and is closed once.  When the database cannot be written, closed rows go to
 * the spool (spool.h) and are as good as written; rows of requests that run wait in memory; and
 * every half second it is tried again.
 *
 * Rows older than a number of days are folded into totals of their day, a few at a time between
 * two groups, while the spool is empty. */
#ifndef TENANT_LEDGER_H
#define TENANT_LEDGER_H

#include "base/limits.h"
#include "base/list.h"
#include "tenant/tenant.h"

enum { ROW_CODE_MAX = 64, ROW_GUEST_MAX = 320, ROW_ENDPOINT_MAX = 32, OUTCOME_RUNS = -1 };

/* What a row has of one model. */
struct ledger_part {
    char model[MODEL_NAME_MAX + 1];
    uint64_t prompt_tokens, cached_tokens, completion_tokens;
};

/* One row; texts that are too long are cut. */
struct ledger_row {
    char id[REQUEST_ID_MAX + 1];
    char tenant[TENANT_ID_MAX + 1];
    char key[KEY_ID_MAX + 1];
    char endpoint[ROW_ENDPOINT_MAX + 1];
    char code[ROW_CODE_MAX + 1]; /* "": none */
    char guest[ROW_GUEST_MAX + 1];
    int64_t started_s;
    int32_t outcome; /* enum tenant_outcome, or OUTCOME_RUNS */
    uint32_t queued_ms, first_token_ms, total_ms;
    uint32_t n_parts;                             /* 1 or more */
    struct ledger_part parts[REQUEST_MODELS_MAX]; /* first, of the model that it named */
};

/* Of it in use; the rest says nothing. */
static inline size_t ledger_row_bytes(const struct ledger_row *row)
{
    return offsetof(struct ledger_row, parts) + row->n_parts * sizeof(row->parts[0]);
}

/* A row with its way through the queue.  Of whoever runs the request until it is closed, then
 * of the ledger, which hands it to `done`. */
struct ledger_entry {
    struct list link;      /* of the queue */
    struct ledger_row row; /* once it is in, written under the ledger's lock by its owner alone */
    bool queued;
    void (*committed)(void *ctx, int status);
    void *ctx;
    void (*done)(struct ledger_entry *e); /* after committed: frees it */
};

struct ledger;

struct ledger_options {
    const char *path;
    const char *dir; /* for the spool, which is read and emptied first */
    int64_t (*wall_s)(void *ctx);
    void *ctx;
    uint32_t keep_days; /* 0: rows are kept for ever */
};

/* REALM_E_IO, REALM_E_FORMAT, REALM_E_SYS, REALM_E_NOMEM */
MUST_USE int ledger_open(struct ledger **out, const struct ledger_options *options,
                         struct realm_error *err);
/* Writes what is queued.  NULL is fine. */
void ledger_close(struct ledger *l);

/* From now on. */
void ledger_keep(struct ledger *l, uint32_t days);

bool ledger_writable(const struct ledger *l);
/* Whether one more row may wait. */
bool ledger_has_room(const struct ledger *l);
void ledger_begin(struct ledger *l, struct ledger_entry *e);
/* row: as e's, but for its parts. */
void ledger_note(struct ledger *l, struct ledger_entry *e, const struct ledger_row *row);
/* e is the ledger's from now on. */
void ledger_end(struct ledger *l, struct ledger_entry *e, const struct ledger_row *row);

void ledger_stats(struct ledger *l, struct tenants_stats *out);

#endif
