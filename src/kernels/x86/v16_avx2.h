/* kernels/x86/v16_avx2.h - sixteen floats in two registers. */
#ifndef KERNELS_X86_V16_AVX2_H
#define KERNELS_X86_V16_AVX2_H

#include <immintrin.h>
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    __m256 a, b;
} v16;

/* The most rows of a tile. */
#define V16_TILE_ROWS 6
/* Pages (of keys) or pairs of registers (of values) that a tile of so many rows
 * takes at once: of 16 registers 12 hold sums, and fewer than 8 sums would wait. */
#define V16_TILE_WIDTH(rows) ((rows) == 1 ? 4 : (rows) <= 3 ? 2 : 1)
/* The same where halves of pairs are taken one after the other: they have two factors. */
#define V16_HALVES_WIDTH(rows) ((rows) == 1 ? 4 : (rows) == 2 ? 2 : 1)

static inline v16 v16_of(__m256 a, __m256 b)
{
    return (v16){a, b};
}

/* AVX2's products are not faster than memory comes by itself. */
static inline void v16_ask(const void *p)
{
    (void)p;
}

static inline v16 v16_set1(float a)
{
    return v16_of(_mm256_set1_ps(a), _mm256_set1_ps(a));
}

static inline v16 v16_load(const float *p)
{
    return v16_of(_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8));
}

static inline void v16_store(float *p, v16 x)
{
    _mm256_storeu_ps(p, x.a);
    _mm256_storeu_ps(p + 8, x.b);
}

/* All ones in the lanes from first on that are below n. */
static inline __m256i v16_below(int first, size_t n)
{
    __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n - first), lane);
}

/* The first n (0 to 16) of p; zeros in the other lanes. */
static inline v16 v16_load_n(const float *p, size_t n)
{
    return v16_of(_mm256_maskload_ps(p, v16_below(0, n)),
                  _mm256_maskload_ps(p + 8, v16_below(8, n)));
}

static inline void v16_store_n(float *p, v16 x, size_t n)
{
    _mm256_maskstore_ps(p, v16_below(0, n), x.a);
    _mm256_maskstore_ps(p + 8, v16_below(8, n), x.b);
}

static inline v16 v16_load_f16(const uint16_t *p)
{
    return v16_of(_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p)),
                  _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(p + 8))));
}

static inline void v16_store_f16(uint16_t *p, v16 x)
{
    _mm_storeu_si128((__m128i *)p, _mm256_cvtps_ph(x.a, _MM_FROUND_TO_NEAREST_INT));
    _mm_storeu_si128((__m128i *)(p + 8), _mm256_cvtps_ph(x.b, _MM_FROUND_TO_NEAREST_INT));
}

static inline __m256 v16_half_bf16(const uint16_t *p)
{
    __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}

static inline v16 v16_load_bf16(const uint16_t *p)
{
    return v16_of(v16_half_bf16(p), v16_half_bf16(p + 8));
}

/* To the nearest, ties to even, in the low halves; a NaN stays one. */
static inline __m256i v16_half_round_bf16(__m256 a)
{
    const __m256i bits = _mm256_castps_si256(a), high = _mm256_srli_epi32(bits, 16);
    const __m256i up =
        _mm256_add_epi32(_mm256_and_si256(high, _mm256_set1_epi32(1)), _mm256_set1_epi32(0x7fff));
    const __m256i near = _mm256_srli_epi32(_mm256_add_epi32(bits, up), 16);
    const __m256i quiet = _mm256_or_si256(high, _mm256_set1_epi32(0x40));
    const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(a, a, _CMP_UNORD_Q));
    return _mm256_blendv_epi8(near, quiet, nan);
}

static inline void v16_store_bf16(uint16_t *p, v16 x)
{
    __m256i both = _mm256_packus_epi32(v16_half_round_bf16(x.a), v16_half_round_bf16(x.b));
    _mm256_storeu_si256((__m256i *)p, _mm256_permute4x64_epi64(both, 0xd8));
}

/* The odd or the even ones of 16 pairs of bf16, and-ed with their half of `mask`. */
static inline v16 v16_load_half(const uint16_t *p, bool odd, uint32_t mask)
{
    const __m256i bits = _mm256_set1_epi32((int)(odd ? mask & 0xffff0000 : mask));
    __m256i a = _mm256_and_si256(_mm256_loadu_si256((const __m256i *)p), bits);
    __m256i b = _mm256_and_si256(_mm256_loadu_si256((const __m256i *)(p + 16)), bits);
    if (!odd) {
        a = _mm256_slli_epi32(a, 16);
        b = _mm256_slli_epi32(b, 16);
    }
    return v16_of(_mm256_castsi256_ps(a), _mm256_castsi256_ps(b));
}

static inline v16 v16_load_i8(const int8_t *p)
{
    __m128i bytes = _mm_loadu_si128((const __m128i *)p);
    __m256i a = _mm256_cvtepi8_epi32(bytes);
    __m256i b = _mm256_cvtepi8_epi32(_mm_unpackhi_epi64(bytes, bytes));
    return v16_of(_mm256_cvtepi32_ps(a), _mm256_cvtepi32_ps(b));
}

/* Rounded to integers, ties to even, that must be within -127 and 127. */
static inline void v16_store_i8(int8_t *p, v16 x)
{
    __m256i words = _mm256_packs_epi32(_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b));
    words = _mm256_permute4x64_epi64(words, 0xd8);
    __m128i bytes =
        _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    _mm_storeu_si128((__m128i *)p, bytes);
}

static inline v16 v16_add(v16 x, v16 y)
{
    return v16_of(_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b));
}

static inline v16 v16_sub(v16 x, v16 y)
{
    return v16_of(_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b));
}

static inline v16 v16_mul(v16 x, v16 y)
{
    return v16_of(_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b));
}

static inline v16 v16_div(v16 x, v16 y)
{
    return v16_of(_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b));
}

static inline v16 v16_negate(v16 x)
{
    const __m256 sign = _mm256_set1_ps(-0.0f);
    return v16_of(_mm256_xor_ps(x.a, sign), _mm256_xor_ps(x.b, sign));
}

/* x * y + z */
static inline v16 v16_fma(v16 x, v16 y, v16 z)
{
    return v16_of(_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b));
}

static inline v16 v16_max(v16 x, v16 y)
{
    return v16_of(_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b));
}

static inline __m256 v16_half_shl_add(__m256 a, __m256 b)
{
    __m256i shifted = _mm256_slli_epi32(_mm256_castps_si256(b), 23);
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(a), shifted));
}

static inline v16 v16_shl_add(v16 x, v16 y)
{
    return v16_of(v16_half_shl_add(x.a, y.a), v16_half_shl_add(x.b, y.b));
}

static inline v16 v16_select_le(v16 x, v16 y, v16 yes, v16 no)
{
    return v16_of(_mm256_blendv_ps(no.a, yes.a, _mm256_cmp_ps(x.a, y.a, _CMP_LE_OQ)),
                  _mm256_blendv_ps(no.b, yes.b, _mm256_cmp_ps(x.b, y.b, _CMP_LE_OQ)));
}

static inline __m256 v16_half_range(__m256 a, int first, size_t lo, size_t hi, __m256 other)
{
    __m256i in = _mm256_andnot_si256(v16_below(first, lo), v16_below(first, hi));
    return _mm256_blendv_ps(other, a, _mm256_castsi256_ps(in));
}

/* x in lanes lo to hi - 1, other elsewhere. */
static inline v16 v16_select_range(v16 x, size_t lo, size_t hi, v16 other)
{
    return v16_of(v16_half_range(x.a, 0, lo, hi, other.a), v16_half_range(x.b, 8, lo, hi, other.b));
}

static inline __m256 v16_half_rotate(__m256 x, __m256 cs)
{
    __m256 crossed = _mm256_mul_ps(_mm256_permute_ps(x, 0xb1), _mm256_movehdup_ps(cs));
    return _mm256_fmaddsub_ps(x, _mm256_moveldup_ps(cs), crossed);
}

/* Pairs (a, b) turned by pairs (c, s): (a c - b s, b c + a s). */
static inline v16 v16_rotate(v16 x, v16 cs)
{
    return v16_of(v16_half_rotate(x.a, cs.a), v16_half_rotate(x.b, cs.b));
}

static inline __m256i v16_half_bad(__m256 a)
{
    const __m256i exponent = _mm256_set1_epi32(0x7f800000);
    return _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_castps_si256(a), exponent), exponent);
}

static inline bool v16_all_finite(v16 x)
{
    __m256i bad = _mm256_or_si256(v16_half_bad(x.a), v16_half_bad(x.b));
    return _mm256_testz_si256(bad, bad);
}

static inline __m256 v16_low(v16 x)
{
    return x.a;
}

static inline __m256 v16_high(v16 x)
{
    return x.b;
}

#include "kernels/tmpl/v16_tree.inc"

#endif
