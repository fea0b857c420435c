/* test/wasm/util.h - what the guests' tests share: an engine over the tiny model, a
 * host whose helper is the test program itself, and guests written as text. */
#ifndef TEST_WASM_UTIL_H
#define TEST_WASM_UTIL_H

#include <setjmp.h> // cmocka.h wants these four before it
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdbool.h>

#include "wasm/wasm.h"

/* The tests of a program, to be run from its main(); util.c has that, and does the helper's work
 * when the program was started as `... helper`. */
int wasm_tests(void);

/* What the program was started with: the tiny model's path, and the rest. */
extern const char *tiny_path;
extern char **args;
extern int n_args;

struct rig {
    struct realm *engine; /* its models_dir is the tiny model's folder */
    struct realm_model *model;
    struct chat *chat;
    struct wasm_host *host;
    struct wasm_tenant *tenant;
    struct realm_sampling sampling; /* greedy and short */
};

/* A rig with the given limits, without a cache; and group setup and teardown, whose *state it
 * is. */
struct rig *rig_open(const struct wasm_limits *limits);
void rig_close(struct rig *rig);
int rig_setup(void **state); /* with the default limits */
int rig_teardown(void **state);

/* A guest from WebAssembly text, which must be well formed; what preparing it gave. */
int guest_from_text(struct wasm_host *h, const char *text, struct wasm_guest **out,
                    struct realm_error *err);
/* The binary form, for free(). */
uint8_t *text_to_wasm(const char *text, size_t *n);

/* A guest that imports all of env under the names without "realm_" (and $generate,
 * $load_by_name), has two pages of memory besides the prompt, the items of `extra`,
 * and answers the i32 of `body` as hexadecimal digits at 64.  $p, $n and $o are the
 * prompt, its length and the options.  For free(). */
char *guest_text(const char *extra, const char *body);

/* What it streamed, and how it ended. */
struct outcome {
    int status;
    struct realm_error err;
    struct wasm_result result; /* its text freed with outcome_free */
    char streamed[1 << 16];
    size_t streamed_n;
    bool deaf; /* on_text answers false */
};

/* A raw request with this prompt and the rig's sampling. */
struct wasm_request request_of(struct rig *rig, const char *prompt);

/* Runs one request; on_text and ctx are set to gather what is streamed. */
void run_guest(struct wasm_guest *g, const struct wasm_request *request, struct outcome *out);
void outcome_free(struct outcome *out);

/* Builds guest_text(extra, body), runs the request and returns the i32. */
int32_t code_of(struct rig *rig, const struct wasm_request *request, const char *extra,
                const char *body, struct outcome *out);

uint64_t now_ms(void);

/* A file's bytes, for free(). */
uint8_t *read_bytes(const char *path, size_t *n);

/* What the engine answers without a guest; for free(). */
char *direct_answer(struct rig *rig, const struct wasm_request *request);

#endif
