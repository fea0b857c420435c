/* kernels/scalar/attn.c - attention over pages in plain C: what it means.
 *
 * A row is taken alone, and only the keys that it sees are touched, so no mask is
 * needed.  Per block of 64 keys at absolute positions: the scores, each one chain
 * of multiply-adds over the dims; the greatest; what stood before scaled to it;
 * then each key's weight into the sum of its lane and its value into the output. */
#include <string.h>

#include "kernels/attn_inline.h"
#include "kernels/math_inline.h"
#include "kernels/panel.h"
#include "kernels/scalar/bf16.h"
#include "kernels/vec_init.h"

/* A query row times the scale, as the keys' type wants it. */
struct query {
    float x[MODEL_HEAD_DIM_MAX];
    uint16_t bf16[MODEL_HEAD_DIM_MAX];
    int8_t q[MODEL_HEAD_DIM_MAX]; // Q8_0: with a scale for each block
    float d[MODEL_HEAD_DIM_MAX / KV_BLOCK_DIMS];
};

static inline float load(enum kv_type type, const void *p, size_t i)
{
    return type == KV_F16 ? f32_from_f16(((const uint16_t *)p)[i]) : ((const float *)p)[i];
}

/* As products round activations, but a number gone bad makes the scale bad. */
static float query_block(int8_t *q, const float *x, size_t n)
{
    float most = 0;
    bool finite = true;
    for (size_t i = 0; i < n; i++) {
        finite = finite && isfinite(x[i]);
        most = v1_max(fabsf(x[i]), most);
    }
    memset(q, 0, n);
    if (!finite)
        return NAN;
    if (most < ACT_TINY)
        return 0;
    for (size_t i = 0; i < n; i++)
        q[i] = (int8_t)((x[i] * (127 / most) + 0x1.8p23f) - 0x1.8p23f);
    return most / 127;
}

static inline void query_make(struct query *q, enum kv_type type, const struct attn_item *item,
                              size_t row)
{
    for (size_t d = 0; d < item->dim; d++)
        q->x[d] = item->q[row * item->q_stride + d] * item->scale;
    if (type == KV_BF16) {
        for (size_t d = 0; d < item->dim; d++)
            q->bf16[d] = bf16_from_f32(q->x[d]);
        if (item->dim % 2)
            q->bf16[item->dim] = 0;
    }
    for (size_t b = 0; type == KV_Q8_0 && b < kv_blocks(item->dim); b++) {
        size_t at = b * KV_BLOCK_DIMS, left = item->dim - at;
        q->d[b] = query_block(q->q + at, q->x + at, left < KV_BLOCK_DIMS ? left : KV_BLOCK_DIMS);
    }
}

static float score_q8_0(const void *keys, size_t lane, const struct query *q, size_t dim)
{
    const uint8_t *k = (const uint8_t *)keys + lane * 4;
    const uint16_t *scales = kv_key_scales(keys, dim) + lane;
    float sum = 0;
    for (size_t b = 0; b < kv_blocks(dim); b++) {
        int32_t isum = 0;
        for (size_t d = b * KV_BLOCK_DIMS; d < dim && d < (b + 1) * KV_BLOCK_DIMS; d++)
            isum += (k[d / 4 * 4 * KV_PAGE_TOKENS + d % 4] - 128) * q->q[d];
        sum = v1_fma((float)isum * f32_from_f16(scales[b * KV_PAGE_TOKENS]), q->d[b], sum);
    }
    return sum;
}

static inline float score(enum kv_type type, const void *keys, size_t lane, const struct query *q,
                          size_t dim)
{
    float sum = 0;
    if (type == KV_Q8_0)
        return score_q8_0(keys, lane, q, dim);
    for (size_t d = 0; type == KV_BF16 && d < dim; d += 2)
        sum =
            bf16_dot_pair(sum, (const uint16_t *)keys + d * KV_PAGE_TOKENS + lane * 2, q->bf16 + d);
    for (size_t d = 0; type != KV_BF16 && d < dim; d++)
        sum = v1_fma(q->x[d], load(type, keys, d * KV_PAGE_TOKENS + lane), sum);
    return sum;
}

static const char *page_of(const struct attn_item *item, uint32_t key)
{
    return item->pages[key / KV_PAGE_TOKENS];
}

/* s[key % 64] for the keys of a span inside one block. */
static inline void scores(const struct attn_item *item, enum kv_type type, const struct query *q,
                          struct key_span span, float *s)
{
    for (uint32_t key = span.lo; key < span.hi; key++) {
        float sum =
            score(type, page_of(item, key) + item->keys_at, key % KV_PAGE_TOKENS, q, item->dim);
        s[key % ATTN_BLOCK_KEYS] =
            item->soft_cap > 0 ? soft_cap_1(sum, item->soft_cap, 2.0f / item->soft_cap) : sum;
    }
}

static inline float span_max(const float *s, struct key_span span, float before)
{
    float most[LANES];
    for (size_t i = 0; i < LANES; i++)
        most[i] = -INFINITY;
    for (uint32_t key = span.lo; key < span.hi; key++)
        most[key % LANES] = v1_max(s[key % ATTN_BLOCK_KEYS], most[key % LANES]);
    return v1_max(lanes_max(most), before);
}

/* o += p v for one key. */
static inline void add_value(enum kv_type type, float *o, float p, const void *values, size_t slot,
                             size_t dim)
{
    const size_t padded = dim_padded(dim);
    const int8_t *q = (const int8_t *)values + kv_scales_bytes(dim) + slot * padded;
    const uint16_t *scales = (const uint16_t *)values + slot;
    for (size_t d = 0; d < padded; d++)
        if (type == KV_Q8_0) {
            float scale = f32_from_f16(scales[d / KV_BLOCK_DIMS * KV_PAGE_TOKENS]);
            o[d] = v1_fma(p * scale, q[d], o[d]);
        } else {
            o[d] = v1_fma(p, load(type, values, slot * padded + d), o[d]);
        }
}

/* The same for a pair of keys, from an even one on; zeros stand for one not in the span. */
static void add_pair(float *o, const float *p, const void *values, uint32_t key,
                     struct key_span span, size_t dim)
{
    const uint16_t *v = (const uint16_t *)values + key % KV_PAGE_TOKENS * dim_padded(dim);
    const bool first = key >= span.lo, second = key + 1 < span.hi;
    const uint16_t weights[2] = {first ? bf16_from_f32(p[0]) : 0, second ? bf16_from_f32(p[1]) : 0};
    for (size_t d = 0; d < dim_padded(dim); d++) {
        const uint16_t pair[2] = {first ? v[d * 2] : 0, second ? v[d * 2 + 1] : 0};
        o[d] = bf16_dot_pair(o[d], pair, weights);
    }
}

static inline void add_values(const struct attn_item *item, enum kv_type type, float *o,
                              const float *p, struct key_span span)
{
    const uint32_t step = type == KV_BF16 ? 2 : 1;
    for (uint32_t key = span.lo / step * step; key < span.hi; key += step) {
        const void *values = page_of(item, key) + item->values_at;
        if (type == KV_BF16)
            add_pair(o, p + key % ATTN_BLOCK_KEYS, values, key, span, item->dim);
        else
            add_value(type, o, p[key % ATTN_BLOCK_KEYS], values, key % KV_PAGE_TOKENS, item->dim);
    }
}

static inline void row_block(const struct attn_item *item, enum kv_type type, const struct query *q,
                             size_t row, struct key_span span)
{
    float s[ATTN_BLOCK_KEYS], *l = item->l + row * LANES, *o = item->o + row * item->o_stride;
    scores(item, type, q, span, s);
    float before = item->m[row], m = span_max(s, span, before);
    float factor = exp_1(before - m);
    item->m[row] = m;
    for (size_t i = 0; i < LANES; i++)
        l[i] = l[i] * factor;
    for (size_t d = 0; d < dim_padded(item->dim); d++)
        o[d] = o[d] * factor;
    for (uint32_t key = span.lo; key < span.hi; key++) {
        float p = exp_1(s[key % ATTN_BLOCK_KEYS] - m);
        if (type == KV_BF16)
            p = f32_from_bf16(bf16_from_f32(p));
        l[key % LANES] = l[key % LANES] + p;
        s[key % ATTN_BLOCK_KEYS] = p;
    }
    add_values(item, type, o, s, span);
}

static inline void attn_rows(const struct attn_item *item, enum kv_type type)
{
    struct query q;
    for (size_t row = 0; row < item->rows; row++) {
        struct key_span span = span_of_row(item, row);
        row_clear(item, row);
        if (span.lo >= span.hi)
            continue;
        query_make(&q, type, item, row);
        uint32_t base = span.lo / ATTN_BLOCK_KEYS * ATTN_BLOCK_KEYS;
        for (; base < span.hi; base += ATTN_BLOCK_KEYS)
            row_block(item, type, &q, row, span_cut(span, base, base + ATTN_BLOCK_KEYS));
    }
}

static void attn_f32_scalar(const struct attn_item *item)
{
    attn_rows(item, KV_F32);
}

static void attn_f16_scalar(const struct attn_item *item)
{
    attn_rows(item, KV_F16);
}

static void attn_bf16_scalar(const struct attn_item *item)
{
    attn_rows(item, KV_BF16);
}

static void attn_q8_0_scalar(const struct attn_item *item)
{
    attn_rows(item, KV_Q8_0);
}

static void attn_merge_scalar(float *out, size_t dim, size_t n, const float *m, size_t m_stride,
                              const float *l, size_t l_stride, const float *o, size_t o_stride)
{
    float most = -INFINITY, sums[LANES] = {0};
    bool any = false;
    for (size_t s = 0; s < n; s++)
        most = v1_max(m[s * m_stride], most);
    for (size_t d = 0; d < dim_padded(dim); d++)
        out[d] = 0;
    for (size_t s = 0; s < n; s++) {
        if (segment_is_empty(m[s * m_stride], l + s * l_stride))
            continue;
        any = true;
        float factor = exp_1(m[s * m_stride] - most);
        for (size_t i = 0; i < LANES; i++)
            sums[i] = v1_fma(l[s * l_stride + i], factor, sums[i]);
        for (size_t d = 0; d < dim_padded(dim); d++)
            out[d] = v1_fma(o[s * o_stride + d], factor, out[d]);
    }
    float total = any ? lanes_sum(sums) : 1.0f;
    for (size_t d = 0; d < dim_padded(dim); d++)
        out[d] = out[d] / total;
}

void kern_vec_init_attn_scalar(struct kernels *k)
{
    k->attn[KV_F32] = attn_f32_scalar;
    k->attn[KV_F16] = attn_f16_scalar;
    k->attn[KV_BF16] = attn_bf16_scalar;
    k->attn[KV_Q8_0] = attn_q8_0_scalar;
    k->attn_merge = attn_merge_scalar;
}
