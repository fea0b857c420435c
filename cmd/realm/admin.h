/* cmd/realm/admin.h - what the commands share that administer a running server.
 *
 * Each of them is `realm WHAT VERB OPERANDS`: one or more calls under /admin, on the socket in
 * the server's state directory or at an address with REALM_ADMIN_KEY, and their answers shown
 * as a table or as the JSON that came. */
#ifndef CMD_REALM_ADMIN_H
#define CMD_REALM_ADMIN_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/compiler.h"
#include "cmd.h"

int cmd_tenants(int argc, char **argv);
int cmd_keys(int argc, char **argv);
int cmd_guests(int argc, char **argv);
int cmd_models(int argc, char **argv);
int cmd_usage_report(int argc, char **argv); /* `realm usage` */

/* ---- the server (admin_client.c) ---- */

/* Where it is; both NULL: the user's own state directory. */
struct admin_target {
    const char *state, *url;
};

/* Of the tables of options: the target's. */
#define ADMIN_OPTS(target)                                                                       \
    {"state",         0,   "DIR", "the server's state directory (default ~/.local/state/realm)", \
     &(target).state, NULL},                                                                     \
    {                                                                                            \
        "url", 0, "URL", "its address, instead; with REALM_ADMIN_KEY in the environment",        \
            &(target).url, NULL                                                                  \
    }

struct admin;

/* -1 to go on, or the exit status after a sentence. */
int admin_open(struct admin **out, const char *cmd, const struct admin_target *at);
void admin_close(struct admin *a); /* NULL is fine */

/* One call.  -1 and *out, the answer's JSON (a new reference), or the exit status after a
 * sentence.  body NULL: none. */
int admin_call(struct admin *a, const char *method, const char *path, const json_t *body,
               json_t **out);
/* The same with bytes for a body. */
int admin_send(struct admin *a, const char *method, const char *path, struct slice body,
               json_t **out);
/* The call to before + id + after; id may hold anything.  query: "?…", or "". */
int admin_call_id(struct admin *a, const char *method, const char *before, const char *id,
                  const char *after, const json_t *body, json_t **out);

/* Adds "?name=value" or, to a path that has a query, "&name=value"; value NULL adds nothing. */
MUST_USE int admin_add_query(struct buf *path, const char *name, const char *value);

/* ---- verbs (admin_verbs.c) ---- */

struct admin_verb {
    const char *names;    /* with spaces between; the first is the one that is shown */
    const char *operands; /* "TENANT FILE"; NULL: none */
    /* Returns the exit status. */
    int (*run)(void *ctx, struct admin *a, char **operands);
};

/* Finds the verb in argv[0] (the first one of the table, when there is none) and runs it on the
 * operands behind it.  Returns the exit status. */
int admin_run(const char *cmd, const struct admin_target *at, const struct admin_verb *verbs,
              size_t n, int argc, char **argv, void *ctx);

/* ---- values of options (admin_args.c): -1 to go on, or EXIT_USAGE after a sentence ---- */

/* 1048576, 512MiB, 1GiB. */
int admin_bytes(const char *cmd, const char *name, const char *text, uint64_t *bytes);
/* 30d, 12h, 10m, 45s. */
int admin_duration(const char *cmd, const char *name, const char *text, int64_t *seconds);
/* Whether it is one. */
bool admin_read_duration(const char *text, int64_t *seconds);
/* A duration from now on, or a day as 2026-12-31 (UTC), or a time in it. */
int admin_end(const char *cmd, const char *name, const char *text, int64_t *seconds);
/* Puts a member into a body, and takes value over; EXIT_FAILED: memory. */
int admin_set(const char *cmd, json_t *body, const char *name, json_t *value);

/* ---- what is shown (admin_table.c) ---- */

enum admin_kind {
    ADMIN_TEXT,  /* as it is; "-" when absent or empty; lists with commas */
    ADMIN_ALL,   /* the same with "all" when absent */
    ADMIN_COUNT, /* a number, to the right */
    ADMIN_BYTES, /* with a unit */
    ADMIN_TIME,  /* seconds since 1970 */
};

struct admin_column {
    const char *title;
    const char *member; /* of the row; "limits.parallel" is a member's member */
    enum admin_kind kind;
};

/* The rows, an array of objects, under their titles. */
void admin_table(const json_t *rows, const struct admin_column *columns, size_t n);
/* One object, a line for each member that it has. */
void admin_record(const json_t *row, const struct admin_column *columns, size_t n);
/* The answer as it is, or the rows that it has under the name; takes the answer over. */
void admin_show_rows(json_t *answer, bool json, const char *name,
                     const struct admin_column *columns, size_t n);
/* The same of an answer that is one object. */
void admin_show_record(json_t *answer, bool json, const struct admin_column *columns, size_t n);
/* RFC 4180, with the members' names first. */
void admin_csv(const json_t *rows, const struct admin_column *columns, size_t n);
void admin_json(const json_t *value);
/* Text for a person: control characters become '?'. */
void admin_print(FILE *to, const char *text);

#endif
