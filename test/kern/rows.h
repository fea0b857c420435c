/* test/kern/rows.h - random weights and activations for the tests of kernels. */
#ifndef TEST_KERN_ROWS_H
#define TEST_KERN_ROWS_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/kernels.h"

extern const enum dtype row_dtype[GEMM_TYPES];

/* k is cut in steps of this many items. */
size_t row_step(enum gemm_type type);

/* Bytes of a row as a file has it. */
size_t row_bytes(enum gemm_type type, size_t k);

/* n rows of random bits as a file has them; every bit pattern of the quantised
 * items and scales, block scales and floats near 1 / 64 of either sign. */
void rows_random(enum gemm_type type, void *rows, size_t n, size_t k, uint64_t seed);

/* n values in -2 to 2, a few of them a hundred times as big, and some zero. */
void floats_random(float *out, size_t n, uint64_t seed);

/* A random number that depends on these three alone. */
uint32_t draw(uint64_t key, uint64_t i, uint64_t j);

#endif
