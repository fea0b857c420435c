/* A scheduler with the tiny model, on a clock of the test's. */
#ifndef TEST_SCHED_UTIL_H
#define TEST_SCHED_UTIL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../gate.h"
#include "sched/sched.h"

enum {
    PAGE_BYTES_F16 = 40960, /* of the tiny model */
    ANSWER_MAX = 40,        /* tokens of an answer that are kept */
};

struct bench {
    struct pool *pool;
    struct sched *sched;
    struct sched_model *model;
};

/* options: what matters to the test; threads, kernels, clock and step are set here.  look_ns:
 * each look at the clock takes this long. */
void bench_open(struct bench *b, struct model *model, struct sched_options options,
                unsigned threads, uint64_t look_ns);
void bench_close(struct bench *b);
struct sched_stats bench_stats(const struct bench *b);

/* Of a manual scheduler: turns until nothing is left to do. */
void bench_run(struct bench *b);

/* Bytes that the forward pass of model takes with so many threads. */
uint64_t bench_scratch(const struct model *model, unsigned threads);

/* Bytes of a page of model's keys and values. */
uint64_t bench_page_bytes(const struct model *model, enum kv_type type);

/* Greedy, and the end is not drawn. */
struct realm_request bench_request(uint32_t max_tokens);

/* Starts such a request of a tenant's with log-probabilities. */
struct sched_gen *bench_start(struct bench *b, const char *tenant, const uint32_t *ids, size_t n,
                              size_t n_public, uint32_t max_tokens);

struct answer {
    uint32_t tokens[ANSWER_MAX];
    float logprobs[ANSWER_MAX];
    uint32_t n;
    struct realm_usage usage;
};

/* Reads g to its end, which must be a good one, and closes it. */
void bench_read(struct sched_gen *g, struct answer *a);

#endif
