/* sched/sched_impl.h - inside the scheduler: who owns which field. */
#ifndef SCHED_SCHED_IMPL_H
#define SCHED_SCHED_IMPL_H

#include <stdatomic.h>

#include "base/buf.h"
#include "base/limits.h"
#include "base/list.h"
#include "base/thread.h"
#include "kv/kv.h"
#include "model/forward.h"
#include "sample/sample.h"
#include "sample/stop.h"
#include "sched/pace.h"
#include "sched/sched.h"
#include "sched/share.h"
#include "text/detok.h"

enum {
    EVENTS_BYTES_MAX = 64 << 20, /* of one generation that nobody reads */
    STEP_ROWS_MAX = ENCODER_TOKENS_MAX > BATCH_ROWS_MAX ? ENCODER_TOKENS_MAX : BATCH_ROWS_MAX,
};

enum gen_state {
    GEN_WAITING, /* in the inbox or account->waiting, no keys and values */
    GEN_RUNNING, /* in model->running */
};

/* What came of the last step. */
struct outcome {
    bool over;
    enum realm_finish finish;
    int status;
};

struct sched_gen {
    /* Constant once queued. */
    struct sched *sched;
    struct sched_model *model;
    uint64_t ticket; /* the order of arrival */
    struct realm_sampling sampling;
    uint64_t seed;
    uint32_t n_prompt;
    uint32_t tokens_max;    /* prompt and answer together */
    uint32_t positions_max; /* that may want keys and values */
    uint32_t *stop_ids;
    size_t n_stop_ids;
    struct realm_logit_bias *bias;
    size_t n_bias;
    uint32_t choice;
    bool ignore_end;
    bool logprobs;
    uint32_t n_top;
    bool prompt_logprobs;
    bool prompt_only;
    uint32_t n_next; /* likeliest tokens after a prompt that is scored */
    enum realm_pooling pooling;
    char *tenant;
    uint32_t n_public;     /* tokens of the prompt's beginning that are no secret */
    uint32_t weight;       /* of the tenant, as of this request */
    uint64_t kv_bytes_max; /* and so is this */
    int32_t priority;
    void (*notify)(void *ctx); /* NULL: nobody is told */
    void *notify_ctx;
    uint64_t start_ns;

    atomic_bool cancelled;
    _Atomic uint32_t allowed; /* tokens to be drawn before it ends with REALM_E_LIMIT */

    /* The scheduler's thread; in the sampling phase the worker's who has it. */
    struct list link;
    enum gen_state state;
    struct account *account;
    bool began; /* was admitted once */
    struct kv_seq *seq;
    uint32_t *tokens; /* prompt, then what was drawn */
    uint32_t n_tokens, tokens_cap;
    uint32_t computed; /* positions with keys and values */
    uint32_t n_cached; /* of these, there when it was first admitted */
    uint64_t behind;   /* ticket of the one that computes what it waits for; 0: none */
    uint32_t behind_until;
    uint32_t used;                     /* positions of the prompt of which results were taken */
    uint32_t pages;                    /* of seq, as the account knows them */
    uint32_t paid_prompt, paid_answer; /* tokens that were charged */
    uint32_t keeps_until;              /* so many are: till then it gives way to no other tenant */
    struct detok detok;
    struct stop stop;
    bool stopped;              /* a stop string was spelled */
    struct buf piece;          /* of one token */
    struct buf text;           /* of one event */
    struct realm_logprob *top; /* (n_top) of one event */
    struct buf rows;           /* events of the prompt's tokens, of one step */
    double *sum;               /* (width) of hidden states; NULL: no mean is wanted */
    float *embedding;          /* (width), complete with the prompt; NULL: none is wanted */
    struct outcome outcome;
    uint64_t first_step_ns, first_token_ns;
    bool untold; /* events came since notify was last called */

    struct mutex lock;
    struct cond changed;
    struct buf events; /* under lock: written and not yet taken */
    bool done;         /* under lock: nothing comes any more */
    bool let_go;       /* under lock: and the scheduler does not touch it any more */

    /* Written before done is set, constant after. */
    enum realm_finish finish;
    int status;
    struct realm_usage usage;
    struct buf tail;

    /* The reader's. */
    struct buf taken;
    size_t taken_at;
};

struct sched_model {
    struct sched *sched;
    const struct model *model;
    struct forward *forward;
    size_t rows_max; /* of a step */
    /* The scheduler's thread. */
    struct list link;
    struct kv_pool *kv;  /* its budget's ceiling and page size may be read by any */
    double cost;         /* of a token, in weights that computing it reads */
    struct list running; /* higher priorities first, then oldest first */
    size_t n_running;
    struct pace pace;
};

/* The rows of one generation in a step. */
struct part {
    struct sched_gen *gen;
    size_t row, rows;
    size_t logits, n_logits; /* the first row that wants them, by their own count */
};

struct batch {
    struct forward_row rows[STEP_ROWS_MAX];
    struct part parts[BATCH_ROWS_MAX];
    size_t n_rows, n_parts, n_logits;
    size_t n_decode; /* rows that continue an answer */
    size_t n_short;  /* rows that stay when somebody comes while it is computed */
};

/* A row whose logits stand ready. */
struct sample_item {
    struct sched_gen *gen;
    const float *logits;
    uint32_t pos;
    uint32_t place; /* of a prompt's row: its event among those of the step */
};

/* Something that must be done between two steps, for a thread that waits. */
struct call {
    struct list link;
    int (*fn)(struct sched *s, struct sched_model *m);
    struct sched_model *model;
    int status;
    bool done;
};

struct sched {
    struct sched_options options;
    const struct sched_forward *forward;
    struct kv_budget budget;
    struct thread thread;

    /* Under lock. */
    struct mutex lock;
    struct cond wake;   /* the scheduler: there is something to do */
    struct cond called; /* threads whose call is done */
    struct list inbox;
    struct list calls;
    uint64_t tickets;
    size_t queued; /* generations that never ran yet */
    bool closing;
    bool sleeps;            /* the scheduler */
    uint64_t look_until_ns; /* the scheduler does not sleep before: see sched_expect */
    struct sched_stats stats;

    struct shares shares; /* says itself what is under lock */

    atomic_bool woken; /* something came for the scheduler since it last collected or looked */
    atomic_bool shutdown;
    _Atomic uint64_t layers; /* begun, of all steps: a step that is long still moves */

    /* The scheduler's thread. */
    struct list models; /* whose turn it is first */
    size_t n_running;
    size_t places_max;               /* generations of one model that run at a time */
    size_t vocab_max;                /* that the scratches are sized for */
    struct sample_scratch **scratch; /* (threads) */
    struct batch batch;
    struct sample_item prompts[FORWARD_LOGITS_MAX]; /* rows of prompts with log-probabilities */
    struct sample_item draws[FORWARD_LOGITS_MAX];
    size_t n_prompts, n_draws;
};

/* With the lock: the scheduler, which has something to do. */
void sched_wake(struct sched *s);

static inline struct sched_gen *gen_of(struct list *link)
{
    return CONTAINER_OF(link, struct sched_gen, link);
}

static inline struct sched_model *model_of(struct list *link)
{
    return CONTAINER_OF(link, struct sched_model, link);
}

/* Rows to compute before the next draw, or the end of the prompt. */
static inline uint32_t gen_pending(const struct sched_gen *g)
{
    return g->n_tokens - g->computed;
}

/* Whether a token is drawn from the logits at pos. */
static inline bool gen_draws(const struct sched_gen *g, uint32_t pos)
{
    return !g->prompt_only && pos + 1 == g->n_tokens;
}

/* gen.c */
/* Ends g: gives back what it holds and lets go of it; g may be gone on return. */
void gen_finish(struct sched_gen *g, struct outcome outcome);

/* Calls notify if events have come since the last time. */
void gen_notify(struct sched_gen *g);

/* events.c */
/* A token with g->text and g->top; REALM_E_NOMEM, REALM_E_LIMIT. */
MUST_USE int gen_push_event(struct sched_gen *g, uint32_t token, float logprob);
/* Room in g->rows for events of n tokens of the prompt, each with n_top of the
 * likeliest but the last with last_top. */
MUST_USE int gen_reserve_rows(struct sched_gen *g, size_t n, uint32_t last_top);
/* The place-th of them, written by any thread; its likeliest go to what is returned. */
struct realm_logprob *gen_row_top(struct sched_gen *g, uint32_t place);
void gen_write_row(struct sched_gen *g, uint32_t place, uint32_t index, uint32_t token,
                   float logprob, uint32_t n_top);
/* Hands them to the reader; REALM_E_NOMEM, REALM_E_LIMIT. */
MUST_USE int gen_push_rows(struct sched_gen *g);

/* prompt.c */
bool prompt_wants_logits(const struct sched_gen *g, uint32_t pos);
bool prompt_wants_hidden(const struct sched_gen *g, uint32_t pos);
MUST_USE int prompt_open(struct sched_gen *g, const struct realm_request *r, uint32_t n_next);
void prompt_close(struct sched_gen *g);
/* Takes the hidden states of a part's rows. */
void prompt_pool(struct sched_gen *g, const struct forward_row *rows, const struct part *part);
/* Writes the event of one row; rows of one generation may go to many threads. */
void prompt_row(const struct sample_item *item, struct sample_scratch *scratch,
                const struct kernels *k);
/* After a step that went well: true when all that was wanted of the prompt is there. */
bool prompt_settle(struct sched_gen *g);

/* reuse.c */
/* Opens g's sequence with the whole pages that are there; on failure it may be open. */
MUST_USE int reuse_open(struct sched_gen *g);
/* With all pages that it begins with: sets what is computed already. */
void reuse_begin(struct sched_gen *g);
/* After a step: leaves pages that became full. */
void reuse_keep(struct sched_gen *g);
/* Leaves all that is computed and closes the sequence, if there is one. */
void reuse_close(struct sched_gen *g);
/* Whether g had better wait for one that computes the same beginning. */
bool reuse_waits(struct sched_gen *g);

/* room.c */
void sched_admit(struct sched *s);
/* Sees that every running generation of m has pages for its next row; takes them
 * from whoever has most beyond its due where there are none. */
void sched_make_room(struct sched *s, struct sched_model *m);

/* batch.c */
void batch_build(struct batch *b, struct sched_model *m, uint64_t step_ns);
/* Gives up the rows from the n-th on. */
void batch_keep_first(struct batch *b, size_t n);

/* step.c */
void sched_step(struct sched *s, struct sched_model *m);

/* model.c */
int sched_attach(struct sched *s, struct sched_model *m);
int sched_detach(struct sched *s, struct sched_model *m);
void sched_scratch_close(struct sched *s);

/* sched.c */
/* Runs fn on the scheduler's thread between two steps and returns its status. */
int sched_call(struct sched *s, int (*fn)(struct sched *s, struct sched_model *m),
               struct sched_model *m);

#endif
