/* Rows of each type, and the quantisers of types with one scale for 32 items.
 *
 * Every quantiser first settles the scales it will store, in the precision it
 * stores them, and then takes for each item the nearest value these allow: no
 * choice of items under the same scales has a smaller error. */
#include "tensor/quant.h"

#include <math.h>
#include <string.h>

#include "base/assert.h"
#include "realm/status.h"
#include "tensor/block.h"
#include "tensor/codes.h"
#include "tensor/half.h"
#include "tensor/quant_impl.h"

bool quant_all_finite(const float *x, int n)
{
    float sum = 0; // an infinity or NaN times zero is a NaN, which no sum loses
    for (int i = 0; i < n; i++)
        sum += x[i] * 0.0f;
    return sum == 0;
}

bool quant_in_range(const float *x, int n)
{
    float peak = 0;
    for (int i = 0; i < n; i++)
        peak = fmaxf(peak, fabsf(x[i]));
    return quant_all_finite(x, n) && peak <= QUANT_MAGNITUDE_MAX;
}

/* Fits one scale to the integers that the trial 1 / inverse gives and returns
 * by how much the squared error falls short of that of all zeros. */
static float fit_scale(const float *x, int n, int levels, float inverse, float *scale)
{
    float low = (float)-levels, high = (float)(levels - 1);
    float xq = 0, qq = 0;
    for (int i = 0; i < n; i++) {
        float q = quant_clamp(quant_round(x[i] * inverse), low, high);
        xq += x[i] * q;
        qq += q * q;
    }
    *scale = qq > 0 ? xq / qq : 0;
    return *scale * xq;
}

/* The value of the greatest magnitude. */
static float peak_of(const float *x, int n)
{
    float peak = 0;
    for (int i = 0; i < n; i++)
        peak = fabsf(x[i]) > fabsf(peak) ? x[i] : peak;
    return peak;
}

float quant_symmetric_scale(const float *x, int n, int levels)
{
    float peak = peak_of(x, n);
    if (fabsf(peak) < 0x1p-40f) // its scale is nothing in f16, and its square might be
        return 0;
    float best = 0, best_gain = 0;
    // The peak lands near -levels, the end of the range that reaches further.
    for (int step = -9; step <= 9; step++) {
        float scale;
        float gain = fit_scale(x, n, levels, -((float)levels + 0.1f * (float)step) / peak, &scale);
        if (gain > best_gain) {
            best_gain = gain;
            best = scale;
        }
    }
    return best;
}

static bool q8_0_block(const float *x, struct block_q8_0 *b)
{
    memset(b, 0, sizeof(*b));
    float peak = 0;
    for (int i = 0; i < QK; i++)
        peak = fmaxf(peak, fabsf(x[i]));
    uint16_t half = f16_from_f32(peak / 127);
    float d = f32_from_f16(half);
    if (!quant_all_finite(x, QK) || !isfinite(d))
        return false;
    if (d == 0)
        return true;
    b->d = half;
    for (int i = 0; i < QK; i++)
        b->qs[i] = (int8_t)quant_clamp(quant_round(x[i] / d), -127, 127);
    return true;
}

bool q8_0_encode(enum dtype type, const float *x, void *out, uint64_t k)
{
    (void)type;
    struct block_q8_0 *b = out;
    bool finite = true;
    for (const float *end = x + k; x < end; b++, x += QK)
        finite &= q8_0_block(x, b);
    return finite;
}

/* The integer of x, from low on. */
static float symmetric_item(float x, float d, float low)
{
    return quant_clamp(quant_round(x / d), low, -low - 1);
}

/* Infinite where f16 has no such scale. */
static float symmetric_error(const float *x, uint16_t half, float low)
{
    float d = f32_from_f16(half), error = 0;
    if (!isfinite(d))
        return INFINITY;
    for (int i = 0; i < QK; i++) {
        float miss = x[i] - (d != 0 ? d * symmetric_item(x[i], d, low) : 0);
        error += miss * miss;
    }
    return error;
}

/* The scale that fits best, or the one that puts the greatest value at the end of the range:
 * of a block that has such a scale already, as f16, the fit may find another that f16 rounds. */
static uint16_t symmetric_half(const float *x, float low)
{
    uint16_t fit = f16_from_f32(quant_symmetric_scale(x, QK, (int)-low));
    uint16_t end = f16_from_f32(peak_of(x, QK) / low);
    return symmetric_error(x, end, low) <= symmetric_error(x, fit, low) ? end : fit;
}

static bool symmetric_block(const struct code_type *t, const float *x, uint16_t *d_half,
                            uint8_t *codes)
{
    memset(codes, t->offset, QK);
    *d_half = 0;
    if (!quant_in_range(x, QK))
        return false;
    float low = -(float)t->offset;
    uint16_t half = symmetric_half(x, low);
    float d = f32_from_f16(half);
    if (!isfinite(d))
        return false;
    if (d == 0)
        return true;
    *d_half = half;
    for (int i = 0; i < QK; i++)
        codes[i] = (uint8_t)(symmetric_item(x[i], d, low) - low);
    return true;
}

bool symmetric_encode(enum dtype type, const float *x, void *out, uint64_t k)
{
    const struct code_type *t = code_type(type);
    const uint32_t bytes = dtype_info(type)->block_bytes;
    bool finite = true;
    uint8_t *block = out, codes[QK];
    for (const float *end = x + k; x < end; block += bytes, x += QK) {
        uint16_t d;
        finite &= symmetric_block(t, x, &d, codes);
        memset(block, 0, bytes);
        memcpy(block, &d, 2);
        block_set_codes(type, block, codes);
    }
    return finite;
}

/* All quantised types. */
static void blocks_decode(enum dtype type, const void *row, float *out, uint64_t k)
{
    const struct code_type *t = code_type(type);
    const uint8_t *block = row;
    for (const float *end = out + k; out < end; out += t->items) {
        uint8_t codes[QK_K];
        int8_t q[QK_K];
        struct block_scales scales;
        block_codes(type, block, codes);
        block_scales(type, block, &scales);
        code_integers(t, codes, q);
        block_values(t, &scales, q, out);
        block += dtype_info(type)->block_bytes;
    }
}

static void f32_decode(enum dtype type, const void *row, float *out, uint64_t k)
{
    (void)type;
    memcpy(out, row, (size_t)k * sizeof(*out));
}

static bool f32_encode(enum dtype type, const float *x, void *row, uint64_t k)
{
    (void)type;
    float *out = row;
    bool finite = true;
    for (uint64_t i = 0; i < k; i++) {
        bool good = isfinite(x[i]);
        out[i] = good ? x[i] : 0;
        finite &= good;
    }
    return finite;
}

static void f16_decode(enum dtype type, const void *row, float *out, uint64_t k)
{
    (void)type;
    const uint16_t *half = row;
    for (uint64_t i = 0; i < k; i++)
        out[i] = f32_from_f16(half[i]);
}

static bool f16_encode(enum dtype type, const float *x, void *row, uint64_t k)
{
    (void)type;
    uint16_t *out = row;
    bool finite = true;
    for (uint64_t i = 0; i < k; i++) {
        uint16_t half = f16_from_f32(x[i]);
        bool good = (half & 0x7c00) != 0x7c00;
        out[i] = good ? half : 0;
        finite &= good;
    }
    return finite;
}

static void bf16_decode(enum dtype type, const void *row, float *out, uint64_t k)
{
    (void)type;
    const uint16_t *half = row;
    for (uint64_t i = 0; i < k; i++)
        out[i] = f32_from_bf16(half[i]);
}

static bool bf16_encode(enum dtype type, const float *x, void *row, uint64_t k)
{
    (void)type;
    uint16_t *out = row;
    bool finite = true;
    for (uint64_t i = 0; i < k; i++) {
        uint16_t half = bf16_from_f32(x[i]);
        bool good = (half & 0x7f80) != 0x7f80;
        out[i] = good ? half : 0;
        finite &= good;
    }
    return finite;
}

struct codec {
    void (*decode)(enum dtype type, const void *row, float *out, uint64_t k);
    bool (*encode)(enum dtype type, const float *x, void *row, uint64_t k);
};

static const struct codec *codec_of(enum dtype type, uint64_t k)
{
    static const struct codec codecs[] = {
        [DTYPE_F32] = {f32_decode, f32_encode},
        [DTYPE_F16] = {f16_decode, f16_encode},
        [DTYPE_BF16] = {bf16_decode, bf16_encode},
        [DTYPE_Q8_0] = {blocks_decode, q8_0_encode},
        [DTYPE_Q4_0] = {blocks_decode, symmetric_encode},
        [DTYPE_Q4_1] = {blocks_decode, affine_encode},
        [DTYPE_Q5_0] = {blocks_decode, symmetric_encode},
        [DTYPE_Q5_1] = {blocks_decode, affine_encode},
        [DTYPE_IQ4_NL] = {blocks_decode, iq4_nl_encode},
        [DTYPE_MXFP4] = {blocks_decode, mxfp4_encode},
        [DTYPE_Q2_K] = {blocks_decode, affine_k_encode},
        [DTYPE_Q3_K] = {blocks_decode, symmetric_k_encode},
        [DTYPE_Q4_K] = {blocks_decode, affine_k_encode},
        [DTYPE_Q5_K] = {blocks_decode, affine_k_encode},
        [DTYPE_Q6_K] = {blocks_decode, symmetric_k_encode},
        [DTYPE_IQ4_XS] = {blocks_decode, iq4_xs_encode},
    };
    ASSERT(type < ARRAY_LEN(codecs) && codecs[type].decode);
    ASSERT(k % dtype_info(type)->block_items == 0);
    return &codecs[type];
}

void dequantize_row(enum dtype type, const void *row, float *out, uint64_t k)
{
    codec_of(type, k)->decode(type, row, out, k);
}

int quantize_row(enum dtype type, const float *row, void *out, uint64_t k)
{
    return codec_of(type, k)->encode(type, row, out, k) ? 0 : REALM_E_NUMERIC;
}
