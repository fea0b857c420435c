/* sim/sched_sim.h - a scheduler on a virtual clock, turn by turn, over a fake model, with all
 * that must hold after each turn.
 *
 * Everything follows from one seed.  What is wrong fails the test with a sentence that begins
 * with the seed; SEED=n repeats it, SEEDS=n runs so many. */
#ifndef SIM_SCHED_SIM_H
#define SIM_SCHED_SIM_H

#include "fake.h"
#include "pool/pool.h"
#include "sched/sched_impl.h"

enum { SIM_TENANTS = 6, SIM_MODELS = 2, SIM_GENS = 1200, SIM_ANSWER_MAX = 400 };

/* What a tenant does. */
struct sim_tenant {
    uint32_t weight;
    uint64_t kv_bytes_max;
    uint32_t prompt_max, answer_max;
    uint32_t open_max; /* generations at a time */
    double busy;       /* chance that it asks for more in a turn */
    /* What came of it. */
    double served; /* cost of what was computed for it, each token once */
    uint64_t ended;
    bool waits; /* after the last turn, for every model */
};

struct sim_gen {
    struct sched_gen *gen; /* NULL: free */
    unsigned tenant;
    const struct model *model;
    uint32_t answer_max;
    uint64_t hash; /* of the tokens so far, by itself */
    uint32_t seen_prompt, seen_answer;
    uint64_t start_ns, first_ns;
    uint32_t allowed; /* tokens, as sched_gen_allow was told; 0: nothing was */
    bool cancelled, prompt_only;
};

/* Who accounts for generations, beside the scheduler; all may be NULL. */
struct sim_hooks {
    /* It is about to start; false: it may not. */
    bool (*start)(void *ctx, struct sim_gen *g, uint32_t n_prompt);
    void (*started)(void *ctx, struct sim_gen *g, int status); /* as sched_gen_open said */
    void (*token)(void *ctx, struct sim_gen *g);               /* one was read */
    void (*end)(void *ctx, struct sim_gen *g, const struct realm_event *e);
    void (*turn)(void *ctx); /* one is over */
    void *ctx;
};

struct sim {
    uint64_t seed, random;
    struct pool *pool;
    struct clock clock;
    uint64_t now_ns, step_ns, row_ns;
    struct model models[SIM_MODELS];
    struct sched_model *runs[SIM_MODELS];
    unsigned n_models, n_tenants;
    uint64_t pages; /* of the smaller kind, that the budget holds */
    uint32_t running_max;
    double faults; /* chance that a row goes wrong */
    double cancels;
    bool asks;  /* in this turn */
    bool comes; /* tenant 1, during the next step */
    bool logprobs, cache_off;
    struct sim_hooks hooks;
    struct sched *sched;
    struct sim_tenant tenants[SIM_TENANTS];
    struct sim_gen gens[SIM_GENS];
    size_t gens_end; /* no place from here on is in use */
    uint64_t turns, started, refused, ended;
    uint64_t mark; /* of the turn, in pages */
    struct {
        bool both; /* had some that wait, since when the lead was from lo to hi */
        double lo, hi;
    } pairs[SIM_TENANTS][SIM_TENANTS];
    double unfair_max;     /* lead over its bound, the greatest */
    uint64_t rows, tokens; /* computed, and of these for the first time */
};

/* A number below n; true with a chance of p. */
uint64_t sim_below(struct sim *s, uint64_t n);
bool sim_chance(struct sim *s, double p);

/* Opens what the fields say: models, tenants, pages, running_max, times. */
void sim_open(struct sim *s);
/* Lets the tenants ask, makes a turn, reads, and checks.  false: nothing is left to do. */
bool sim_turn(struct sim *s, bool ask);
/* Turns until all is over, which it must be at some time. */
void sim_drain(struct sim *s);
/* The same; then closes. */
void sim_close(struct sim *s);

/* Starts one for the tenant; false: it was refused. */
bool sim_start(struct sim *s, unsigned tenant, uint32_t n_prompt, uint32_t answer_max);

#define SIM_CHECK(s, cond, ...)                             \
    do {                                                    \
        if (!(cond))                                        \
            sim_fail((s), __FILE__, __LINE__, __VA_ARGS__); \
    } while (0)
void sim_fail(const struct sim *s, const char *file, int line, const char *fmt, ...)
    PRINTF_LIKE(4, 5);

#endif
