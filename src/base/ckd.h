/* base/ckd.h - arithmetic that says when it would overflow.
 *
 * Each returns true and leaves the result in *out, or returns false and leaves
 * *out alone.  Every size that comes from a file, a request or a guest goes
 * through these.
 */
#ifndef BASE_CKD_H
#define BASE_CKD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/compiler.h"

MUST_USE static inline bool ckd_add_u64(uint64_t a, uint64_t b, uint64_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

MUST_USE static inline bool ckd_mul_u64(uint64_t a, uint64_t b, uint64_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

MUST_USE static inline bool ckd_add_size(size_t a, size_t b, size_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

MUST_USE static inline bool ckd_mul_size(size_t a, size_t b, size_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

/* Rounds value up to a multiple of align, a power of two. */
MUST_USE static inline bool ckd_align_u64(uint64_t value, uint64_t align, uint64_t *out)
{
    if (!ckd_add_u64(value, align - 1, out))
        return false;
    *out &= ~(align - 1);
    return true;
}

/* Conversions of values that the program itself keeps in range. */
static inline uint32_t cast_u32(uint64_t value)
{
    ASSERT(value <= UINT32_MAX);
    return (uint32_t)value;
}

static inline int32_t cast_i32(int64_t value)
{
    ASSERT(value >= INT32_MIN && value <= INT32_MAX);
    return (int32_t)value;
}

static inline size_t round_up(size_t value, size_t multiple)
{
    return (value + multiple - 1) / multiple * multiple;
}

static inline size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

static inline size_t max_size(size_t a, size_t b)
{
    return a > b ? a : b;
}

#endif
