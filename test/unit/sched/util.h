/* A scheduler with the tiny model, on a clock of the test's. */
#ifndef TEST_SCHED_UTIL_H
#define TEST_SCHED_UTIL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sched/sched.h"

enum { PAGE_BYTES_F16 = 40960 }; /* of the tiny model */

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

/* Bytes that the forward pass of model takes with so many threads. */
uint64_t bench_scratch(const struct model *model, unsigned threads);

/* Greedy, and the end is not drawn. */
struct realm_request bench_request(uint32_t max_tokens);

#endif
