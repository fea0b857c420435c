/* test/kern/check.h - what checkkern's tables of operations are made of.
 *
 * checkkern.c walks every operation at every level that the machine has: it
 * compares a level's function with the scalar one, lists the matrix of both, and
 * times them.  check_gemm.c and check_vec.c bring the operations. */
#ifndef TEST_KERN_CHECK_H
#define TEST_KERN_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/kernels.h"

enum check_level {
    LEVEL_SCALAR,
    LEVEL_AVX2,
    LEVEL_AVXVNNI, /* over AVX2 */
    LEVEL_AVX512,  /* over AVX2, too */
    LEVEL_VNNI,    /* over AVX512 */
    LEVEL_BF16,    /* over VNNI */
    LEVELS
};

/* One timed piece of work on data that every level gets alike. */
struct bench_case {
    char name[40]; /* "8 tokens" */
    double ops;    /* per run; 0 where bytes alone matter */
    double bytes;  /* read per run, of weights or of the longest array */
    void (*run)(const struct kernels *k, void *ctx);
    void (*close)(void *ctx);
    void *ctx;
};

struct check_op {
    const char *name;
    size_t entry; /* offset of its function in struct kernels */
    int arg;      /* the enum gemm_type, act_kind or kv_type, where there is one */

    /* Why a level has no function of its own; a level above VNNI or without an
     * instruction that matters needs a reason too.  NULL where it has one. */
    const char *reason[LEVELS];

    /* Compares k's function with scalar's, bit for bit, on seeded data.  On a
     * difference prints what it was by check_differs and returns false. */
    bool (*check)(const struct check_op *op, const struct kernels *k, const struct kernels *scalar);

    /* Makes the i-th timed case; false when there are no more. */
    bool (*bench)(const struct check_op *op, size_t i, struct bench_case *out);
};

struct check_table {
    const struct check_op *ops;
    size_t n;
};

extern const struct check_table check_gemm_table;
extern const struct check_table check_vec_table;
extern const struct check_table check_attn_table;

/* An entry of struct kernels that is no product of weights: why it has no function
 * of its own at a level, or NULL, and above AVX512 (and AVX2). */
#define NO_PRODUCTS "makes no products of weights"
#define OP(name, entry, arg, avx2, avx512, above, check, bench) \
    {                                                           \
        name, offsetof(struct kernels, entry), arg,             \
            {[LEVEL_AVX2] = avx2,                               \
             [LEVEL_AVXVNNI] = above,                           \
             [LEVEL_AVX512] = avx512,                           \
             [LEVEL_VNNI] = above,                              \
             [LEVEL_BF16] = above},                             \
            check, bench                                        \
    }

/* Memory of `bytes` that ends at a page nobody may touch, filled with a canary
 * that is no ordinary float; exits when there is none.  Aligned to 64 when bytes
 * is a multiple of 64, to 4 when it is one of 4. */
void *guarded(size_t bytes);
float *guarded_floats(size_t n);
void guarded_free(void *p, size_t bytes);

/* True when the two are the same bytes; else prints, as a TAP diagnostic, the
 * words of fmt and the first item (of item_size bytes) that differs. */
bool check_same(const void *want, const void *got, size_t bytes, size_t item_size, const char *fmt,
                ...) __attribute__((format(printf, 5, 6)));

/* True when all 4-byte words from p on still hold the canary. */
bool check_canary(const void *p, size_t bytes, const char *what);

/* AVX-VNNI's entries over AVX2's, for processors that have AVX2 alone: its own
 * sources with other instructions (avxvnni_played.h). */
void gemm_init_avxvnni_played(struct kernels *k);
void kern_vec_init_attn_avxvnni_played(struct kernels *k);

/* GOP/s of multiply-adds (two each) of int8 that this core can do at most, at this
 * moment, by the instructions of a level. */
double int8_limit_avx2(void);
double int8_limit_avxvnni(void);
double int8_limit_vnni(void);

#endif
