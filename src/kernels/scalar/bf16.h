/* kernels/scalar/bf16.h - what vdpbf16ps makes of one lane. */
#ifndef KERNELS_SCALAR_BF16_H
#define KERNELS_SCALAR_BF16_H

#include <float.h>
#include <math.h>
#include <stdint.h>

#include "tensor/half.h"

/* The dot instruction takes subnormals for zeros and makes none. */
static inline float bf16_flush(float x)
{
    return fabsf(x) < FLT_MIN ? copysignf(0, x) : x;
}

/* The odd product first, then the even one, each with one rounding. */
static inline float bf16_dot_pair(float acc, const uint16_t w[2], const uint16_t x[2])
{
    acc = bf16_flush(acc);
    for (int i = 1; i >= 0; i--)
        acc =
            bf16_flush(fmaf(bf16_flush(f32_from_bf16(w[i])), bf16_flush(f32_from_bf16(x[i])), acc));
    return acc;
}

#endif
