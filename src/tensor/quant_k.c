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

/* The eight sub-blocks side by side, so that one instruction works on several:
 * x[i][s] is item i of sub-block s.  Each is approximated by
 * scale * q - min with q of 0 to 15, scale >= 0 and min >= 0. */
struct affine {
    float scale[Q4_SUBS];
    float min[Q4_SUBS];
};

typedef float q4_items[Q4_ITEMS][Q4_SUBS];

static void inverses(const float *scale, float *inverse)
{
    for (int s = 0; s < Q4_SUBS; s++)
        inverse[s] = scale[s] > FLT_MIN ? 1 / scale[s] : 0;
}

static float q4_nearest(float x, float min, float inverse)
{
    return quant_round(quant_clamp((x + min) * inverse, 0, 15));
}

/* The squared error of each sub-block with its nearest items. */
static void affine_errors(const q4_items x, const struct affine *a, float *error)
{
    float inverse[Q4_SUBS];
    inverses(a->scale, inverse);
    memset(error, 0, Q4_SUBS * sizeof(*error));
    for (int i = 0; i < Q4_ITEMS; i++) {
        for (int s = 0; s < Q4_SUBS; s++) {
            float q = q4_nearest(x[i][s], a->min[s], inverse[s]);
            float miss = a->scale[s] * q - a->min[s] - x[i][s];
            error[s] += miss * miss;
        }
    }
}

/* Sums over the items that a guess gives; x counts from the lowest of 0 and x,
 * which keeps the differences below precise. */
struct affine_sums {
    float q[Q4_SUBS], qq[Q4_SUBS], x[Q4_SUBS], xq[Q4_SUBS];
};

static void affine_sum(const q4_items x, const struct affine *guess, struct affine_sums *sums)
{
    float inverse[Q4_SUBS];
    inverses(guess->scale, inverse);
    memset(sums, 0, sizeof(*sums));
    for (int i = 0; i < Q4_ITEMS; i++) {
        for (int s = 0; s < Q4_SUBS; s++) {
            float above = x[i][s] + guess->min[s];
            float q = q4_nearest(x[i][s], guess->min[s], inverse[s]);
            sums->q[s] += q;
            sums->qq[s] += q * q;
            sums->x[s] += above;
            sums->xq[s] += above * q;
        }
    }
}

/* Least squares for one sub-block, whose x counts from -base: scale and min, and
 * as the result the squared error less a constant. */
static float affine_solve(const struct affine_sums *t, int s, float base, float *scale, float *min)
{
    float q = t->q[s], qq = t->qq[s], x = t->x[s], xq = t->xq[s];
    float det = Q4_ITEMS * qq - q * q;
    *scale = *min = 0;
    if (det <= 0)
        return FLT_MAX;
    *scale = (Q4_ITEMS * xq - q * x) / det;
    float shift = (q * xq - qq * x) / det; // the min is base + shift
    if (base + shift < 0) {
        shift = -base;
        *scale = (xq + shift * q) / qq;
    }
    *min = base + shift;
    if (*scale <= 0)
        return FLT_MAX;
    return *scale * (*scale * qq - 2 * shift * q - 2 * xq) + shift * (Q4_ITEMS * shift + 2 * x);
}

static void affine_search(const q4_items x, struct affine *best)
{
    float low[Q4_SUBS] = {0}, high[Q4_SUBS], least[Q4_SUBS];
    memcpy(high, x[0], sizeof(high));
    for (int i = 0; i < Q4_ITEMS; i++) {
        for (int s = 0; s < Q4_SUBS; s++) {
            low[s] = x[i][s] < low[s] ? x[i][s] : low[s];
            high[s] = x[i][s] > high[s] ? x[i][s] : high[s];
        }
    }
    struct affine guess;
    for (int s = 0; s < Q4_SUBS; s++) {
        least[s] = FLT_MAX;
        best->scale[s] = (high[s] - low[s]) / 15; // stays where all items are alike
        best->min[s] = guess.min[s] = -low[s];
    }
    // Narrower ranges cut off the extremes, wider ones leave room for the fit to shift.
    for (int step = -12; step <= 10; step++) {
        for (int s = 0; s < Q4_SUBS; s++)
            guess.scale[s] = (high[s] - low[s]) / (15 - 0.1f * (float)step);
        struct affine_sums sums;
        affine_sum(x, &guess, &sums);
        for (int s = 0; s < Q4_SUBS; s++) {
            float scale, min, error = affine_solve(&sums, s, -low[s], &scale, &min);
            if (error >= least[s])
                continue;
            least[s] = error;
            best->scale[s] = scale;
            best->min[s] = min;
        }
    }
}

/* For each sub-block the pair of integers near (scale / d, min / dmin) with the
 * least error. */
static void affine_round(const q4_items x, const struct affine *a, float d, float dmin, uint8_t *sc,
                         uint8_t *m)
{
    float least[Q4_SUBS];
    for (int s = 0; s < Q4_SUBS; s++)
        least[s] = FLT_MAX;
    for (int i = 0; i < 9; i++) {
        float try_sc[Q4_SUBS], try_m[Q4_SUBS], error[Q4_SUBS];
        struct affine trial;
        for (int s = 0; s < Q4_SUBS; s++) {
            float sc0 = d > 0 ? quant_round(a->scale[s] / d) : 0;
            float m0 = dmin > 0 ? quant_round(a->min[s] / dmin) : 0;
            try_sc[s] = quant_clamp(sc0 + (float)(i / 3 - 1), 0, 63);
            try_m[s] = quant_clamp(m0 + (float)(i % 3 - 1), 0, 63);
            trial.scale[s] = d * try_sc[s];
            trial.min[s] = dmin * try_m[s];
        }
        affine_errors(x, &trial, error);
        for (int s = 0; s < Q4_SUBS; s++) {
            if (error[s] < least[s]) {
                least[s] = error[s];
                sc[s] = (uint8_t)try_sc[s];
                m[s] = (uint8_t)try_m[s];
            }
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
    q4_items items;
    for (int i = 0; i < QK_K; i++)
        items[i % Q4_ITEMS][i / Q4_ITEMS] = x[i];
    struct affine a;
    affine_search(items, &a);
    float scale_max = 0, min_max = 0;
    for (int s = 0; s < Q4_SUBS; s++) {
        scale_max = fmaxf(scale_max, a.scale[s]);
        min_max = fmaxf(min_max, a.min[s]);
    }
    uint16_t d_half = f16_from_f32(scale_max / 63), dmin_half = f16_from_f32(min_max / 63);
    float d = f32_from_f16(d_half), dmin = f32_from_f16(dmin_half);
    if (!isfinite(d) || !isfinite(dmin))
        return false;
    uint8_t sc[Q4_SUBS] = {0}, m[Q4_SUBS] = {0};
    affine_round(items, &a, d, dmin, sc, m);
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
