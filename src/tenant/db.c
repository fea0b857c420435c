/* tenant/db.c - connections to the database, and its versions.
 *
 * What SQLite can do to distrust a file is on: a schema that calls functions, cells that are
 * longer than their page and writes to its own tables are refused. */
#include "tenant/db.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/limits.h"

enum {
    APPLICATION_ID = 0x524c4d31, /* "RLM1" */
    BUSY_MS = 10000,
};

/* Above this only the pages are checked, not that the indexes fit the tables. */
static const int64_t CHECK_WHOLE_BYTES_MAX = 64 << 20;

/* ---- errors ---- */

static int status_of(int code)
{
    switch (code & 0xff) {
    case SQLITE_NOMEM:
        return REALM_E_NOMEM;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return REALM_E_FORMAT;
    case SQLITE_CONSTRAINT:
        return REALM_E_ARG;
    case SQLITE_MISUSE:
    case SQLITE_INTERNAL:
    case SQLITE_ERROR:
        return REALM_E_SYS;
    default:
        return REALM_E_IO;
    }
}

int db_failed(sqlite3 *sql, struct realm_error *err)
{
    int code = sql ? sqlite3_extended_errcode(sql) : SQLITE_NOMEM;
    return err_set(err, status_of(code), "the database: %s (%d)",
                   sql ? sqlite3_errmsg(sql) : "out of memory", code);
}

/* ---- statements ---- */

static int bind_one(sqlite3_stmt *stmt, int at, const struct db_arg *arg)
{
    static const char nothing[1];
    const void *p = arg->bytes.p ? (const void *)arg->bytes.p : nothing;
    switch (arg->type) {
    case DB_INT:
        return sqlite3_bind_int64(stmt, at, arg->number);
    case DB_TEXT:
        return sqlite3_bind_text64(stmt, at, p, arg->bytes.n, SQLITE_STATIC, SQLITE_UTF8);
    case DB_BLOB:
        return sqlite3_bind_blob64(stmt, at, p, arg->bytes.n, SQLITE_STATIC);
    case DB_NULL:
        break;
    }
    return sqlite3_bind_null(stmt, at);
}

int db_bind(sqlite3_stmt *stmt, const struct db_arg *args, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (bind_one(stmt, (int)i + 1, &args[i]))
            return db_failed(sqlite3_db_handle(stmt), NULL);
    return 0;
}

int db_query(sqlite3 *sql, const char *text, const struct db_arg *args, size_t n,
             int (*row)(void *ctx, sqlite3_stmt *stmt), void *ctx, struct realm_error *err)
{
    sqlite3_stmt *stmt = NULL;
    int status = 0, code;
    if (sqlite3_prepare_v2(sql, text, -1, &stmt, NULL) || db_bind(stmt, args, n)) {
        status = db_failed(sql, err);
        sqlite3_finalize(stmt);
        return status;
    }
    while ((code = sqlite3_step(stmt)) == SQLITE_ROW && !status) {
        status = row ? row(ctx, stmt) : 0;
        /* A text that found no memory reads as one that is empty. */
        if (sqlite3_errcode(sql) == SQLITE_NOMEM)
            status = REALM_E_NOMEM;
    }
    if (!status && code != SQLITE_DONE)
        status = db_failed(sql, err);
    else if (status == REALM_E_NOMEM)
        err_nomem(err, "a row");
    sqlite3_finalize(stmt);
    return status;
}

int db_run(sqlite3 *sql, const char *text, const struct db_arg *args, size_t n,
           struct realm_error *err)
{
    return db_query(sql, text, args, n, NULL, NULL, err);
}

int db_exec(sqlite3 *sql, const char *text, struct realm_error *err)
{
    return sqlite3_exec(sql, text, NULL, NULL, NULL) ? db_failed(sql, err) : 0;
}

static int take_number(void *ctx, sqlite3_stmt *stmt)
{
    *(int64_t *)ctx = sqlite3_column_int64(stmt, 0);
    return 0;
}

int db_number(sqlite3 *sql, const char *text, const struct db_arg *args, size_t n, int64_t *out,
              struct realm_error *err)
{
    *out = 0;
    return db_query(sql, text, args, n, take_number, out, err);
}

const char *db_column_text(sqlite3_stmt *stmt, int column)
{
    const unsigned char *text = sqlite3_column_text(stmt, column);
    return text ? (const char *)text : "";
}

/* ---- checking ---- */

static int take_verdict(void *ctx, sqlite3_stmt *stmt)
{
    snprintf(ctx, 160, "%s", db_column_text(stmt, 0));
    return 0;
}

static int check_whole(sqlite3 *sql, const char *path, struct realm_error *err)
{
    char verdict[160] = "";
    int64_t pages, page;
    int status = db_number(sql, "PRAGMA page_count", NULL, 0, &pages, err);
    if (!status)
        status = db_number(sql, "PRAGMA page_size", NULL, 0, &page, err);
    if (status)
        return status;
    bool whole = pages <= CHECK_WHOLE_BYTES_MAX / (page ? page : 1);
    status = db_query(sql, whole ? "PRAGMA integrity_check(1)" : "PRAGMA quick_check(1)", NULL, 0,
                      take_verdict, verdict, err);
    if (!status && strcmp(verdict, "ok") != 0)
        status = err_set(err, REALM_E_FORMAT, "%s is damaged: %s", path, verdict);
    return status;
}

/* Whether it is ours, and not of a later day; *version: 0 where it is new. */
static int check_version(sqlite3 *sql, const char *path, int64_t *version, struct realm_error *err)
{
    int64_t application, tables;
    int status = db_number(sql, "PRAGMA application_id", NULL, 0, &application, err);
    if (!status)
        status = db_number(sql, "PRAGMA user_version", NULL, 0, version, err);
    if (!status)
        status = db_number(sql, "SELECT count(*) FROM sqlite_schema", NULL, 0, &tables, err);
    if (status)
        return status;
    if (tables == 0 && application == 0 && *version == 0)
        return 0;
    if (application != APPLICATION_ID || *version < 1)
        return err_set(err, REALM_E_FORMAT, "%s is a database, but not one of realm's", path);
    if (*version > db_version)
        return err_set(err, REALM_E_FORMAT,
                       "%s has version %lld and this program knows versions up to %d: it was made "
                       "by a newer one, which can go on with it",
                       path, (long long)*version, db_version);
    return 0;
}

/* ---- moving up ---- */

/* After a failure the connection is to be closed. */
static int move_up(sqlite3 *sql, int64_t version, struct realm_error *err)
{
    char text[96];
    if (version == db_version)
        return 0;
    int status = db_exec(sql, "BEGIN IMMEDIATE", err);
    if (status)
        return status;
    for (int64_t i = version; i < db_version && !status; i++)
        status = db_exec(sql, db_versions[i], err);
    snprintf(text, sizeof(text), "PRAGMA application_id=%d; PRAGMA user_version=%d; COMMIT",
             APPLICATION_ID, db_version);
    return status ? status : db_exec(sql, text, err);
}

/* ---- opening ---- */

/* SQLite gives its other files the mode of this one. */
static int make_private(const char *path, struct realm_error *err)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_set(err, REALM_E_IO, "%s cannot be opened for writing: %m", path);
    int status = 0;
    if (fchmod(fd, 0600))
        status = err_set(err, REALM_E_IO, "%s: its mode cannot be set: %m", path);
    close(fd);
    return status;
}

static int distrust(sqlite3 *sql)
{
    return sqlite3_extended_result_codes(sql, 1) || sqlite3_busy_timeout(sql, BUSY_MS) ||
           sqlite3_db_config(sql, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL) ||
           sqlite3_db_config(sql, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL) ||
           sqlite3_db_config(sql, SQLITE_DBCONFIG_ENABLE_FKEY, 1, NULL) ||
           /* Whoever refuses a file leaves it as it is. */
           sqlite3_db_config(sql, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
}

int db_connect(sqlite3 **out, const char *path, bool reader, struct realm_error *err)
{
    sqlite3 *sql = NULL;
    int code = sqlite3_open_v2(path, &sql, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    *out = sql;
    if (code || distrust(sql))
        return db_failed(sql, err);
    return db_exec(sql,
                   reader ? "PRAGMA cell_size_check=ON; PRAGMA query_only=ON"
                          : "PRAGMA cell_size_check=ON; PRAGMA synchronous=FULL;"
                            "PRAGMA journal_size_limit=67108864",
                   err);
}

static int take_wal(sqlite3 *sql, struct realm_error *err)
{
    char mode[160] = "";
    int status = db_query(sql, "PRAGMA journal_mode=WAL", NULL, 0, take_verdict, mode, err);
    if (!status && strcmp(mode, "wal") != 0)
        status = err_set(err, REALM_E_IO, "the database cannot have a write-ahead log here");
    return status;
}

int db_open(sqlite3 **out, const char *path, struct realm_error *err)
{
    int64_t version;
    int status = make_private(path, err);
    *out = NULL;
    if (!status)
        status = db_connect(out, path, false, err);
    if (!status)
        status = check_version(*out, path, &version, err);
    if (!status)
        status = check_whole(*out, path, err);
    if (!status)
        status = take_wal(*out, err);
    if (!status)
        status = move_up(*out, version, err);
    if (status) {
        if (status == REALM_E_FORMAT && err && !strstr(err->message, path))
            status = err_prefix(err, status, "%s", path);
        db_close(*out);
        *out = NULL;
    }
    return status;
}

void db_close(sqlite3 *sql)
{
    if (sql)
        (void)sqlite3_close_v2(sql);
}
