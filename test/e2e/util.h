/* e2e/util.h - what the end-to-end tests share: an engine, a host of guests and
 * the tiny model; guests, those that come along and those of guests/; requests and
 * their answers.
 *
 * A test program started as "NAME helper" is the child that compiles guests. */
#ifndef E2E_UTIL_H
#define E2E_UTIL_H

#include <stdbool.h>
#include <stdint.h>

#include "../gate.h"
#include "base/buf.h"
#include "chat/chat.h"
#include "realm/realm.h"
#include "wasm/gen_options.h"
#include "wasm/wasm.h"

/* The tests of a program, to be run from its main(); util.c has that. */
int e2e_tests(void);

/* The tiny model's path. */
extern const char *tiny_path;

/* count with REALM_E2E_FULL=1, a tenth of it otherwise. */
unsigned scaled(unsigned count);

uint64_t now_ns(void);
void sort_ns(uint64_t *ns, size_t n);
uint64_t resident_bytes(void);

/* ---- the world ---- */

enum { WORLD_TENANTS_MAX = 30 };

struct world {
    struct realm *engine;
    struct chat *chat;
    struct wasm_host *host;
    struct realm_model *model;   /* the tiny one, or NULL */
    char dir[256], endless[300]; /* of world_open_endless: a folder, and that model in it */
    struct wasm_guest *guest;    /* of world_people */
    struct wasm_tenant *tenants[WORLD_TENANTS_MAX];
    unsigned n_tenants;
};

/* Opens all of it; model_path may be NULL.  Fails the test when it cannot. */
void world_open(struct world *w, const struct realm_options *options,
                const struct wasm_limits *limits, const char *model_path);
/* With a model that nothing ends but max_tokens: see copy_endless. */
void world_open_endless(struct world *w, const struct realm_options *options,
                        const struct wasm_limits *limits);
/* The guest of that name, and tenants called tenant-0 and so on. */
void world_people(struct world *w, const char *guest, unsigned tenants);
void world_close(struct world *w);
/* Group teardown: *state is the world. */
int world_teardown(void **state);

struct wasm_guest *world_guest(const struct world *w, const char *name);
struct wasm_tenant *world_tenant(const struct world *w, const char *name);
struct realm_model *world_model(const struct world *w, const char *path);
struct realm_stats world_stats(const struct world *w);

/* An engine that is held at the first token of a generation of the test's. */
struct held {
    struct gate gate;
    struct realm_gen *gen;
};

void world_hold(struct held *h, const struct world *w);
/* Until so many others run or wait; false: they did not come in minutes. */
bool world_await(const struct world *w, unsigned others);
void world_let_go(struct held *h);

/* ---- files ---- */

/* A new directory for this test; removed with what is in it by remove_dir. */
void make_dir(char out[256]);
void remove_dir(const char *dir);
/* Copies the tiny model, as it is or so that nothing it says ends an answer. */
void copy_tiny(const char *path);
void copy_endless(const char *path);
uint8_t *read_file(const char *path, size_t *n); /* for mem_free */

/* ---- requests ---- */

struct reply {
    int status; /* of wasm_run */
    struct realm_error err;
    struct wasm_result result; /* its text is freed by reply_free; "" when it failed */
};

/* A request for a prompt as it is, with the defaults of the rest. */
struct wasm_request request_of(struct wasm_tenant *t, struct realm_model *m, const char *prompt);
void ask(struct wasm_guest *g, const struct wasm_request *request, struct reply *out);
void reply_free(struct reply *r);

/* ---- scripts: see guests/script.c ---- */

struct script {
    struct buf text;
};

void script_init(struct script *s);
void script_free(struct script *s);
void script_add(struct script *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
void script_hex(struct script *s, const char *at, const void *bytes, size_t n);

/* Has the guest `script` do it; fails the test when that ends with another status
 * than 0.  The answer is the caller's to free with mem_free. */
char *script_run(struct script *s, struct wasm_guest *g, struct wasm_tenant *t,
                 struct realm_model *m);
/* The same, whatever the status. */
void script_ask(struct script *s, struct wasm_guest *g, struct wasm_tenant *t,
                struct realm_model *m, struct reply *out);

#endif
