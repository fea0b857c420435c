/* kernels/x86/gemm_avx2.c - products on half panels: AVX2, FMA and F16C, without
 * AVX-512. */
#include <immintrin.h>
#include <string.h>

#include "base/ckd.h"
#include "base/limits.h"
#include "kernels/gemm_init.h"
#include "kernels/kernels.h"
#include "kernels/panel.h"
#include "kernels/tmpl/fetch.h"
#include "kernels/tmpl/inline.h"
#include "kernels/x86/simd256.inc"

ALWAYS_INLINE vi v_add16(vi a, vi b)
{
    return _mm256_add_epi16(a, b);
}

ALWAYS_INLINE vi v_maddubs(vi a, vi b)
{
    return _mm256_maddubs_epi16(a, b);
}

ALWAYS_INLINE vi v_madd16(vi a, vi b)
{
    return _mm256_madd_epi16(a, b);
}

typedef struct {
    vi magnitude, value;
} w8;

/* Of weights plus 128. */
ALWAYS_INLINE w8 w8_make(vi stored)
{
    const vi value = _mm256_xor_si256(stored, v_set8(-128));
    return (w8){_mm256_abs_epi8(value), value};
}

/* x with the signs of w. */
ALWAYS_INLINE vi w8_signed(w8 w, vi x)
{
    return _mm256_sign_epi8(x, w.value);
}

#define ISA _avx2
#define TILE_WIDE 4 // accumulators for more do not fit 16 registers
#define FLOAT_PANELS 2
#define FLOAT_CHAINS 8
#define UNPACK_FROM 16
#include "kernels/tmpl/dot_madd.inc"

#include "kernels/tmpl/floats.inc"
#include "kernels/tmpl/gemm_quant.inc"

void gemm_init_avx2(struct kernels *k)
{
    k->gemm[GEMM_F32] = gemm_f32_avx2;
    k->gemm[GEMM_F16] = gemm_f16_avx2;
    k->gemm[GEMM_BF16] = gemm_bf16_flushed_avx2;
    gemm_quant_init_avx2(k);
}
