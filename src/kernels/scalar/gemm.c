/* kernels/scalar/gemm.c - the walk over panels and tiles, and the scalar table. */
#include "kernels/scalar/gemm.h"

#include "kernels/gemm_init.h"

void scalar_gemm(enum gemm_type type, scalar_dot dot, float *y, size_t y_stride, const void *panels,
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

void gemm_init_scalar(struct kernels *k)
{
    k->gemm[GEMM_F32] = gemm_f32_scalar;
    k->gemm[GEMM_F16] = gemm_f16_scalar;
    k->gemm[GEMM_BF16] = gemm_bf16_scalar;
    k->gemm[GEMM_Q8_0] = gemm_q8_0_scalar;
    k->gemm[GEMM_Q4_0] = gemm_q4_0_scalar;
    k->gemm[GEMM_Q4_K] = gemm_q4_k_scalar;
    k->gemm[GEMM_Q6_K] = gemm_q6_k_scalar;
}
