/* kernels/scalar/kv.c - one layer's and head's keys and values in a page.
 *
 * Keys stand as [dim][16], values as [16][dim padded to 16], the padding zeros; but
 *   BF16  in pairs that are multiplied at once: keys [dim / 2][16][2], an odd dim
 *         ending with a zero, and values [8][dim padded][2]
 *   Q8_0  keys as int8 plus 128 [dim / 4][16][4], the last four filled with zeros,
 *         behind them f16 scales [blocks of 32 dims][16]; values as such scales and
 *         behind them int8 [16][dim padded].  A last block may be shorter. */
#include <math.h>
#include <string.h>

#include "base/ckd.h"
#include "kernels/attn_inline.h"
#include "kernels/vec_init.h"
#include "tensor/half.h"

size_t kv_keys_bytes(enum kv_type type, size_t dim)
{
    size_t bytes[KV_TYPES] = {
        [KV_F32] = dim * sizeof(float),
        [KV_F16] = dim * sizeof(uint16_t),
        [KV_BF16] = round_up(dim, 2) * sizeof(uint16_t),
        [KV_Q8_0] = round_up(dim, 4) + kv_blocks(dim) * sizeof(uint16_t),
    };
    return round_up(bytes[type] * KV_PAGE_TOKENS, KERN_ALIGN);
}

size_t kv_values_first(enum kv_type type, size_t dim, size_t tokens)
{
    size_t bytes[KV_TYPES] = {
        [KV_F32] = tokens * dim_padded(dim) * sizeof(float),
        [KV_F16] = tokens * dim_padded(dim) * sizeof(uint16_t),
        [KV_BF16] = round_up(tokens, 2) * dim_padded(dim) * sizeof(uint16_t),
        [KV_Q8_0] = kv_scales_bytes(dim) + tokens * dim_padded(dim),
    };
    return bytes[type];
}

size_t kv_values_bytes(enum kv_type type, size_t dim)
{
    return round_up(kv_values_first(type, dim, KV_PAGE_TOKENS), KERN_ALIGN);
}

static void kv_write_f32_scalar(void *keys, void *values, const float *k, const float *v,
                                size_t dim, size_t slot)
{
    float *to_k = (float *)keys + slot;
    float *to_v = (float *)values + slot * dim_padded(dim);
    for (size_t i = 0; i < dim; i++) {
        to_k[i * KV_PAGE_TOKENS] = k[i];
        to_v[i] = v[i];
    }
    for (size_t i = dim; i < dim_padded(dim); i++)
        to_v[i] = 0;
}

static void kv_write_f16_scalar(void *keys, void *values, const float *k, const float *v,
                                size_t dim, size_t slot)
{
    uint16_t *to_k = (uint16_t *)keys + slot;
    uint16_t *to_v = (uint16_t *)values + slot * dim_padded(dim);
    for (size_t i = 0; i < dim; i++) {
        to_k[i * KV_PAGE_TOKENS] = f16_from_f32(k[i]);
        to_v[i] = f16_from_f32(v[i]);
    }
    for (size_t i = dim; i < dim_padded(dim); i++)
        to_v[i] = 0;
}

static void kv_write_bf16_scalar(void *keys, void *values, const float *k, const float *v,
                                 size_t dim, size_t slot)
{
    uint16_t *to_k = (uint16_t *)keys + slot * 2;
    uint16_t *to_v = (uint16_t *)values + slot / 2 * 2 * dim_padded(dim) + slot % 2;
    for (size_t i = 0; i < round_up(dim, 2); i++)
        to_k[i / 2 * 2 * KV_PAGE_TOKENS + i % 2] = i < dim ? bf16_from_f32(k[i]) : 0;
    for (size_t i = 0; i < dim_padded(dim); i++)
        to_v[i * 2] = i < dim ? bf16_from_f32(v[i]) : 0;
}

/* n (up to 32) values as int8, their scale returned.  The integers are for the scale as
 * it was rounded.  One that is no number, or not finite, is the block's scale. */
static uint16_t quantise(int8_t *q, const float *x, size_t n)
{
    uint32_t most = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t magnitude = f32_bits(x[i]) & 0x7fffffff;
        most = magnitude > most ? magnitude : most;
    }
    uint16_t scale = f16_from_f32(f32_from_bits(most) / 127);
    float d = f32_from_f16(scale);
    memset(q, 0, n);
    if (!(d > 0 && d < INFINITY))
        return scale;
    float inverse = 1 / d;
    for (size_t i = 0; i < n; i++) {
        float y = x[i] * inverse; // beyond 127 where the scale was rounded down
        y = y > 127 ? 127 : y < -127 ? -127 : y;
        q[i] = (int8_t)((y + 0x1.8p23f) - 0x1.8p23f); // ties to even
    }
    return scale;
}

static void kv_write_q8_0_scalar(void *keys, void *values, const float *k, const float *v,
                                 size_t dim, size_t slot)
{
    uint8_t *to_k = (uint8_t *)keys + slot * 4;
    int8_t *to_v = (int8_t *)values + kv_scales_bytes(dim) + slot * dim_padded(dim);
    uint16_t *d_k = (uint16_t *)kv_key_scales(keys, dim) + slot, *d_v = (uint16_t *)values + slot;
    for (size_t i = 0; i < dim; i += KV_BLOCK_DIMS) {
        int8_t q[KV_BLOCK_DIMS] = {0};
        size_t n = min_size(dim - i, KV_BLOCK_DIMS), at = i / KV_BLOCK_DIMS * KV_PAGE_TOKENS;
        d_v[at] = quantise(to_v + i, v + i, n);
        d_k[at] = quantise(q, k + i, n);
        for (size_t j = 0; j < round_up(n, 4); j++)
            to_k[(i + j) / 4 * 4 * KV_PAGE_TOKENS + j % 4] = (uint8_t)(q[j] + 128);
    }
    memset(to_v + dim, 0, dim_padded(dim) - dim);
}

void kern_vec_init_kv_scalar(struct kernels *k)
{
    k->kv_write[KV_F32] = kv_write_f32_scalar;
    k->kv_write[KV_F16] = kv_write_f16_scalar;
    k->kv_write[KV_BF16] = kv_write_bf16_scalar;
    k->kv_write[KV_Q8_0] = kv_write_q8_0_scalar;
}
