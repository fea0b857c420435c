/* tensor/quant_impl.h - what quant.c and quant_k.c share. */
#ifndef TENSOR_QUANT_IMPL_H
#define TENSOR_QUANT_IMPL_H

#include <stdbool.h>
#include <stdint.h>

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

bool quant_all_finite(const float *x, int n);

/* k: a multiple of 256.  *_encode: false when a block became zeros because its
 * values or the scale that they need are not finite. */
void q4_k_decode(const void *row, float *out, uint64_t k);
void q6_k_decode(const void *row, float *out, uint64_t k);
bool q4_k_encode(const float *x, void *row, uint64_t k);
bool q6_k_encode(const float *x, void *row, uint64_t k);

#endif
