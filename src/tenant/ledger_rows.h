/* tenant/ledger_rows.h - the statements that write rows. */
#ifndef TENANT_LEDGER_ROWS_H
#define TENANT_LEDGER_ROWS_H

#include "tenant/db.h"
#include "tenant/spool.h"

/* A connection with its statements; of one thread.  After a failure it is to be closed, which takes
 * back what was begun. */
struct rows {
    sqlite3 *sql;
    sqlite3_stmt *begin, *end, *spend;
    sqlite3_stmt *fold, *forget, *unspend;
};

MUST_USE int rows_open(struct rows *r, const char *path, struct realm_error *err);
void rows_close(struct rows *r);

/* The same for each model that the rows of this table or subquery name; a request is one of the
 * first's. */
#define ROWS_BY_MODEL(rows)                                                            \
    "SELECT tenant, key, model, guest, started_at, 1 AS requests, prompt_tokens,"      \
    " cached_tokens, completion_tokens FROM " rows " WHERE parts IS NULL"              \
    " UNION ALL SELECT tenant, r.key, part.value->>'model', guest, started_at,"        \
    " part.key = 0, part.value->>'prompt_tokens', part.value->>'cached_tokens',"       \
    " part.value->>'completion_tokens' FROM " rows " AS r, json_each(r.parts) AS part" \
    " WHERE r.parts IS NOT NULL"

/* Within a transaction.  A row that is closed stays as it is, however often it comes. */
MUST_USE int rows_write(struct rows *r, const struct ledger_row *row, struct realm_error *err);

/* All that the spool holds, in one transaction that writes in any case; empties the spool. */
MUST_USE int rows_replay(struct rows *r, struct spool *spool, struct realm_error *err);
/* Puts the oldest rows that are closed and began before that day, at most so many, into its totals,
 * in one transaction; *folded: how many.  The spool must be empty: what is in it may be among them,
 * and would be taken for new. */
MUST_USE int rows_fold(struct rows *r, int64_t before_day_s, uint32_t most, uint32_t *folded,
                       struct realm_error *err);
/* Rows that a process which is gone left open end with what was noted last. */
MUST_USE int rows_interrupt(struct rows *r, struct realm_error *err);

#endif
