/* kernels/x86/gemm_avx512.c - products on whole panels without the dot
 * instructions: AVX-512 F, BW, DQ and VL. */
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

ALWAYS_INLINE vi v_add16(vi a, vi b)
{
    return _mm512_add_epi16(a, b);
}

ALWAYS_INLINE vi v_maddubs(vi a, vi b)
{
    return _mm512_maddubs_epi16(a, b);
}

ALWAYS_INLINE vi v_madd16(vi a, vi b)
{
    return _mm512_madd_epi16(a, b);
}

typedef struct {
    vi magnitude;
    __mmask64 negative;
} w8;

/* Of weights plus 128. */
ALWAYS_INLINE w8 w8_make(vi stored)
{
    const vi value = _mm512_xor_si512(stored, v_set8(-128));
    return (w8){_mm512_abs_epi8(value), _mm512_movepi8_mask(value)};
}

/* x with the signs of w. */
ALWAYS_INLINE vi w8_signed(w8 w, vi x)
{
    return _mm512_mask_sub_epi8(x, w.negative, _mm512_setzero_si512(), x);
}

#define ISA _avx512
#define TILE_WIDE 4 // for 8, gcc runs out of 32 registers
#define FLOAT_PANELS 2
#define FLOAT_CHAINS 16
#define UNPACK_FROM 16
#include "kernels/tmpl/dot_madd.inc"

#include "kernels/tmpl/floats.inc"
#include "kernels/tmpl/gemm_quant.inc"

void gemm_init_avx512(struct kernels *k)
{
    k->gemm[GEMM_F32] = gemm_f32_avx512;
    k->gemm[GEMM_F16] = gemm_f16_avx512;
    k->gemm[GEMM_BF16] = gemm_bf16_flushed_avx512;
    gemm_quant_init_avx512(k);
}
