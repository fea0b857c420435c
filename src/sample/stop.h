/* sample/stop.h - cutting an answer where a stop string is spelled.
 *
 * Text goes in piece by piece; what comes out is certain not to be the
 * beginning of a stop string. */
#ifndef SAMPLE_STOP_H
#define SAMPLE_STOP_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/limits.h"

/* Most bytes of one push: the text of one token, each byte a U+FFFD. */
enum { STOP_PUSH_MAX = 3 * TOKEN_TEXT_MAX + 16 };

struct stop {
    char *texts[STOP_MAX]; /* owned */
    size_t bytes[STOP_MAX];
    size_t n;
    size_t which;    /* after a hit: the text that was spelled */
    struct buf held; /* the longest tail that may yet become a stop string */
};

/* Copies n (up to STOP_MAX) texts of 1 to STOP_BYTES_MAX bytes. */
MUST_USE int stop_init(struct stop *s, const char *const *texts, size_t n);
void stop_free(struct stop *s);

/* Adds text; appends to out what is certain and sets *hit when a stop string was
 * spelled: out then ends before the first one and nothing more may be pushed. */
MUST_USE int stop_push(struct stop *s, const char *text, size_t n, struct buf *out, bool *hit);

/* What is still held, at the end of an answer. */
MUST_USE int stop_flush(struct stop *s, struct buf *out);

#endif
