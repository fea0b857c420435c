/* kernels/x86/gemm_bf16.c - the product with BF16 weights by vdpbf16ps. */
#include <immintrin.h>
#include <string.h>

#include "base/ckd.h"
#include "base/limits.h"
#include "kernels/gemm_init.h"
#include "kernels/kernels.h"
#include "kernels/panel.h"
#include "kernels/tmpl/fetch.h"
#include "kernels/tmpl/inline.h"
#include "kernels/x86/simd512.inc"

typedef vi bf16_w, bf16_x;

ALWAYS_INLINE bf16_w bf16_load(const uint8_t *panel, size_t i, size_t half)
{
    return v_load(panel + i * LINE_BYTES + half * LANES * 4);
}

ALWAYS_INLINE bf16_x bf16_token(const uint8_t *x)
{
    return v_bcast(x);
}

ALWAYS_INLINE vf bf16_step(vf acc, bf16_w w, bf16_x x)
{
    return _mm512_dpbf16_ps(acc, (__m512bh)w, (__m512bh)x);
}

#define ISA _bf16
#define FLOAT_PANELS 2
#define FLOAT_CHAINS 16
#define OP bf16
#define TYPE GEMM_BF16
#define STEP_BYTES LINE_BYTES
#define STEPS(k) (((k) + 1) / 2)
#include "kernels/tmpl/gemm_float.inc"

void gemm_init_bf16(struct kernels *k)
{
    k->gemm[GEMM_BF16] = gemm_bf16_bf16;
}
