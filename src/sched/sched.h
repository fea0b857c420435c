/* sched/sched.h - who computes what, and when.
 *
 * One scheduler thread owns sequences, pages and batches and is worker 0 of the
 * pool, which also samples.  It goes from step to step: a step is one forward
 * pass of one model over the next row of every answer and, in the time that is
 * left of the step's budget, rows of prompts.  All models share the team, a step
 * each in turn.
 *
 * Tenants have fair shares (share.h): the one that has had least goes first, inside a
 * tenant higher priorities, then first come, first served.  A generation is admitted
 * when the pages for what it has fit, and begins with those that the cache has of it
 * (reuse.c); until then it stays the first of its tenant.  When pages run out, or a
 * tenant waits that has far less than its part, the youngest generation of the one that
 * has most beyond its own gives its pages back and waits; its tokens stay, and what the
 * cache has lost of its keys and values is computed again.  What a generation yields
 * depends on none of this, bit for bit.
 *
 * Requests come in through an inbox under the scheduler's lock; events go out
 * through a queue of each generation, under a lock of its own.  Cancellation is a
 * flag that is seen between steps, and between layers when nobody is left whom
 * the step could serve.
 *
 * A text of an encoder is one step's from its beginning to its end, and leaves nothing in
 * the cache.
 *
 * The scheduler is handed models and leaves their leases to its caller. */
#ifndef SCHED_SCHED_H
#define SCHED_SCHED_H

#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/compiler.h"
#include "kernels/kernels.h"
#include "model/forward.h"
#include "pool/pool.h"
#include "realm/realm.h"

struct sched;
struct sched_model;
struct sched_gen;

/* What computes the steps of a model: model/forward.h, or in a simulation something else. */
struct sched_forward {
    int (*open)(struct forward **out, const struct model *m, struct pool *pool,
                const struct kernels *kernels, size_t rows_max);
    void (*close)(struct forward *f);
    int (*step)(struct forward *f, const struct forward_row *rows, size_t n,
                size_t (*wanted)(void *ctx, uint32_t layer), void *ctx, size_t *bad);
    bool (*row_bad)(const struct forward *f, size_t i);
    float *(*logits)(struct forward *f, size_t i);
    const float *(*hidden)(const struct forward *f, size_t i);
};

struct sched_options {
    struct pool *pool; /* outlives the scheduler; nobody else calls pool_run */
    const struct kernels *kernels;
    const struct clock *clock;
    uint64_t kv_bytes_max;
    enum kv_type kv_type;
    uint32_t step_ms;     /* aim for the length of a step */
    uint32_t running_max; /* generations of a model at a time; 0: FORWARD_LOGITS_MAX */
    bool cache_off;       /* no pages are kept */

    /* For simulations. */
    const struct sched_forward *forward; /* NULL: the real one */
    bool manual; /* there is no thread: all calls come from one, which calls sched_turn */

    /* For tests. */
    bool poison;        /* every page is handed out full of NaN */
    bool audit;         /* all pages are counted anew after each step */
    uint64_t hash_mask; /* hashes of the cache collide; 0: as they are */
};

struct sched_stats {
    uint64_t steps, prompt_rows, decode_rows, decode_steps;
    uint32_t decode_batch_max;
    uint64_t step_ns, step_ns_max;
    uint64_t turns;
    uint32_t running, waiting;
    uint64_t preempted;
    uint64_t started, finished, cancelled, failed;
    uint64_t prompt_tokens, cached_tokens, completion_tokens;
    uint64_t kv_pages, kv_cached_pages, kv_bytes;
};

/* Starts the scheduler thread.  REALM_E_NOMEM, REALM_E_SYS. */
MUST_USE int sched_open(struct sched **out, const struct sched_options *options);
/* Ends every generation with REALM_E_SHUTDOWN and refuses new ones from now on. */
void sched_shutdown(struct sched *s);
/* Every generation and model must have been closed. */
void sched_close(struct sched *s);

/* Of a manual scheduler: takes in what has come and makes at most one step.  false: nothing
 * is left to do.  A generation must be over (its end event there) before it is closed. */
bool sched_turn(struct sched *s);

/* As realm_expect. */
void sched_expect(struct sched *s);

void sched_stats(struct sched *s, struct sched_stats *out);
size_t sched_tenant_stats(struct sched *s, struct realm_tenant_stats *out, size_t max);

/* What a model needs to run: scratch and a pool of pages.  m outlives it.  Both
 * calls wait for the step that runs.  REALM_E_NOMEM. */
MUST_USE int sched_model_open(struct sched_model **out, struct sched *s, const struct model *m);
/* Its generations must have been closed. */
void sched_model_close(struct sched_model *m);

/* Most scratch that sched_model_open allocates for such a model. */
uint64_t sched_model_bytes(const struct model_config *config, unsigned threads);

/* Queues a generation.  ids (1 or more), the first n_public of which are no secret of the
 * tenant's, and all options have been checked; all are copied.  request gives everything but
 * the prompt and the seed.
 *   REALM_E_CONTEXT   no room for an answer, both numbers named
 *   REALM_E_NO_ROOM   its keys and values can never fit the budget
 *   REALM_E_LIMIT     the queue is full, or the tenant's part of it is taken
 *   REALM_E_NOMEM, REALM_E_SYS, REALM_E_SHUTDOWN */
MUST_USE int sched_gen_open(struct sched_gen **out, struct sched_model *m, const uint32_t *ids,
                            size_t n_ids, size_t n_public, const struct realm_request *request,
                            uint64_t seed, struct realm_error *err);

/* Whether such a prompt would be let in for its length: 0, REALM_E_CONTEXT or REALM_E_NO_ROOM. */
MUST_USE int sched_gen_check(const struct sched_model *m, size_t n_ids,
                             const struct realm_request *request, struct realm_error *err);

/* As realm_gen_next, realm_gen_cancel and realm_gen_close; closing waits until
 * the scheduler has let go, for the rest of one step at most, and once the end has
 * been read for no longer than notify takes. */
MUST_USE int sched_gen_next(struct sched_gen *g, struct realm_event *event,
                            const struct realm_wait *wait);
uint32_t sched_gen_prompt_tokens(const struct sched_gen *g);
void sched_gen_cancel(struct sched_gen *g);
void sched_gen_allow(struct sched_gen *g, uint32_t completion_tokens); /* as realm_gen_allow */
void sched_gen_close(struct sched_gen *g);

/* Where the results of scoring go: logprobs (n_ids), NaN first; next (n_next). */
struct sched_score {
    float *logprobs;
    struct realm_logprob *next;
    size_t n_next; /* up to the vocabulary */
};

/* Scores ids (n_ids of 1 or more) through the same queue; as realm_score. */
MUST_USE int sched_score(struct sched_model *m, const uint32_t *ids, size_t n_ids,
                         const struct sched_score *score, const struct realm_wait *wait,
                         struct realm_error *err);

#endif
