/* kernels/x86/act_avx512.c - activations by AVX-512 F and BW. */
#include <immintrin.h>
#include <string.h>

#include "base/ckd.h"
#include "base/compiler.h"
#include "kernels/gemm_init.h"
#include "kernels/panel.h"
#include "kernels/tmpl/inline.h"
#include "kernels/x86/act.inc"
#include "kernels/x86/v16_avx512.h"

ALWAYS_INLINE float block_max(const float *x, const size_t n)
{
    __m512 max = _mm512_setzero_ps();
    UNROLL
    for (size_t i = 0; i < n; i += 16)
        max = _mm512_max_ps(max, _mm512_abs_ps(_mm512_loadu_ps(x + i)));
    return _mm512_reduce_max_ps(max);
}

ALWAYS_INLINE void block_round(int8_t *q, const float *x, const size_t n, float inverse)
{
    const __m512 factor = _mm512_set1_ps(inverse);
    UNROLL
    for (size_t i = 0; i < n; i += 16) {
        __m512i rounded = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x + i), factor));
        _mm_store_si128((__m128i *)(q + i), _mm512_cvtepi32_epi8(rounded));
    }
}

#define ISA _avx512
#include "kernels/tmpl/act_bf16.inc"
#include "kernels/tmpl/act_pack.inc"

void act_init_avx512(struct kernels *k)
{
    k->act_pack[ACT_BF16] = act_pack_bf16_avx512;
    k->act_pack[ACT_Q8_32] = act_pack_q8_32_avx512;
    k->act_pack[ACT_Q8_256] = act_pack_q8_256_avx512;
}
