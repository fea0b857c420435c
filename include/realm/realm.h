/* realm/realm.h - language models for many callers in one process.
 *
 * Five nouns: an engine (struct realm) owns the compute threads, the byte budget
 * and every loaded model; a model (struct realm_model) is a lease on one that is
 * loaded; a generation (struct realm_gen) is one answer in the making; options
 * say how tokens are drawn; events are what comes of it.
 *
 *     struct realm *engine;
 *     struct realm_model *model;
 *     struct realm_gen *gen;
 *     struct realm_request request;
 *     struct realm_event event;
 *
 *     realm_open(&engine, NULL, &err);
 *     realm_model_open(&model, engine, "tiny.gguf", NULL, &err);
 *     realm_request_init(&request, REALM_DOOR_CLI);
 *     request.text = "Once upon a time";
 *     request.text_bytes = strlen(request.text);
 *     realm_gen_start(&gen, model, &request, &err);
 *     while (realm_gen_next(gen, &event, NULL) == 0 && event.kind == REALM_EVENT_TOKEN)
 *         fwrite(event.text, 1, event.text_bytes, stdout);
 *     realm_gen_close(gen);
 *     realm_model_close(model);
 *     realm_close(engine);
 *
 * Threads: every function may be called from any thread unless it says
 * otherwise; one struct realm_gen is used by one thread at a time, but for
 * realm_gen_cancel.  Generations of all threads are computed together, in
 * batches; what one of them yields does not depend on the others, bit for bit.
 *
 * Errors: see realm/status.h.  A function that returns a negative status has
 * changed nothing and set *out to NULL.  err may be NULL everywhere.
 */
#ifndef REALM_REALM_H
#define REALM_REALM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "realm/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* "0.1.0" */
REALM_API const char *realm_version(void);

/* ---------------------------------------------------------------- waiting -- */

/* What ends a call that waits, apart from success.  NULL for one: nothing does. */
struct realm_wait {
    uint64_t deadline_ns; /* on CLOCK_MONOTONIC; 0: none */
    /* Asked every few milliseconds while waiting, from the waiting thread; true
     * ends the wait with REALM_E_CANCELLED.  May be NULL. */
    bool (*cancelled)(void *ctx);
    void *ctx;
};

/* ----------------------------------------------------------------- engine -- */

/* q8_0: int8 with a scale for each 32, in about half the room of f16 and bf16. */
enum realm_kv_type { REALM_KV_F16, REALM_KV_F32, REALM_KV_BF16, REALM_KV_Q8_0 };

/* All zero is a good choice: every 0 stands for the default. */
struct realm_options {
    uint32_t threads;           /* compute threads; default: as many as may run at once: one
                                 * for each processor, fewer in a control group with less time */
    uint64_t bytes_max;         /* weights and KV together; default: 70 % of memory */
    uint64_t kv_bytes_max;      /* of these for KV at most; default: a quarter of bytes_max */
    enum realm_kv_type kv_type; /* keys and values of every model are kept so; default f16 */
    uint32_t step_ms;           /* aim for the length of one step; default 50 */
    uint32_t idle_ms_max;       /* idle models older than this are unloaded; default: never */
    uint32_t load_wait_ms;      /* how long a load waits for room; default 30000 */
    bool cache_off;             /* keep no pages for prompts that begin alike; for measurements */
    const char *models_dir;     /* where realm_model_open_name looks; default: no such names */
};

struct realm;

/* Starts an engine with its threads; nothing is loaded.
 * REALM_E_ARG: an option is out of range; REALM_E_NOMEM; REALM_E_SYS. */
REALM_API int realm_open(struct realm **out, const struct realm_options *options,
                         struct realm_error *err);

/* Stops the engine: running generations end with REALM_E_SHUTDOWN.  Every
 * realm_gen and realm_model must have been closed, or be closed by other threads
 * meanwhile: waits for them.  NULL is fine. */
REALM_API void realm_close(struct realm *r);

/* Says that a request is on its way to realm_gen_start.  An engine that sleeps wakes up and looks
 * out for it, for 250 us at most, so that its first step need not wait for a thread to wake.
 * Does nothing where there is one processor alone. */
REALM_API void realm_expect(struct realm *r);

/* ----------------------------------------------------------------- models -- */

struct realm_model;

/* What becomes of the final hidden states of a prompt's tokens (after the last norm). */
enum realm_pooling {
    REALM_POOL_NONE,
    REALM_POOL_MEAN, /* their mean, summed in float64 in the order of the tokens */
    REALM_POOL_LAST, /* the last one's */
    REALM_POOL_CLS,  /* the first one's */
};

/* A lease on the model in the GGUF file at path, which is loaded if it is not.
 * Callers that ask for the same file while it loads wait for that one load; a
 * load ends early when none of them waits any more.
 *   REALM_E_NOT_FOUND    no such file, or not readable
 *   REALM_E_FORMAT       damaged; the sentence names the key, tensor or offset
 *   REALM_E_UNSUPPORTED  an architecture or weight type this build cannot run
 *   REALM_E_NO_ROOM      does not fit the byte budget; both numbers are named
 *   REALM_E_IO, REALM_E_NOMEM, REALM_E_CANCELLED, REALM_E_DEADLINE, REALM_E_SHUTDOWN */
REALM_API int realm_model_open(struct realm_model **out, struct realm *r, const char *path,
                               const struct realm_wait *wait, struct realm_error *err);

/* The same by a name from somebody who may not name paths: the file
 * models_dir/name or models_dir/name.gguf, never one outside models_dir. */
REALM_API int realm_model_open_name(struct realm_model **out, struct realm *r, const char *name,
                                    const struct realm_wait *wait, struct realm_error *err);

/* A model of its own from the bytes of a GGUF file, which are copied.  Nobody
 * else can open it; it is unloaded with its last lease. */
REALM_API int realm_model_open_memory(struct realm_model **out, struct realm *r, const void *gguf,
                                      size_t bytes, const struct realm_wait *wait,
                                      struct realm_error *err);

/* Another lease on the same model; cannot fail but for REALM_E_NOMEM. */
REALM_API int realm_model_share(struct realm_model **out, struct realm_model *m);

/* Gives the lease back; NULL is fine.  The model stays loaded, as an idle one,
 * until room is needed or its idle time is over.  Generations that were started
 * on it hold leases of their own. */
REALM_API void realm_model_close(struct realm_model *m);
/* The same for a thread that nobody may keep waiting: a model that is to go with this lease is
 * unloaded by the loader's thread. */
REALM_API void realm_model_drop(struct realm_model *m);

/* What a model is.  Texts are views that live as long as the lease. */
struct realm_model_info {
    const char *name;         /* general.name, "" if there is none */
    const char *architecture; /* "llama", "qwen2", … */
    uint32_t vocab_size;      /* tokens */
    uint32_t hidden_size;
    uint32_t num_layers;
    uint32_t num_heads;
    uint32_t num_kv_heads;
    uint32_t intermediate_size;
    uint32_t context_tokens; /* prompt and answer together */
    float rope_theta;
    float rms_norm_eps;
    uint64_t params;
    uint64_t tensors;        /* in the file */
    uint64_t tensor_bytes;   /* as the file has them */
    uint64_t memory_bytes;   /* as this process has them */
    uint64_t reserved_bytes; /* of the engine's, with what it needs to compute */
    uint64_t step_bytes;     /* weights that computing one token reads */
    bool has_tokenizer;
    const char *chat_template; /* Jinja source; NULL: none */
    const char *bos_text;      /* "" : none */
    const char *eos_text;
    bool adds_bos;              /* a prompt begins with BOS */
    bool encoder;               /* makes embeddings alone: prompt_only without prompt_logprobs */
    enum realm_pooling pooling; /* that its embeddings are meant to have; NONE: it does not say */
};

REALM_API void realm_model_info(const struct realm_model *m, struct realm_model_info *out);

/* ------------------------------------------------------------------ tokens -- */

enum realm_text_flags {
    REALM_TEXT_BOS = 1, /* BOS first, if the model's prompts begin with one */
    REALM_TEXT_SPECIAL =
        2,              /* control tokens spelled in the text become ids; see REALM_TEXT_GUARD */
    REALM_TEXT_END = 4, /* last what the model puts after a text, if anything: EOS, [SEP] */
};

/* Under REALM_TEXT_SPECIAL this character (U+FDD0, which no text contains) is
 * dropped, and what follows right after it is not taken for a control token.  A
 * renderer of templates puts it into what users wrote: see realm_guard. */
#define REALM_TEXT_GUARD "\xEF\xB7\x90"

/* Ids of valid UTF-8 text, at most max of them; *n is how many.
 * REALM_E_UTF8; REALM_E_TOO_SMALL with *n the number there are; REALM_E_UNSUPPORTED
 * when the model has no tokenizer; REALM_E_NOMEM; REALM_E_LIMIT for over 1 GiB. */
REALM_API int realm_tokenize(const struct realm_model *m, const char *text, size_t bytes,
                             unsigned flags, uint32_t *ids, size_t max, size_t *n);

/* Copies UTF-8 text with a guard put into whatever spells a control token of m, so
 * that under REALM_TEXT_SPECIAL it is read as plain text; guards in the text itself
 * become U+FFFD.  *n is the length wanted.  REALM_E_TOO_SMALL: more than max, and
 * nothing is written; with out NULL and max 0, 0 says that the text can stand as it is. */
REALM_API int realm_guard(const struct realm_model *m, const char *text, size_t bytes, char *out,
                          size_t max, size_t *n);

/* The bytes that id stands for, which need not be whole UTF-8; *n is how many, of which at most
 * max are written.  A control token's are its name.  REALM_E_ARG: id is not below the
 * vocabulary; REALM_E_UNSUPPORTED: the model has no tokenizer. */
REALM_API int realm_token_bytes(const struct realm_model *m, uint32_t id, char *out, size_t max,
                                size_t *n);

/* Text of n ids: whole UTF-8, what is none replaced by U+FFFD; control tokens show
 * only when special.  *bytes is the length, without a NUL, which is not written.
 * REALM_E_ARG: an id is not below the vocabulary; REALM_E_TOO_SMALL with *bytes
 * the length wanted; REALM_E_UNSUPPORTED; REALM_E_NOMEM. */
REALM_API int realm_detokenize(const struct realm_model *m, const uint32_t *ids, size_t n,
                               bool special, char *out, size_t max, size_t *bytes);

/* ----------------------------------------------------------------- options -- */

/* Who asks; defaults differ, ranges do not. */
enum realm_door {
    REALM_DOOR_GUEST,
    REALM_DOOR_WEBSOCKET,
    REALM_DOOR_OPENAI,
    REALM_DOOR_CLI,
    REALM_DOORS
};

/* How tokens are drawn, in this order: logit_bias, penalties (over the last 64 tokens, prompt
 * included), top_k, top_p, min_p, temperature, draw. */
struct realm_sampling {
    uint32_t max_tokens;      /* 0: what is left of the context; more is clamped to that */
    float temperature;        /* 0 (greedy) to 100 */
    float top_p;              /* over 0 to 1 (off) */
    float min_p;              /* 0 (off) to under 1 */
    uint32_t top_k;           /* 0 (off) to 2^31 - 1 */
    float repetition_penalty; /* over 0 to 10; 1 is off */
    float presence_penalty;   /* -2 to 2 */
    float frequency_penalty;  /* -2 to 2 */
    bool has_seed;            /* false: a fresh one is drawn */
    uint64_t seed;
};

enum realm_param_type { REALM_PARAM_U32, REALM_PARAM_F32, REALM_PARAM_U64 };

/* One row of the table from which HTTP, WebSocket, guests and command line take
 * names, ranges, defaults and help. */
struct realm_param {
    const char *name; /* "top_p" */
    const char *help; /* a phrase */
    enum realm_param_type type;
    double min, max;
    bool above_min, below_max; /* the bound itself is out of range */
    size_t offset;             /* of the field in struct realm_sampling */
    double defaults[REALM_DOORS];
};

REALM_API const struct realm_param *realm_params(size_t *n);

/* Sets one field from a number after checking its range; REALM_E_ARG names the
 * parameter and its range.  NaN and infinities are out of every range. */
REALM_API int realm_sampling_set(struct realm_sampling *s, const char *name, double value,
                                 struct realm_error *err);

/* The defaults of a door, without a seed. */
REALM_API void realm_sampling_init(struct realm_sampling *s, enum realm_door door);

/* Checks every field; REALM_E_ARG names the first that is out of range. */
REALM_API int realm_sampling_check(const struct realm_sampling *s, struct realm_error *err);

/* -------------------------------------------------------------- generation -- */

struct realm_logit_bias {
    uint32_t token;
    float bias; /* -100 to 100 */
};

struct realm_request {
    /* The prompt: ids, or else text (UTF-8, at most 4 MiB) read under text_flags. */
    const uint32_t *ids;
    size_t n_ids;
    const char *text;
    size_t text_bytes;
    unsigned text_flags;

    struct realm_sampling sampling;
    const uint32_t *stop_ids; /* generation ends at one of these; it is not part of the text */
    size_t n_stop_ids;        /* up to 255 */
    const char *const *stop;  /* generation ends where one of these is spelled, cut from the text */
    size_t n_stop;            /* up to 16, of 1 to 256 bytes each */
    bool ignore_end;          /* the model's own end tokens do not end it */
    bool show_special;        /* control tokens show in the text */
    bool logprobs;            /* events carry log-probabilities, those before the chain */
    uint32_t top_logprobs;    /* and those of this many likeliest tokens, up to 1024 */

    /* Added to the logits before all else, of one token all of its own; ids below the
     * vocabulary, up to 1024 of them.  Log-probabilities are those without it. */
    const struct realm_logit_bias *logit_bias;
    size_t n_logit_bias;
    uint32_t choice; /* which of several answers to one prompt: the same seed draws otherwise */

    /* Log-probabilities of the prompt's tokens come first, as REALM_EVENT_PROMPT, each given
     * those before it; top_logprobs holds for them, too.  The first token has none. */
    bool prompt_logprobs;
    /* Ends after the prompt, which may fill the context, without drawing a token, and with
     * REALM_FINISH_LENGTH; for prompt_logprobs or pooling, without them for the usage alone. */
    bool prompt_only;
    enum realm_pooling pooling; /* the end event carries the prompt's embedding; prompt_only */

    /* Whom the work is for, in 1 to 64 bytes; NULL: "default".  Tenants share the engine by what
     * their tokens cost, each by its weight; what is waiting for one does not slow down another.
     * Weight and bytes are the tenant's as of its last request. */
    const char *tenant;
    uint32_t weight; /* 1 to 1000; 0: 1 */
    uint64_t
        kv_bytes_max; /* of its keys and values while others wait; 0: 60 %, or its part if more */
    int32_t priority; /* among the tenant's own that wait: higher ones first; -100 to 100 */
    /* Of text: so much of its beginning is no secret of the tenant's, and may be found in the
     * cache by, and be left there for, whoever says the same of it. */
    size_t shared_bytes;

    /* Asked by realm_gen_start, in its thread, when the prompt's tokens are counted and nothing
     * is computed yet: what is not 0 is the status with which it then fails.  May be NULL. */
    int (*admit)(void *ctx, uint32_t prompt_tokens);
    void *admit_ctx;

    /* Told, from a thread of the engine and with no lock held, that events have come which
     * realm_gen_next will give without waiting: once for all of a step, maybe for some that
     * have been read meanwhile, maybe before realm_gen_start has returned.  Must return soon
     * and call nothing of this header.  Not called any more once realm_gen_close has
     * returned, which waits for a call that runs; NULL: nobody is told. */
    void (*notify)(void *ctx);
    void *notify_ctx;
};

/* Zeroes it and sets the sampling of the door. */
REALM_API void realm_request_init(struct realm_request *request, enum realm_door door);

struct realm_gen;

/* Queues a generation; everything in request is copied.
 *   REALM_E_ARG       an option out of range, an id not below the vocabulary, an empty prompt
 *   REALM_E_CONTEXT   the prompt leaves no room in the context, both numbers named
 *   REALM_E_NO_ROOM   its keys and values can never fit the budget
 *   REALM_E_LIMIT     the queue is full; or as request.admit says
 *   REALM_E_UTF8, REALM_E_UNSUPPORTED (text without a tokenizer; an encoder, and more is wanted
 *   than an embedding), REALM_E_NOMEM,
 *   REALM_E_SYS (no random numbers for a seed), REALM_E_SHUTDOWN */
REALM_API int realm_gen_start(struct realm_gen **out, struct realm_model *m,
                              const struct realm_request *request, struct realm_error *err);

/* The first half of it: all that the request can be refused for, and request.admit is asked; but
 * nothing is queued, and no queue looked at.  Whoever starts several for one purpose knows so
 * that all of them can be before the first is computed.  0, or an error as above. */
REALM_API int realm_gen_check(const struct realm_model *m, const struct realm_request *request,
                              struct realm_error *err);

struct realm_logprob {
    uint32_t token;
    float logprob;
};

enum realm_event_kind { REALM_EVENT_TOKEN, REALM_EVENT_END, REALM_EVENT_PROMPT };

enum realm_finish {
    REALM_FINISH_STOP,   /* an end token, stop id or stop string */
    REALM_FINISH_LENGTH, /* max_tokens, the context is full, or prompt_only */
    REALM_FINISH_ERROR,  /* status says why; cancelled and deadline among them */
};

struct realm_usage {
    uint32_t prompt_tokens;     /* 0 for one that ended before its first step */
    uint32_t cached_tokens;     /* of these, found in the cache */
    uint32_t completion_tokens; /* drawn, the one that ended it included */
    uint64_t queued_ns;         /* from start to its first step */
    uint64_t prefill_ns;        /* to the first token */
    uint64_t decode_ns;         /* to the end */
};

/* A token of the answer, or its end.  Pointers live until the next call on the
 * same generation. */
struct realm_event {
    enum realm_event_kind kind;
    /* REALM_EVENT_TOKEN, and of a prompt's token REALM_EVENT_PROMPT (without text) */
    uint32_t token;
    uint32_t index;   /* 0 for the first; of a prompt's token its place, from 1 */
    const char *text; /* what became certain with this token: whole UTF-8, maybe empty */
    size_t text_bytes;
    float logprob; /* with request.logprobs */
    const struct realm_logprob *top;
    size_t n_top;
    /* REALM_EVENT_END: text may hold a last piece that had been held back */
    enum realm_finish finish;
    int status; /* 0, or why it failed */
    struct realm_usage usage;
    uint32_t stop_index;    /* of request.stop, which ended it; UINT32_MAX: none did */
    const float *embedding; /* (hidden_size), not normalised; NULL without request.pooling */
};

/* The next event; waits for it.  An answer of which 64 MiB of events have piled up
 * unread ends with REALM_E_LIMIT.  0, or without an event REALM_E_DEADLINE or
 * REALM_E_CANCELLED as wait says (the generation goes on until it is cancelled
 * or closed).  With a deadline that is over it gives what is there and never
 * waits.  After the end event it gives that again. */
REALM_API int realm_gen_next(struct realm_gen *g, struct realm_event *event,
                             const struct realm_wait *wait);

/* Ends it: after the tokens that are there already comes the end, with
 * REALM_E_CANCELLED, unless it was over.  No step works for it any more after the one
 * that runs.  Any thread. */
REALM_API void realm_gen_cancel(struct realm_gen *g);

/* Ends it, with REALM_E_LIMIT, when so many tokens are drawn; with the next one when more are
 * already.  May be called again, with more; UINT32_MAX, as at the start: nothing ends it so.  Any
 * thread. */
REALM_API void realm_gen_allow(struct realm_gen *g, uint32_t completion_tokens);

/* The seed that is used, drawn or given. */
REALM_API uint64_t realm_gen_seed(const struct realm_gen *g);
/* Tokens of its prompt, known from the start. */
REALM_API uint32_t realm_gen_prompt_tokens(const struct realm_gen *g);

/* Cancels what still runs and frees it; NULL is fine.  Waits for the rest of one step at
 * most, and once the end event was read for no longer than a call of notify. */
REALM_API void realm_gen_close(struct realm_gen *g);

/* Scales an embedding to length 1, as it is mostly wanted; one of zeros stays as it is. */
REALM_API void realm_normalise(float *v, size_t n);

/* "mean", "cls" or "last"; REALM_POOL_NONE for any other name. */
REALM_API enum realm_pooling realm_pooling_named(const char *name);

/* Log-probabilities of n given ids, each given those before it: logprobs[i] for
 * ids[i], NaN for the first.  next: the n_next likeliest tokens after the last,
 * likeliest first (n_next up to 1024).  Errors as of realm_gen_start and
 * realm_gen_next; REALM_E_NUMERIC. */
REALM_API int realm_score(struct realm_model *m, const uint32_t *ids, size_t n, float *logprobs,
                          struct realm_logprob *next, size_t n_next, const struct realm_wait *wait,
                          struct realm_error *err);

/* ------------------------------------------------------------------- cache -- */

/* Unloads every idle model but those that are pinned; returns the bytes freed.  Of the
 * others a model on lease is unloaded when its last lease is closed. */
REALM_API uint64_t realm_clear(struct realm *r);

/* What is known of the model in the file at path, which need not be loaded. */
enum realm_model_state { REALM_MODEL_ABSENT, REALM_MODEL_LOADING, REALM_MODEL_LOADED };

struct realm_model_status {
    enum realm_model_state state;
    uint32_t leases;
    bool pinned;
    uint64_t bytes; /* reserved for it */
};

/* Never waits; a path without a file is ABSENT.  A model whose file was replaced is LOADED
 * until somebody opens the new one. */
REALM_API void realm_model_status(struct realm *r, const char *path,
                                  struct realm_model_status *out);

/* A lease if the model in the file at path is loaded and still that file's (or the file is
 * gone); never waits for a load.  REALM_E_NOT_FOUND when it is not loaded; REALM_E_NOMEM,
 * REALM_E_SHUTDOWN. */
REALM_API int realm_model_find(struct realm_model **out, struct realm *r, const char *path,
                               struct realm_error *err);

/* Unloads the model in the file at path when it is idle, else with its last lease; pinned or
 * not.  REALM_E_NOT_FOUND: it is not loaded. */
REALM_API int realm_model_unload(struct realm *r, const char *path, struct realm_error *err);

/* Keeps the model of this lease loaded (or stops keeping it) when it is idle. */
REALM_API void realm_model_pin(struct realm_model *m, bool pinned);

struct realm_stats {
    /* models */
    uint64_t hits;   /* leases opened on a model that was there */
    uint64_t misses; /* leases that had to wait for a load */
    uint64_t loads;  /* files loaded */
    uint64_t loads_failed;
    uint64_t evictions; /* models unloaded for room, by idle time, by clear or unload */
    uint64_t load_ns;   /* spent loading, in all */
    uint64_t load_ns_last;
    uint64_t bytes, bytes_peak, bytes_max; /* of models */
    uint32_t models, leases, loading;
    /* engine */
    uint64_t steps;        /* forward passes */
    uint64_t prompt_rows;  /* rows of prompts computed */
    uint64_t decode_rows;  /* rows that continued an answer */
    uint64_t decode_steps; /* steps with such rows */
    uint32_t decode_batch_max;
    uint64_t step_ns; /* in forward passes and sampling */
    uint64_t step_ns_max;
    uint64_t turns; /* of the scheduler's loop, and layers of its steps: stands still when idle,
                     * or when stuck */
    uint32_t running, waiting;
    uint64_t preempted; /* times that a generation gave its pages back */
    uint64_t started, finished, cancelled, failed;
    uint64_t prompt_tokens, completion_tokens;
    /* keys and values */
    uint64_t kv_pages, kv_bytes, kv_bytes_max; /* pages: of generations that run */
    uint64_t kv_cached_pages;                  /* kept for prompts that begin alike */
    uint64_t cached_tokens;                    /* of prompts, found there */
    /* the process */
    uint64_t allocations; /* alive now */
};

REALM_API void realm_stats(struct realm *r, struct realm_stats *out);

struct realm_tenant_stats {
    char tenant[65];
    uint32_t weight;
    uint32_t running, waiting;
    uint64_t kv_pages; /* of those that run */
    uint64_t preempted;
    uint64_t prompt_tokens, cached_tokens, completion_tokens; /* of those that are over */
};

/* Of the tenants that the engine knows now (one that had nothing to do for long is forgotten, and
 * begins from 0), at most max of them, in no order; returns how many there are. */
REALM_API size_t realm_tenant_stats(struct realm *r, struct realm_tenant_stats *out, size_t max);

#ifdef __cplusplus
}
#endif

#endif
