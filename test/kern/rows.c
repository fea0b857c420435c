/* test/kern/rows.c - see rows.h. */
#include "rows.h"

#include <string.h>

#include "base/rng.h"
#include "tensor/block.h"
#include "tensor/half.h"

const enum dtype row_dtype[GEMM_TYPES] = {
    [GEMM_F32] = DTYPE_F32,       [GEMM_F16] = DTYPE_F16,   [GEMM_BF16] = DTYPE_BF16,
    [GEMM_Q8_0] = DTYPE_Q8_0,     [GEMM_Q4_0] = DTYPE_Q4_0, [GEMM_Q4_1] = DTYPE_Q4_1,
    [GEMM_Q5_0] = DTYPE_Q5_0,     [GEMM_Q5_1] = DTYPE_Q5_1, [GEMM_IQ4_NL] = DTYPE_IQ4_NL,
    [GEMM_MXFP4] = DTYPE_MXFP4,   [GEMM_Q2_K] = DTYPE_Q2_K, [GEMM_Q3_K] = DTYPE_Q3_K,
    [GEMM_Q4_K] = DTYPE_Q4_K,     [GEMM_Q5_K] = DTYPE_Q5_K, [GEMM_Q6_K] = DTYPE_Q6_K,
    [GEMM_IQ4_XS] = DTYPE_IQ4_XS,
};

/* Where the f16 scales of a block stand. */
static const size_t scales_at[GEMM_TYPES][2] = {
    [GEMM_Q4_1] = {0, 2}, [GEMM_Q5_1] = {0, 2}, [GEMM_Q2_K] = {80, 82},   [GEMM_Q3_K] = {108, 108},
    [GEMM_Q4_K] = {0, 2}, [GEMM_Q5_K] = {0, 2}, [GEMM_Q6_K] = {208, 208},
};

size_t row_step(enum gemm_type type)
{
    return dtype_info(row_dtype[type])->block_items;
}

size_t row_bytes(enum gemm_type type, size_t k)
{
    return k / row_step(type) * dtype_info(row_dtype[type])->block_bytes;
}

/* Magnitude 2^-7 to 2^-5. */
static float small_float(uint32_t bits)
{
    return f32_from_bits((bits & 0x80ffffff) | 0x3c000000);
}

static void block_random(enum gemm_type type, uint8_t *block, uint64_t seed, uint64_t at)
{
    uint32_t bits[4];
    for (size_t i = 0; i < row_bytes(type, row_step(type)); i++) {
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
    if (type == GEMM_MXFP4) {
        block[0] = (uint8_t)(119 + bits[0] % 4);
        return;
    }
    for (size_t i = 0; i < 2; i++) {
        float value = small_float(bits[i]);
        uint16_t half = type == GEMM_BF16 ? bf16_from_f32(value) : f16_from_f32(value);
        memcpy(block + scales_at[type][i], &half, 2);
    }
}

void rows_random(enum gemm_type type, void *rows, size_t n, size_t k, uint64_t seed)
{
    uint8_t *out = rows;
    const size_t bytes = row_bytes(type, row_step(type));
    for (size_t i = 0; i < n * (k / row_step(type)); i++, out += bytes)
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
