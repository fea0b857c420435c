/* kernels/x86/v16_avx512.h - sixteen floats in one register. */
#ifndef KERNELS_X86_V16_AVX512_H
#define KERNELS_X86_V16_AVX512_H

#include <immintrin.h>
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef __m512 v16;

/* The most rows of a tile. */
#define V16_TILE_ROWS 8
/* Pages (of keys) or registers (of values) that a tile of so many rows takes at
 * once: their product must stay below the number of registers. */
#define V16_TILE_WIDTH(rows) ((rows) <= 6 ? 4 : 2)
/* The same where halves of pairs are taken one after the other: they have two factors. */
#define V16_HALVES_WIDTH(rows) ((rows) <= 4 ? 4 : 2)

/* Asks for a line of memory that will be read soon. */
static inline void v16_ask(const void *p)
{
    _mm_prefetch((const char *)p, _MM_HINT_T0);
}

static inline v16 v16_set1(float a)
{
    return _mm512_set1_ps(a);
}

static inline v16 v16_load(const float *p)
{
    return _mm512_loadu_ps(p);
}

static inline void v16_store(float *p, v16 a)
{
    _mm512_storeu_ps(p, a);
}

static inline __mmask16 v16_below(size_t n)
{
    return (__mmask16)((1u << n) - 1);
}

/* The first n (0 to 16) of p; zeros in the other lanes. */
static inline v16 v16_load_n(const float *p, size_t n)
{
    return _mm512_maskz_loadu_ps(v16_below(n), p);
}

static inline void v16_store_n(float *p, v16 a, size_t n)
{
    _mm512_mask_storeu_ps(p, v16_below(n), a);
}

static inline v16 v16_load_f16(const uint16_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
}

static inline void v16_store_f16(uint16_t *p, v16 a)
{
    _mm256_storeu_si256((__m256i *)p, _mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT));
}

static inline v16 v16_load_bf16(const uint16_t *p)
{
    __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}

/* To the nearest, ties to even; a NaN stays one. */
static inline void v16_store_bf16(uint16_t *p, v16 a)
{
    const __m512i bits = _mm512_castps_si512(a), high = _mm512_srli_epi32(bits, 16);
    const __m512i up =
        _mm512_add_epi32(_mm512_and_si512(high, _mm512_set1_epi32(1)), _mm512_set1_epi32(0x7fff));
    __m512i near = _mm512_srli_epi32(_mm512_add_epi32(bits, up), 16);
    near = _mm512_mask_or_epi32(near, _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q), high,
                                _mm512_set1_epi32(0x40));
    _mm256_storeu_si256((__m256i *)p, _mm512_cvtepi32_epi16(near));
}

/* The odd or the even ones of 16 pairs of bf16, and-ed with their half of `mask`. */
static inline v16 v16_load_half(const uint16_t *p, bool odd, uint32_t mask)
{
    const __m512i bits = _mm512_set1_epi32((int)(odd ? mask & 0xffff0000 : mask));
    __m512i pairs = _mm512_and_si512(_mm512_loadu_si512(p), bits);
    return _mm512_castsi512_ps(odd ? pairs : _mm512_slli_epi32(pairs, 16));
}

static inline v16 v16_load_i8(const int8_t *p)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)p)));
}

/* Rounded to integers, ties to even, that must be within -127 and 127. */
static inline void v16_store_i8(int8_t *p, v16 a)
{
    _mm_storeu_si128((__m128i *)p, _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(a)));
}

static inline v16 v16_add(v16 a, v16 b)
{
    return _mm512_add_ps(a, b);
}

static inline v16 v16_sub(v16 a, v16 b)
{
    return _mm512_sub_ps(a, b);
}

static inline v16 v16_mul(v16 a, v16 b)
{
    return _mm512_mul_ps(a, b);
}

static inline v16 v16_div(v16 a, v16 b)
{
    return _mm512_div_ps(a, b);
}

static inline v16 v16_negate(v16 a)
{
    return _mm512_xor_ps(a, _mm512_set1_ps(-0.0f));
}

/* a * b + c */
static inline v16 v16_fma(v16 a, v16 b, v16 c)
{
    return _mm512_fmadd_ps(a, b, c);
}

static inline v16 v16_max(v16 a, v16 b)
{
    return _mm512_max_ps(a, b);
}

static inline v16 v16_shl_add(v16 a, v16 b)
{
    __m512i shifted = _mm512_slli_epi32(_mm512_castps_si512(b), 23);
    return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(a), shifted));
}

static inline v16 v16_select_le(v16 a, v16 b, v16 yes, v16 no)
{
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LE_OQ), no, yes);
}

/* a in lanes lo to hi - 1, other elsewhere. */
static inline v16 v16_select_range(v16 a, size_t lo, size_t hi, v16 other)
{
    return _mm512_mask_blend_ps((__mmask16)(v16_below(hi) & ~v16_below(lo)), other, a);
}

/* Pairs (a, b) turned by pairs (c, s): (a c - b s, b c + a s). */
static inline v16 v16_rotate(v16 x, v16 cs)
{
    v16 crossed = _mm512_mul_ps(_mm512_permute_ps(x, 0xb1), _mm512_movehdup_ps(cs));
    return _mm512_fmaddsub_ps(x, _mm512_moveldup_ps(cs), crossed);
}

static inline bool v16_all_finite(v16 a)
{
    const __m512i exponent = _mm512_set1_epi32(0x7f800000);
    __m512i bits = _mm512_and_si512(_mm512_castps_si512(a), exponent);
    return _mm512_cmpeq_epi32_mask(bits, exponent) == 0;
}

static inline __m256 v16_low(v16 a)
{
    return _mm512_castps512_ps256(a);
}

static inline __m256 v16_high(v16 a)
{
    return _mm512_extractf32x8_ps(a, 1);
}

#include "kernels/tmpl/v16_tree.inc"

#endif
