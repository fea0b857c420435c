/* test/kern/rows.c - see rows.h. */
#include "rows.h"

#include <string.h>

#include "base/rng.h"
#include "tensor/block.h"
#include "tensor/half.h"

const enum dtype row_dtype[GEMM_TYPES] = {
    [GEMM_F32] = DTYPE_F32,   [GEMM_F16] = DTYPE_F16,   [GEMM_BF16] = DTYPE_BF16,
    [GEMM_Q8_0] = DTYPE_Q8_0, [GEMM_Q4_0] = DTYPE_Q4_0, [GEMM_Q4_K] = DTYPE_Q4_K,
    [GEMM_Q6_K] = DTYPE_Q6_K,
};

static const struct {
    size_t items, bytes;
    size_t scales[2]; /* where the f16 scales of a block stand */
} layout[GEMM_TYPES] = {
    [GEMM_F32] = {1, 4, {0, 0}},          [GEMM_F16] = {1, 2, {0, 0}},
    [GEMM_BF16] = {1, 2, {0, 0}},         [GEMM_Q8_0] = {32, 34, {0, 0}},
    [GEMM_Q4_0] = {32, 18, {0, 0}},       [GEMM_Q4_K] = {256, 144, {0, 2}},
    [GEMM_Q6_K] = {256, 210, {208, 208}},
};

size_t row_step(enum gemm_type type)
{
    return layout[type].items;
}

size_t row_bytes(enum gemm_type type, size_t k)
{
    return k / layout[type].items * layout[type].bytes;
}

/* Magnitude 2^-7 to 2^-5. */
static float small_float(uint32_t bits)
{
    return f32_from_bits((bits & 0x80ffffff) | 0x3c000000);
}

static void block_random(enum gemm_type type, uint8_t *block, uint64_t seed, uint64_t at)
{
    uint32_t bits[4];
    for (size_t i = 0; i < layout[type].bytes; i++) {
        if (i % 16 == 0)
            rng_philox(seed, at, i, bits);
        block[i] = (uint8_t)(bits[i % 16 / 4] >> i % 4 * 8);
    }
    rng_philox(seed, at, UINT64_MAX, bits);
    if (type == GEMM_F32) {
        float value = small_float(bits[0]);
        memcpy(block, &value, 4);
        return;
    }
    for (size_t i = 0; i < 2; i++) {
        float value = small_float(bits[i]);
        uint16_t half = type == GEMM_BF16 ? bf16_from_f32(value) : f16_from_f32(value);
        memcpy(block + layout[type].scales[i], &half, 2);
    }
}

void rows_random(enum gemm_type type, void *rows, size_t n, size_t k, uint64_t seed)
{
    uint8_t *out = rows;
    for (size_t i = 0; i < n * (k / layout[type].items); i++, out += layout[type].bytes)
        block_random(type, out, seed, i);
}

void floats_random(float *out, size_t n, uint64_t seed)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t bits[4];
        rng_philox(seed, i, 0, bits);
        float value = (float)((int32_t)bits[0]) * 0x1p-30f;
        out[i] = bits[1] % 61 == 0 ? value * 100 : bits[1] % 61 < 3 ? 0 : value;
    }
}

uint32_t draw(uint64_t key, uint64_t i, uint64_t j)
{
    uint32_t bits[4];
    rng_philox(key, i, j, bits);
    return bits[0];
}
