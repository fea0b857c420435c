/* Products against sums in float64 of the exact weights and the activations as
 * the kernel takes them.  The bound is derived: one rounding of 2^-24 for each
 * float operation on the way of an output, relative to the sum of magnitudes.
 * Every level this machine has is measured. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "kernels/cpu.h"
#include "kernels/kernels.h"
#include "rows.h"
#include "tensor/half.h"
#include "tensor/quant.h"

struct product {
    enum gemm_type type;
    size_t rows, k, tokens;
    float *w;   /* (rows, k): exact weights */
    float *x;   /* (tokens, k) */
    float *x_k; /* (tokens, k): x as the kernel rounds it */
};

/* What int8 per block makes of x, written from docs/kernels.md. */
static void round_blocks(const float *x, float *out, size_t n, size_t block)
{
    for (size_t b = 0; b < n; b += block) {
        float max = 0;
        for (size_t i = b; i < b + block; i++)
            max = fmaxf(max, fabsf(x[i]));
        float inverse = max > 0 ? 127 / max : 0;
        for (size_t i = b; i < b + block; i++)
            out[i] = rintf(x[i] * inverse) * (max / 127);
    }
}

static void round_acts(struct product *p)
{
    size_t n = p->tokens * p->k;
    switch (act_kind_of(p->type)) {
    case ACT_BF16:
        for (size_t i = 0; i < n; i++)
            p->x_k[i] = f32_from_bf16(bf16_from_f32(p->x[i]));
        break;
    case ACT_Q8_32:
        round_blocks(p->x, p->x_k, n, 32);
        break;
    case ACT_Q8_256:
        round_blocks(p->x, p->x_k, n, 256);
        break;
    default:
        memcpy(p->x_k, p->x, n * sizeof(float));
    }
}

/* Float operations that touch one output, at most. */
static size_t operations(enum gemm_type type, size_t k)
{
    switch (act_kind_of(type)) {
    case ACT_Q8_32:
        return k / 32 + 4;
    case ACT_Q8_256:
        return k / 256 + 16 + 8;
    default:
        return k + 4;
    }
}

static bool has_mins(enum gemm_type type)
{
    return type == GEMM_Q4_1 || type == GEMM_Q5_1 || type == GEMM_Q2_K || type == GEMM_Q4_K ||
           type == GEMM_Q5_K;
}

/* Largest magnitude that adds up inside an output: mins count apart. */
static double magnitude(const struct product *p, size_t r, size_t t)
{
    double sum = 0, max_w = 0;
    for (size_t i = 0; i < p->k; i++)
        max_w = fmax(max_w, fabs((double)p->w[r * p->k + i]));
    for (size_t i = 0; i < p->k; i++) {
        double w = fabs((double)p->w[r * p->k + i]);
        if (has_mins(p->type))
            w += 4 * max_w;
        sum += w * fabs((double)p->x_k[t * p->k + i]);
    }
    return sum;
}

static void check_outputs(const struct product *p, const float *y, size_t y_stride)
{
    for (size_t t = 0; t < p->tokens; t++)
        for (size_t r = 0; r < p->rows; r++) {
            double want = 0;
            for (size_t i = 0; i < p->k; i++)
                want += (double)p->w[r * p->k + i] * (double)p->x_k[t * p->k + i];
            double miss = fabs(want - (double)y[t * y_stride + r]);
            double bound = (double)operations(p->type, p->k) * 0x1p-24 * magnitude(p, r, t);
            if (!(miss <= bound))
                fail_msg("type %d k %zu row %zu token %zu: %g, not %g (bound %g)", p->type, p->k, r,
                         t, (double)y[t * y_stride + r], want, bound);
        }
}

static void product_run(const struct kernels *kern, struct product *p)
{
    const enum act_kind kind = act_kind_of(p->type);
    const size_t row_size = row_bytes(p->type, p->k), n_panels = (p->rows + 15) / 16;
    const size_t y_stride = n_panels * PANEL_ROWS, act_size = act_bytes(kind, p->k);
    const size_t panel_size = panel_bytes(p->type, p->k);
    uint8_t *file = mem_array(p->rows, row_size);
    uint8_t *panels = mem_aligned(KERN_ALIGN, n_panels * panel_size);
    uint8_t *acts = mem_aligned(KERN_ALIGN, p->tokens * act_size);
    float *y = mem_array(p->tokens, y_stride * sizeof(float));
    assert_true(file && panels && acts && y);
    rows_random(p->type, file, p->rows, p->k, 5);
    for (size_t r = 0; r < p->rows; r++)
        dequantize_row(row_dtype[p->type], file + r * row_size, p->w + r * p->k, p->k);
    for (size_t i = 0; i < n_panels; i++)
        panel_pack(p->type, panels + i * panel_size, file + i * PANEL_ROWS * row_size, row_size,
                   p->rows - i * PANEL_ROWS < 16 ? p->rows - i * PANEL_ROWS : 16, p->k);
    for (size_t t = 0; t < p->tokens; t += tile_width(t, p->tokens))
        kern->act_pack[kind](acts + t * act_size, p->x + t * p->k, p->k, p->k,
                             tile_width(t, p->tokens));
    kern->gemm[p->type](y, y_stride, panels, n_panels, acts, p->k, p->tokens);
    check_outputs(p, y, y_stride);
    for (size_t t = 0; t < p->tokens; t++) // rows that only fill the panel
        for (size_t r = p->rows; r < y_stride; r++)
            assert_true(y[t * y_stride + r] == 0);
    mem_free(file);
    mem_free(panels);
    mem_free(acts);
    mem_free(y);
}

static void check_product(enum gemm_type type, size_t rows, size_t k, size_t tokens)
{
    struct product p = {type, rows, k, tokens, NULL, NULL, NULL};
    p.w = mem_array(rows * k, sizeof(float));
    p.x = mem_array(tokens * k, sizeof(float));
    p.x_k = mem_array(tokens * k, sizeof(float));
    assert_true(p.w && p.x && p.x_k);
    floats_random(p.x, tokens * k, k + tokens);
    round_acts(&p);
    const unsigned levels[] = {0,
                               CPU_AVX2,
                               CPU_AVX2 | CPU_AVXVNNI,
                               CPU_AVX2 | CPU_AVX512,
                               CPU_AVX2 | CPU_AVX512 | CPU_VNNI,
                               ~0u};
    for (size_t i = 0; i < ARRAY_LEN(levels); i++) {
        struct kernels kern;
        kernels_init(&kern, cpu_detect() & levels[i]);
        product_run(&kern, &p);
    }
    mem_free(p.w);
    mem_free(p.x);
    mem_free(p.x_k);
}

static void close_to_float64(void **state)
{
    (void)state;
    for (int type = 0; type < GEMM_TYPES; type++) {
        check_product(type, 16, row_step(type), 1);
        check_product(type, 37, 512, 15);
        check_product(type, 3, 768, 3);
    }
}

static void close_to_float64_at_odd_widths(void **state)
{
    (void)state;
    const size_t widths[] = {1, 7, 172, 301};
    const enum gemm_type types[] = {GEMM_F32, GEMM_F16, GEMM_BF16};
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        for (size_t j = 0; j < ARRAY_LEN(widths); j++)
            check_product(types[i], 20, widths[j], 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(close_to_float64),
        cmocka_unit_test(close_to_float64_at_odd_widths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
