/* test/kern/checkkern.c - every kernel of every level against its scalar twin.
 *
 *   checkkern                  compare, as TAP: a line per cell that exists
 *   checkkern --list           the matrix operation x level, cells or reasons
 *   checkkern --bench [--check] [NAME]
 *                              time the cells (whose operation contains NAME);
 *                              --check: fail where a level is over 10 % slower
 *                              than the one below it
 *
 * Exit status 1 on a difference, an empty cell without a reason or a slow cell. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "check.h"
#include "kernels/cpu.h"
#include "kernels/gemm_init.h"

enum { BENCH_RUNS = 9, BENCH_RUN_NS = 4000000 };

static const double slow_ratio = 0.9;

static const struct {
    const char *name;
    unsigned mask;
    enum check_level below;
} levels[LEVELS] = {
    [LEVEL_SCALAR] = {"scalar", 0, LEVEL_SCALAR},
    [LEVEL_AVX2] = {"avx2", CPU_AVX2, LEVEL_SCALAR},
    [LEVEL_AVXVNNI] = {"avxvnni", CPU_AVX2 | CPU_AVXVNNI, LEVEL_AVX2},
    [LEVEL_AVX512] = {"avx512", CPU_AVX2 | CPU_AVX512, LEVEL_AVX2},
    [LEVEL_VNNI] = {"vnni", CPU_AVX2 | CPU_AVX512 | CPU_VNNI, LEVEL_AVX512},
    [LEVEL_BF16] = {"bf16", CPU_AVX2 | CPU_AVX512 | CPU_VNNI | CPU_BF16, LEVEL_VNNI},
};

static const struct check_table *const tables[] = {&check_gemm_table, &check_attn_table,
                                                   &check_vec_table};

/* Of the levels that run here: filling in another may use its instructions. */
static struct kernels kern[LEVELS];

typedef void (*entry)(void);

static entry entry_at(const struct check_op *op, enum check_level level)
{
    entry e;
    memcpy(&e, (const char *)&kern[level] + op->entry, sizeof(e));
    return e;
}

/* Whether this processor runs a level. */
static bool level_runs(enum check_level level)
{
    return (cpu_detect() & levels[level].mask) == levels[level].mask;
}

/* Whether a level has a function of its own; for one that does not run here, as
 * the table of operations says. */
static bool cell_filled(const struct check_op *op, enum check_level level)
{
    if (!level_runs(level))
        return !op->reason[level];
    return level == LEVEL_SCALAR || entry_at(op, level) != entry_at(op, levels[level].below);
}

/* Calls each for every operation, in order; returns how many calls said false. */
static int for_each(bool (*each)(const struct check_op *op, void *ctx), void *ctx)
{
    int failed = 0;
    for (size_t i = 0; i < ARRAY_LEN(tables); i++)
        for (size_t j = 0; j < tables[i]->n; j++)
            failed += !each(&tables[i]->ops[j], ctx);
    return failed;
}

/* ---- comparing ---- */

/* AVX-VNNI's products can be played with AVX2. */
static bool level_compares(enum check_level level)
{
    return level_runs(level) || (level == LEVEL_AVXVNNI && level_runs(LEVEL_AVX2));
}

static bool compare_cell(const struct check_op *op, enum check_level level, int number)
{
    if (!level_compares(level)) {
        printf("ok %d - %s %s # SKIP this processor has no %s\n", number, op->name,
               levels[level].name, levels[level].name);
        return true;
    }
    bool same = op->check(op, &kern[level], &kern[LEVEL_SCALAR]);
    printf("%s %d - %s %s%s\n", same ? "ok" : "not ok", number, op->name, levels[level].name,
           level_runs(level) ? "" : " (played)");
    fflush(stdout);
    return same;
}

static bool compare_op(const struct check_op *op, void *ctx)
{
    int *number = ctx;
    bool ok = true;
    for (enum check_level level = LEVEL_SCALAR; level < LEVELS; level++) {
        if (cell_filled(op, level)) {
            ok &= compare_cell(op, level, ++*number);
            if (op->reason[level]) {
                printf("not ok %d - %s %s is there, and has a reason not to be\n", ++*number,
                       op->name, levels[level].name);
                ok = false;
            }
        } else if (!op->reason[level]) {
            printf("not ok %d - %s %s is empty and has no reason\n", ++*number, op->name,
                   levels[level].name);
            ok = false;
        }
    }
    return ok;
}

static int compare_all(void)
{
    int number = 0;
    int failed = for_each(compare_op, &number);
    printf("1..%d\n", number);
    return failed != 0;
}

/* ---- the matrix ---- */

static bool list_op(const struct check_op *op, void *ctx)
{
    (void)ctx;
    printf("%-18s", op->name);
    for (enum check_level level = LEVEL_SCALAR; level < LEVELS; level++)
        printf(" %-7s", !cell_filled(op, level) ? "-" : level_runs(level) ? "yes" : "not run");
    bool said = true;
    const char *last = "";
    for (enum check_level level = LEVEL_AVX2; level < LEVELS; level++) {
        const char *reason = cell_filled(op, level) ? NULL : op->reason[level];
        if (!cell_filled(op, level) && !reason)
            said = false;
        if (reason && strcmp(reason, last) != 0) {
            printf("%s%s: %s", *last ? "; " : "  ", levels[level].name, reason);
            last = reason;
        }
    }
    printf("%s\n", said ? "" : "  AN EMPTY CELL WITHOUT A REASON");
    return said;
}

static int list_all(void)
{
    printf("%-18s", "");
    for (enum check_level level = LEVEL_SCALAR; level < LEVELS; level++)
        printf(" %-7s", levels[level].name);
    printf("\n");
    return for_each(list_op, NULL) != 0;
}

/* ---- timing ---- */

struct timing {
    double median, least, most; /* seconds of one run */
    double share;               /* of the int8 limit, as a median; 0 where there is none */
};

struct bench_options {
    const char *name;
    bool check;
};

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Time of this thread alone: another program on the core does not count. */
static uint64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static uint64_t time_runs(const struct bench_case *c, const struct kernels *k, uint64_t n)
{
    uint64_t start = cpu_ns();
    for (uint64_t i = 0; i < n; i++)
        c->run(k, c->ctx);
    return cpu_ns() - start;
}

/* The rate of int8 products at this moment; 0 on a machine without such instructions. */
static double int8_limit(void)
{
#if defined(__x86_64__)
    if (level_runs(LEVEL_VNNI))
        return int8_limit_vnni();
    if (level_runs(LEVEL_AVXVNNI))
        return int8_limit_avxvnni();
    if (level_runs(LEVEL_AVX2))
        return int8_limit_avx2();
#endif
    return 0;
}

/* The limit is measured between the runs: whoever else uses the core slows both. */
static struct timing time_case(const struct bench_case *c, const struct kernels *k)
{
    uint64_t n = 1, ns = time_runs(c, k, 1);
    while ((ns = time_runs(c, k, n)) < BENCH_RUN_NS / 2)
        n = ns ? n * (BENCH_RUN_NS / ns + 1) : n * 16;
    double runs[BENCH_RUNS], shares[BENCH_RUNS];
    double before = int8_limit();
    for (size_t i = 0; i < BENCH_RUNS; i++) {
        runs[i] = (double)time_runs(c, k, n) / (double)n * 1e-9;
        double after = int8_limit(), limit = (before + after) / 2;
        shares[i] = limit > 0 ? c->ops / runs[i] * 1e-9 / limit : 0;
        before = after;
    }
    qsort(runs, BENCH_RUNS, sizeof(runs[0]), by_value);
    qsort(shares, BENCH_RUNS, sizeof(shares[0]), by_value);
    return (struct timing){runs[BENCH_RUNS / 2], runs[0], runs[BENCH_RUNS - 1],
                           shares[BENCH_RUNS / 2]};
}

static void print_timing(const struct bench_case *c, const struct timing *t, double ratio)
{
    printf("  %9.2f us  -%2.0f%% +%2.0f%%", t->median * 1e6, (1 - t->least / t->median) * 100,
           (t->most / t->median - 1) * 100);
    if (c->ops > 0)
        printf("  %7.1f GOP/s", c->ops / t->median * 1e-9);
    if (c->bytes > 0)
        printf("  %6.1f GB/s", c->bytes / t->median * 1e-9);
    if (ratio > 0)
        printf("  %5.2fx", ratio);
    if (t->share > 0)
        printf("  %3.0f %% of int8", t->share * 100);
    printf("\n");
}

static bool bench_case_run(const struct check_op *op, const struct bench_case *c,
                           const struct bench_options *options)
{
    bool fast = true;
    double least[LEVELS] = {0}; // of each level, or of the one below where it has no function
    for (enum check_level level = LEVEL_SCALAR; level < LEVELS; level++) {
        double below = least[level] = least[levels[level].below];
        if (!cell_filled(op, level) || !level_runs(level))
            continue;
        gemm_fetch = cpu_fetch(levels[level].mask);
        struct timing t = time_case(c, &kern[level]);
        double ratio = below / t.least; // the least of each: a busy machine only adds
        printf("%-18s %-12s %-7s", op->name, c->name, levels[level].name);
        print_timing(c, &t, ratio);
        if (level > LEVEL_SCALAR && ratio < slow_ratio) {
            printf("  ^ slower than the level below\n");
            fast = false;
        }
        fflush(stdout);
        least[level] = t.least;
    }
    return fast || !options->check;
}

static bool bench_op(const struct check_op *op, void *ctx)
{
    const struct bench_options *options = ctx;
    if (!strstr(op->name, options->name))
        return true;
    bool fast = true;
    struct bench_case c;
    for (size_t i = 0; op->bench && op->bench(op, i, &c); i++) {
        fast &= bench_case_run(op, &c, options);
        c.close(c.ctx);
    }
    return fast;
}

static int bench_all(struct bench_options *options)
{
    if (int8_limit() > 0)
        printf("int8 limit of one core: %.0f GOP/s\n", int8_limit());
    return for_each(bench_op, options) != 0;
}

int main(int argc, char **argv)
{
    struct bench_options options = {.name = ""};
    bool list = false, bench = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--list") == 0) {
            list = true;
        } else if (strcmp(argv[i], "--bench") == 0) {
            bench = true;
        } else if (strcmp(argv[i], "--check") == 0) {
            options.check = true;
        } else if (bench && argv[i][0] != '-') {
            options.name = argv[i];
        } else {
            fprintf(stderr, "usage: checkkern [--list | --bench [--check] [NAME]]\n");
            return 2;
        }
    }
    for (enum check_level level = LEVEL_SCALAR; level < LEVELS; level++)
        if (level_runs(level))
            kernels_init(&kern[level], levels[level].mask);
#if defined(__x86_64__)
    if (!level_runs(LEVEL_AVXVNNI) && level_runs(LEVEL_AVX2)) {
        kernels_init(&kern[LEVEL_AVXVNNI], CPU_AVX2);
        gemm_init_avxvnni_played(&kern[LEVEL_AVXVNNI]);
        kern_vec_init_attn_avxvnni_played(&kern[LEVEL_AVXVNNI]);
    }
#endif
    return list ? list_all() : bench ? bench_all(&options) : compare_all();
}
