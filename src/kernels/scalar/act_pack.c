/* kernels/scalar/act_pack.c - activations into tiles, as docs/kernels.md defines it. */
#include <math.h>
#include <string.h>

#include "base/compiler.h"
#include "kernels/gemm_init.h"
#include "kernels/panel.h"
#include "kernels/tmpl/inline.h"
#include "tensor/half.h"

static void act_pack_f32(void *tile, const float *x, size_t x_stride, size_t k, size_t width)
{
    float *out = tile;
    for (size_t t = 0; t < width; t++)
        for (size_t i = 0; i < k; i++)
            out[i * width + t] = x[t * x_stride + i];
}

static void act_pack_bf16(void *tile, const float *x, size_t x_stride, size_t k, size_t width)
{
    uint16_t *out = tile;
    for (size_t t = 0; t < width; t++) {
        for (size_t i = 0; i < k; i++)
            out[(i / 2 * width + t) * 2 + i % 2] = bf16_from_f32(x[t * x_stride + i]);
        if (k % 2)
            out[(k / 2 * width + t) * 2 + 1] = 0;
    }
}

static float block_max(const float *x, size_t n)
{
    float max = 0;
    for (size_t i = 0; i < n; i++)
        max = fabsf(x[i]) > max ? fabsf(x[i]) : max;
    return max;
}

static void block_round(int8_t *q, const float *x, size_t n, float inverse)
{
    for (size_t i = 0; i < n; i++) // the sum rounds to an integer, ties to even
        q[i] = (int8_t)((x[i] * inverse + 0x1.8p23f) - 0x1.8p23f);
}

static int32_t sum16(const int8_t *q)
{
    int32_t sum = 0;
    for (size_t i = 0; i < 16; i++)
        sum += q[i];
    return sum;
}

#define ISA _scalar
#include "kernels/tmpl/act_pack.inc"

void act_init_scalar(struct kernels *k)
{
    k->act_pack[ACT_F32] = act_pack_f32;
    k->act_pack[ACT_BF16] = act_pack_bf16;
    k->act_pack[ACT_Q8_32] = act_pack_q8_32_scalar;
    k->act_pack[ACT_Q8_256] = act_pack_q8_256_scalar;
}
