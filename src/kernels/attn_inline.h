/* kernels/attn_inline.h - which keys a query row sees, and where things stand in a page. */
#ifndef KERNELS_ATTN_INLINE_H
#define KERNELS_ATTN_INLINE_H

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/limits.h"
#include "kernels/kernels.h"

/* Positions lo <= key < hi; none when lo >= hi. */
struct key_span {
    uint32_t lo, hi;
};

static inline struct key_span span_cut(struct key_span s, uint32_t lo, uint32_t hi)
{
    s.lo = s.lo < lo ? lo : s.lo;
    s.hi = s.hi > hi ? hi : s.hi;
    return s;
}

/* The keys of the item's segment that its row sees. */
static inline struct key_span span_of_row(const struct attn_item *item, size_t row)
{
    uint32_t end = item->pos[row] + 1;
    struct key_span s = {0, end};
    if (item->window && end > item->window)
        s.lo = end - item->window;
    return span_cut(s, item->key_begin, item->key_end);
}

static inline size_t dim_padded(size_t dim)
{
    return (dim + ATTN_DIM_PAD - 1) / ATTN_DIM_PAD * ATTN_DIM_PAD;
}

enum { KV_BLOCK_DIMS = 32 }; /* of Q8_0: these have one scale */

static inline size_t kv_blocks(size_t dim)
{
    return (dim + KV_BLOCK_DIMS - 1) / KV_BLOCK_DIMS;
}

/* Q8_0: the bytes of scales, which are first among the values and last among the keys,
 * (blocks, 16). */
static inline size_t kv_scales_bytes(size_t dim)
{
    return kv_blocks(dim) * KV_PAGE_TOKENS * sizeof(uint16_t);
}

static inline const uint16_t *kv_key_scales(const void *keys, size_t dim)
{
    return (const uint16_t *)((const char *)keys + (dim + 3) / 4 * 4 * KV_PAGE_TOKENS);
}

/* The row as it is before any key. */
static inline void row_clear(const struct attn_item *item, size_t row)
{
    item->m[row] = -INFINITY;
    memset(item->l + row * KV_PAGE_TOKENS, 0, KV_PAGE_TOKENS * sizeof(float));
    memset(item->o + row * item->o_stride, 0, dim_padded(item->dim) * sizeof(float));
}

/* Whether a segment's row saw no key.  One that saw only NaN has m = -inf, too,
 * but then every lane of l is NaN, and the result must show it. */
static inline bool segment_is_empty(float m, const float *l)
{
    return m == -INFINITY && l[0] == 0;
}

#endif
