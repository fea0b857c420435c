/* kernels/math_inline.h - arithmetic that all levels share, one value at a time.
 *
 * Sums over a vector are 16 partial sums, by index mod 16, and then one tree:
 * what a register of 16 lanes does, whatever the width of the machine's. */
#ifndef KERNELS_MATH_INLINE_H
#define KERNELS_MATH_INLINE_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

#include "tensor/half.h"

enum { LANES = 16 };

static inline float v1_set1(float a)
{
    return a;
}

static inline float v1_add(float a, float b)
{
    return a + b;
}

static inline float v1_sub(float a, float b)
{
    return a - b;
}

static inline float v1_mul(float a, float b)
{
    return a * b;
}

static inline float v1_div(float a, float b)
{
    return a / b;
}

static inline float v1_negate(float a)
{
    return -a;
}

static inline float v1_fma(float a, float b, float c)
{
    return __builtin_fmaf(a, b, c);
}

/* The bits of a plus those of b shifted by the width of a float's mantissa. */
static inline float v1_shl_add(float a, float b)
{
    return f32_from_bits(f32_bits(a) + (f32_bits(b) << 23));
}

static inline float v1_select_le(float a, float b, float yes, float no)
{
    return a <= b ? yes : no;
}

/* What maxps does: b when they compare equal or one is a NaN. */
static inline float v1_max(float a, float b)
{
    return a > b ? a : b;
}

#define VF float
#define V(op) v1_##op
#define EXP exp_1
#define CURVE(f) f##_1
#include "kernels/tmpl/curves.inc"
#undef VF
#undef V
#undef EXP
#undef CURVE

/* ((0+8)+(4+12)) + ((2+10)+(6+14)) and so on: halves added onto halves. */
static inline float lanes_sum(const float s[LANES])
{
    float t[LANES];
    for (size_t i = 0; i < LANES; i++)
        t[i] = s[i];
    for (size_t half = LANES / 2; half; half /= 2)
        for (size_t i = 0; i < half; i++)
            t[i] = t[i] + t[i + half];
    return t[0];
}

static inline float lanes_max(const float s[LANES])
{
    float t[LANES];
    for (size_t i = 0; i < LANES; i++)
        t[i] = s[i];
    for (size_t half = LANES / 2; half; half /= 2)
        for (size_t i = 0; i < half; i++)
            t[i] = v1_max(t[i], t[i + half]);
    return t[0];
}

#endif
