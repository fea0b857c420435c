/* text/merge.h - merges the symbols of one word, best pair first.
 *
 * The common core of both tokenisers: a word is a chain of symbols, candidates
 * (pairs of neighbours that may become one token) wait in a heap, and the best
 * is taken until none is left.  n symbols cost at most 3n look-ups and 2n heap
 * entries, so that one word of a megabyte takes no longer than many short ones.
 *
 * A merger is scratch of one thread; it keeps its memory from word to word. */
#ifndef TEXT_MERGE_H
#define TEXT_MERGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

#define MERGE_END UINT32_MAX

struct symbol {
    uint32_t at;         /* byte in the word */
    uint32_t n;          /* bytes; 0: merged into one further left */
    uint32_t prev, next; /* MERGE_END: none */
    uint32_t id;         /* token, or TOKEN_NONE for a character that is none */
};

struct candidate {
    uint32_t rank; /* lower goes first, then further left */
    uint32_t left;
    uint32_t n;  /* bytes of both: tells whether they are still neighbours */
    uint32_t id; /* what they become */
};

/* Whether two neighbours make a token: sets rank, and id, of *out. */
typedef bool (*merge_lookup)(const void *ctx, const uint8_t *word, const struct symbol *left,
                             const struct symbol *right, struct candidate *out);

struct merger {
    struct symbol *symbols;
    struct candidate *heap;
    size_t cap; /* symbols there is room for */
    size_t n_heap;
};

void merger_init(struct merger *m);
void merger_free(struct merger *m);

/* Room for a word of n symbols: 0 or REALM_E_NOMEM. */
MUST_USE int merger_reserve(struct merger *m, size_t n);

/* Merges symbols[0] to symbols[n - 1], n >= 1, whose at, n and id the caller has
 * set.  What is left hangs together by next, from symbols[0]. */
void merger_run(struct merger *m, const uint8_t *word, size_t n, merge_lookup lookup,
                const void *ctx);

#endif
