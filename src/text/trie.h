/* text/trie.h - finds the tokens that a text begins with.
 *
 * A node's children lie side by side, sorted by their byte.  Built once, read by all
 * threads. */
#ifndef TEXT_TRIE_H
#define TEXT_TRIE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/compiler.h"

#define TRIE_NONE UINT32_MAX

struct trie_item {
    struct slice text; /* a view, needed while the trie is built; not empty */
    uint32_t id;
};

struct trie {
    uint32_t *first;  /* (nodes + 1): a node's children are first[node] to first[node + 1] - 1 */
    uint32_t *values; /* (nodes): an id, or TRIE_NONE */
    uint8_t *bytes;   /* (nodes): by which a node is reached */
    uint32_t n;       /* nodes; the root is 0 */
    uint32_t root[256];
};

/* Sorts the items, no two of which have one text, and builds the trie.  0,
 * REALM_E_NOMEM, or REALM_E_LIMIT over TOKEN_NODES_MAX nodes. */
MUST_USE int trie_init(struct trie *t, struct trie_item *items, size_t n);
void trie_free(struct trie *t);
size_t trie_bytes(const struct trie *t);

/* The node that byte leads to, or TRIE_NONE. */
static inline uint32_t trie_next(const struct trie *t, uint32_t node, uint8_t byte)
{
    if (node == 0)
        return t->root[byte];
    uint32_t low = t->first[node], high = t->first[node + 1];
    while (high - low > 8) {
        uint32_t middle = low + (high - low) / 2;
        if (t->bytes[middle] <= byte)
            low = middle;
        else
            high = middle;
    }
    for (; low < high; low++) {
        if (t->bytes[low] == byte)
            return low;
    }
    return TRIE_NONE;
}

#endif
