#include "tenant/ledger_rows.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"

/* A row's share of sums that must fit 63 bits. */
static const uint64_t ROW_TOKENS_MAX = 1ull << 40;

#define ROW_COLUMNS                                                                      \
    "id, tenant, key, endpoint, started_at, outcome, code, model, guest, prompt_tokens," \
    " cached_tokens, completion_tokens, queued_ms, first_token_ms, total_ms, parts"
#define ROW_VALUES "?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16"

static const char begin_text[] =
    "INSERT INTO requests (" ROW_COLUMNS ") VALUES (" ROW_VALUES ")"
    " ON CONFLICT (id) DO UPDATE SET model=?8, prompt_tokens=?10, cached_tokens=?11,"
    " completion_tokens=?12, parts=?16 WHERE outcome = -1";
static const char end_text[] =
    "INSERT INTO requests (" ROW_COLUMNS ") VALUES (" ROW_VALUES ")"
    " ON CONFLICT (id) DO UPDATE SET outcome=?6, code=?7, model=?8, guest=?9, prompt_tokens=?10,"
    " cached_tokens=?11, completion_tokens=?12, queued_ms=?13, first_token_ms=?14, total_ms=?15,"
    " parts=?16 WHERE outcome = -1";
static const char spend_text[] = "INSERT INTO spent (tenant, hour, tokens) VALUES (?1, ?2, ?3)"
                                 " ON CONFLICT (tenant, hour) DO UPDATE SET tokens = tokens + ?3";

/* Of days that are over the oldest rows, the same ones for each of these. */
#define OLDEST                                               \
    " FROM requests WHERE started_at < ?1 AND outcome <> -1" \
    " ORDER BY started_at, seq LIMIT ?2"

#define OLDEST_BY_MODEL ROWS_BY_MODEL("(SELECT *" OLDEST ")")

static const char fold_text[] =
    "INSERT INTO totals (tenant, day, key, model, guest, requests, prompt_tokens, cached_tokens,"
    " completion_tokens)"
    " SELECT tenant, started_at - started_at % 86400, key, model, guest, sum(requests),"
    " sum(prompt_tokens), sum(cached_tokens), sum(completion_tokens)"
    " FROM (" OLDEST_BY_MODEL ") WHERE true GROUP BY 1, 2, 3, 4, 5"
    " ON CONFLICT (tenant, day, key, model, guest) DO UPDATE SET"
    " requests = requests + excluded.requests,"
    " prompt_tokens = prompt_tokens + excluded.prompt_tokens,"
    " cached_tokens = cached_tokens + excluded.cached_tokens,"
    " completion_tokens = completion_tokens + excluded.completion_tokens";
/* The last hours of a tenant stay, as many as the longest windows have: were they judged by the
 * clock alone, one that is a year ahead for a moment would make this month's budget free. */
static const char unspend_text[] =
    "DELETE FROM spent WHERE hour < ?3 AND tenant IN (SELECT tenant FROM (SELECT tenant" OLDEST
    ")) AND hour < (SELECT s.hour FROM spent AS s WHERE s.tenant = spent.tenant"
    " ORDER BY s.hour DESC LIMIT 1 OFFSET 62 * 24 - 1)";
static const char forget_text[] = "DELETE FROM requests WHERE seq IN (SELECT seq" OLDEST ")";

/* No window of a budget is longer, nor the one before it. */
static const int64_t SPENT_S_MIN = 62 * 86400;

static int keep(struct rows *r, sqlite3_stmt **out, const char *text)
{
    return sqlite3_prepare_v3(r->sql, text, -1, SQLITE_PREPARE_PERSISTENT, out, NULL);
}

int rows_open(struct rows *r, const char *path, struct realm_error *err)
{
    *r = (struct rows){0};
    int status = db_connect(&r->sql, path, false, err);
    if (!status && (keep(r, &r->begin, begin_text) || keep(r, &r->end, end_text) ||
                    keep(r, &r->spend, spend_text) || keep(r, &r->fold, fold_text) ||
                    keep(r, &r->forget, forget_text) || keep(r, &r->unspend, unspend_text)))
        status = db_failed(r->sql, err);
    if (status)
        rows_close(r);
    return status;
}

void rows_close(struct rows *r)
{
    sqlite3_finalize(r->begin);
    sqlite3_finalize(r->end);
    sqlite3_finalize(r->spend);
    sqlite3_finalize(r->fold);
    sqlite3_finalize(r->forget);
    sqlite3_finalize(r->unspend);
    db_close(r->sql);
    *r = (struct rows){0};
}

static int run(struct rows *r, sqlite3_stmt *stmt, const struct db_arg *args, size_t n,
               struct realm_error *err)
{
    int status = db_bind(stmt, args, n) ? db_failed(r->sql, err) : 0;
    if (!status && sqlite3_step(stmt) != SQLITE_DONE)
        status = db_failed(r->sql, err);
    (void)sqlite3_reset(stmt);
    (void)sqlite3_clear_bindings(stmt);
    return status;
}

static uint64_t capped(uint64_t tokens)
{
    return tokens < ROW_TOKENS_MAX ? tokens : ROW_TOKENS_MAX;
}

static struct ledger_part all_parts(const struct ledger_row *row)
{
    struct ledger_part all = {0};
    for (size_t i = 0; i < row->n_parts; i++) {
        all.prompt_tokens += capped(row->parts[i].prompt_tokens);
        all.cached_tokens += capped(row->parts[i].cached_tokens);
        all.completion_tokens += capped(row->parts[i].completion_tokens);
    }
    return all;
}

static json_t *part_json(const struct ledger_part *p)
{
    return json_pack("{s:s,s:I,s:I,s:I}", "model", p->model, "prompt_tokens",
                     (json_int_t)capped(p->prompt_tokens), "cached_tokens",
                     (json_int_t)capped(p->cached_tokens), "completion_tokens",
                     (json_int_t)capped(p->completion_tokens));
}

/* What the column says of several parts, for free(); NULL for one. */
static int parts_text(const struct ledger_row *row, char **out, struct realm_error *err)
{
    *out = NULL;
    if (row->n_parts == 1)
        return 0;
    json_t *all = json_array();
    int failed = 0;
    for (size_t i = 0; i < row->n_parts; i++)
        failed |= json_array_append_new(all, part_json(&row->parts[i]));
    *out = failed ? NULL : json_dumps(all, JSON_COMPACT);
    json_decref(all);
    return *out ? 0 : err_nomem(err, "a row");
}

int rows_write(struct rows *r, const struct ledger_row *row, struct realm_error *err)
{
    bool closed = row->outcome != OUTCOME_RUNS;
    const struct ledger_part all = all_parts(row);
    uint64_t tokens = all.prompt_tokens + all.completion_tokens;
    char *parts;
    int status = parts_text(row, &parts, err);
    if (status)
        return status;
    status = run(r, closed ? r->end : r->begin,
                 DB_ARGS(db_text(row->id), db_text(row->tenant), db_text(row->key),
                         db_text(row->endpoint), db_int((uint64_t)row->started_s),
                         db_int((uint64_t)(int64_t)row->outcome),
                         db_text(row->code[0] ? row->code : NULL), db_text(row->parts[0].model),
                         db_text(row->guest), db_int(all.prompt_tokens), db_int(all.cached_tokens),
                         db_int(all.completion_tokens), db_int(row->queued_ms),
                         db_int(row->first_token_ms), db_int(row->total_ms), db_text(parts)),
                 err);
    free(parts);
    if (status || !closed || sqlite3_changes(r->sql) == 0 || tokens == 0)
        return status;
    int64_t hour = row->started_s - row->started_s % 3600;
    return run(r, r->spend, DB_ARGS(db_text(row->tenant), db_int((uint64_t)hour), db_int(tokens)),
               err);
}

int rows_replay(struct rows *r, struct spool *spool, struct realm_error *err)
{
    struct ledger_row row;
    char text[48];
    int status = db_exec(r->sql, "BEGIN IMMEDIATE", err);
    if (status)
        return status;
    /* The version that it has: a page is written even when there are no rows. */
    snprintf(text, sizeof(text), "PRAGMA user_version=%d", db_version);
    status = db_exec(r->sql, text, err);
    for (uint32_t at = 0; at < spool->n && !status;) {
        if (spool_read(spool, &at, &row))
            status = err_set(err, REALM_E_IO, "the spool cannot be read");
        else
            status = rows_write(r, &row, err);
    }
    if (!status)
        status = db_exec(r->sql, "COMMIT", err);
    if (!status && spool_clear(spool))
        status = err_set(err, REALM_E_IO, "the spool cannot be written");
    return status;
}

int rows_fold(struct rows *r, int64_t before_day_s, uint32_t most, uint32_t *folded,
              struct realm_error *err)
{
    struct db_arg args[] = {db_int((uint64_t)before_day_s), db_int(most),
                            db_int((uint64_t)(before_day_s - SPENT_S_MIN))};
    *folded = 0;
    int status = db_exec(r->sql, "BEGIN IMMEDIATE", err);
    if (!status)
        status = run(r, r->fold, args, 2, err);
    if (!status)
        status = run(r, r->unspend, args, 3, err);
    if (!status)
        status = run(r, r->forget, args, 2, err);
    if (!status)
        *folded = (uint32_t)sqlite3_changes(r->sql);
    return status ? status : db_exec(r->sql, "COMMIT", err);
}

int rows_interrupt(struct rows *r, struct realm_error *err)
{
    _Static_assert(TENANT_INTERRUPTED == 4, "stands below");
    return db_exec(r->sql,
                   "BEGIN IMMEDIATE;"
                   "INSERT INTO spent (tenant, hour, tokens)"
                   " SELECT tenant, started_at - started_at % 3600,"
                   " sum(prompt_tokens + completion_tokens)"
                   " FROM requests WHERE outcome = -1 GROUP BY 1, 2"
                   " ON CONFLICT (tenant, hour) DO UPDATE SET tokens = tokens + excluded.tokens;"
                   "UPDATE requests SET outcome = 4, code = 'interrupted' WHERE outcome = -1;"
                   "COMMIT",
                   err);
}
