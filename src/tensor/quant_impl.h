/* tensor/quant_impl.h - what the quantisers share.
 *
 * *_encode: rows of k items, a multiple of the type's block; false when a block
 * became zeros because its values or the scale that they need are not finite. */
#ifndef TENSOR_QUANT_IMPL_H
#define TENSOR_QUANT_IMPL_H

#include <stdbool.h>
#include <stdint.h>

#include "tensor/dtype.h"

/* Above this no f16 scale reaches, and below it no square overflows. */
#define QUANT_MAGNITUDE_MAX (65504.0f * 63 * 31)

/* Rounds to the nearest integer, ties to even; |x| < 2^22. */
static inline float quant_round(float x)
{
    return (x + 0x1.8p23f) - 0x1.8p23f;
}

static inline float quant_clamp(float x, float low, float high)
{
    x = x < low ? low : x;
    return x > high ? high : x;
}

/* The scale s for which x[i] ~ s * q[i] has the least squared error among those
 * tried, q[i] being integers of -levels to levels - 1.
 * Of either sign; 0 when x holds nothing but zeros. */
float quant_symmetric_scale(const float *x, int n, int levels);

/* Whether all values are finite, and in the second of a magnitude that can be met. */
bool quant_all_finite(const float *x, int n);
bool quant_in_range(const float *x, int n);

/* w = d * q in blocks of 32 (quant.c): Q8_0; Q4_0, Q5_0 */
bool q8_0_encode(enum dtype type, const float *x, void *row, uint64_t k);
bool symmetric_encode(enum dtype type, const float *x, void *row, uint64_t k);

/* w = d * q + m (quant_affine.c): Q4_1, Q5_1; Q4_K, Q5_K, Q2_K */
bool affine_encode(enum dtype type, const float *x, void *row, uint64_t k);
bool affine_k_encode(enum dtype type, const float *x, void *row, uint64_t k);

/* w = d * sc * q in blocks of 256 (quant_symmetric.c): Q6_K, Q3_K */
bool symmetric_k_encode(enum dtype type, const float *x, void *row, uint64_t k);

/* Values from a table (quant_table.c): IQ4_NL, IQ4_XS; MXFP4 */
bool iq4_nl_encode(enum dtype type, const float *x, void *row, uint64_t k);
bool iq4_xs_encode(enum dtype type, const float *x, void *row, uint64_t k);
bool mxfp4_encode(enum dtype type, const float *x, void *row, uint64_t k);

#endif
