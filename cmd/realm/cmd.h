/* cmd/realm/cmd.h - what the subcommands share.
 *
 * Each subcommand is one file with one entry, `cmd_NAME(argc, argv)`, argv[0]
 * being the subcommand's name; it returns the exit status.  Errors are one
 * sentence on stderr: "realm NAME: what is wrong". */
#ifndef CMD_REALM_CMD_H
#define CMD_REALM_CMD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/compiler.h"
#include "realm/realm.h"

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

struct cmd {
    const char *name;
    const char *summary; /* for `realm --help`, a phrase */
    int (*run)(int argc, char **argv);
};

int cmd_run(int argc, char **argv);
int cmd_serve(int argc, char **argv);
int cmd_inspect(int argc, char **argv);
int cmd_tokenize(int argc, char **argv);
int cmd_score(int argc, char **argv);
int cmd_embed(int argc, char **argv);
int cmd_bench(int argc, char **argv);
int cmd_doctor(int argc, char **argv);
int cmd_limits(int argc, char **argv);
int cmd_quantize(int argc, char **argv);
int cmd_pull(int argc, char **argv);
int cmd_helper(int argc, char **argv); /* not listed: the child process that compiles and renders */

/* ---- options (cmd/realm/opt.c): getopt_long's rules, written once ---- */

struct opt {
    const char *name;  /* long name, "max-tokens" */
    char letter;       /* or 0 */
    const char *arg;   /* "N"; NULL: a flag */
    const char *help;  /* one phrase; further lines are indented as they are */
    const char **text; /* where the argument goes, as it is */
    bool *flag;        /* where true goes */
};

struct opt_help {
    const char *usage; /* lines after "usage: realm " */
    const char *about; /* what it does, for a person who has never used it */
    const char *examples;
};

/* Reads options into their places and leaves the operands in argv[0..*n_rest-1].
 * Returns -1 to go on, or the exit status: EXIT_DONE after --help (printed on
 * stdout), EXIT_USAGE after a sentence on stderr. */
int opt_parse(int argc, char **argv, const struct opt *opts, size_t n, const struct opt_help *help,
              int *n_rest);

/* An option as messages name it, by all that one may write: "-n/--max-tokens". */
struct opt_shown {
    char text[48];
};
struct opt_shown opt_show(char letter, const char *name);

/* A whole number: EXIT_USAGE with a sentence that names the option, else -1. */
int opt_u64(const char *cmd, const char *name, const char *text, uint64_t min, uint64_t max,
            uint64_t *out);
/* NaN: the text is no number. */
double opt_number(const char *text);

/* ---- shared ---- */

/* "realm CMD: sentence" on stderr; returns EXIT_FAILED. */
int cmd_fail(const char *cmd, const struct realm_error *err);
/* The same of a file that the user named by path. */
int cmd_fail_file(const char *cmd, const char *path, const struct realm_error *err);
/* The sentence with the path before it: errors of models name files alone, since clients may
 * see them. */
void cmd_add_path(struct realm_error *err, const char *path);
int cmd_failf(const char *cmd, const char *fmt, ...) PRINTF_LIKE(2, 3);
int cmd_usage(const char *cmd, const char *fmt, ...) PRINTF_LIKE(2, 3); /* EXIT_USAGE */

/* The type that --kv names; *out stays what it is where text is NULL.  EXIT_USAGE with a
 * sentence, else -1. */
int cmd_kv_type(const char *cmd, const char *text, enum realm_kv_type *out);
const char *cmd_kv_name(enum realm_kv_type type);

/* An engine, and on it the model of -m, or the one that comes along ($REALM_MODELS,
 * else PREFIX/share/realm/models, else beside the build); says on a terminal when
 * loading takes long. */
struct cmd_engine {
    char *path;
    struct realm *engine;
    struct realm_model *model;
};

/* -1 to go on, or EXIT_FAILED after a sentence; closed in either case.  stop, asked
 * while the model loads, may be NULL. */
int cmd_engine_open(struct cmd_engine *e, const char *cmd, const char *model,
                    const struct realm_options *options, bool (*stop)(void *ctx));
void cmd_engine_close(struct cmd_engine *e);

#define CMD_TINY "tiny-q8_0.gguf"

/* Whether the text ends as models' files do. */
#define CMD_GGUF ".gguf"
bool cmd_names_gguf(const char *text);
#define CMD_NO_TINY                                                                               \
    "the model that comes along (" CMD_TINY ") is not beside the program; name one with -m FILE " \
    "or set REALM_MODELS"

/* The first of these files that is there, named from the program's folder, which is
 * PREFIX/bin or the build folder in the source tree; freed with mem_free.  NULL: none. */
char *cmd_beside(const char *const *names, size_t n_names);

/* The path of the model that comes along, freed with mem_free; NULL: it is not there. */
char *cmd_tiny_path(void);
/* The path of -m or of the model that comes along; NULL after a sentence.  The caller
 * frees it with mem_free. */
char *cmd_model_path(const char *cmd, const char *given);

/* Text of an operand or --file ("-" is standard input); the caller frees it with
 * mem_free.  EXIT_FAILED or EXIT_USAGE with a sentence, or -1 to go on. */
int cmd_text(const char *cmd, const char *operand, const char *file, char **text, size_t *n);

/* A line of progress that rewrites itself: on a terminal alone. */
void progress_show(const char *what, uint64_t done, uint64_t total);
void progress_wait(const char *what, double seconds);
void progress_line(const char *text);
void progress_clear(void);

/* "%u run%s": the end of a word that is counted. */
static inline const char *plural(uint64_t n)
{
    return n == 1 ? "" : "s";
}

/* JSON text of n bytes on stdout, quoted. */
void print_json_text(const char *text, size_t n);

#endif
