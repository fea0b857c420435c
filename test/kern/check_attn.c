/* test/kern/check_attn.c - attention and its pages. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/ckd.h"
#include "base/limits.h"
#include "base/mem.h"
#include "check.h"
#include "rows.h"

/* ---- pages ---- */

static const size_t head_dims[] = {1, 5, 8, 16, 17, 32, 40, 64, 80, 96, 100, 128, 129, 200, 512};

static size_t head_dim_at(size_t i)
{
    return head_dims[i % ARRAY_LEN(head_dims)];
}

static size_t padded(size_t dim)
{
    return round_up(dim, ATTN_DIM_PAD);
}

/* Random, and with `tiny` every third too small for f32 to hold its products. */
static void values_random(float *x, size_t n, uint64_t seed, bool tiny)
{
    floats_random(x, n, seed);
    for (size_t i = seed % 3; tiny && i < n; i += 3)
        x[i] *= i % 2 ? 0x1p-126f : 0x1p-70f;
}

static bool compare_write(enum kv_type type, size_t dim, size_t slot, const struct kernels *k,
                          const struct kernels *scalar)
{
    /* Too great and too small for f16, and halfway between two of them or of bf16. */
    static const float edges[] = {65519.0f,  65520.0f, -1e9f,  0x1p-25f,   0x1.8p-24f, 1e-30f,
                                  2049.0f,   2051.0f,  1e-41f, 0x1.004p0f, 0x1.00cp0f, 0x1.01p0f,
                                  0x1.03p0f, INFINITY, NAN,    -NAN};
    const size_t keys = kv_keys_bytes(type, dim), values = kv_values_bytes(type, dim);
    const struct kernels *by[2] = {scalar, k};
    uint8_t *page[2][2];
    float *in[2] = {guarded_floats(dim), guarded_floats(dim)};
    for (size_t i = 0; i < 2; i++) {
        floats_random(in[i], dim, dim + i);
        for (size_t j = slot % 3; slot % 4 && j < dim; j += 3)
            in[i][j] = edges[(j + slot) % ARRAY_LEN(edges)];
    }
    for (size_t i = 0; i < 2; i++) {
        page[i][0] = guarded(keys);
        page[i][1] = guarded(values);
        by[i]->kv_write[type](page[i][0], page[i][1], in[0], in[1], dim, slot);
    }
    bool same =
        check_same(page[0][0], page[1][0], keys, 2, "keys, dim %zu, slot %zu", dim, slot) &&
        check_same(page[0][1], page[1][1], values, 2, "values, dim %zu, slot %zu", dim, slot);
    for (size_t i = 0; i < 2; i++) {
        guarded_free(page[i][0], keys);
        guarded_free(page[i][1], values);
        guarded_free(in[i], dim * sizeof(float));
    }
    return same;
}

static bool check_kv_write(const struct check_op *op, const struct kernels *k,
                           const struct kernels *scalar)
{
    for (size_t i = 0; i < ARRAY_LEN(head_dims); i++)
        for (size_t slot = 0; slot < KV_PAGE_TOKENS; slot++)
            if (!compare_write((enum kv_type)op->arg, head_dims[i], slot, k, scalar))
                return false;
    return true;
}

/* ---- attention ---- */

enum { PAGES_MAX = 2 * ATTN_SEGMENT_KEYS / KV_PAGE_TOKENS };

/* An item with all that it points to; what it must not read is NaN, or absent. */
struct attention {
    enum kv_type type;
    struct attn_item item;
    const void *pages[PAGES_MAX];
    size_t page_bytes, q_bytes, rows_bytes, l_bytes, o_bytes;
};

static void outputs_open(struct attention *a)
{
    a->item.m = guarded(a->rows_bytes);
    a->item.l = guarded(a->l_bytes);
    a->item.o = guarded(a->o_bytes);
}

static void outputs_close(struct attention *a)
{
    guarded_free(a->item.m, a->rows_bytes);
    guarded_free(a->item.l, a->l_bytes);
    guarded_free(a->item.o, a->o_bytes);
}

/* The pages that some row may read, written as far as there are tokens. */
static void pages_open(struct attention *a, uint64_t seed, bool tiny)
{
    const struct attn_item *item = &a->item;
    struct kernels scalar;
    kernels_init(&scalar, 0);
    uint32_t lowest = UINT32_MAX;
    for (size_t r = 0; r < item->rows; r++) {
        uint32_t end = item->pos[r] + 1;
        uint32_t low = item->window && end > item->window ? end - item->window : 0;
        lowest = low < lowest ? low : lowest;
    }
    lowest = lowest > item->key_begin ? lowest : item->key_begin;
    a->page_bytes = item->values_at + kv_values_bytes(a->type, item->dim);
    float *kv = guarded_floats(2 * item->dim);
    for (uint32_t i = lowest / KV_PAGE_TOKENS; i * KV_PAGE_TOKENS < item->key_end; i++) {
        uint8_t *page = guarded(a->page_bytes);
        memset(page, 0xff, a->page_bytes); // NaN in every type
        for (uint32_t s = 0; s < KV_PAGE_TOKENS && i * KV_PAGE_TOKENS + s < item->key_end; s++) {
            values_random(kv, 2 * item->dim, seed + i * KV_PAGE_TOKENS + s, tiny);
            scalar.kv_write[a->type](page + item->keys_at, page + item->values_at, kv,
                                     kv + item->dim, item->dim, s);
        }
        a->pages[i] = page;
    }
    guarded_free(kv, 2 * item->dim * sizeof(float));
}

struct attention_shape {
    size_t dim, rows, pad;
    uint32_t key_begin, key_end, window;
    float soft_cap;
    bool tiny;
};

/* Rows at the last key, next to it, or anywhere: also where they see none. */
static void attention_open(struct attention *a, enum kv_type type,
                           const struct attention_shape *shape, uint64_t seed)
{
    *a = (struct attention){.type = type};
    uint32_t *pos = guarded(shape->rows * sizeof(*pos));
    a->item = (struct attn_item){.q_stride = shape->dim + shape->pad,
                                 .pos = pos,
                                 .rows = shape->rows,
                                 .dim = shape->dim,
                                 .scale = 0.2f,
                                 .soft_cap = shape->soft_cap,
                                 .window = shape->window,
                                 .key_begin = shape->key_begin,
                                 .key_end = shape->key_end,
                                 .pages = a->pages,
                                 .keys_at = 64 * shape->pad,
                                 .o_stride = padded(shape->dim) + shape->pad};
    a->item.values_at = a->item.keys_at + kv_keys_bytes(type, shape->dim) + 64 * shape->pad;
    a->q_bytes = ((shape->rows - 1) * a->item.q_stride + shape->dim) * sizeof(float);
    a->rows_bytes = shape->rows * sizeof(float);
    a->l_bytes = shape->rows * KV_PAGE_TOKENS * sizeof(float);
    a->o_bytes = ((shape->rows - 1) * a->item.o_stride + padded(shape->dim)) * sizeof(float);
    float *q = guarded(a->q_bytes);
    values_random(q, a->q_bytes / sizeof(float), seed, shape->tiny);
    a->item.q = q;
    for (size_t r = 0; r < shape->rows; r++) {
        uint32_t any = draw(seed, r, 9) % (shape->key_end + 40);
        uint32_t nearly = shape->key_end - 1 - draw(seed, r, 8) % (shape->key_end < 9 ? 1 : 9);
        pos[r] = seed % 3 == 0 ? shape->key_end - 1 : r % 4 == seed % 4 ? any : nearly;
    }
    pages_open(a, seed, shape->tiny);
    outputs_open(a);
}

static void attention_close(struct attention *a)
{
    outputs_close(a);
    for (size_t i = 0; i < PAGES_MAX; i++)
        if (a->pages[i])
            guarded_free((void *)(uintptr_t)a->pages[i], a->page_bytes);
    guarded_free((void *)(uintptr_t)a->item.q, a->q_bytes);
    guarded_free((void *)(uintptr_t)a->item.pos, a->item.rows * sizeof(uint32_t));
}

static struct attention_shape attention_shape_at(size_t i)
{
    static const uint32_t windows[] = {0, 0, 1, 20, 64, 100, 1000};
    const uint32_t begin = i % 5 == 4 ? ATTN_SEGMENT_KEYS : 0;
    const uint32_t keys = i % 7 == 6 ? ATTN_SEGMENT_KEYS : 1 + draw(3, i, 0) % 200;
    return (struct attention_shape){.dim = head_dim_at(i),
                                    .rows = 1 + draw(3, i, 1) % 15,
                                    .pad = i % 3,
                                    .key_begin = begin,
                                    .key_end = begin + keys,
                                    .window = windows[i % ARRAY_LEN(windows)],
                                    .soft_cap = i % 4 == 3 ? 2.5f : 0,
                                    .tiny = i % 6 == 5};
}

static bool compare_attention(enum kv_type type, size_t i, const struct kernels *k,
                              const struct kernels *scalar)
{
    const struct attention_shape shape = attention_shape_at(i);
    struct attention want, got;
    attention_open(&want, type, &shape, i);
    got = want;
    outputs_open(&got);
    scalar->attn[type](&want.item);
    k->attn[type](&got.item);
#define SAME(what, bytes)                                                                          \
    check_same(want.item.what, got.item.what, bytes, 4, #what " of dim %zu, rows %zu, keys %u %u", \
               shape.dim, shape.rows, shape.key_begin, shape.key_end)
    bool same = SAME(m, got.rows_bytes) && SAME(l, got.l_bytes) && SAME(o, got.o_bytes);
#undef SAME
    for (size_t r = 0; same && r + 1 < shape.rows; r++)
        same = check_canary(got.item.o + r * got.item.o_stride + padded(shape.dim), shape.pad * 4,
                            "row of o");
    outputs_close(&got);
    attention_close(&want);
    return same;
}

static bool check_attn(const struct check_op *op, const struct kernels *k,
                       const struct kernels *scalar)
{
    for (size_t i = 0; i < 150; i++)
        if (!compare_attention((enum kv_type)op->arg, i, k, scalar))
            return false;
    return true;
}

static void bench_attn_run(const struct kernels *k, void *ctx)
{
    const struct attention *a = ctx;
    k->attn[a->type](&a->item);
}

static void bench_attn_close(void *ctx)
{
    attention_close(ctx);
    mem_free(ctx);
}

static bool bench_attn(const struct check_op *op, size_t i, struct bench_case *out)
{
    static const struct {
        size_t dim, rows;
    } cases[] = {{64, 1}, {64, 6}, {64, 8}, {128, 6}};
    if (i == ARRAY_LEN(cases))
        return false;
    const struct attention_shape shape = {
        .dim = cases[i].dim, .rows = cases[i].rows, .key_end = ATTN_SEGMENT_KEYS};
    struct attention *a = mem_alloc(sizeof(*a));
    attention_open(a, (enum kv_type)op->arg, &shape, 0);
    *out =
        (struct bench_case){.ops = 4.0 * (double)(shape.rows * shape.dim * ATTN_SEGMENT_KEYS),
                            .bytes = (double)(a->page_bytes * ATTN_SEGMENT_KEYS / KV_PAGE_TOKENS),
                            .run = bench_attn_run,
                            .close = bench_attn_close,
                            .ctx = a};
    snprintf(out->name, sizeof(out->name), "%zu x %zu", shape.rows, shape.dim);
    return true;
}

/* ---- merging ---- */

/* n segments of one row: m, then l, then o, the strides as great as may be. */
struct segments {
    size_t dim, n, m_stride, l_stride, o_stride;
    float *m, *l, *o, *out;
};

static size_t segment_floats(size_t n, size_t stride, size_t last)
{
    return (n - 1) * stride + last;
}

static void segments_open(struct segments *s, size_t dim, size_t n, uint64_t seed)
{
    *s = (struct segments){.dim = dim,
                           .n = n,
                           .m_stride = 1 + seed % 3,
                           .l_stride = KV_PAGE_TOKENS + seed % 5,
                           .o_stride = padded(dim) + seed % 7};
    s->m = guarded_floats(segment_floats(n, s->m_stride, 1));
    s->l = guarded_floats(segment_floats(n, s->l_stride, KV_PAGE_TOKENS));
    s->o = guarded_floats(segment_floats(n, s->o_stride, padded(dim)));
    s->out = guarded_floats(padded(dim));
    for (size_t i = 0; i < n; i++) {
        float *l = s->l + i * s->l_stride, *o = s->o + i * s->o_stride;
        const bool empty = draw(seed, i, 5) % 4 == 0;
        floats_random(s->m + i * s->m_stride, 1, seed + i);
        floats_random(l, KV_PAGE_TOKENS, seed + i);
        floats_random(o, padded(dim), seed + i);
        for (size_t j = 0; j < KV_PAGE_TOKENS; j++)
            l[j] = empty ? 0 : l[j] * l[j];
        if (empty) {
            s->m[i * s->m_stride] = -INFINITY;
            memset(o, 0, padded(dim) * sizeof(float));
        }
    }
}

static void segments_close(struct segments *s)
{
    guarded_free(s->m, segment_floats(s->n, s->m_stride, 1) * sizeof(float));
    guarded_free(s->l, segment_floats(s->n, s->l_stride, KV_PAGE_TOKENS) * sizeof(float));
    guarded_free(s->o, segment_floats(s->n, s->o_stride, padded(s->dim)) * sizeof(float));
    guarded_free(s->out, padded(s->dim) * sizeof(float));
}

static void segments_run(const struct kernels *k, void *ctx)
{
    const struct segments *s = ctx;
    k->attn_merge(s->out, s->dim, s->n, s->m, s->m_stride, s->l, s->l_stride, s->o, s->o_stride);
}

static bool check_attn_merge(const struct check_op *op, const struct kernels *k,
                             const struct kernels *scalar)
{
    (void)op;
    bool same = true;
    for (size_t i = 0; same && i < 100; i++) {
        struct segments want, got;
        segments_open(&want, head_dim_at(i), 1 + i % 9, i);
        got = want;
        got.out = guarded_floats(padded(want.dim));
        segments_run(scalar, &want);
        segments_run(k, &got);
        same = check_same(want.out, got.out, padded(want.dim) * sizeof(float), sizeof(float),
                          "dim %zu, %zu segments", want.dim, want.n);
        guarded_free(got.out, padded(want.dim) * sizeof(float));
        segments_close(&want);
    }
    return same;
}

static void bench_segments_close(void *ctx)
{
    segments_close(ctx);
    mem_free(ctx);
}

static bool bench_attn_merge(const struct check_op *op, size_t i, struct bench_case *out)
{
    (void)op;
    if (i > 0)
        return false;
    struct segments *s = mem_alloc(sizeof(*s));
    segments_open(s, 64, 4, 1);
    *out = (struct bench_case){.bytes = 4 * 81 * sizeof(float),
                               .run = segments_run,
                               .close = bench_segments_close,
                               .ctx = s};
    snprintf(out->name, sizeof(out->name), "4 of 64");
    return true;
}

/* ---- the table ---- */

#define F32_PRODUCTS "multiplies f32: a dot of bf16 would round the weights of the keys"
#define NO_BF16 "multiplies integers and f32"
#define NO_SIGN "moves signs by vpsignb, which has no form of 512 bits"
#define COPIES "copies words to 16 slots apart, which no vector instruction does faster"
#define SMALL "a hundredth of the time that products with as many rows take"

/* bf16 and Q8_0, each with an instruction of its own. */
#define ATTN(name, type, avxvnni, avx512, vnni, bf16)     \
    {                                                     \
        name, offsetof(struct kernels, attn[type]), type, \
            {[LEVEL_AVXVNNI] = avxvnni,                   \
             [LEVEL_AVX512] = avx512,                     \
             [LEVEL_VNNI] = vnni,                         \
             [LEVEL_BF16] = bf16},                        \
            check_attn, bench_attn                        \
    }

static const struct check_op attn_ops[] = {
    OP("attn_f32", attn[KV_F32], KV_F32, NULL, NULL, F32_PRODUCTS, check_attn, bench_attn),
    OP("attn_f16", attn[KV_F16], KV_F16, NULL, NULL, F32_PRODUCTS, check_attn, bench_attn),
    ATTN("attn_bf16", KV_BF16, "multiplies bf16", NULL, "multiplies bf16", NULL),
    ATTN("attn_q8_0", KV_Q8_0, NULL, NO_SIGN, NULL, NO_BF16),
    OP("attn_merge", attn_merge, 0, NULL, NULL, NO_PRODUCTS, check_attn_merge, bench_attn_merge),
    OP("kv_write_f32", kv_write[KV_F32], KV_F32, COPIES, COPIES, NO_PRODUCTS, check_kv_write, NULL),
    OP("kv_write_f16", kv_write[KV_F16], KV_F16, NULL, NULL, NO_PRODUCTS, check_kv_write, NULL),
    OP("kv_write_bf16", kv_write[KV_BF16], KV_BF16, NULL, NULL, NO_PRODUCTS, check_kv_write, NULL),
    OP("kv_write_q8_0", kv_write[KV_Q8_0], KV_Q8_0, SMALL, SMALL, NO_PRODUCTS, check_kv_write,
       NULL),
};

const struct check_table check_attn_table = {attn_ops, ARRAY_LEN(attn_ops)};
