/* Rows of each type; the types in blocks of 256 are in quant_k.c.
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
#include "tensor/half.h"
#include "tensor/quant_impl.h"

bool quant_all_finite(const float *x, int n)
{
    float sum = 0; // an infinity or NaN times zero is a NaN, which no sum loses
    for (int i = 0; i < n; i++)
        sum += x[i] * 0.0f;
    return sum == 0;
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

float quant_symmetric_scale(const float *x, int n, int levels)
{
    float peak = 0;
    for (int i = 0; i < n; i++)
        peak = fabsf(x[i]) > fabsf(peak) ? x[i] : peak;
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

static void q8_0_decode(const void *row, float *out, uint64_t k)
{
    const struct block_q8_0 *b = row;
    for (const float *end = out + k; out < end; b++, out += QK) {
        float d = f32_from_f16(b->d);
        for (int i = 0; i < QK; i++)
            out[i] = d * (float)b->qs[i];
    }
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

static bool q8_0_encode(const float *x, void *out, uint64_t k)
{
    struct block_q8_0 *b = out;
    bool finite = true;
    for (const float *end = x + k; x < end; b++, x += QK)
        finite &= q8_0_block(x, b);
    return finite;
}

static void q4_0_decode(const void *row, float *out, uint64_t k)
{
    const struct block_q4_0 *b = row;
    for (const float *end = out + k; out < end; b++, out += QK) {
        float d = f32_from_f16(b->d);
        for (int i = 0; i < QK / 2; i++) {
            out[i] = d * (float)((b->qs[i] & 15) - 8);
            out[i + QK / 2] = d * (float)((b->qs[i] >> 4) - 8);
        }
    }
}

static uint8_t q4_0_item(float x, float d)
{
    return (uint8_t)(quant_clamp(quant_round(x / d), -8, 7) + 8);
}

static bool q4_0_block(const float *x, struct block_q4_0 *b)
{
    memset(b->qs, 0x88, sizeof(b->qs));
    b->d = 0;
    if (!quant_all_finite(x, QK))
        return false;
    uint16_t half = f16_from_f32(quant_symmetric_scale(x, QK, 8));
    float d = f32_from_f16(half);
    if (!isfinite(d))
        return false;
    if (d == 0)
        return true;
    b->d = half;
    for (int i = 0; i < QK / 2; i++)
        b->qs[i] = (uint8_t)(q4_0_item(x[i], d) | q4_0_item(x[i + QK / 2], d) << 4);
    return true;
}

static bool q4_0_encode(const float *x, void *out, uint64_t k)
{
    struct block_q4_0 *b = out;
    bool finite = true;
    for (const float *end = x + k; x < end; b++, x += QK)
        finite &= q4_0_block(x, b);
    return finite;
}

static void f32_decode(const void *row, float *out, uint64_t k)
{
    memcpy(out, row, (size_t)k * sizeof(*out));
}

static bool f32_encode(const float *x, void *row, uint64_t k)
{
    float *out = row;
    bool finite = true;
    for (uint64_t i = 0; i < k; i++) {
        bool good = isfinite(x[i]);
        out[i] = good ? x[i] : 0;
        finite &= good;
    }
    return finite;
}

static void f16_decode(const void *row, float *out, uint64_t k)
{
    const uint16_t *half = row;
    for (uint64_t i = 0; i < k; i++)
        out[i] = f32_from_f16(half[i]);
}

static bool f16_encode(const float *x, void *row, uint64_t k)
{
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

static void bf16_decode(const void *row, float *out, uint64_t k)
{
    const uint16_t *half = row;
    for (uint64_t i = 0; i < k; i++)
        out[i] = f32_from_bf16(half[i]);
}

static bool bf16_encode(const float *x, void *row, uint64_t k)
{
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
    void (*decode)(const void *row, float *out, uint64_t k);
    bool (*encode)(const float *x, void *row, uint64_t k);
};

static const struct codec *codec_of(enum dtype type, uint64_t k)
{
    static const struct codec codecs[] = {
        [DTYPE_F32] = {f32_decode, f32_encode},    [DTYPE_F16] = {f16_decode, f16_encode},
        [DTYPE_BF16] = {bf16_decode, bf16_encode}, [DTYPE_Q8_0] = {q8_0_decode, q8_0_encode},
        [DTYPE_Q4_0] = {q4_0_decode, q4_0_encode}, [DTYPE_Q4_K] = {q4_k_decode, q4_k_encode},
        [DTYPE_Q6_K] = {q6_k_decode, q6_k_encode},
    };
    ASSERT(type < ARRAY_LEN(codecs) && codecs[type].decode);
    ASSERT(k % dtype_info(type)->block_items == 0);
    return &codecs[type];
}

void dequantize_row(enum dtype type, const void *row, float *out, uint64_t k)
{
    codec_of(type, k)->decode(row, out, k);
}

int quantize_row(enum dtype type, const float *row, void *out, uint64_t k)
{
    return codec_of(type, k)->encode(row, out, k) ? 0 : REALM_E_NUMERIC;
}
