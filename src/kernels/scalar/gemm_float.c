/* kernels/scalar/gemm_float.c - products with F32, F16 and BF16 weights, as
 * docs/kernels.md defines them. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "kernels/scalar/gemm.h"
#include "tensor/half.h"

static void dot_f32(float y[PANEL_ROWS], const void *panel, const void *tile, size_t width,
                    size_t t, size_t k)
{
    const float *w = panel, *x = tile;
    float acc[PANEL_ROWS] = {0};
    for (size_t i = 0; i < k; i++)
        for (size_t r = 0; r < PANEL_ROWS; r++)
            acc[r] = fmaf(w[i * PANEL_ROWS + r], x[i * width + t], acc[r]);
    memcpy(y, acc, sizeof(acc));
}

static void dot_f16(float y[PANEL_ROWS], const void *panel, const void *tile, size_t width,
                    size_t t, size_t k)
{
    const uint16_t *w = panel;
    const float *x = tile;
    float acc[PANEL_ROWS] = {0};
    for (size_t i = 0; i < k; i++)
        for (size_t r = 0; r < PANEL_ROWS; r++)
            acc[r] = fmaf(f32_from_f16(w[i * PANEL_ROWS + r]), x[i * width + t], acc[r]);
    memcpy(y, acc, sizeof(acc));
}

/* The dot instruction takes subnormals for zeros and makes none. */
static float flush(float x)
{
    return fabsf(x) < FLT_MIN ? copysignf(0, x) : x;
}

/* vdpbf16ps: the odd product first, then the even one, each with one rounding. */
static float dot_pair(float acc, const uint16_t w[2], const uint16_t x[2])
{
    for (int i = 1; i >= 0; i--)
        acc = flush(fmaf(flush(f32_from_bf16(w[i])), flush(f32_from_bf16(x[i])), acc));
    return acc;
}

static void dot_bf16(float y[PANEL_ROWS], const void *panel, const void *tile, size_t width,
                     size_t t, size_t k)
{
    const uint16_t *w = panel, *x = tile;
    float acc[PANEL_ROWS] = {0};
    for (size_t i = 0; i < (k + 1) / 2; i++)
        for (size_t r = 0; r < PANEL_ROWS; r++)
            acc[r] = dot_pair(acc[r], &w[(i * PANEL_ROWS + r) * 2], &x[(i * width + t) * 2]);
    memcpy(y, acc, sizeof(acc));
}

void gemm_f32_scalar(float *y, size_t y_stride, const void *panels, size_t n_panels,
                     const void *acts, size_t k, size_t tokens)
{
    scalar_gemm(GEMM_F32, dot_f32, y, y_stride, panels, n_panels, acts, k, tokens);
}

void gemm_f16_scalar(float *y, size_t y_stride, const void *panels, size_t n_panels,
                     const void *acts, size_t k, size_t tokens)
{
    scalar_gemm(GEMM_F16, dot_f16, y, y_stride, panels, n_panels, acts, k, tokens);
}

void gemm_bf16_scalar(float *y, size_t y_stride, const void *panels, size_t n_panels,
                      const void *acts, size_t k, size_t tokens)
{
    scalar_gemm(GEMM_BF16, dot_bf16, y, y_stride, panels, n_panels, acts, k, tokens);
}
