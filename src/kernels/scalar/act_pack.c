/* kernels/scalar/act_pack.c - activations into tiles, as docs/kernels.md defines it. */
#include <math.h>
#include <string.h>

#include "kernels/panel.h"
#include "kernels/scalar/gemm.h"
#include "tensor/half.h"

void act_pack_f32_scalar(void *tile, const float *x, size_t x_stride, size_t k, size_t width)
{
    float *out = tile;
    for (size_t t = 0; t < width; t++)
        for (size_t i = 0; i < k; i++)
            out[i * width + t] = x[t * x_stride + i];
}

void act_pack_bf16_scalar(void *tile, const float *x, size_t x_stride, size_t k, size_t width)
{
    uint16_t *out = tile;
    for (size_t t = 0; t < width; t++) {
        for (size_t i = 0; i < k; i++)
            out[(i / 2 * width + t) * 2 + i % 2] = bf16_from_f32(x[t * x_stride + i]);
        if (k % 2)
            out[(k / 2 * width + t) * 2 + 1] = 0;
    }
}

/* Quantises n values: q[i] of -127 to 127, the scale returned. */
static float quantise(int8_t *q, const float *x, size_t n)
{
    float max = 0;
    for (size_t i = 0; i < n; i++)
        max = fabsf(x[i]) > max ? fabsf(x[i]) : max;
    if (max < ACT_TINY) {
        memset(q, 0, n);
        return 0;
    }
    const float inverse = 127 / max;
    for (size_t i = 0; i < n; i++) // the sum rounds to an integer, ties to even
        q[i] = (int8_t)((x[i] * inverse + 0x1.8p23f) - 0x1.8p23f);
    return max / 127;
}

static int32_t sum_of(const int8_t *q, size_t n)
{
    int32_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += q[i];
    return sum;
}

/* Where an array of a block of a tile of `width` tokens begins; `at` is for one token. */
static uint8_t *array_at(void *block, size_t at, size_t width)
{
    return (uint8_t *)block + at * width;
}

/* Puts item i of token t of an array of 4-byte items. */
static void put(uint8_t *array, size_t i, size_t t, size_t width, const void *item)
{
    memcpy(array + (i * width + t) * 4, item, 4);
}

static void put_block32(uint8_t *block, const float *x, size_t t, size_t width)
{
    int8_t q[QK];
    float d = quantise(q, x, QK);
    int32_t bias = -128 * sum_of(q, QK);
    for (size_t g = 0; g < QK / 4; g++)
        put(block, g, t, width, q + 4 * g);
    put(array_at(block, ACT32_D, width), 0, t, width, &d);
    put(array_at(block, ACT32_BIAS, width), 0, t, width, &bias);
}

static void put_block256(uint8_t *block, const float *x, size_t t, size_t width)
{
    int8_t q[QK_K];
    float d = quantise(q, x, QK_K);
    for (size_t g = 0; g < QK_K / 4; g++)
        put(block, g, t, width, q + 4 * g);
    put(array_at(block, ACT256_D, width), 0, t, width, &d);
    for (size_t i = 0; i < 4; i++) {
        size_t s = i / 2 * 4 + i % 2;
        int16_t pair[2] = {(int16_t)sum_of(q + s * 32, 32), (int16_t)sum_of(q + (s + 2) * 32, 32)};
        put(array_at(block, ACT256_PAIRS, width), i, t, width, pair);
    }
    for (size_t s = 0; s < 16; s++) {
        int32_t bias = -32 * sum_of(q + s * 16, 16);
        put(array_at(block, ACT256_BIAS, width), s, t, width, &bias);
    }
}

void act_pack_q8_32_scalar(void *tile, const float *x, size_t x_stride, size_t k, size_t width)
{
    for (size_t b = 0; b < k / QK; b++)
        for (size_t t = 0; t < width; t++)
            put_block32((uint8_t *)tile + b * ACT32_BYTES * width, x + t * x_stride + b * QK, t,
                        width);
}

void act_pack_q8_256_scalar(void *tile, const float *x, size_t x_stride, size_t k, size_t width)
{
    for (size_t b = 0; b < k / QK_K; b++)
        for (size_t t = 0; t < width; t++)
            put_block256((uint8_t *)tile + b * ACT256_BYTES * width, x + t * x_stride + b * QK_K, t,
                         width);
}
