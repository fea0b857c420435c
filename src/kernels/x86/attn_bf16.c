/* kernels/x86/attn_bf16.c - attention over bf16 by vdpbf16ps; what it does: tmpl/attn.inc. */
#include <string.h>

#include "base/ckd.h"
#include "kernels/attn_inline.h"
#include "kernels/math_inline.h"
#include "kernels/tmpl/inline.h"
#include "kernels/vec_init.h"
#include "kernels/x86/v16_avx512.h"

/* The instruction takes subnormals for zeros: exp gives none. */
static inline v16 round_weights(uint16_t *p, v16 a)
{
    const __m256i rounded = (__m256i)_mm512_cvtneps_pbh(a);
    _mm256_storeu_si256((__m256i *)p, rounded);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(rounded), 16));
}

#define LEVEL(f) JOIN(f, _bf16)
#define HAS_ROUND_WEIGHTS
#include "kernels/tmpl/attn.inc"

/* An odd dim ends with a pair whose second half is 0: scales are finite and positive. */
static void start_pairs(struct tile *tile, size_t r, const float *q)
{
    const size_t dim = tile->item->dim;
    const v16 scale = v16_set1(tile->item->scale);
    for (size_t d = 0; d < dim; d += LANES) {
        const size_t n = min_size(dim - d, LANES);
        uint16_t halves[LANES];
        v16_store_bf16(halves, v16_mul(v16_load_n(q + d, n), scale));
        for (size_t i = 0; i < n; i += 2)
            memcpy(tile->q.bf16 + (d + i) * TILE_ROWS + r * 2, halves + i, 4);
    }
}

static inline v16 dot_pair(v16 sum, const uint16_t *factors, size_t part, __m512i v)
{
    int32_t pair;
    (void)part;
    memcpy(&pair, factors, 4);
    return _mm512_dpbf16_ps(sum, (__m512bh)v, (__m512bh)_mm512_set1_epi32(pair));
}

static inline __m512i load_pair(const uint16_t *p, size_t part, uint32_t seen)
{
    (void)part;
    return _mm512_and_si512(_mm512_loadu_si512(p), _mm512_set1_epi32((int)seen));
}

#define KV_NAME bf16
#define KV_START start_pairs
#define KV_INTEGER 0
#define KV_TILE_WIDTH V16_TILE_WIDTH
#define KV_STEP 2
#define KV_ROUNDED true
#define KV_FLUSHED false
#define KV uint16_t
#define KV_PARTS 1
#define KV_VECTOR __m512i
#define KV_LOAD load_pair
#define KV_FACTOR uint16_t
#define KV_DOT dot_pair
#define KV_QUERY(tile) (tile)->q.bf16
#define KV_WEIGHTS(tile) (tile)->bf16
#include "kernels/tmpl/attn_rows.inc"

void kern_vec_init_attn_bf16(struct kernels *k)
{
    k->attn[KV_BF16] = attn_bf16_bf16;
}
