/* kernels/scalar/gemm_float.c - products with F32, F16 and BF16 weights, as
 * docs/kernels.md defines them. */
#include <math.h>
#include <string.h>

#include "kernels/kernels.h"
#include "kernels/scalar/bf16.h"
#include "kernels/scalar/gemm.h"
#include "tensor/half.h"

/* Token t of a tile of `width` tokens against the 16 rows of one panel. */
typedef void (*scalar_dot)(float y[PANEL_ROWS], const void *panel, const void *tile, size_t width,
                           size_t t, size_t k);

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

static void dot_bf16(float y[PANEL_ROWS], const void *panel, const void *tile, size_t width,
                     size_t t, size_t k)
{
    const uint16_t *w = panel, *x = tile;
    float acc[PANEL_ROWS] = {0};
    for (size_t i = 0; i < (k + 1) / 2; i++)
        for (size_t r = 0; r < PANEL_ROWS; r++)
            acc[r] = bf16_dot_pair(acc[r], &w[(i * PANEL_ROWS + r) * 2], &x[(i * width + t) * 2]);
    memcpy(y, acc, sizeof(acc));
}

/* Walks panels and tiles. */
static void walk(enum gemm_type type, scalar_dot dot, float *y, size_t y_stride, const void *panels,
                 size_t n_panels, const void *acts, size_t k, size_t tokens)
{
    const size_t panel_size = panel_bytes(type, k), token_size = act_bytes(act_kind_of(type), k);
    for (size_t p = 0; p < n_panels; p++) {
        const uint8_t *panel = (const uint8_t *)panels + p * panel_size;
        for (size_t t0 = 0, width; t0 < tokens; t0 += width) {
            const uint8_t *tile = (const uint8_t *)acts + t0 * token_size;
            width = tile_width(t0, tokens);
            for (size_t t = 0; t < width; t++)
                dot(y + (t0 + t) * y_stride + p * PANEL_ROWS, panel, tile, width, t, k);
        }
    }
}

static void gemm_f32(float *y, size_t y_stride, const void *panels, size_t n_panels,
                     const void *acts, size_t k, size_t tokens)
{
    walk(GEMM_F32, dot_f32, y, y_stride, panels, n_panels, acts, k, tokens);
}

static void gemm_f16(float *y, size_t y_stride, const void *panels, size_t n_panels,
                     const void *acts, size_t k, size_t tokens)
{
    walk(GEMM_F16, dot_f16, y, y_stride, panels, n_panels, acts, k, tokens);
}

static void gemm_bf16(float *y, size_t y_stride, const void *panels, size_t n_panels,
                      const void *acts, size_t k, size_t tokens)
{
    walk(GEMM_BF16, dot_bf16, y, y_stride, panels, n_panels, acts, k, tokens);
}

void scalar_gemm_float_init(struct kernels *k)
{
    k->gemm[GEMM_F32] = gemm_f32;
    k->gemm[GEMM_F16] = gemm_f16;
    k->gemm[GEMM_BF16] = gemm_bf16;
}
