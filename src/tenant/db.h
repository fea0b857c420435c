/* tenant/db.h - SQLite, as this layer uses it: connections, statements, versions.
 *
 * A connection belongs to one thread at a time; whoever owns it has a lock around it. */
#ifndef TENANT_DB_H
#define TENANT_DB_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/compiler.h"
#include "realm/status.h"

/* Opens or makes the database, checks it whole and moves it up to this version.
 *   REALM_E_FORMAT   damaged, not ours, or a newer program's: nothing was changed */
MUST_USE int db_open(sqlite3 **out, const char *path, struct realm_error *err);
/* A further connection to a database that db_open has seen; reader: it cannot write. */
MUST_USE int db_connect(sqlite3 **out, const char *path, bool reader, struct realm_error *err);
/* Takes a transaction back that was not committed.  NULL is fine. */
void db_close(sqlite3 *sql);

/* schema.c: the tables of each version. */
extern const char *const db_versions[];
extern const int db_version; /* how many there are: the newest */

/* ---- statements ---- */

struct db_arg {
    enum { DB_NULL, DB_INT, DB_TEXT, DB_BLOB } type;
    int64_t number;
    struct slice bytes;
};

static inline struct db_arg db_int(uint64_t value)
{
    return (struct db_arg){DB_INT, (int64_t)value, {NULL, 0}};
}

/* NULL: the database's NULL. */
static inline struct db_arg db_text(const char *text)
{
    if (!text)
        return (struct db_arg){DB_NULL, 0, {NULL, 0}};
    return (struct db_arg){DB_TEXT, 0, slice_of(text)};
}

static inline struct db_arg db_blob(struct slice bytes)
{
    return (struct db_arg){DB_BLOB, 0, bytes};
}

/* For those below: the values of ?1, ?2 …, and how many. */
#define DB_ARGS(...)                      \
    (const struct db_arg[]){__VA_ARGS__}, \
        sizeof((const struct db_arg[]){__VA_ARGS__}) / sizeof(struct db_arg)

/* Runs one statement that yields no row: 0 or the error. */
MUST_USE int db_run(sqlite3 *sql, const char *text, const struct db_arg *args, size_t n,
                    struct realm_error *err);
/* Calls row for each row, until it returns other than 0, which is then the result. */
MUST_USE int db_query(sqlite3 *sql, const char *text, const struct db_arg *args, size_t n,
                      int (*row)(void *ctx, sqlite3_stmt *stmt), void *ctx,
                      struct realm_error *err);
/* Statements without values; several may stand in text. */
MUST_USE int db_exec(sqlite3 *sql, const char *text, struct realm_error *err);
/* The one number that a query yields; 0 where it yields none. */
MUST_USE int db_number(sqlite3 *sql, const char *text, const struct db_arg *args, size_t n,
                       int64_t *out, struct realm_error *err);

/* For statements that are kept. */
MUST_USE int db_bind(sqlite3_stmt *stmt, const struct db_arg *args, size_t n);

/* The status of SQLite's last failure, whose sentence goes to err. */
int db_failed(sqlite3 *sql, struct realm_error *err);

/* Never NULL. */
const char *db_column_text(sqlite3_stmt *stmt, int column);

#endif
