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
#include "text/detok.h"

enum { EVENTS_BYTES_MAX = 64 << 20 }; /* of one generation that nobody reads */

enum gen_state {
    GEN_WAITING, /* in the inbox or s->waiting, no keys and values */
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
    char *tenant;
    void (*notify)(void *ctx); /* NULL: nobody is told */
    void *notify_ctx;
    const struct sched_score *score; /* NULL: a generation */
    uint64_t start_ns;

    atomic_bool cancelled;

    /* The scheduler's thread; in the sampling phase the worker's who has it. */
    struct list link;
    enum gen_state state;
    bool began; /* was admitted once */
    struct kv_seq *seq;
    uint32_t *tokens; /* prompt, then what was drawn */
    uint32_t n_tokens, tokens_cap;
    uint32_t computed; /* positions with keys and values */
    uint32_t scored;   /* positions whose logits were used */
    struct detok detok;
    struct stop stop;
    bool stopped;              /* a stop string was spelled */
    struct buf piece;          /* of one token */
    struct buf text;           /* of one event */
    struct realm_logprob *top; /* (n_top) of one event */
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
    /* The scheduler's thread. */
    struct list link;
    struct kv_pool *kv;  /* its budget's ceiling and page size may be read by any */
    struct list running; /* oldest first */
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
    struct forward_row rows[BATCH_ROWS_MAX];
    struct part parts[BATCH_ROWS_MAX];
    size_t n_rows, n_parts, n_logits;
    size_t n_decode; /* rows that continue an answer */
};

/* A generation whose logits stand ready, or one row of a scoring. */
struct sample_item {
    struct sched_gen *gen;
    float *logits;
    uint32_t pos; /* of the row */
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
    struct sched_stats stats;

    atomic_bool shutdown;

    /* The scheduler's thread. */
    struct list models;  /* whose turn it is first */
    struct list waiting; /* oldest first */
    size_t n_running;
    size_t vocab_max;                /* that the scratches are sized for */
    struct sample_scratch **scratch; /* (threads) */
    struct batch batch;
    struct sample_item items[FORWARD_LOGITS_MAX];
    size_t n_items;
};

static inline struct sched_gen *gen_of(struct list *link)
{
    return CONTAINER_OF(link, struct sched_gen, link);
}

static inline struct sched_model *model_of(struct list *link)
{
    return CONTAINER_OF(link, struct sched_model, link);
}

/* gen.c */
uint32_t gen_pending(const struct sched_gen *g); /* rows to compute before the next draw */
/* Ends g: gives back what it holds and lets go of it; g may be gone on return. */
void gen_finish(struct sched_gen *g, struct outcome outcome);

/* Calls notify if events have come since the last time. */
void gen_notify(struct sched_gen *g);

/* events.c */
/* A token with g->text and g->top; REALM_E_NOMEM, REALM_E_LIMIT. */
MUST_USE int gen_push_event(struct sched_gen *g, uint32_t token, float logprob);

/* room.c */
void sched_admit(struct sched *s);
/* Sees that every running generation of m has pages for its next row; takes them
 * from the youngest where there are none. */
void sched_make_room(struct sched *s, struct sched_model *m);

/* batch.c */
void batch_build(struct batch *b, struct sched_model *m, uint64_t step_ns);

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
