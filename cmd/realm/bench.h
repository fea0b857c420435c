/* cmd/realm/bench.h - what `realm bench` measures. */
#ifndef CMD_REALM_BENCH_H
#define CMD_REALM_BENCH_H

#include "cmd.h"

enum { BENCH_RUNS_MAX = 100 };

/* Figures of several runs of one thing. */
struct figures {
    double v[BENCH_RUNS_MAX];
    size_t n;
};

double figures_median(const struct figures *f);
double figures_min(const struct figures *f);
double figures_max(const struct figures *f);

/* ---- the machine's read bandwidth ---- */

struct bandwidth;

/* A buffer far larger than the caches and `threads` threads to read it.  NULL
 * when there is no memory for it. */
struct bandwidth *bandwidth_open(unsigned threads);
void bandwidth_close(struct bandwidth *b);

/* Reads for about ms milliseconds, each thread one sequential stream; bytes per
 * second of all together. */
double bandwidth_measure(struct bandwidth *b, unsigned ms);

/* ---- the engine ---- */

struct bench {
    struct realm *engine;
    struct realm_model *model;
    uint32_t vocab;
    uint32_t depth; /* tokens before what is measured */
};

/* Prompt tokens per second of a prompt of `tokens` after `depth` others; negative
 * with err set on failure. */
double bench_prefill(const struct bench *b, uint32_t tokens, struct realm_error *err);

/* Tokens per second of `batch` answers together, over `tokens` steps. */
double bench_decode(const struct bench *b, uint32_t tokens, uint32_t batch,
                    struct realm_error *err);

#endif
