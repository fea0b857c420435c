/* Types with a scale and a min: Q4_1 and Q5_1 in blocks of 32, and Q4_K, Q5_K and
 * Q2_K, whose sub-blocks have small integer scales and mins.
 *
 * Each sub-block first gets the real-valued pair that fits it best.  In a block of
 * 256 the f16 scales are chosen so that the largest of each kind is the largest
 * integer; then each sub-block tries the integers around its own pair, with nearest
 * items, and keeps those of the least squared error. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "tensor/block.h"
#include "tensor/codes.h"
#include "tensor/half.h"
#include "tensor/quant_impl.h"

enum { SIDE = 8, ITEMS_MAX = 32, SUBS_MAX = 16 };

/* Eight sub-blocks side by side, so that one instruction works on several: x[i][s]
 * is item i of sub-block s.  Each is approximated by scale * q - min with q of 0 to
 * top and scale >= 0. */
struct side {
    float x[ITEMS_MAX][SIDE];
    int items;
    float top;
    bool any_min; /* or min >= 0 */
};

struct affine {
    float scale[SIDE];
    float min[SIDE];
};

static void inverses(const float *scale, float *inverse)
{
    for (int s = 0; s < SIDE; s++)
        inverse[s] = scale[s] > FLT_MIN ? 1 / scale[s] : 0;
}

static float nearest(float x, float min, float inverse, float top)
{
    return quant_round(quant_clamp((x + min) * inverse, 0, top));
}

/* The squared error of each sub-block with its nearest items. */
static void errors_of(const struct side *b, const struct affine *a, float *error)
{
    float inverse[SIDE];
    inverses(a->scale, inverse);
    memset(error, 0, SIDE * sizeof(*error));
    for (int i = 0; i < b->items; i++) {
        for (int s = 0; s < SIDE; s++) {
            float q = nearest(b->x[i][s], a->min[s], inverse[s], b->top);
            float miss = a->scale[s] * q - a->min[s] - b->x[i][s];
            error[s] += miss * miss;
        }
    }
}

/* Sums over the items that a guess gives; x counts from the guess's min, which
 * keeps the differences below precise. */
struct sums {
    float q[SIDE], qq[SIDE], x[SIDE], xq[SIDE];
};

static void sum_up(const struct side *b, const struct affine *guess, struct sums *sums)
{
    float inverse[SIDE];
    inverses(guess->scale, inverse);
    memset(sums, 0, sizeof(*sums));
    for (int i = 0; i < b->items; i++) {
        for (int s = 0; s < SIDE; s++) {
            float above = b->x[i][s] + guess->min[s];
            float q = nearest(b->x[i][s], guess->min[s], inverse[s], b->top);
            sums->q[s] += q;
            sums->qq[s] += q * q;
            sums->x[s] += above;
            sums->xq[s] += above * q;
        }
    }
}

/* Least squares for one sub-block, whose x counts from -base: scale and min, and
 * as the result the squared error less a constant. */
static float solve(const struct side *b, const struct sums *t, int s, float base, float *scale,
                   float *min)
{
    float n = (float)b->items, q = t->q[s], qq = t->qq[s], x = t->x[s], xq = t->xq[s];
    float det = n * qq - q * q;
    *scale = *min = 0;
    if (det <= 0)
        return FLT_MAX;
    *scale = (n * xq - q * x) / det;
    float shift = (q * xq - qq * x) / det; // the min is base + shift
    if (!b->any_min && base + shift < 0) {
        shift = -base;
        *scale = (xq + shift * q) / qq;
    }
    *min = base + shift;
    if (*scale <= 0)
        return FLT_MAX;
    return *scale * (*scale * qq - 2 * shift * q - 2 * xq) + shift * (n * shift + 2 * x);
}

static void range_of(const struct side *b, float *low, float *high)
{
    memcpy(high, b->x[0], SIDE * sizeof(*high));
    memcpy(low, b->x[0], SIDE * sizeof(*low));
    for (int i = 0; i < b->items; i++) {
        for (int s = 0; s < SIDE; s++) {
            low[s] = b->x[i][s] < low[s] ? b->x[i][s] : low[s];
            high[s] = b->x[i][s] > high[s] ? b->x[i][s] : high[s];
        }
    }
    for (int s = 0; s < SIDE && !b->any_min; s++)
        low[s] = low[s] > 0 ? 0 : low[s];
}

static void search(const struct side *b, struct affine *best)
{
    float low[SIDE], high[SIDE], least[SIDE];
    range_of(b, low, high);
    struct affine guess;
    for (int s = 0; s < SIDE; s++) {
        least[s] = FLT_MAX;
        best->scale[s] = (high[s] - low[s]) / b->top; // stays where all items are alike
        best->min[s] = guess.min[s] = -low[s];
    }
    // Narrower ranges cut off the extremes, wider ones leave room for the fit to shift.
    for (int step = -12; step <= 10; step++) {
        for (int s = 0; s < SIDE; s++)
            guess.scale[s] = (high[s] - low[s]) / (b->top - 0.1f * (float)step);
        struct sums sums;
        sum_up(b, &guess, &sums);
        for (int s = 0; s < SIDE; s++) {
            float scale, min, error = solve(b, &sums, s, -low[s], &scale, &min);
            if (error >= least[s])
                continue;
            least[s] = error;
            best->scale[s] = scale;
            best->min[s] = min;
        }
    }
}

/* ---- blocks of 32 ---- */

/* Up to eight blocks at once; those that are not there or not finite are zeros. */
static bool side_fill(struct side *b, const float *x, uint64_t blocks)
{
    bool finite = true;
    memset(b->x, 0, sizeof(b->x));
    for (uint64_t s = 0; s < blocks; s++, x += QK) {
        if (!quant_in_range(x, QK)) {
            finite = false;
            continue;
        }
        for (int i = 0; i < QK; i++)
            b->x[i][s] = x[i];
    }
    return finite;
}

/* One block of a side from its pair. */
static bool block_put(enum dtype type, const struct side *b, int s, const struct affine *a,
                      uint8_t *block)
{
    uint16_t d_half = f16_from_f32(a->scale[s]), m_half = f16_from_f32(-a->min[s]);
    float d = f32_from_f16(d_half), m = f32_from_f16(m_half);
    memset(block, 0, dtype_info(type)->block_bytes);
    if (!isfinite(d) || !isfinite(m))
        return false;
    uint8_t codes[QK];
    float inverse = d > FLT_MIN ? 1 / d : 0;
    for (int i = 0; i < QK; i++)
        codes[i] = (uint8_t)nearest(b->x[i][s], -m, inverse, b->top);
    memcpy(block, &d_half, 2);
    memcpy(block + 2, &m_half, 2);
    block_set_codes(type, block, codes);
    return true;
}

bool affine_encode(enum dtype type, const float *x, void *row, uint64_t k)
{
    struct side b = {.items = QK, .top = type == DTYPE_Q4_1 ? 15 : 31, .any_min = true};
    bool finite = true;
    uint8_t *block = row;
    for (uint64_t left = k / QK, n; left; left -= n, x += n * QK) {
        struct affine a;
        n = left < SIDE ? left : SIDE;
        finite &= side_fill(&b, x, n);
        search(&b, &a);
        for (int s = 0; s < (int)n; s++, block += dtype_info(type)->block_bytes)
            finite &= block_put(type, &b, s, &a, block);
    }
    return finite;
}

/* ---- blocks of 256 ---- */

/* A block as one side of 8 sub-blocks or two. */
struct block {
    struct side side[2];
    struct affine a[2];
    int subs;
    float sc_max;
    uint16_t d, dmin; /* f16 */
    uint8_t sc[SUBS_MAX], m[SUBS_MAX];
};

/* For each sub-block of a side the pair of integers near (scale / d, min / dmin)
 * with the least error. */
static void round_pairs(const struct side *b, const struct affine *a, float d, float dmin,
                        float sc_max, uint8_t *sc, uint8_t *m)
{
    float least[SIDE];
    for (int s = 0; s < SIDE; s++)
        least[s] = FLT_MAX;
    for (int i = 0; i < 9; i++) {
        float try_sc[SIDE], try_m[SIDE], error[SIDE];
        struct affine trial;
        for (int s = 0; s < SIDE; s++) {
            float sc0 = d > 0 ? quant_round(a->scale[s] / d) : 0;
            float m0 = dmin > 0 ? quant_round(a->min[s] / dmin) : 0;
            try_sc[s] = quant_clamp(sc0 + (float)(i / 3 - 1), 0, sc_max);
            try_m[s] = quant_clamp(m0 + (float)(i % 3 - 1), 0, sc_max);
            trial.scale[s] = d * try_sc[s];
            trial.min[s] = dmin * try_m[s];
        }
        errors_of(b, &trial, error);
        for (int s = 0; s < SIDE; s++) {
            if (error[s] < least[s]) {
                least[s] = error[s];
                sc[s] = (uint8_t)try_sc[s];
                m[s] = (uint8_t)try_m[s];
            }
        }
    }
}

static bool block_fit(struct block *b, const float *x)
{
    float scale_max = 0, min_max = 0;
    for (int i = 0; i < QK_K; i++) {
        int items = b->side[0].items, s = i / items;
        b->side[s / SIDE].x[i % items][s % SIDE] = x[i];
    }
    for (int s = 0; s < b->subs; s++) {
        if (s % SIDE == 0)
            search(&b->side[s / SIDE], &b->a[s / SIDE]);
        scale_max = fmaxf(scale_max, b->a[s / SIDE].scale[s % SIDE]);
        min_max = fmaxf(min_max, b->a[s / SIDE].min[s % SIDE]);
    }
    b->d = f16_from_f32(scale_max / b->sc_max);
    b->dmin = f16_from_f32(min_max / b->sc_max);
    float d = f32_from_f16(b->d), dmin = f32_from_f16(b->dmin);
    if (!isfinite(d) || !isfinite(dmin))
        return false;
    for (int s = 0; s < b->subs; s += SIDE)
        round_pairs(&b->side[s / SIDE], &b->a[s / SIDE], d, dmin, b->sc_max, b->sc + s, b->m + s);
    return true;
}

static void items(const struct block *b, const float *x, uint8_t *codes)
{
    float d = f32_from_f16(b->d), dmin = f32_from_f16(b->dmin);
    for (int i = 0; i < QK_K; i++) {
        int s = i / b->side[0].items;
        float scale = d * (float)b->sc[s], min = dmin * (float)b->m[s];
        float q = scale > 0 ? quant_clamp(quant_round((x[i] + min) / scale), 0, b->side[0].top) : 0;
        codes[i] = (uint8_t)q;
    }
}

static void block_write(const struct block *b, enum dtype type, uint8_t *out)
{
    if (type == DTYPE_Q2_K) {
        memcpy(out + offsetof(struct block_q2_k, d), &b->d, 2);
        memcpy(out + offsetof(struct block_q2_k, dmin), &b->dmin, 2);
        for (int s = 0; s < SUBS_MAX; s++)
            out[s] = (uint8_t)(b->sc[s] | b->m[s] << 4);
        return;
    }
    memcpy(out, &b->d, 2);
    memcpy(out + 2, &b->dmin, 2);
    scales6_pack(out + offsetof(struct block_q4_k, scales), b->sc, b->m);
}

bool affine_k_encode(enum dtype type, const float *x, void *row, uint64_t k)
{
    const bool q2 = type == DTYPE_Q2_K;
    struct block b = {.subs = q2 ? 16 : 8, .sc_max = q2 ? 15 : 63};
    b.side[0].items = q2 ? 16 : 32;
    b.side[0].top = q2 ? 3 : type == DTYPE_Q4_K ? 15 : 31;
    b.side[1] = b.side[0];
    bool finite = true;
    uint8_t *out = row;
    for (const float *end = x + k; x < end; out += dtype_info(type)->block_bytes, x += QK_K) {
        uint8_t codes[QK_K];
        memset(out, 0, dtype_info(type)->block_bytes);
        if (!quant_in_range(x, QK_K) || !block_fit(&b, x)) {
            finite = false;
            continue;
        }
        items(&b, x, codes);
        block_write(&b, type, out);
        block_set_codes(type, out, codes);
    }
    return finite;
}
