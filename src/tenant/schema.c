/* tenant/schema.c - the tables, version by version.
 *
 * A version that was released never changes; the next one says how to get there from it. */
#include "base/compiler.h"
#include "tenant/db.h"

/* Rows of the ledger name tenants and keys that may be gone, so they refer to nothing. */
static const char version_1[] =
    "CREATE TABLE tenants ("
    " id TEXT NOT NULL PRIMARY KEY,"
    " weight INTEGER NOT NULL,"
    " models TEXT,"                       /* JSON: names; NULL: all */
    " defaults TEXT,"                     /* JSON: options */
    " requests_per_min INTEGER NOT NULL," /* here and below 0: none */
    " tokens_per_min INTEGER NOT NULL,"
    " parallel INTEGER NOT NULL,"
    " budget_tokens INTEGER NOT NULL,"
    " budget_window INTEGER NOT NULL," /* enum budget_window */
    " kv_bytes_max INTEGER NOT NULL,"
    " max_tokens INTEGER NOT NULL,"
    " created_at INTEGER NOT NULL"
    ") STRICT, WITHOUT ROWID;"
    "CREATE TABLE keys ("
    " id TEXT NOT NULL PRIMARY KEY,"
    " tenant TEXT NOT NULL REFERENCES tenants(id) ON DELETE CASCADE,"
    " mac BLOB NOT NULL," /* HMAC-SHA256 of the secret under the pepper */
    " name TEXT,"
    " created_at INTEGER NOT NULL,"
    " expires_at INTEGER NOT NULL," /* 0: never */
    " disabled INTEGER NOT NULL"
    ") STRICT, WITHOUT ROWID;"
    "CREATE INDEX keys_tenant ON keys(tenant);"
    "CREATE TABLE requests ("
    " seq INTEGER PRIMARY KEY,"
    " id TEXT NOT NULL UNIQUE,"
    " tenant TEXT NOT NULL,"
    " key TEXT NOT NULL,"
    " endpoint TEXT NOT NULL,"
    " started_at INTEGER NOT NULL,"
    " outcome INTEGER NOT NULL," /* enum tenant_outcome; -1: it runs */
    " code TEXT,"
    " model TEXT NOT NULL,"
    " guest TEXT NOT NULL,"
    " prompt_tokens INTEGER NOT NULL,"
    " cached_tokens INTEGER NOT NULL,"
    " completion_tokens INTEGER NOT NULL,"
    " queued_ms INTEGER NOT NULL,"
    " first_token_ms INTEGER NOT NULL,"
    " total_ms INTEGER NOT NULL"
    ") STRICT;"
    "CREATE INDEX requests_tenant ON requests(tenant, started_at);"
    "CREATE INDEX requests_started ON requests(started_at);"
    "CREATE INDEX requests_open ON requests(seq) WHERE outcome = -1;"
    "CREATE TABLE audits ("
    " seq INTEGER PRIMARY KEY,"
    " at INTEGER NOT NULL,"
    " who TEXT NOT NULL,"
    " action TEXT NOT NULL,"
    " subject TEXT NOT NULL,"
    " detail TEXT" /* JSON */
    ") STRICT;";

/* What each tenant spent in each hour, so that budgets are known at the start without a look
 * at every row; and programs. */
static const char version_2[] =
    "CREATE TABLE spent ("
    " tenant TEXT NOT NULL,"
    " hour INTEGER NOT NULL," /* its first second */
    " tokens INTEGER NOT NULL,"
    " PRIMARY KEY (tenant, hour)"
    ") STRICT, WITHOUT ROWID;"
    "INSERT INTO spent"
    " SELECT tenant, started_at - started_at % 3600, sum(prompt_tokens + completion_tokens)"
    " FROM requests WHERE outcome <> -1 GROUP BY 1, 2;"
    "CREATE TABLE guests ("
    " version INTEGER PRIMARY KEY AUTOINCREMENT,"
    " tenant TEXT NOT NULL REFERENCES tenants(id) ON DELETE CASCADE,"
    " model TEXT NOT NULL," /* '': of all that have none of their own */
    " sha256 TEXT NOT NULL,"
    " about TEXT," /* JSON */
    " withdrawn INTEGER NOT NULL,"
    " created_at INTEGER NOT NULL,"
    " wasm BLOB NOT NULL"
    ") STRICT;"
    "CREATE INDEX guests_tenant ON guests(tenant, model, version);";

/* What old rows came to (ledger.h): all that reports of usage tell apart, and the program. */
static const char version_3[] = "CREATE TABLE totals ("
                                " tenant TEXT NOT NULL,"
                                " day INTEGER NOT NULL," /* its first second */
                                " key TEXT NOT NULL,"
                                " model TEXT NOT NULL,"
                                " guest TEXT NOT NULL,"
                                " requests INTEGER NOT NULL,"
                                " prompt_tokens INTEGER NOT NULL,"
                                " cached_tokens INTEGER NOT NULL,"
                                " completion_tokens INTEGER NOT NULL,"
                                " PRIMARY KEY (tenant, day, key, model, guest)"
                                ") STRICT, WITHOUT ROWID;"
                                "CREATE INDEX totals_day ON totals(day);";

/* What a request had of each of several models; its own columns are of the first and of all. */
static const char version_4[] =
    "ALTER TABLE requests ADD COLUMN parts TEXT;" /* JSON; NULL: all is of one model */
    "CREATE INDEX requests_parts ON requests(seq) WHERE parts IS NOT NULL;";

const char *const db_versions[] = {version_1, version_2, version_3, version_4};
const int db_version = ARRAY_LEN(db_versions);
