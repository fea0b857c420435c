/* Q4_K and Q6_K: blocks of 256 whose sub-blocks have small integer scales.
 *
 * Both quantisers go the same way.  Each sub-block first gets the real-valued
 * scale that fits it best; the block's f16 scale is chosen so that the largest
 * of them is the largest integer; then each sub-block tries the integers around
 * its own scale, with nearest items, and keeps those of the least squared error. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "tensor/block.h"
#include "tensor/half.h"
#include "tensor/quant_impl.h"

enum {
    Q4_SUBS = 8,
    Q4_ITEMS = 32,
    Q6_SUBS = 16,
    Q6_ITEMS = 16,
};

/* Above this no f16 scale reaches; below it no square overflows. */
static const float MAGNITUDE_MAX = 65504.0f * 63 * 15;

static bool in_range(const float *x)
{
    float peak = 0;
    for (int i = 0; i < QK_K; i++)
        peak = fmaxf(peak, fabsf(x[i]));
    return quant_all_finite(x, QK_K) && peak <= MAGNITUDE_MAX;
}

/* The 8 scales and 8 mins of 6 bits: those of the first four sub-blocks lie in
 * the low bits of bytes 0 to 3 and 4 to 7; the others have their low 4 bits in
 * bytes 8 to 11 and their high 2 bits on top of the first eight bytes. */
static void scales_unpack(const uint8_t *packed, uint8_t *sc, uint8_t *m)
{
    for (int i = 0; i < 4; i++) {
        sc[i] = packed[i] & 63;
        m[i] = packed[i + 4] & 63;
        sc[i + 4] = (uint8_t)((packed[i + 8] & 15) | packed[i] >> 6 << 4);
        m[i + 4] = (uint8_t)(packed[i + 8] >> 4 | packed[i + 4] >> 6 << 4);
    }
}

static void scales_pack(uint8_t *packed, const uint8_t *sc, const uint8_t *m)
{
    for (int i = 0; i < 4; i++) {
        packed[i] = (uint8_t)(sc[i] | sc[i + 4] >> 4 << 6);
        packed[i + 4] = (uint8_t)(m[i] | m[i + 4] >> 4 << 6);
        packed[i + 8] = (uint8_t)((sc[i + 4] & 15) | m[i + 4] << 4);
    }
}

void q4_k_decode(const void *row, float *out, uint64_t k)
{
    const struct block_q4_k *b = row;
    for (const float *end = out + k; out < end; b++, out += QK_K) {
        float d = f32_from_f16(b->d), dmin = f32_from_f16(b->dmin);
        uint8_t sc[Q4_SUBS], m[Q4_SUBS];
        scales_unpack(b->scales, sc, m);
        for (int s = 0; s < Q4_SUBS; s++) {
            const uint8_t *qs = b->qs + s / 2 * Q4_ITEMS;
            float scale = d * (float)sc[s], min = dmin * (float)m[s];
            for (int i = 0; i < Q4_ITEMS; i++)
                out[s * Q4_ITEMS + i] = scale * (float)(qs[i] >> s % 2 * 4 & 15) - min;
        }
    }
}

/* x ~ scale * q - min with q of 0 to 15, scale >= 0 and min >= 0. */
struct affine {
    float scale;
    float min;
};

static float affine_error(const float *x, struct affine a)
{
    float inverse = a.scale > 0 ? 1 / a.scale : 0, error = 0;
    for (int i = 0; i < Q4_ITEMS; i++) {
        float q = quant_clamp(quant_round((x[i] + a.min) * inverse), 0, 15);
        float miss = a.scale * q - a.min - x[i];
        error += miss * miss;
    }
    return error;
}

/* The least-squares scale and min for the items that `guess` gives. */
static struct affine affine_fit(const float *x, struct affine guess)
{
    float inverse = 1 / guess.scale;
    float sum_q = 0, sum_qq = 0, sum_x = 0, sum_xq = 0;
    for (int i = 0; i < Q4_ITEMS; i++) {
        float q = quant_clamp(quant_round((x[i] + guess.min) * inverse), 0, 15);
        sum_q += q;
        sum_qq += q * q;
        sum_x += x[i];
        sum_xq += x[i] * q;
    }
    float det = Q4_ITEMS * sum_qq - sum_q * sum_q;
    if (det <= 0)
        return guess;
    struct affine fit = {
        .scale = (Q4_ITEMS * sum_xq - sum_q * sum_x) / det,
        .min = (sum_q * sum_xq - sum_qq * sum_x) / det,
    };
    if (fit.min < 0)
        fit = (struct affine){.scale = sum_xq / sum_qq, .min = 0};
    return fit.scale > 0 ? fit : guess;
}

static struct affine affine_search(const float *x)
{
    float low = 0, high = x[0]; // min is not negative, so the range starts at 0 or below
    for (int i = 0; i < Q4_ITEMS; i++) {
        low = x[i] < low ? x[i] : low;
        high = x[i] > high ? x[i] : high;
    }
    if (high - low < 0x1p-40f) // nothing in f16
        return (struct affine){.scale = 0, .min = -low};
    struct affine best = {0, 0};
    float best_error = FLT_MAX;
    // Narrower ranges cut off the extremes, wider ones leave room for the fit to shift.
    for (int step = -12; step <= 10; step++) {
        struct affine guess = {(high - low) / (15 - 0.1f * (float)step), -low};
        struct affine fit = affine_fit(x, guess);
        float error = affine_error(x, fit);
        if (error < best_error) {
            best_error = error;
            best = fit;
        }
    }
    return best;
}

/* The pair of integers near (a.scale / d, a.min / dmin) with the least error. */
static void affine_round(const float *x, struct affine a, float d, float dmin, uint8_t *sc,
                         uint8_t *m)
{
    float sc0 = d > 0 ? quant_round(a.scale / d) : 0;
    float m0 = dmin > 0 ? quant_round(a.min / dmin) : 0;
    float best = FLT_MAX;
    for (int i = 0; i < 9; i++) {
        float try_sc = quant_clamp(sc0 + (float)(i / 3 - 1), 0, 63);
        float try_m = quant_clamp(m0 + (float)(i % 3 - 1), 0, 63);
        float error = affine_error(x, (struct affine){d * try_sc, dmin * try_m});
        if (error < best) {
            best = error;
            *sc = (uint8_t)try_sc;
            *m = (uint8_t)try_m;
        }
    }
}

static void q4_k_items(const float *x, struct block_q4_k *b, const uint8_t *sc, const uint8_t *m)
{
    float d = f32_from_f16(b->d), dmin = f32_from_f16(b->dmin);
    for (int s = 0; s < Q4_SUBS; s++) {
        float scale = d * (float)sc[s], min = dmin * (float)m[s];
        uint8_t *qs = b->qs + s / 2 * Q4_ITEMS;
        for (int i = 0; scale > 0 && i < Q4_ITEMS; i++) {
            float q = quant_clamp(quant_round((x[s * Q4_ITEMS + i] + min) / scale), 0, 15);
            qs[i] |= (uint8_t)((uint8_t)q << s % 2 * 4);
        }
    }
}

static bool q4_k_block(const float *x, struct block_q4_k *b)
{
    memset(b, 0, sizeof(*b));
    if (!in_range(x))
        return false;
    struct affine a[Q4_SUBS];
    float scale_max = 0, min_max = 0;
    for (int s = 0; s < Q4_SUBS; s++) {
        a[s] = affine_search(x + s * Q4_ITEMS);
        scale_max = fmaxf(scale_max, a[s].scale);
        min_max = fmaxf(min_max, a[s].min);
    }
    uint16_t d_half = f16_from_f32(scale_max / 63), dmin_half = f16_from_f32(min_max / 63);
    float d = f32_from_f16(d_half), dmin = f32_from_f16(dmin_half);
    if (!isfinite(d) || !isfinite(dmin))
        return false;
    uint8_t sc[Q4_SUBS] = {0}, m[Q4_SUBS] = {0};
    for (int s = 0; s < Q4_SUBS; s++)
        affine_round(x + s * Q4_ITEMS, a[s], d, dmin, &sc[s], &m[s]);
    b->d = d_half;
    b->dmin = dmin_half;
    scales_pack(b->scales, sc, m);
    q4_k_items(x, b, sc, m);
    return true;
}

bool q4_k_encode(const float *x, void *row, uint64_t k)
{
    struct block_q4_k *b = row;
    bool finite = true;
    for (const float *end = x + k; x < end; b++, x += QK_K)
        finite &= q4_k_block(x, b);
    return finite;
}

/* Where item i of 256 has its 4 low bits (a byte of ql and a shift) and its 2
 * high bits (a byte of qh and a shift): each half of 128 items takes 64 bytes of
 * ql, two nibbles each, and 32 of qh, four pairs of bits each. */
struct q6_place {
    uint8_t ql, ql_shift, qh, qh_shift;
};

static struct q6_place q6_place(int i)
{
    int half = i / 128, quarter = i % 128 / 32, column = i % 32;
    return (struct q6_place){
        .ql = (uint8_t)(half * 64 + quarter % 2 * 32 + column),
        .ql_shift = (uint8_t)(quarter / 2 * 4),
        .qh = (uint8_t)(half * 32 + column),
        .qh_shift = (uint8_t)(quarter * 2),
    };
}

void q6_k_decode(const void *row, float *out, uint64_t k)
{
    const struct block_q6_k *b = row;
    for (const float *end = out + k; out < end; b++, out += QK_K) {
        float d = f32_from_f16(b->d);
        for (int i = 0; i < QK_K; i++) {
            struct q6_place at = q6_place(i);
            int q = (b->ql[at.ql] >> at.ql_shift & 15) | (b->qh[at.qh] >> at.qh_shift & 3) << 4;
            out[i] = d * (float)b->scales[i / Q6_ITEMS] * (float)(q - 32);
        }
    }
}

static float symmetric_error(const float *x, float scale)
{
    float inverse = scale != 0 ? 1 / scale : 0, error = 0;
    for (int i = 0; i < Q6_ITEMS; i++) {
        float miss = scale * quant_clamp(quant_round(x[i] * inverse), -32, 31) - x[i];
        error += miss * miss;
    }
    return error;
}

/* The integer near scale / d with the least error. */
static int8_t symmetric_round(const float *x, float scale, float d)
{
    float middle = quant_round(scale / d), best = FLT_MAX;
    int8_t chosen = 0;
    for (int i = -1; i <= 1; i++) {
        float sc = quant_clamp(middle + (float)i, -128, 127);
        float error = symmetric_error(x, d * sc);
        if (error < best) {
            best = error;
            chosen = (int8_t)sc;
        }
    }
    return chosen;
}

static void q6_k_items(const float *x, struct block_q6_k *b, float d)
{
    for (int i = 0; i < QK_K; i++) {
        float scale = d * (float)b->scales[i / Q6_ITEMS];
        float q = scale != 0 ? quant_clamp(quant_round(x[i] / scale), -32, 31) : 0;
        unsigned bits = (unsigned)((int)q + 32);
        struct q6_place at = q6_place(i);
        b->ql[at.ql] |= (uint8_t)((bits & 15) << at.ql_shift);
        b->qh[at.qh] |= (uint8_t)(bits >> 4 << at.qh_shift);
    }
}

static bool q6_k_block(const float *x, struct block_q6_k *b)
{
    memset(b, 0, sizeof(*b));
    if (!in_range(x))
        return false;
    float scales[Q6_SUBS], widest = 0;
    for (int s = 0; s < Q6_SUBS; s++) {
        scales[s] = quant_symmetric_scale(x + s * Q6_ITEMS, Q6_ITEMS, 32);
        widest = fabsf(scales[s]) > fabsf(widest) ? scales[s] : widest;
    }
    uint16_t d_half = f16_from_f32(widest / -128); // the range of int8 reaches further below
    float d = f32_from_f16(d_half);
    if (!isfinite(d))
        return false;
    if (d == 0)
        return true;
    b->d = d_half;
    for (int s = 0; s < Q6_SUBS; s++)
        b->scales[s] = symmetric_round(x + s * Q6_ITEMS, scales[s], d);
    q6_k_items(x, b, d);
    return true;
}

bool q6_k_encode(const float *x, void *row, uint64_t k)
{
    struct block_q6_k *b = row;
    bool finite = true;
    for (const float *end = x + k; x < end; b++, x += QK_K)
        finite &= q6_k_block(x, b);
    return finite;
}
