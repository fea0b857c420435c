/* Q6_K and Q3_K: 16 sub-blocks of 16 with small integer scales and no mins.
 *
 * Each sub-block first gets the real-valued scale that fits it best; the block's
 * f16 scale is chosen so that the largest of them is the largest integer; then each
 * sub-block tries the integers around its own scale, with nearest items, and keeps
 * that of the least squared error. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "tensor/block.h"
#include "tensor/codes.h"
#include "tensor/half.h"
#include "tensor/quant_impl.h"

enum { SUBS = 16, ITEMS = 16 };

/* What tells the types apart. */
struct range {
    int levels; /* items are -levels to levels - 1 */
    float low;  /* scales are low to -low - 1 */
};

static float error_of(const float *x, float scale, int levels)
{
    float inverse = scale != 0 ? 1 / scale : 0, error = 0, low = (float)-levels;
    for (int i = 0; i < ITEMS; i++) {
        float miss = scale * quant_clamp(quant_round(x[i] * inverse), low, -low - 1) - x[i];
        error += miss * miss;
    }
    return error;
}

/* The integer near scale / d with the least error. */
static int8_t nearest_scale(const float *x, float scale, float d, struct range range)
{
    float middle = quant_round(scale / d), best = FLT_MAX;
    int8_t chosen = 0;
    for (int i = -1; i <= 1; i++) {
        float sc = quant_clamp(middle + (float)i, range.low, -range.low - 1);
        float error = error_of(x, d * sc, range.levels);
        if (error < best) {
            best = error;
            chosen = (int8_t)sc;
        }
    }
    return chosen;
}

static void items(const float *x, const int8_t *sc, float d, int levels, uint8_t *codes)
{
    float low = (float)-levels;
    for (int i = 0; i < QK_K; i++) {
        float scale = d * (float)sc[i / ITEMS];
        float q = scale != 0 ? quant_clamp(quant_round(x[i] / scale), low, -low - 1) : 0;
        codes[i] = (uint8_t)((int)q + levels);
    }
}

/* Scales, d (as an f16) and codes of one block; all zero where it says false. */
static bool block_fit(const float *x, struct range range, int8_t *sc, uint16_t *d_half,
                      uint8_t *codes)
{
    memset(codes, 0, QK_K);
    memset(sc, 0, SUBS);
    *d_half = 0;
    if (!quant_in_range(x, QK_K))
        return false;
    float scales[SUBS], widest = 0;
    for (int s = 0; s < SUBS; s++) {
        scales[s] = quant_symmetric_scale(x + s * ITEMS, ITEMS, range.levels);
        widest = fabsf(scales[s]) > fabsf(widest) ? scales[s] : widest;
    }
    uint16_t half = f16_from_f32(widest / range.low); // integers reach further below
    float d = f32_from_f16(half);
    if (!isfinite(d))
        return false;
    if (d == 0)
        return true;
    *d_half = half;
    for (int s = 0; s < SUBS; s++)
        sc[s] = nearest_scale(x + s * ITEMS, scales[s], d, range);
    items(x, sc, d, range.levels, codes);
    return true;
}

/* The counterpart of q3_k_scales in codes.c. */
static void q3_k_scales_pack(uint8_t *packed, const int8_t *sc)
{
    for (int s = 0; s < SUBS; s++) {
        unsigned bits = (unsigned)(sc[s] + 32);
        packed[s % 8] |= (uint8_t)((bits & 15) << s / 8 * 4);
        packed[8 + s % 4] |= (uint8_t)(bits >> 4 << s / 4 * 2);
    }
}

bool symmetric_k_encode(enum dtype type, const float *x, void *row, uint64_t k)
{
    const struct range range = {code_type(type)->offset, type == DTYPE_Q6_K ? -128 : -32};
    const uint32_t bytes = dtype_info(type)->block_bytes;
    bool finite = true;
    uint8_t *block = row;
    for (const float *end = x + k; x < end; block += bytes, x += QK_K) {
        int8_t sc[SUBS];
        uint8_t codes[QK_K];
        uint16_t d;
        finite &= block_fit(x, range, sc, &d, codes);
        memset(block, 0, bytes);
        if (type == DTYPE_Q6_K)
            memcpy(block + offsetof(struct block_q6_k, scales), sc, SUBS);
        else
            q3_k_scales_pack(block + offsetof(struct block_q3_k, scales), sc);
        memcpy(block + bytes - 2, &d, 2); // the last of both
        block_set_codes(type, block, codes);
    }
    return finite;
}
