/* wasm/instance.h - one request in one instance of a guest, as host calls see it.
 *
 * A host call copies in, checks the copy, acts, and copies out; it never calls
 * back into the guest.  One thread uses an instance. */
#ifndef WASM_INSTANCE_H
#define WASM_INSTANCE_H

#include "base/buf.h"
#include "wasm/abi.h"
#include "wasm/guest_slice.h"
#include "wasm/host.h"

enum { HANDLES_MAX = 16 };

/* What was had of one model. */
struct use {
    struct wasm_use over;              /* by generations that are over */
    uint32_t open_prompts, open_drawn; /* tokens of those that run */
};

/* A generation, and what is reserved for it. */
struct generation {
    struct realm_gen *gen; /* NULL: none */
    struct use *use;
    uint32_t most;     /* tokens that it may draw, as it was asked for */
    uint32_t drawn;    /* of these, taken so far */
    uint32_t reserved; /* of these */
    uint32_t prompt;   /* tokens that are reserved for its prompt */
    bool capped;       /* no more could be reserved */
    bool waited_for;   /* somebody is in realm_gen_next */
};

/* A generation between realm_generate_start and realm_generate_end. */
struct handle {
    struct generation g;
    uint32_t generation; /* so that a handle that was ended stays unknown */
    struct buf pending;  /* text that the guest has not had yet */
    bool over;
    int32_t failed; /* the code that it ended with */
};

struct instance {
    const struct wasm_guest *guest;
    struct wasm_host *host;
    const struct wasm_request *request;
    wasmtime_store_t *store;
    wasmtime_context_t *context;
    wasmtime_instance_t wasm;
    wasmtime_memory_t memory;
    bool has_memory;

    struct realm_wait wait; /* the request's deadline and caller; a wait gives the turn back */
    struct realm_wait line; /* the same, of waits for a turn */
    struct turn turn;
    uint64_t began_ns;      /* of the thread's processor time */
    uint64_t counted_bytes; /* of the memory: in the host's and the tenant's sums */
    uint32_t host_calls;
    uint64_t streamed_bytes;
    bool streamed;
    struct buf log[2]; /* unfinished lines of standard output and error */

    struct realm_error stop; /* why the guest may not go on; status 0: it may */
    int over;                /* what ended a wait: cancelled, deadline, shutdown */
    struct realm_error last; /* for realm_last_error; status 0: nothing failed */

    struct handle handles[HANDLES_MAX];
    uint32_t prompt_tokens, cached_tokens, completion_tokens; /* of generations that are over */
    struct use uses[REQUEST_MODELS_MAX];                      /* the request's model's first */
    size_t n_uses;
    uint64_t told_ns;           /* when the caller was last told of them */
    uint64_t held;              /* tokens reserved for those that run */
    uint64_t granted;           /* tokens of the request that were reserved last */
    struct realm_error refusal; /* why no more were; status 0: nobody said no */
};

MUST_USE int instance_open(struct instance *in, const struct wasm_guest *g,
                           const struct wasm_request *request, struct realm_error *err);
/* Cancels what its generations still do; the counts stay readable. */
void instance_close(struct instance *in);

/* Calls an export with raw arguments; v holds the result afterwards.  A call of
 * an export that is missing is REALM_E_GUEST.  n: the larger of both counts. */
MUST_USE int instance_call(struct instance *in, const char *export, wasmtime_val_raw_t *v, size_t n,
                           struct realm_error *err);

/* The memory as it is now; size 0 when there is none. */
struct guest_memory instance_memory(struct instance *in);

/* Before the guest runs on: takes a turn if a wait has given it back.  false: it must stop, and
 * in->stop says why. */
MUST_USE bool instance_resume(struct instance *in);

/* Counts what the memory has grown by; false: it is more than the tenant's part of what there is
 * for all guests, and in->stop says so. */
bool instance_count_memory(struct instance *in);

/* Processor time that it has taken. */
uint64_t instance_own_ns(const struct instance *in);

/* For waits that nothing ends but what they wait for: they give the turn back, too. */
struct realm_wait instance_rest(struct instance *in);

/* generation.c: what was used so far, with what runs. */
void generations_used(const struct instance *in, struct wasm_use *out);
/* Takes what generations have that nobody waits for, so that none runs on
 * without a reservation while its guest does something else, and tells what was used. */
void generations_take(struct instance *in);

/* ---- for host calls ---- */

/* Sets the sentence of realm_last_error and returns code. */
int32_t call_fail(struct instance *in, int32_t code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* The code for a status of the engine whose sentence is in in->last. */
int32_t call_status(struct instance *in, int status);

/* The same for a model that was asked for by its name. */
int32_t call_load_status(struct instance *in, int status);

/* A copy of [at, at + n) with a NUL after it, for mem_free, that is whole UTF-8.
 * 0, or a code; too_long when n is over max. */
MUST_USE int32_t call_text(struct instance *in, uint32_t at, uint32_t n, uint32_t max,
                           int32_t too_long, char **out);

/* Whether the output range is within the memory: 0, or a code. */
MUST_USE int32_t call_check_out(struct instance *in, uint32_t at, uint64_t max);

/* Writes n bytes where max fit; n, or a code with nothing written. */
MUST_USE int32_t call_write(struct instance *in, uint32_t at, uint32_t max, const void *data,
                            size_t n);

/* A lease on the model of that id, 0 being the request's own: 0, or a code. */
struct lease;
MUST_USE int32_t call_model(struct instance *in, uint32_t id, struct lease *out);

#endif
