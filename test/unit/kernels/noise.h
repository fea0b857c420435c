/* Seeded random numbers for tests of kernels, of one series for a whole program. */
#ifndef TEST_UNIT_KERNELS_NOISE_H
#define TEST_UNIT_KERNELS_NOISE_H

#include <stdlib.h>

#include "base/rng.h"

static uint64_t draws;

static inline double uniform(double low, double high)
{
    return low + (high - low) * rng_unit(2024, 7, draws++);
}

/* Of about the spread of a normal one. */
static inline float noise(void)
{
    return (float)(uniform(-1, 1) + uniform(-1, 1) + uniform(-1, 1));
}

static inline float *noise_new(size_t n)
{
    float *x = calloc(n, sizeof(*x));
    assert_non_null(x);
    for (size_t i = 0; i < n; i++)
        x[i] = noise();
    return x;
}

#endif
