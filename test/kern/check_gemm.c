/* test/kern/check_gemm.c - the matrix products and what packs their activations. */
#include <stdio.h>
#include <string.h>

#include "base/ckd.h"
#include "base/mem.h"
#include "base/rng.h"
#include "check.h"
#include "kernels/cpu.h"
#include "kernels/gemm_init.h"
#include "rows.h"
#include "tensor/block.h"
#include "tensor/half.h"

/* ---- data ---- */

struct shape {
    size_t k, tokens, n_panels;
};

/* Everything that one product reads, each array ending at a guard page. */
struct product {
    enum gemm_type type;
    struct shape shape;
    size_t y_stride, x_stride;
    size_t panels_size, acts_size, x_size, y_size;
    uint8_t *panels, *acts;
    float *x, *y;
};

static void acts_pack(const struct kernels *k, struct product *p)
{
    const enum act_kind kind = act_kind_of(p->type);
    const size_t token_size = act_bytes(kind, p->shape.k);
    for (size_t t = 0, width; t < p->shape.tokens; t += width) {
        width = tile_width(t, p->shape.tokens);
        k->act_pack[kind](p->acts + t * token_size, p->x + t * p->x_stride, p->x_stride, p->shape.k,
                          width);
    }
}

/* Subnormal weights in one row, and in the next the smallest normal ones, whose
 * products are subnormal: the dot instruction makes zeros of all of them. */
static void bf16_tiny_rows(uint16_t *row, size_t k)
{
    for (size_t i = 0; i < k; i++) {
        row[i] &= 0x807f;
        row[k + i] = (uint16_t)((row[k + i] & 0x807f) | 0x0080);
    }
}

/* A row of the lowest scales: 0 to 2 are the exponents whose powers come out subnormal,
 * or just not. */
static void mxfp4_tiny_row(uint8_t *row, size_t k)
{
    for (size_t b = 0; b < k / QK; b++)
        row[b * sizeof(struct block_mxfp4)] = (uint8_t)(b % 3);
}

/* tiny: with rows whose arithmetic is subnormal, which processors are slow at. */
static void product_open(struct product *p, enum gemm_type type, struct shape shape, size_t pad,
                         uint64_t seed, bool tiny)
{
    *p = (struct product){.type = type, .shape = shape};
    p->y_stride = shape.n_panels * PANEL_ROWS + pad;
    p->x_stride = shape.k + pad;
    p->panels_size = shape.n_panels * panel_bytes(type, shape.k);
    p->acts_size = shape.tokens * act_bytes(act_kind_of(type), shape.k);
    p->x_size = ((shape.tokens - 1) * p->x_stride + shape.k) * sizeof(float);
    p->y_size = ((shape.tokens - 1) * p->y_stride + shape.n_panels * PANEL_ROWS) * sizeof(float);
    p->panels = guarded(p->panels_size);
    p->acts = guarded(p->acts_size);
    p->x = guarded(p->x_size);
    p->y = guarded(p->y_size);
    const size_t row_size = row_bytes(type, shape.k);
    uint8_t *rows = guarded(PANEL_ROWS * row_size);
    for (size_t i = 0; i < shape.n_panels; i++) {
        rows_random(type, rows, PANEL_ROWS, shape.k, seed + i);
        if (tiny && type == GEMM_BF16)
            bf16_tiny_rows((uint16_t *)rows, shape.k);
        if (tiny && type == GEMM_MXFP4)
            mxfp4_tiny_row(rows, shape.k);
        panel_pack(type, p->panels + i * panel_bytes(type, shape.k), rows, row_size, PANEL_ROWS,
                   shape.k);
    }
    guarded_free(rows, PANEL_ROWS * row_size);
    floats_random(p->x, p->x_size / sizeof(float), seed);
}

static void product_close(struct product *p)
{
    guarded_free(p->panels, p->panels_size);
    guarded_free(p->acts, p->acts_size);
    guarded_free(p->x, p->x_size);
    guarded_free(p->y, p->y_size);
}

/* ---- products ---- */

static void product_run(const struct kernels *k, const struct product *p, float *y)
{
    k->gemm[p->type](y, p->y_stride, p->panels, p->shape.n_panels, p->acts, p->shape.k,
                     p->shape.tokens);
}

static bool check_product(enum gemm_type type, struct shape shape, uint64_t seed,
                          const struct kernels *k, const struct kernels *scalar)
{
    struct product p;
    product_open(&p, type, shape, seed % 3 * 5, seed, true);
    acts_pack(scalar, &p);
    float *got = guarded(p.y_size);
    product_run(scalar, &p, p.y);
    gemm_fetch.ahead = seed % 2 * 4608; // lines behind the panels, which nobody may read
    gemm_fetch.to_l1 = seed % 4 == 1;
    product_run(k, &p, got);
    bool same = check_same(p.y, got, p.y_size, sizeof(float), "k %zu, %zu tokens, %zu panels",
                           shape.k, shape.tokens, shape.n_panels);
    const size_t used = shape.n_panels * PANEL_ROWS;
    for (size_t t = 0; same && t + 1 < shape.tokens; t++)
        same = check_canary(got + t * p.y_stride + used, (p.y_stride - used) * 4, "row of y");
    guarded_free(got, p.y_size);
    product_close(&p);
    return same;
}

static bool is_float(enum gemm_type type)
{
    return row_step(type) == 1;
}

/* Corners, then shapes drawn from the seed. */
static struct shape shape_at(enum gemm_type type, size_t i)
{
    static const struct shape corners[] = {{1, 1, 1}, {2, 64, 1}, {3, 63, 2}, {8, 8, 6}};
    static const size_t float_widths[] = {1, 8, 172, 64, 129, 256, 512, 2048};
    uint32_t bits[4];
    if (i < ARRAY_LEN(corners)) {
        struct shape shape = corners[i];
        shape.k *= row_step(type);
        return shape;
    }
    rng_philox(17, i, (uint64_t)type, bits);
    size_t steps = 1 + bits[0] % (row_step(type) == 32 ? 24 : 4);
    size_t k = is_float(type) ? float_widths[bits[0] % ARRAY_LEN(float_widths)] + bits[3] % 2
                              : steps * row_step(type);
    return (struct shape){k, 1 + bits[1] % 24, 1 + bits[2] % 6};
}

static bool check_gemm(const struct check_op *op, const struct kernels *k,
                       const struct kernels *scalar)
{
    for (size_t i = 0; i < 40; i++)
        if (!check_product(op->arg, shape_at(op->arg, i), i, k, scalar))
            return false;
    for (size_t tokens = 1; tokens <= 17; tokens++) {
        const struct shape shape = {2 * row_step(op->arg), tokens, 3};
        if (!check_product(op->arg, shape, tokens, k, scalar))
            return false;
    }
    static const size_t many[] = {15, 23, 31, 65}; // rows longer than a span
    for (size_t i = 0; i < ARRAY_LEN(many); i++) {
        const struct shape shape = {is_float(op->arg) ? 2203 + i : 2304, many[i], 2 + i % 2};
        if (!check_product(op->arg, shape, many[i], k, scalar))
            return false;
    }
    return true;
}

static void bench_product_run(const struct kernels *k, void *ctx)
{
    const struct product *p = ctx;
    product_run(k, p, p->y);
}

static void bench_product_close(void *ctx)
{
    product_close(ctx);
    mem_free(ctx);
}

/* A matrix that stays in the second-level cache, against few and many tokens. */
static bool bench_gemm(const struct check_op *op, size_t i, struct bench_case *out)
{
    static const size_t tokens[] = {1, 2, 4, 8, 64};
    if (i == ARRAY_LEN(tokens))
        return false;
    const struct shape shape = {2048, tokens[i], is_float(op->arg) ? 4 : 8};
    struct product *p = mem_alloc(sizeof(*p));
    struct kernels scalar;
    kernels_init(&scalar, 0);
    product_open(p, op->arg, shape, 0, 1, false);
    acts_pack(&scalar, p);
    const double weights = (double)(shape.k * shape.n_panels * PANEL_ROWS);
    *out = (struct bench_case){.ops = 2 * weights * (double)shape.tokens,
                               .bytes = (double)p->panels_size,
                               .run = bench_product_run,
                               .close = bench_product_close,
                               .ctx = p};
    snprintf(out->name, sizeof(out->name), "%zu tokens", shape.tokens);
    return true;
}

/* ---- packing ---- */

static const enum gemm_type pack_type[ACT_KINDS] = {
    [ACT_F32] = GEMM_F32,
    [ACT_BF16] = GEMM_BF16,
    [ACT_Q8_32] = GEMM_Q8_0,
    [ACT_Q8_256] = GEMM_Q4_K,
};

/* NaNs, infinities, what rounds to one, ties and subnormals. */
static void floats_special(float *x, size_t n)
{
    static const uint32_t bits[] = {0x7f800001, 0xffc00000, 0x7f800000, 0xff800000, 0x7f7fffff,
                                    0x3f808000, 0xbf818000, 0x00000001, 0x807fffff, 0x00008001};
    for (size_t i = 0; i < n; i++)
        x[i] = f32_from_bits(bits[i % ARRAY_LEN(bits)]);
}

static bool check_pack(const struct check_op *op, const struct kernels *k,
                       const struct kernels *scalar)
{
    const size_t step = row_step(pack_type[op->arg]);
    bool same = true;
    for (size_t i = 0; same && i < 32; i++) {
        struct product p;
        const size_t steps = is_float(pack_type[op->arg]) ? 1 + i * 7 : 1 + i % 5;
        product_open(&p, pack_type[op->arg], (struct shape){steps * step, 1 + i % 15, 1}, i % 3, i,
                     false);
        if (i % 4 == 3) // a row of zeros among them
            memset(p.x, 0, p.shape.k * sizeof(float));
        if (i % 4 == 2 && is_float(pack_type[op->arg])) // int8 is made of finite ones alone
            floats_special(p.x, p.x_size / sizeof(float));
        acts_pack(scalar, &p);
        uint8_t *want = p.acts;
        p.acts = guarded(p.acts_size);
        acts_pack(k, &p);
        same = check_same(want, p.acts, p.acts_size, 4, "k %zu, %zu tokens", p.shape.k,
                          p.shape.tokens);
        guarded_free(want, p.acts_size);
        product_close(&p);
    }
    return same;
}

static void bench_pack_run(const struct kernels *k, void *ctx)
{
    acts_pack(k, ctx);
}

static bool bench_pack(const struct check_op *op, size_t i, struct bench_case *out)
{
    static const size_t tokens[] = {1, 8};
    if (i == ARRAY_LEN(tokens))
        return false;
    struct product *p = mem_alloc(sizeof(*p));
    product_open(p, pack_type[op->arg], (struct shape){2048, tokens[i], 1}, 0, 1, false);
    *out = (struct bench_case){
        .bytes = (double)p->x_size, .run = bench_pack_run, .close = bench_product_close, .ctx = p};
    snprintf(out->name, sizeof(out->name), "%zu tokens", tokens[i]);
    return true;
}

/* ---- the table ---- */

#define NO_VNNI "multiplies no int8"
#define NO_BF16 "multiplies no bf16"
#define MOVES "moves words: as fast as it reads"
#define GEMM(type, vnni, bf16)                                                              \
    {                                                                                       \
        "gemm_" #type, offsetof(struct kernels, gemm[GEMM_##type]), GEMM_##type,            \
            {[LEVEL_AVXVNNI] = vnni, [LEVEL_VNNI] = vnni, [LEVEL_BF16] = bf16}, check_gemm, \
            bench_gemm                                                                      \
    }
#define PACK(kind, avx2, avx512)                                                       \
    {                                                                                  \
        "act_pack_" #kind, offsetof(struct kernels, act_pack[ACT_##kind]), ACT_##kind, \
            {[LEVEL_AVX2] = avx2,                                                      \
             [LEVEL_AVXVNNI] = "makes no products",                                    \
             [LEVEL_AVX512] = avx512,                                                  \
             [LEVEL_VNNI] = "makes no products",                                       \
             [LEVEL_BF16] = "makes no products"},                                      \
            check_pack, bench_pack                                                     \
    }

static const struct check_op gemm_ops[] = {
    GEMM(F32, NO_VNNI, NO_BF16), GEMM(F16, NO_VNNI, NO_BF16), GEMM(BF16, NO_VNNI, NULL),
    GEMM(Q8_0, NULL, NO_BF16),   GEMM(Q4_0, NULL, NO_BF16),   GEMM(Q4_1, NULL, NO_BF16),
    GEMM(Q5_0, NULL, NO_BF16),   GEMM(Q5_1, NULL, NO_BF16),   GEMM(IQ4_NL, NULL, NO_BF16),
    GEMM(MXFP4, NULL, NO_BF16),  GEMM(Q2_K, NULL, NO_BF16),   GEMM(Q3_K, NULL, NO_BF16),
    GEMM(Q4_K, NULL, NO_BF16),   GEMM(Q5_K, NULL, NO_BF16),   GEMM(Q6_K, NULL, NO_BF16),
    GEMM(IQ4_XS, NULL, NO_BF16), PACK(F32, MOVES, MOVES),     PACK(BF16, NULL, NULL),
    PACK(Q8_32, NULL, NULL),     PACK(Q8_256, NULL, NULL),
};

const struct check_table check_gemm_table = {gemm_ops, ARRAY_LEN(gemm_ops)};
