/* text/special.h - finds spelled-out tokens in text. */
#ifndef TEXT_SPECIAL_H
#define TEXT_SPECIAL_H

#include "text/trie.h"

struct special {
    size_t start, n; /* bytes of the text */
    uint32_t id;
};

/* The first token of the trie that is spelled at or after `from`, the longest there; false:
 * none.  A place takes no longer than the longest token has bytes. */
bool special_find(const struct trie *t, struct slice text, size_t from, struct special *out);

#endif
