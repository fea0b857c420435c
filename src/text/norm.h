/* text/norm.h - Unicode's normalisation forms NFC and NFD, and small letters.
 *
 * The tables are utf8proc's.  Text is taken in clusters, each a character with the
 * marks after it; marks are put in order by counting, so that no text takes more than
 * linear time.  A norm is scratch of one thread and keeps its memory from text to text. */
#ifndef TEXT_NORM_H
#define TEXT_NORM_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/compiler.h"

enum norm_form { NORM_NFC, NORM_NFD };

/* A character's bytes become at most so many times as many, in either form ... */
enum { NORM_GROWTH_MAX = 3 };
/* ... and a text's are at most so many times what NFC leaves of it. */
enum { NORM_SHRINK_MAX = 4 };
/* As the first, of capitals that are made small: U+023A has 2 bytes, then 3. */
enum { NORM_LOWER_GROWTH = 2 };

struct norm {
    struct buf out;
    struct buf points, sorted; /* of int32_t: one cluster */
};

void norm_init(struct norm *n);
void norm_free(struct norm *n);

/* Brings valid UTF-8 into a form.  *out is the text itself where that is told quickly,
 * else bytes of n, good until the next call.  0 or REALM_E_NOMEM. */
MUST_USE int norm_text(struct norm *n, enum norm_form form, struct slice text, struct slice *out);

/* What stands for a character when capitals are made small, each by itself: one character,
 * but of one capital two.  Returns how many. */
size_t norm_small(uint32_t c, uint32_t out[2]);

/* Makes valid UTF-8 small: *out is bytes of n.  0 or REALM_E_NOMEM. */
MUST_USE int norm_lower(struct norm *n, struct slice text, struct slice *out);

#endif
