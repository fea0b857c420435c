/* text/special.h - finds spelled-out tokens in text.
 *
 * The tokens lie sorted by their bytes, so that those with a common beginning
 * are neighbours: a position in the text is tried by narrowing the range byte by
 * byte.  It needs no memory beside the list, however long the tokens are. */
#ifndef TEXT_SPECIAL_H
#define TEXT_SPECIAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/compiler.h"

struct special {
    struct slice text; /* a view; valid UTF-8, not empty */
    uint32_t id;
};

struct special_set {
    struct special *items;
    size_t n;
    size_t cap;
    size_t shortest;     /* bytes; SIZE_MAX when there is none */
    uint32_t first[257]; /* items that begin with byte b: first[b] to first[b + 1] - 1 */
};

/* Room for cap items, then the items, then the sorting. */
MUST_USE int special_init(struct special_set *s, size_t cap);
void special_free(struct special_set *s);
void special_add(struct special_set *s, struct slice text, uint32_t id);
void special_sort(struct special_set *s);

/* The first item spelled at or after `from`, the longest there; NULL: none. */
const struct special *special_find(const struct special_set *s, struct slice text, size_t from,
                                   size_t *start);

#endif
