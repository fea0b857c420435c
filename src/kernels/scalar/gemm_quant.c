/* kernels/scalar/gemm_quant.c - products with quantised weights, as
 * docs/kernels.md defines them: exact integer sums, few float operations. */
#include <math.h>
#include <string.h>

#include "kernels/panel.h"
#include "kernels/scalar/gemm.h"
#include "tensor/half.h"

/* What one token has in one block of a tile. */
struct act {
    const int8_t *q; /* four at q + g * step for k group g */
    size_t step;
    const uint8_t *block;
    size_t width, t;
};

static struct act act_at(const void *tile, size_t b, size_t block_bytes, size_t width, size_t t)
{
    const uint8_t *block = (const uint8_t *)tile + b * block_bytes * width;
    return (struct act){(const int8_t *)block + t * 4, width * 4, block, width, t};
}

/* The f32 of this token in the array that starts `at` bytes (for one token). */
static float act_f32(const struct act *a, size_t at)
{
    float value;
    memcpy(&value, a->block + at * a->width + a->t * 4, sizeof(value));
    return value;
}

/* Sum of the q of sub-block s of 32. */
static int32_t act_sum32(const struct act *a, size_t s)
{
    int32_t sum = 0;
    for (size_t i = 0; i < 32; i++)
        sum += a->q[(s * 8 + i / 4) * a->step + i % 4];
    return sum;
}

/* Adds the four products of one line to the sum of each row; bytes of the line
 * are shifted right and masked, less `zero`. */
static void line_sum(int32_t sum[PANEL_ROWS], uint8_t const line[PANEL_ROWS][4], int shift,
                     int mask, int zero, const int8_t *x)
{
    for (size_t r = 0; r < PANEL_ROWS; r++)
        for (size_t i = 0; i < 4; i++)
            sum[r] += ((line[r][i] >> shift & mask) - zero) * x[i];
}

/* acc = fma(float(sum) * d_w, d_x, acc): the step of the blocks of 32. */
static void block32_end(float acc[PANEL_ROWS], const int32_t sum[PANEL_ROWS],
                        const uint16_t d[PANEL_ROWS], float dx)
{
    for (size_t r = 0; r < PANEL_ROWS; r++)
        acc[r] = fmaf((float)sum[r] * f32_from_f16(d[r]), dx, acc[r]);
}

static void dot_q8_0(float y[PANEL_ROWS], const void *panel, const void *tile, size_t width,
                     size_t t, size_t k)
{
    float acc[PANEL_ROWS] = {0};
    for (size_t b = 0; b < k / QK; b++) {
        const struct panel_q8_0 *p = (const struct panel_q8_0 *)panel + b / 2;
        struct act a = act_at(tile, b, ACT32_BYTES, width, t);
        int32_t sum[PANEL_ROWS] = {0};
        for (size_t g = 0; g < 8; g++)
            line_sum(sum, p->q[b % 2][g], 0, 255, 128, a.q + g * a.step);
        block32_end(acc, sum, p->d[b % 2], act_f32(&a, ACT32_D));
    }
    memcpy(y, acc, sizeof(acc));
}

/* Adds the 32 products of a sub-block whose halves of 16 stand in low and high nibbles. */
static void nibbles_sum(int32_t sum[PANEL_ROWS], uint8_t const lines[4][PANEL_ROWS][4], int zero,
                        const int8_t *x, size_t step)
{
    for (size_t g = 0; g < 4; g++) {
        line_sum(sum, lines[g], 0, 15, zero, x + g * step);
        line_sum(sum, lines[g], 4, 15, zero, x + (g + 4) * step);
    }
}

static void dot_q4_0(float y[PANEL_ROWS], const void *panel, const void *tile, size_t width,
                     size_t t, size_t k)
{
    float acc[PANEL_ROWS] = {0};
    for (size_t b = 0; b < k / QK; b++) {
        const struct panel_q4_0 *p = (const struct panel_q4_0 *)panel + b / 2;
        struct act a = act_at(tile, b, ACT32_BYTES, width, t);
        int32_t sum[PANEL_ROWS] = {0};
        nibbles_sum(sum, p->q[b % 2], 8, a.q, a.step);
        block32_end(acc, sum, p->d[b % 2], act_f32(&a, ACT32_D));
    }
    memcpy(y, acc, sizeof(acc));
}

/* blk = -dmin * float(sum of min * sum of q): where a block of Q4_K begins. */
static void q4_k_mins(float blk[PANEL_ROWS], const struct panel_q4_k *p, const struct act *a)
{
    int32_t sums[8];
    for (size_t s = 0; s < 8; s++)
        sums[s] = act_sum32(a, s);
    for (size_t r = 0; r < PANEL_ROWS; r++) {
        int32_t sum = 0;
        for (size_t s = 0; s < 8; s++)
            sum += panel_q4_k_min(p, r, s) * sums[s];
        blk[r] = (float)sum * -f32_from_f16(p->dmin[r]);
    }
}

static void dot_q4_k(float y[PANEL_ROWS], const void *panel, const void *tile, size_t width,
                     size_t t, size_t k)
{
    float acc[PANEL_ROWS] = {0}, blk[PANEL_ROWS];
    for (size_t b = 0; b < k / QK_K; b++) {
        const struct panel_q4_k *p = (const struct panel_q4_k *)panel + b;
        struct act a = act_at(tile, b, ACT256_BYTES, width, t);
        q4_k_mins(blk, p, &a);
        for (size_t s = 0; s < 8; s++) {
            int32_t sum[PANEL_ROWS] = {0};
            nibbles_sum(sum, p->q[s], 0, a.q + s * 8 * a.step, a.step);
            for (size_t r = 0; r < PANEL_ROWS; r++) {
                float d = f32_from_f16(p->d[r]) * (float)panel_q4_k_scale(p, r, s);
                blk[r] = fmaf((float)sum[r], d, blk[r]);
            }
        }
        for (size_t r = 0; r < PANEL_ROWS; r++)
            acc[r] = fmaf(blk[r], act_f32(&a, ACT256_D), acc[r]);
    }
    memcpy(y, acc, sizeof(acc));
}

static void dot_q6_k(float y[PANEL_ROWS], const void *panel, const void *tile, size_t width,
                     size_t t, size_t k)
{
    float acc[PANEL_ROWS] = {0};
    for (size_t b = 0; b < k / QK_K; b++) {
        const struct panel_q6_k *p = (const struct panel_q6_k *)panel + b;
        struct act a = act_at(tile, b, ACT256_BYTES, width, t);
        float blk[PANEL_ROWS] = {0};
        for (size_t s = 0; s < 16; s++)
            for (size_t r = 0; r < PANEL_ROWS; r++) {
                int32_t sum = 0;
                for (size_t i = s * 16; i < s * 16 + 16; i++)
                    sum += (panel_q6_k_item(p, r, i) - 32) * a.q[i / 4 * a.step + i % 4];
                blk[r] = fmaf((float)sum, p->d[r] * (float)panel_q6_k_scale(p, r, s), blk[r]);
            }
        for (size_t r = 0; r < PANEL_ROWS; r++)
            acc[r] = fmaf(blk[r], act_f32(&a, ACT256_D), acc[r]);
    }
    memcpy(y, acc, sizeof(acc));
}

void gemm_q8_0_scalar(float *y, size_t y_stride, const void *panels, size_t n_panels,
                      const void *acts, size_t k, size_t tokens)
{
    scalar_gemm(GEMM_Q8_0, dot_q8_0, y, y_stride, panels, n_panels, acts, k, tokens);
}

void gemm_q4_0_scalar(float *y, size_t y_stride, const void *panels, size_t n_panels,
                      const void *acts, size_t k, size_t tokens)
{
    scalar_gemm(GEMM_Q4_0, dot_q4_0, y, y_stride, panels, n_panels, acts, k, tokens);
}

void gemm_q4_k_scalar(float *y, size_t y_stride, const void *panels, size_t n_panels,
                      const void *acts, size_t k, size_t tokens)
{
    scalar_gemm(GEMM_Q4_K, dot_q4_k, y, y_stride, panels, n_panels, acts, k, tokens);
}

void gemm_q6_k_scalar(float *y, size_t y_stride, const void *panels, size_t n_panels,
                      const void *acts, size_t k, size_t tokens)
{
    scalar_gemm(GEMM_Q6_K, dot_q6_k, y, y_stride, panels, n_panels, acts, k, tokens);
}
