/* wasm/wasm.h - guests: tenants' programs in a sandbox beside the model.
 *
 * A host holds the WebAssembly engine, its epoch clock, the limits and the cache
 * of compiled guests.  A guest is a prepared module, compiled once in the helper
 * process; each request runs in a fresh instance of it, thrown away afterwards.
 * A tenant holds the table of model ids that its guests may name.
 *
 * What a guest calls and exports: docs/guest-abi.md.
 *
 * Threads: any; a request runs on the thread that calls wasm_run, which must
 * have WASM_THREAD_STACK_BYTES of stack or more. */
#ifndef WASM_WASM_H
#define WASM_WASM_H

#include <jansson.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/limits.h"
#include "chat/chat.h"
#include "realm/realm.h"

enum { WASM_THREAD_STACK_BYTES = 2 << 20 };

struct wasm_host;
struct wasm_guest;
struct wasm_tenant;

/* Zero stands for the default: of base/limits.h, where nothing else is said. */
struct wasm_limits {
    uint64_t memory_bytes; /* of one guest */
    uint64_t all_bytes;    /* of the memories of all; those of a tenant: what is left to others */
    uint64_t output_bytes; /* text returned and streamed by one request */
    uint32_t own_ms;       /* processor time of the guest and its host calls; waits have none */
    uint32_t request_ms;   /* of a request with its waits */
    uint32_t host_calls;   /* of one request */
    uint32_t computing;    /* guests that compute at one time; by default half the processors */
};

struct wasm_host_options {
    const char *helper_exe; /* see helper_open */
    /* For compiled guests, made with mode 0700; NULL: none is kept, and so it is, with a
     * line in the log, when the folder cannot be used or others may write to it. */
    const char *cache_dir;
    struct chat *chat; /* renders conversations; outlives the host */
    struct wasm_limits limits;
};

MUST_USE int wasm_host_open(struct wasm_host **out, const struct wasm_host_options *options,
                            struct realm_error *err);
/* Every guest and request must be over. */
void wasm_host_close(struct wasm_host *h);

/* Prepares a module (binary form, at most GUEST_MODULE_BYTES_MAX).
 * REALM_E_GUEST: it is refused, the sentence says why; REALM_E_LIMIT: compiling
 * it took too much; REALM_E_NOMEM, REALM_E_SYS. */
MUST_USE int wasm_guest_open(struct wasm_guest **out, struct wasm_host *h, const void *wasm,
                             size_t bytes, struct realm_error *err);
void wasm_guest_close(struct wasm_guest *g);
/* Whether it exports `handle`, and so reads requests whole. */
bool wasm_guest_handles(const struct wasm_guest *g);
/* What its module says of itself, for those who look after it: {"exports":["generate",…],
 * "imports":["env.realm_chat",…]}, each cut at GUEST_NAMES_MAX names.  A new reference, or NULL
 * when memory is short. */
json_t *wasm_guest_about(const struct wasm_guest *g);
/* Bytes of its compiled code, which stay in memory as long as it is open. */
size_t wasm_guest_bytes(const struct wasm_guest *g);

/* name: the tenant's id, which generations and lines of the log carry.  models_bytes_max: what
 * models that its guests store may take; 0: the default.  Its guests are those of h, which outlives
 * it. */
MUST_USE int wasm_tenant_open(struct wasm_tenant **out, struct wasm_host *h, struct realm *engine,
                              const char *name, uint64_t models_bytes_max);
void wasm_tenant_close(struct wasm_tenant *t);

struct wasm_tenant_stats {
    uint64_t requests, trapped, limited; /* finished, in all */
    uint64_t own_ns;                     /* of these: processor time */
    uint32_t running;
};

void wasm_tenant_stats(struct wasm_tenant *t, struct wasm_tenant_stats *out);

/* The last lines that its guests wrote, and how requests of theirs failed, oldest first:
 * {"lines":[{"at":"2026-01-31T23:59:59Z","from":"stdout"|"stderr"|"host","text"}],"dropped"},
 * where dropped counts those that came too fast.  A new reference; NULL when memory is short. */
MUST_USE json_t *wasm_tenant_log(struct wasm_tenant *t);

/* What a name of a model stands for. */
struct wasm_found {
    char id[MODEL_NAME_MAX + 1]; /* the same for all names of one model: what it is counted under */
    char path[PATH_MAX];         /* of its file */
};

/* What a request had of one model. */
struct wasm_use {
    char model[MODEL_NAME_MAX + 1]; /* its id; WASM_STORED: all that guests stored */
    uint32_t prompt_tokens, cached_tokens, completion_tokens;
};

#define WASM_STORED "(stored)"

struct wasm_request {
    struct wasm_tenant *tenant;
    struct realm_model *model; /* the current one: model id 0 */
    const char *model_id;      /* its id, as find has it; NULL: "" */

    /* Of its generations, which are for the tenant of that name: see struct realm_request. */
    uint32_t weight;
    uint64_t kv_bytes_max;
    int32_t priority;
    uint32_t max_tokens; /* of each, whatever the guest asks for; 0: no cap */

    /* Either a conversation (checked, see chat_check): the prompt is its last user
     * message, and what the guest generates from takes that message's place; or a
     * prompt as it is. */
    const json_t *messages;
    const char *prompt;
    size_t prompt_bytes;

    /* The caller's options; reach the guest as GenOptions.  NULL: options_ptr is 0. */
    const struct realm_sampling *sampling;
    /* The whole request, for a guest that exports `handle`; NULL: made from the above. */
    const json_t *body;

    /* Pieces of realm_stream_token, as they come; false ends the request.  May be NULL. */
    bool (*on_text)(void *ctx, const char *text, size_t bytes);
    bool (*cancelled)(void *ctx); /* asked while waiting; may be NULL */
    /* What a model is that the guest names; asked each time that it is opened.
     * REALM_E_NOT_FOUND: there is none of this name, or none that the tenant may use, which to
     * a guest is the same.  NULL: names are those of the engine's models_dir. */
    int (*find)(void *ctx, const char *name, struct wasm_found *out);
    /* Whether the request may take so many tokens in all, prompts and answers together: asked
     * before a generation starts, when its prompt is counted, and before it is out of what was
     * granted; it never falls.  growth: for an answer that has begun.  REALM_E_LIMIT, and a
     * sentence for the guest: it may not, and has what was granted last.  NULL: it may. */
    int (*reserve)(void *ctx, uint64_t tokens, bool growth, struct realm_error *err);
    /* Told now and then, at most once a second, what was used so far, as the result has it.  May
     * be NULL. */
    void (*used)(void *ctx, const struct wasm_use *uses, size_t n);
    void *ctx;
    uint64_t deadline_ns; /* 0: the limit alone */
};

struct wasm_result {
    char *text; /* what the guest returned (an answer's JSON with `handle`); mem_free */
    size_t bytes;
    bool streamed; /* it called realm_stream_token: text was shown already */
    bool handled;  /* it was `handle` that answered */
    bool refused;  /* it gave up after request.reserve had said no */
    uint32_t prompt_tokens, completion_tokens; /* of all its generations */
    uint32_t cached_tokens;                    /* of the prompts' */
    struct wasm_use uses[REQUEST_MODELS_MAX];  /* the same by model, the current one's first */
    size_t n_uses;                             /* 1 or more */
    uint32_t host_calls;
    uint64_t own_ns; /* processor time that it took */
};

/* Runs one request.  0 and a result whose text the caller frees; or, with the
 * counts of *out still true:
 *   REALM_E_GUEST      it trapped, returned 0 or broke the ABI; the sentence says how
 *   REALM_E_LIMIT      it used up its memory, time, stack, calls or output
 *   REALM_E_CANCELLED, REALM_E_DEADLINE, REALM_E_NOMEM, REALM_E_SHUTDOWN */
MUST_USE int wasm_run(struct wasm_guest *g, const struct wasm_request *request,
                      struct wasm_result *out, struct realm_error *err);

/* The child's work for HELPER_COMPILE. */
int wasm_compile_work(const struct slice *parts, size_t n_parts, struct buf *out,
                      struct realm_error *err);

struct wasm_stats {
    uint64_t compiled, from_cache;       /* guests prepared */
    uint64_t requests, trapped, limited; /* finished, in all */
    uint64_t memory_bytes;               /* of those that run */
    uint32_t running;
    uint32_t computing, waiting; /* of these: have a turn, wait for one */
};

void wasm_stats(struct wasm_host *h, struct wasm_stats *out);

#endif
