/* tenant/report.c - what the ledger says: sums, rows, audits. */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "tenant/tenant_impl.h"

enum { QUERY_BYTES_MAX = 2048, ROWS_MAX = 100000, LIMIT_MAX = 1000 };

/* ---- rows as JSON ---- */

static json_t *value_of(sqlite3_stmt *row, int column)
{
    switch (sqlite3_column_type(row, column)) {
    case SQLITE_INTEGER:
        return json_integer(sqlite3_column_int64(row, column));
    case SQLITE_NULL:
        return json_null();
    default:
        return json_string(db_column_text(row, column));
    }
}

/* An object by the columns' names; `detail` is JSON already. */
static int add_row(void *ctx, sqlite3_stmt *row)
{
    json_t *object = json_object();
    int failed = !object;
    for (int i = 0; i < sqlite3_column_count(row) && !failed; i++) {
        const char *name = sqlite3_column_name(row, i);
        bool is_json = strcmp(name, "detail") == 0 && sqlite3_column_type(row, i) != SQLITE_NULL;
        failed = json_object_set_new(
            object, name, is_json ? json_loads(db_column_text(row, i), 0, NULL) : value_of(row, i));
    }
    if (json_array_size(ctx) >= ROWS_MAX) {
        json_decref(object);
        return REALM_E_LIMIT;
    }
    return json_array_append_new(ctx, failed ? NULL : object) || failed ? REALM_E_NOMEM : 0;
}

static int report(struct tenants *t, const char *text, const struct db_arg *args, size_t n,
                  json_t **out, struct realm_error *err)
{
    json_t *rows = json_array();
    *out = NULL;
    mutex_lock(&t->reads);
    int status =
        rows ? db_query(t->reader, text, args, n, add_row, rows, err) : err_nomem(err, "a report");
    mutex_unlock(&t->reads);
    if (status == REALM_E_LIMIT)
        err_set(err, status, "the report has over %d rows: ask for less", ROWS_MAX);
    if (!status && !(*out = json_pack("{s:O}", "rows", rows)))
        status = err_nomem(err, "a report");
    json_decref(rows);
    return status;
}

/* ---- sums ---- */

static const char DAY[] = "strftime('%Y-%m-%d', started_at, 'unixepoch')";

int tenants_usage(struct tenants *t, const struct tenant_usage_query *q, json_t **out,
                  struct realm_error *err)
{
    const struct {
        bool wanted;
        const char *expression, *name;
    } groups[] = {{q->by_tenant, "tenant", "tenant"},
                  {q->by_key, "key", "key"},
                  {q->by_model, "model", "model"},
                  {q->by_day, DAY, "day"}};
    struct buf text;
    buf_init(&text, QUERY_BYTES_MAX);
    int n = 0, status = buf_addf(&text, "SELECT ");
    for (size_t i = 0; i < ARRAY_LEN(groups) && !status; i++)
        if (groups[i].wanted)
            status = buf_addf(&text, "%s AS %s, ", groups[i].expression, groups[i].name);
    if (!status)
        status = buf_addf(&text,
                          "count(*) FILTER (WHERE outcome <> %d) AS requests, "
                          "coalesce(sum(prompt_tokens), 0) AS prompt_tokens, "
                          "coalesce(sum(cached_tokens), 0) AS cached_tokens, "
                          "coalesce(sum(completion_tokens), 0) AS completion_tokens "
                          "FROM requests WHERE outcome <> -1 AND (?1 IS NULL OR tenant = ?1) "
                          "AND (?2 IS NULL OR key = ?2) AND (?3 IS NULL OR model = ?3) "
                          "AND started_at >= ?4 AND (?5 = 0 OR started_at < ?5)",
                          TENANT_REFUSED);
    for (size_t i = 0; i < ARRAY_LEN(groups) && !status; i++)
        if (groups[i].wanted)
            status = buf_addf(&text, "%s%d", n ? ", " : " GROUP BY ", n + 1), n++;
    for (int i = 0; i < n && !status; i++)
        status = buf_addf(&text, "%s%d", i ? ", " : " ORDER BY ", i + 1);
    const char *query = status ? NULL : buf_cstr(&text);
    status = query ? report(t, query,
                            DB_ARGS(db_text(q->tenant), db_text(q->key), db_text(q->model),
                                    db_int((uint64_t)q->from_s), db_int((uint64_t)q->to_s)),
                            out, err)
                   : err_nomem(err, "a report");
    buf_free(&text);
    return status;
}

/* ---- single rows ---- */

int tenants_requests(struct tenants *t, const char *tenant, uint32_t limit, json_t **out,
                     struct realm_error *err)
{
    static const char text[] =
        "SELECT id AS request_id, tenant, key, model, guest, endpoint, started_at, "
        "CASE outcome WHEN 0 THEN 'ok' WHEN 1 THEN 'cancelled' WHEN 2 THEN 'refused' "
        "WHEN 3 THEN 'failed' WHEN 4 THEN 'interrupted' ELSE 'running' END AS outcome, code, "
        "prompt_tokens, cached_tokens, completion_tokens, queued_ms, first_token_ms, total_ms "
        "FROM requests WHERE (?1 IS NULL OR tenant = ?1) ORDER BY seq DESC LIMIT ?2";
    if (limit < 1 || limit > LIMIT_MAX)
        return err_set(err, REALM_E_ARG, "limit must be from 1 to %d", LIMIT_MAX);
    return report(t, text, DB_ARGS(db_text(tenant), db_int(limit)), out, err);
}

int tenants_audits(struct tenants *t, uint32_t limit, json_t **out, struct realm_error *err)
{
    static const char text[] =
        "SELECT at, who, action, subject, detail FROM audits ORDER BY seq DESC LIMIT ?1";
    if (limit < 1 || limit > LIMIT_MAX)
        return err_set(err, REALM_E_ARG, "limit must be from 1 to %d", LIMIT_MAX);
    return report(t, text, DB_ARGS(db_int(limit)), out, err);
}
