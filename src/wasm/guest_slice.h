/* wasm/guest_slice.h - the only way to touch a guest's memory.
 *
 * A view of the memory as it is now; it is taken anew after every call into the
 * guest, and none is kept over a wait, since the memory may grow and move.
 * Offsets and lengths are added in 64 bits and checked against the size. */
#ifndef WASM_GUEST_SLICE_H
#define WASM_GUEST_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

struct guest_memory {
    uint8_t *base;
    uint64_t size;
};

/* Whether [at, at + n) lies within the memory.  n 0 is fine anywhere. */
static inline bool guest_has(const struct guest_memory *m, uint32_t at, uint64_t n)
{
    return n == 0 || (at <= m->size && n <= m->size - at);
}

/* Each returns false and touches nothing when the range is out of bounds. */
MUST_USE bool guest_copy_in(const struct guest_memory *m, uint32_t at, void *dst, size_t n);
MUST_USE bool guest_copy_out(const struct guest_memory *m, uint32_t at, const void *src, size_t n);

/* Bytes before the first NUL at or after `at`, at most max; false when there is
 * none within the memory or within max. */
MUST_USE bool guest_strlen(const struct guest_memory *m, uint32_t at, size_t max, size_t *n);

#endif
