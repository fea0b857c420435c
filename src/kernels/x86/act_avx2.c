/* kernels/x86/act_avx2.c - activations by AVX2. */
#include <immintrin.h>
#include <string.h>

#include "base/ckd.h"
#include "base/compiler.h"
#include "kernels/gemm_init.h"
#include "kernels/panel.h"
#include "kernels/tmpl/inline.h"
#include "kernels/x86/act.inc"
#include "kernels/x86/v16_avx2.h"

ALWAYS_INLINE float block_max(const float *x, const size_t n)
{
    const __m256 magnitude = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
    __m256 max = _mm256_setzero_ps();
    UNROLL
    for (size_t i = 0; i < n; i += 8)
        max = _mm256_max_ps(max, _mm256_and_ps(_mm256_loadu_ps(x + i), magnitude));
    __m128 m = _mm_max_ps(_mm256_castps256_ps128(max), _mm256_extractf128_ps(max, 1));
    m = _mm_max_ps(m, _mm_movehl_ps(m, m));
    return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
}

ALWAYS_INLINE __m256i rounded8(const float *x, __m256 factor)
{
    return _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x), factor));
}

ALWAYS_INLINE void block_round(int8_t *q, const float *x, const size_t n, float inverse)
{
    const __m256 factor = _mm256_set1_ps(inverse);
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7); // packs go by halves
    UNROLL
    for (size_t i = 0; i < n; i += 32, x += 32) {
        __m256i a = _mm256_packs_epi32(rounded8(x, factor), rounded8(x + 8, factor));
        __m256i b = _mm256_packs_epi32(rounded8(x + 16, factor), rounded8(x + 24, factor));
        __m256i bytes = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(a, b), order);
        _mm256_store_si256((__m256i *)(q + i), bytes);
    }
}

#define ISA _avx2
#include "kernels/tmpl/act_bf16.inc"
#include "kernels/tmpl/act_pack.inc"

void act_init_avx2(struct kernels *k)
{
    k->act_pack[ACT_BF16] = act_pack_bf16_avx2;
    k->act_pack[ACT_Q8_32] = act_pack_q8_32_avx2;
    k->act_pack[ACT_Q8_256] = act_pack_q8_256_avx2;
}
