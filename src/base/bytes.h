/* base/bytes.h - a reader that cannot pass the end of what it reads.
 *
 * Little endian, any alignment.  Each read returns false, moves nothing and
 * leaves *out alone when fewer bytes are left than it needs.
 */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/compiler.h"

/* A run of bytes that somebody else owns; n may be 0 and p then NULL. */
struct slice {
    const uint8_t *p;
    size_t n;
};

struct bytes {
    const uint8_t *p;
    const uint8_t *end;
};

static inline struct bytes bytes_from(const void *p, size_t n)
{
    const uint8_t *start = p;
    return (struct bytes){start, n ? start + n : start};
}

static inline size_t bytes_left(const struct bytes *b)
{
    return (size_t)(b->end - b->p);
}

MUST_USE static inline bool rd_skip(struct bytes *b, uint64_t n)
{
    if (n > bytes_left(b))
        return false;
    b->p += n;
    return true;
}

MUST_USE static inline bool rd_raw(struct bytes *b, void *out, size_t n)
{
    if (n > bytes_left(b))
        return false;
    if (n)
        memcpy(out, b->p, n);
    b->p += n;
    return true;
}

MUST_USE static inline bool rd_u8(struct bytes *b, uint8_t *out)
{
    return rd_raw(b, out, 1);
}

MUST_USE static inline bool rd_u16(struct bytes *b, uint16_t *out)
{
    return rd_raw(b, out, 2);
}

MUST_USE static inline bool rd_u32(struct bytes *b, uint32_t *out)
{
    return rd_raw(b, out, 4);
}

MUST_USE static inline bool rd_u64(struct bytes *b, uint64_t *out)
{
    return rd_raw(b, out, 8);
}

MUST_USE static inline bool rd_f32(struct bytes *b, float *out)
{
    return rd_raw(b, out, 4);
}

/* A view of the next n bytes, owned by whoever owns b's. */
MUST_USE static inline bool rd_slice(struct bytes *b, uint64_t n, struct slice *out)
{
    if (n > bytes_left(b))
        return false;
    *out = (struct slice){b->p, (size_t)n};
    b->p += n;
    return true;
}

static inline struct slice slice_of(const char *text)
{
    return (struct slice){(const uint8_t *)text, strlen(text)};
}

static inline bool slice_equal(struct slice a, struct slice b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline bool slice_is(struct slice a, const char *text)
{
    return slice_equal(a, slice_of(text));
}

/* The value of a hexadecimal digit; -1: c is none. */
static inline int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

#endif
