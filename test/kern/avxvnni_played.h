/* test/kern/avxvnni_played.h - AVX2's instructions in the place of AVX-VNNI's own two, so that all
 * else of its functions is tried on processors that lack it. */
#ifndef TEST_KERN_AVXVNNI_PLAYED_H
#define TEST_KERN_AVXVNNI_PLAYED_H

#include <immintrin.h>

/* Four products of u8 and int8 to each int32: of bytes 0 and 2, and of bytes 1 and 3. */
static inline __m256i played_dpbusd(__m256i sum, __m256i a, __m256i b)
{
    const __m256i low = _mm256_set1_epi16(255);
    const __m256i even = _mm256_srai_epi16(_mm256_slli_epi16(b, 8), 8);
    const __m256i odd = _mm256_srai_epi16(b, 8);
    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_and_si256(a, low), even));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_srli_epi16(a, 8), odd));
}

static inline __m256i played_dpwssd(__m256i sum, __m256i a, __m256i b)
{
    return _mm256_add_epi32(sum, _mm256_madd_epi16(a, b));
}

#define _mm256_dpbusd_avx_epi32 played_dpbusd
#define _mm256_dpwssd_avx_epi32 played_dpwssd

#endif
