/* kernels/scalar/kv.c - one layer's and head's keys and values in a page.
 *
 * Keys stand as [dim][16], values as [16][dim padded to 16], the padding zeros. */
#include "kernels/attn_inline.h"
#include "kernels/vec_init.h"
#include "tensor/half.h"

static size_t item_bytes(enum kv_type type)
{
    return type == KV_F16 ? sizeof(uint16_t) : sizeof(float);
}

size_t kv_keys_bytes(enum kv_type type, size_t dim)
{
    size_t bytes = dim * KV_PAGE_TOKENS * item_bytes(type);
    return (bytes + KERN_ALIGN - 1) / KERN_ALIGN * KERN_ALIGN;
}

size_t kv_values_bytes(enum kv_type type, size_t dim)
{
    return KV_PAGE_TOKENS * dim_padded(dim) * item_bytes(type);
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

void kern_vec_init_kv_scalar(struct kernels *k)
{
    k->kv_write[KV_F32] = kv_write_f32_scalar;
    k->kv_write[KV_F16] = kv_write_f16_scalar;
}
