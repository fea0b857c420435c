/* kernels/scalar/gemm_quant.c - products with quantised weights, as
 * docs/kernels.md defines them: exact integer sums, few float operations. */
#include <math.h>
#include <string.h>

#include "base/compiler.h"
#include "kernels/panel.h"
#include "kernels/scalar/gemm.h"
#include "tensor/half.h"

/* How a block becomes a step of the sum: docs/kernels.md has the table. */
enum shape {
    INTS = 0,   /* one integer for the block */
    FLOATS = 1, /* one float operation for each sub-block */
    MINS = 2,   /* mins come first; a flag */
};

/* A type and a block of each row of a panel. */
struct weights {
    const struct code_type *code;
    enum shape shape;
    struct panel_block rows[PANEL_ROWS];
};

/* A block of one token; an item of q is four int8. */
struct act {
    uint32_t q[QK_K / 4];
    float d;
};

static uint32_t load_u32(const uint8_t *p)
{
    uint32_t word;
    memcpy(&word, p, 4);
    return word;
}

static void act_read(struct act *a, const uint8_t *tile, size_t b, size_t items, size_t width,
                     size_t t)
{
    const size_t size = items == QK ? ACT32_BYTES : ACT256_BYTES;
    const uint8_t *block = tile + b * size * width;
    for (size_t g = 0; g < items / 4; g++)
        a->q[g] = load_u32(block + (g * width + t) * 4);
    memcpy(&a->d, block + (items == QK ? ACT32_D : ACT256_D) * width + t * 4, 4);
}

/* n: a multiple of 16. */
static int32_t dot(const int8_t *a, const int8_t *b, size_t n)
{
    int32_t sum = 0;
    for (const int8_t *end = a + n; a < end; a += 16, b += 16)
        for (size_t i = 0; i < 16; i++) // a constant: becomes vectors
            sum += a[i] * b[i];
    return sum;
}

static int32_t sum_of(const int8_t *x, size_t n)
{
    int32_t sum = 0;
    for (const int8_t *end = x + n; x < end; x += 16)
        for (size_t i = 0; i < 16; i++)
            sum += x[i];
    return sum;
}

/* -min * float(sum of m * sum of x) */
static float mins_of(const struct code_type *code, const struct panel_block *w, const int8_t *x)
{
    const size_t n = code->sub_items;
    int32_t sum = 0;
    for (size_t i = 0; i < code->items; i += n)
        sum += w->scales.m[i / n] * sum_of(x + i, n);
    return (float)sum * -w->scales.min;
}

static float floats_of(const struct code_type *code, const struct panel_block *w, const int8_t *x,
                       float blk)
{
    const size_t n = code->sub_items;
    for (size_t i = 0; i < code->items; i += n)
        blk = fmaf((float)dot(w->q + i, x + i, n), w->scales.d * (float)w->scales.sc[i / n], blk);
    return blk;
}

static int32_t ints_of(const struct code_type *code, const struct panel_block *w, const int8_t *x)
{
    const size_t n = code->sub_items;
    int32_t sum = 0;
    for (size_t i = 0; i < code->items; i += n)
        sum += w->scales.sc[i / n] * dot(w->q + i, x + i, n);
    return sum;
}

static float step(const struct weights *w, size_t r, const struct act *a, float acc)
{
    const struct panel_block *row = &w->rows[r];
    const int8_t *x = (const int8_t *)a->q;
    float blk = w->shape & MINS ? mins_of(w->code, row, x) : 0;
    if (w->shape & FLOATS)
        return fmaf(floats_of(w->code, row, x, blk), a->d, acc);
    const float sum = (float)ints_of(w->code, row, x);
    if (w->shape & MINS)
        return fmaf(fmaf(sum, row->scales.d, blk), a->d, acc);
    return fmaf(sum * row->scales.d, a->d, acc);
}

/* One panel against all tokens; y: of its first row and the first token. */
static void panel_gemm(float *y, size_t y_stride, const struct panel_type *type, struct weights *w,
                       const uint8_t *panel, const uint8_t *acts, size_t k, size_t tokens)
{
    const size_t items = w->code->items;
    const size_t token_size = act_bytes(items == QK ? ACT_Q8_32 : ACT_Q8_256, k);
    struct act a;
    for (size_t b = 0; b < k / items; b++) {
        for (size_t r = 0; r < PANEL_ROWS; r++)
            panel_block_read(&w->rows[r], type, panel, b, r);
        for (size_t t0 = 0, width; t0 < tokens; t0 += width) {
            width = tile_width(t0, tokens);
            for (size_t t = 0; t < width; t++) {
                float *out = y + (t0 + t) * y_stride;
                act_read(&a, acts + t0 * token_size, b, items, width, t);
                for (size_t r = 0; r < PANEL_ROWS; r++)
                    out[r] = step(w, r, &a, b ? out[r] : 0);
            }
        }
    }
}

static void quant_gemm(enum gemm_type gemm, enum dtype dtype, enum shape shape, float *y,
                       size_t y_stride, const void *panels, size_t n_panels, const void *acts,
                       size_t k, size_t tokens)
{
    struct weights w;
    w.code = code_type(dtype);
    w.shape = shape;
    for (size_t p = 0; p < n_panels; p++)
        panel_gemm(y + p * PANEL_ROWS, y_stride, panel_type(gemm), &w,
                   (const uint8_t *)panels + p * panel_bytes(gemm, k), acts, k, tokens);
}

#define GEMMS(DO)                 \
    DO(q8_0, Q8_0, INTS)          \
    DO(q4_0, Q4_0, INTS)          \
    DO(q4_1, Q4_1, INTS | MINS)   \
    DO(q5_0, Q5_0, INTS)          \
    DO(q5_1, Q5_1, INTS | MINS)   \
    DO(iq4_nl, IQ4_NL, INTS)      \
    DO(mxfp4, MXFP4, INTS)        \
    DO(q2_k, Q2_K, INTS | MINS)   \
    DO(q3_k, Q3_K, INTS)          \
    DO(q4_k, Q4_K, FLOATS | MINS) \
    DO(q5_k, Q5_K, FLOATS | MINS) \
    DO(q6_k, Q6_K, FLOATS)        \
    DO(iq4_xs, IQ4_XS, INTS)

#define DEFINE(name, type, shape)                                                            \
    static void gemm_##name(float *y, size_t y_stride, const void *panels, size_t n_panels,  \
                            const void *acts, size_t k, size_t tokens)                       \
    {                                                                                        \
        quant_gemm(GEMM_##type, DTYPE_##type, shape, y, y_stride, panels, n_panels, acts, k, \
                   tokens);                                                                  \
    }
GEMMS(DEFINE)

void scalar_gemm_quant_init(struct kernels *k)
{
#define ENTER(name, type, shape) k->gemm[GEMM_##type] = gemm_##name;
    GEMMS(ENTER)
}
