/* cmd/realm/bench.h - what `realm bench` measures. */
#ifndef CMD_REALM_BENCH_H
#define CMD_REALM_BENCH_H

#include "base/machine.h"
#include "cmd.h"

enum { BENCH_RUNS_MAX = 100, BENCH_ROWS_MAX = 17 };

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

/* A buffer far larger than the caches, and `threads` threads to read it.  NULL when
 * there is no memory for its bandwidth_bytes(threads). */
size_t bandwidth_bytes(unsigned threads);
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
    bool encoder;     /* bench_embed alone */
    uint32_t depth;   /* tokens before what is measured */
    uint64_t prompts; /* made so far, each with tokens of its own behind the first `depth` */
};

/* Prompt tokens per second of `tokens` after `depth` others, which the engine's cache
 * of pages has from the first call on; negative with err set on failure. */
double bench_prefill(struct bench *b, uint32_t tokens, struct realm_error *err);

/* Tokens per second of `batch` answers together, over `tokens` steps, after depth + 1
 * tokens of each one's own. */
double bench_decode(struct bench *b, uint32_t tokens, uint32_t batch, struct realm_error *err);

/* Tokens per second of `texts` together, of so many tokens each, that become vectors. */
double bench_embed(struct bench *b, uint32_t tokens, uint32_t texts, struct realm_error *err);

/* ---- another engine, in a process of its own (bench/peer.py) ---- */

struct peer;

/* Starts it with the model; -1, or EXIT_FAILED after a sentence that says how to get it. */
int peer_open(struct peer **out, const char *model, uint32_t threads, const char *kv);
void peer_close(struct peer *p);

/* What it is, for a person. */
const char *peer_about(const struct peer *p);

/* As bench_prefill and bench_decode. */
double peer_prefill(struct peer *p, uint32_t tokens, uint32_t depth, struct realm_error *err);
double peer_decode(struct peer *p, uint32_t tokens, uint32_t batch, uint32_t depth,
                   struct realm_error *err);

/* ---- what is measured, and how it is shown (bench_print.c) ---- */

enum bench_test { BENCH_PREFILL, BENCH_DECODE, BENCH_EMBED };

struct row {
    enum bench_test test;
    uint32_t tokens, batch;
    struct figures tok_s;
    struct figures peer_tok_s, ratio; /* with plan.compare; of the two in each run */
};

struct plan {
    struct row rows[BENCH_ROWS_MAX];
    size_t n_rows;
    uint32_t threads, depth, runs;
    enum realm_kv_type kv;
    bool compare;
    struct machine machine; /* at the start: its load is that of others */
    struct figures read_gb_s;
    struct figures share; /* of the bandwidth, by decoding with batch 1; paired */
};

/* peer: what it is; NULL without one. */
void bench_print_json(const char *model, const struct plan *plan, const char *peer);
void bench_print_table(const char *model, const struct plan *plan, const char *peer);

#endif
