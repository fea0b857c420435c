/* sim/tenant_books.h - what a simulated server asks of the tenant layer, and the books by which
 * it is checked.
 *
 * Each generation of the simulation is a request: admitted, reserved for in slices, settled with
 * the usage of its end.  What is wrong fails the test as sched_sim.h says. */
#ifndef SIM_TENANT_BOOKS_H
#define SIM_TENANT_BOOKS_H

#include <stdatomic.h>

#include "../unit/tenant/util.h"
#include "sched_sim.h"
#include "tenant/limits.h"

enum { BOOKS_RECORDS = 16384, BOOKS_SPENDS = 16 };

/* Of one window, with what began in it. */
struct spend {
    int64_t start_s;
    uint64_t used, reserved;
};

/* What was taken and has not come back: it comes back evenly, all in a minute. */
struct level {
    double at;
    uint64_t seen_ns;
};

struct payer {
    char id[TENANT_ID_MAX + 1], key[KEY_TEXT_MAX + 1];
    uint64_t parallel, requests_per_min, tokens_per_min, budget; /* 0: no limit */
    enum budget_window window;
    uint32_t running;
    struct level requests, tokens;
    struct spend spends[BOOKS_SPENDS];
    size_t n_spends;
    /* What the ledger is to say in the end. */
    uint64_t rows, prompt, completion;
    uint64_t dear; /* of completion, the other model's */
    /* By how much that is not what the scheduler says: noted of the interrupted and what they
     * had in truth, prompts that were never begun. */
    uint64_t noted_prompt, noted_completion, lost_prompt, lost_completion;
};

/* A request that was admitted. */
struct record {
    struct books *books;
    struct payer *payer;
    struct tenant_grant *grant; /* NULL: it is over, or its process is gone */
    size_t spend;
    uint64_t reserved;
    uint32_t n_prompt, n_drawn, noted; /* noted: tokens of the answer; its prompt with them */
    bool was_noted, capped, ended, in_ledger;
    enum tenant_outcome outcome;
    uint64_t prompt, completion; /* as settled */
    atomic_uint commits;
};

struct books {
    struct sim *sim;
    struct world *world;
    int64_t wall_s; /* when the seed began */
    uint32_t slice; /* tokens of an answer that are reserved at a time */
    struct payer payers[SIM_TENANTS];
    struct record records[BOOKS_RECORDS];
    size_t n_records, n_settled;
    atomic_size_t n_commits;
    struct record *of_gen[SIM_GENS];
    /* Of all seeds: */
    struct books_sum {
        uint64_t requests, tokens, refused[TENANT_BUDGET + 1], capped, interrupted, windows;
    } sum;
};

/* Makes tenants with limits of all kinds, and has the simulation ask them.  s is open. */
void books_open(struct books *b, struct sim *s, struct world *w);
/* The process ends at once, with what it had open, and another one begins. */
void books_kill(struct books *b);
/* The wall clock goes on by an hour. */
void books_jump(struct books *b);
/* Compares with the ledger, when all is over; before that, maybe, all is closed and opened. */
void books_close(struct books *b, bool reopen);

#endif
