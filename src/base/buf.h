/* base/buf.h - a byte buffer that grows up to a ceiling given at init. */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/compiler.h"

struct buf {
    uint8_t *p; /* NULL until the first byte */
    size_t n;
    size_t cap;
    size_t max; /* ceiling on n */
};

void buf_init(struct buf *b, size_t max);
void buf_free(struct buf *b); /* may be used again afterwards */
static inline void buf_clear(struct buf *b)
{
    b->n = 0;
}

/* Each returns 0, REALM_E_NOMEM, or REALM_E_LIMIT at the ceiling; on failure
 * the buffer is as before. */
MUST_USE int buf_reserve(struct buf *b, size_t more);
MUST_USE int buf_add(struct buf *b, const void *p, size_t n);
MUST_USE int buf_addf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
MUST_USE int buf_addch(struct buf *b, char c);

/* The text as a JSON string with its quotes; what is not UTF-8 becomes U+FFFD. */
MUST_USE int buf_add_json(struct buf *b, struct slice text);

static inline struct slice buf_slice(const struct buf *b)
{
    return (struct slice){b->p, b->n};
}

/* Adds a NUL that n does not count and returns the text, or NULL. */
MUST_USE const char *buf_cstr(struct buf *b);

#endif
