/* base/rng.h - random numbers as a function of (key, counter).
 *
 * The n-th number of a stream depends on nothing but the stream's key and n,
 * so a draw is the same however the work around it was cut or ordered.
 * Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
 * SC 2011). */
#ifndef BASE_RNG_H
#define BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

/* Four 32-bit numbers for the counter (hi, lo) under key. */
void rng_philox(uint64_t key, uint64_t hi, uint64_t lo, uint32_t out[4]);

/* One number in [0, 1) with 53 random bits. */
double rng_unit(uint64_t key, uint64_t hi, uint64_t lo);

/* Fills out with the system's randomness; REALM_E_SYS when there is none. */
MUST_USE int rng_system(void *out, size_t n);

#endif
