/* Types whose codes stand for values of a table: IQ4_NL, IQ4_XS and MXFP4.
 *
 * Scales are tried, each with the nearest value for each item, and that of the
 * least squared error is kept. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "tensor/block.h"
#include "tensor/codes.h"
#include "tensor/half.h"
#include "tensor/quant_impl.h"

/* Codes of the nearest values of the ascending table for x * inverse. */
static void iq4_nearest(const float *x, float inverse, uint8_t *codes)
{
    memset(codes, 0, QK);
    for (int v = 0; v < 15; v++) {
        float middle = (float)(code_values_iq4[v] + code_values_iq4[v + 1]) / 2;
        for (int i = 0; i < QK; i++)
            codes[i] = (uint8_t)(codes[i] + (x[i] * inverse > middle));
    }
}

/* Fits one scale to the codes that the trial 1 / inverse gives and returns by how
 * much the squared error falls short of that of all zeros. */
static float iq4_fit(const float *x, float inverse, float *scale)
{
    uint8_t codes[QK];
    float xq = 0, qq = 0;
    iq4_nearest(x, inverse, codes);
    for (int i = 0; i < QK; i++) {
        float q = (float)code_values_iq4[codes[i]];
        xq += x[i] * q;
        qq += q * q;
    }
    *scale = xq / qq;
    return *scale * xq;
}

/* The scale of 32 items with the least squared error among those tried. */
static float iq4_scale(const float *x)
{
    float peak = 0, best = 0, best_gain = 0;
    for (int i = 0; i < QK; i++)
        peak = fabsf(x[i]) > fabsf(peak) ? x[i] : peak;
    if (fabsf(peak) < 0x1p-40f)
        return 0;
    // The peak near either end of the table: it is not symmetric.
    for (int step = -12; step <= 12; step++) {
        float trials[] = {(float)(code_values_iq4[0] + 2 * step),
                          (float)(code_values_iq4[15] + 2 * step)};
        for (int i = 0; i < 2; i++) {
            float scale, gain = iq4_fit(x, trials[i] / peak, &scale);
            if (gain > best_gain) {
                best_gain = gain;
                best = scale;
            }
        }
    }
    return best;
}

static float iq4_error(const float *x, float scale)
{
    uint8_t codes[QK];
    float error = 0;
    iq4_nearest(x, scale != 0 ? 1 / scale : 0, codes);
    for (int i = 0; i < QK; i++) {
        float miss = scale * (float)code_values_iq4[codes[i]] - x[i];
        error += miss * miss;
    }
    return error;
}

bool iq4_nl_encode(enum dtype type, const float *x, void *row, uint64_t k)
{
    (void)type;
    struct block_q4_0 *b = row;
    bool finite = true;
    for (const float *end = x + k; x < end; b++, x += QK) {
        memset(b, 0, sizeof(*b));
        bool good = quant_in_range(x, QK);
        uint16_t half = good ? f16_from_f32(iq4_scale(x)) : 0;
        float d = f32_from_f16(half);
        finite &= good && isfinite(d);
        if (d == 0 || !isfinite(d))
            continue;
        uint8_t codes[QK];
        b->d = half;
        iq4_nearest(x, 1 / d, codes);
        block_set_codes(DTYPE_IQ4_NL, b, codes);
    }
    return finite;
}

/* The integer near scale / d with the least error. */
static int iq4_xs_integer(const float *x, float scale, float d)
{
    float middle = quant_round(scale / d), best = FLT_MAX, chosen = 0;
    for (int i = -1; i <= 1; i++) {
        float sc = quant_clamp(middle + (float)i, -32, 31);
        float error = iq4_error(x, d * sc);
        if (error < best) {
            best = error;
            chosen = sc;
        }
    }
    return (int)chosen;
}

static bool iq4_xs_block(const float *x, struct block_iq4_xs *b)
{
    memset(b, 0, sizeof(*b));
    if (!quant_in_range(x, QK_K))
        return false;
    float scales[8], widest = 0;
    for (int s = 0; s < 8; s++) {
        scales[s] = iq4_scale(x + s * QK);
        widest = fabsf(scales[s]) > fabsf(widest) ? scales[s] : widest;
    }
    uint16_t half = f16_from_f32(widest / -32); // integers reach further below
    float d = f32_from_f16(half);
    if (!isfinite(d))
        return false;
    if (d == 0)
        return true;
    uint8_t codes[QK_K];
    b->d = half;
    for (int s = 0; s < 8; s++) {
        int sc = iq4_xs_integer(x + s * QK, scales[s], d);
        iq4_nearest(x + s * QK, sc ? 1 / (d * (float)sc) : 0, codes + s * QK);
        unsigned bits = (unsigned)(sc + 32);
        b->scales_l[s / 2] |= (uint8_t)((bits & 15) << s % 2 * 4);
        b->scales_h = (uint16_t)(b->scales_h | bits >> 4 << s * 2);
    }
    block_set_codes(DTYPE_IQ4_XS, b, codes);
    return true;
}

bool iq4_xs_encode(enum dtype type, const float *x, void *row, uint64_t k)
{
    (void)type;
    struct block_iq4_xs *b = row;
    bool finite = true;
    for (const float *end = x + k; x < end; b++, x += QK_K)
        finite &= iq4_xs_block(x, b);
    return finite;
}

/* Codes of the nearest values for x * inverse; bit 3 is the sign. */
static void mxfp4_nearest(const float *x, float inverse, uint8_t *codes)
{
    for (int i = 0; i < QK; i++) {
        float magnitude = fabsf(x[i] * inverse);
        int code = 0;
        for (int v = 0; v < 7; v++)
            code += magnitude > (float)(code_values_mxfp4[v] + code_values_mxfp4[v + 1]) / 2;
        codes[i] = (uint8_t)(code && x[i] < 0 ? code | 8 : code);
    }
}

/* The sum of squares of what is missed, in units of the scale; infinite when a
 * value is. */
static float mxfp4_error(const float *x, float scale, const uint8_t *codes)
{
    float error = 0;
    for (int i = 0; i < QK; i++) {
        float q = (float)code_values_mxfp4[codes[i]], miss = x[i] / scale - q;
        error += isfinite(scale * q) ? miss * miss : INFINITY;
    }
    return error;
}

static bool mxfp4_block(const float *x, struct block_mxfp4 *b)
{
    memset(b, 0, sizeof(*b));
    float peak = 0, best = FLT_MAX;
    for (int i = 0; i < QK; i++)
        peak = fmaxf(peak, fabsf(x[i]));
    if (!quant_all_finite(x, QK))
        return false;
    if (peak < 0x1p-120f) // what is left of it would be subnormal
        return true;
    int exponent;
    (void)frexpf(peak, &exponent); // the lowest scale below brings the peak to 8 to 16
    for (int e = exponent + 124; e <= exponent + 126; e++) {
        if (e < 2 || e > 254)
            continue;
        uint8_t codes[QK];
        float scale = e8m0_half((uint8_t)e);
        mxfp4_nearest(x, 1 / scale, codes);
        // All in units of the lowest scale: by powers of two, hence exact.
        float error = ldexpf(mxfp4_error(x, scale, codes), 2 * (e - exponent - 124));
        if (error < best) {
            best = error;
            memset(b, 0, sizeof(*b));
            b->e = (uint8_t)e;
            block_set_codes(DTYPE_MXFP4, b, codes);
        }
    }
    return true;
}

bool mxfp4_encode(enum dtype type, const float *x, void *row, uint64_t k)
{
    (void)type;
    struct block_mxfp4 *b = row;
    bool finite = true;
    for (const float *end = x + k; x < end; b++, x += QK)
        finite &= mxfp4_block(x, b);
    return finite;
}
