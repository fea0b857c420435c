/* kernels/scalar/attn.c - attention over pages in plain C: what it means.
 *
 * A row is taken alone, and only the keys that it sees are touched, so no mask is
 * needed.  Per block of 64 keys at absolute positions: the scores, each one chain
 * of multiply-adds over the dims; the greatest; what stood before scaled to it;
 * then each key's weight into the sum of its lane and its value into the output. */
#include "kernels/attn_inline.h"
#include "kernels/math_inline.h"
#include "kernels/vec_init.h"

static inline float load(enum kv_type type, const void *p, size_t i)
{
    return type == KV_F16 ? f32_from_f16(((const uint16_t *)p)[i]) : ((const float *)p)[i];
}

static const char *page_of(const struct attn_item *item, uint32_t key)
{
    return item->pages[key / KV_PAGE_TOKENS];
}

/* s[key % 64] for the keys of a span inside one block. */
static inline void scores(const struct attn_item *item, enum kv_type type, const float *q,
                          struct key_span span, float *s)
{
    for (uint32_t key = span.lo; key < span.hi; key++) {
        const void *keys = page_of(item, key) + item->keys_at;
        float sum = 0;
        for (size_t d = 0; d < item->dim; d++)
            sum = v1_fma(q[d], load(type, keys, d * KV_PAGE_TOKENS + key % KV_PAGE_TOKENS), sum);
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

static inline void row_block(const struct attn_item *item, enum kv_type type, const float *q,
                             size_t row, struct key_span span)
{
    size_t dim = dim_padded(item->dim);
    float s[ATTN_BLOCK_KEYS], *l = item->l + row * LANES, *o = item->o + row * item->o_stride;
    scores(item, type, q, span, s);
    float before = item->m[row], m = span_max(s, span, before);
    float factor = exp_1(before - m);
    item->m[row] = m;
    for (size_t i = 0; i < LANES; i++)
        l[i] = l[i] * factor;
    for (size_t d = 0; d < dim; d++)
        o[d] = o[d] * factor;
    for (uint32_t key = span.lo; key < span.hi; key++) {
        const void *values = page_of(item, key) + item->values_at;
        float p = exp_1(s[key % ATTN_BLOCK_KEYS] - m);
        l[key % LANES] = l[key % LANES] + p;
        for (size_t d = 0; d < dim; d++)
            o[d] = v1_fma(p, load(type, values, key % KV_PAGE_TOKENS * dim + d), o[d]);
    }
}

static inline void attn_rows(const struct attn_item *item, enum kv_type type)
{
    float q[MODEL_HEAD_DIM_MAX];
    for (size_t row = 0; row < item->rows; row++) {
        struct key_span span = span_of_row(item, row);
        row_clear(item, row);
        if (span.lo >= span.hi)
            continue;
        for (size_t d = 0; d < item->dim; d++)
            q[d] = item->q[row * item->q_stride + d] * item->scale;
        uint32_t base = span.lo / ATTN_BLOCK_KEYS * ATTN_BLOCK_KEYS;
        for (; base < span.hi; base += ATTN_BLOCK_KEYS)
            row_block(item, type, q, row, span_cut(span, base, base + ATTN_BLOCK_KEYS));
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
    k->attn_merge = attn_merge_scalar;
}
