/* test/torture/footprint.h - what a failed call must leave as it was. */
#ifndef TEST_TORTURE_FOOTPRINT_H
#define TEST_TORTURE_FOOTPRINT_H

#include <stdint.h>

struct footprint {
    uint64_t allocations;
    unsigned files, threads; /* of this process, open and alive */
};

struct footprint footprint_now(void);

/* Fails the test where the two differ; n is the allocation that was made to fail. */
void assert_same_footprint(struct footprint before, uint64_t n);

/* Runs life(ctx) with the n-th allocation failing, n = 1, 2, 3 ..., once or for
 * good, until runs get through: some failures are got over, twenty in a row are
 * the end.  Each run must be back at the footprint and, where it failed, have
 * returned REALM_E_NOMEM or, when given, other.  Returns how many failed. */
unsigned torture(int (*life)(void *ctx), void *ctx, int for_good, int other);

#endif
