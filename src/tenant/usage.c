/* tenant/usage.c - reports: what was used, requested and administered. */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "tenant/ledger_rows.h"
#include "tenant/tenant_impl.h"

enum { REPORT_LIMIT_MAX = 1000 };

static const char *const outcomes[TENANT_OUTCOMES] = {
    [TENANT_OK] = "ok",         [TENANT_CANCELLED] = "cancelled",     [TENANT_REFUSED] = "refused",
    [TENANT_FAILED] = "failed", [TENANT_INTERRUPTED] = "interrupted",
};

static const char *outcome_name(int64_t outcome)
{
    return outcome >= 0 && outcome < TENANT_OUTCOMES ? outcomes[outcome] : "unknown";
}

static bool is_json(const char *column)
{
    return strcmp(column, "detail") == 0 || strcmp(column, "parts") == 0;
}

/* Each column under its name. */
static int add_row(void *ctx, sqlite3_stmt *stmt)
{
    json_t *row = json_object();
    int failed = row ? 0 : -1;
    for (int i = 0; i < sqlite3_column_count(stmt) && !failed; i++) {
        const char *name = sqlite3_column_name(stmt, i);
        int type = sqlite3_column_type(stmt, i);
        json_t *value = json_null();
        if (strcmp(name, "outcome") == 0)
            value = json_string(outcome_name(sqlite3_column_int64(stmt, i)));
        else if (is_json(name) && type != SQLITE_NULL)
            value = json_loads(db_column_text(stmt, i), JSON_DECODE_ANY, NULL);
        else if (type == SQLITE_INTEGER)
            value = json_integer(sqlite3_column_int64(stmt, i));
        else if (type == SQLITE_TEXT)
            value = json_string(db_column_text(stmt, i));
        failed = json_object_set_new(row, name, value);
    }
    if (failed) {
        json_decref(row);
        return REALM_E_NOMEM;
    }
    return json_array_append_new(ctx, row) ? REALM_E_NOMEM : 0;
}

/* {"rows":[…]} of a query on the reports' connection. */
static int report(struct tenants *t, const char *text, const struct db_arg *args, size_t n,
                  json_t **out, struct realm_error *err)
{
    json_t *rows = json_array();
    *out = NULL;
    if (!rows)
        return err_nomem(err, "the report");
    mutex_lock(&t->reports.lock);
    int status = db_query(t->reports.sql, text, args, n, add_row, rows, err);
    mutex_unlock(&t->reports.lock);
    if (!status && json_array_size(rows) > USAGE_ROWS_MAX)
        status = err_set(err, REALM_E_LIMIT, "the report has over %d rows: ask for less",
                         USAGE_ROWS_MAX);
    if (status) {
        json_decref(rows);
        return status;
    }
    *out = json_pack("{s:o}", "rows", rows);
    return *out ? 0 : err_nomem(err, "the report");
}

/* A bound inside a day of which there are only totals would have to part them. */
static int check_bound(struct tenants *t, const char *name, int64_t at_s, struct realm_error *err)
{
    enum { DAY_S = 86400 };
    int64_t parted;
    if (at_s % DAY_S == 0)
        return 0;
    mutex_lock(&t->reports.lock);
    int status = db_number(t->reports.sql, "SELECT EXISTS (SELECT 1 FROM totals WHERE day = ?1)",
                           DB_ARGS(db_int((uint64_t)(at_s - at_s % DAY_S))), &parted, err);
    mutex_unlock(&t->reports.lock);
    if (status || !parted)
        return status;
    return err_set(err, REALM_E_ARG,
                   "%s is within a day whose requests are old and were added up: "
                   "it must be a midnight of UTC",
                   name);
}

#define CLOSED_BY_MODEL ROWS_BY_MODEL("(SELECT * FROM requests WHERE outcome <> -1)")

/* Rows and totals alike. */
#define USED                                                                      \
    " FROM (" CLOSED_BY_MODEL " UNION ALL SELECT tenant, key, model, guest, day," \
    " requests, prompt_tokens, cached_tokens, completion_tokens FROM totals)"

static int sum_up(struct tenants *t, const struct tenant_usage_query *query, json_t **out,
                  struct realm_error *err)
{
    char text[2048], groups[96];
    snprintf(groups, sizeof(groups), "%s%s%s%s", query->by_tenant ? "tenant, " : "",
             query->by_key ? "key, " : "", query->by_model ? "model, " : "",
             query->by_day ? "day, " : "");
    snprintf(text, sizeof(text),
             "SELECT %s%s%s%scoalesce(sum(requests), 0) AS requests,"
             " coalesce(sum(prompt_tokens), 0) AS prompt_tokens,"
             " coalesce(sum(cached_tokens), 0) AS cached_tokens,"
             " coalesce(sum(completion_tokens), 0) AS completion_tokens" USED
             " WHERE (?1 IS NULL OR tenant = ?1)"
             " AND (?2 IS NULL OR key = ?2) AND (?3 IS NULL OR model = ?3)"
             " AND (?4 = 0 OR started_at >= ?4) AND (?5 = 0 OR started_at < ?5)"
             "%s%.*s%s%.*s LIMIT %d",
             query->by_tenant ? "tenant, " : "", query->by_key ? "key, " : "",
             query->by_model ? "model, " : "",
             query->by_day ? "date(started_at, 'unixepoch') AS day, " : "",
             groups[0] ? " GROUP BY " : "", groups[0] ? (int)strlen(groups) - 2 : 0, groups,
             groups[0] ? " ORDER BY " : "", groups[0] ? (int)strlen(groups) - 2 : 0, groups,
             USAGE_ROWS_MAX + 1); // one more tells that there are more
    return report(t, text,
                  DB_ARGS(db_text(query->tenant), db_text(query->key), db_text(query->model),
                          db_int((uint64_t)query->from_s), db_int((uint64_t)query->to_s)),
                  out, err);
}

/* The bounds are checked last: what is folded stays so, and was not when there is nothing of it. */
int tenants_usage(struct tenants *t, const struct tenant_usage_query *query, json_t **out,
                  struct realm_error *err)
{
    int status = sum_up(t, query, out, err);
    if (!status)
        status = check_bound(t, "from", query->from_s, err);
    if (!status)
        status = check_bound(t, "to", query->to_s, err);
    if (status) {
        json_decref(*out);
        *out = NULL;
    }
    return status;
}

static int check_limit(uint32_t limit, struct realm_error *err)
{
    if (limit >= 1 && limit <= REPORT_LIMIT_MAX)
        return 0;
    return err_set(err, REALM_E_ARG, "limit must be a whole number from 1 to %d", REPORT_LIMIT_MAX);
}

int tenants_requests(struct tenants *t, const char *tenant, uint32_t limit, json_t **out,
                     struct realm_error *err)
{
    int status = check_limit(limit, err);
    *out = NULL;
    if (status)
        return status;
    return report(t,
                  "SELECT id AS request_id, tenant, key, endpoint, model, guest, started_at,"
                  " outcome, code, prompt_tokens, cached_tokens, completion_tokens, queued_ms,"
                  " first_token_ms, total_ms, parts FROM requests"
                  " WHERE outcome <> -1 AND (?1 IS NULL OR tenant = ?1) ORDER BY seq DESC LIMIT ?2",
                  DB_ARGS(db_text(tenant), db_int(limit)), out, err);
}

int tenants_audits(struct tenants *t, uint32_t limit, json_t **out, struct realm_error *err)
{
    int status = check_limit(limit, err);
    *out = NULL;
    if (status)
        return status;
    return report(t,
                  "SELECT at, who, action, subject, detail FROM audits ORDER BY seq DESC LIMIT ?1",
                  DB_ARGS(db_int(limit)), out, err);
}
