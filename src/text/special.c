#include "text/special.h"

/* The longest token that stands at out->start. */
static bool longest(const struct trie *t, struct slice text, struct special *out)
{
    uint32_t node = 0;
    out->n = 0;
    for (size_t i = out->start; i < text.n; i++) {
        node = trie_next(t, node, text.p[i]);
        if (node == TRIE_NONE)
            break;
        if (t->values[node] == TRIE_NONE)
            continue;
        out->n = i + 1 - out->start;
        out->id = t->values[node];
    }
    return out->n > 0;
}

bool special_find(const struct trie *t, struct slice text, size_t from, struct special *out)
{
    if (t->n == 1) // no token: the root alone
        return false;
    for (out->start = from; out->start < text.n; out->start++)
        if (longest(t, text, out))
            return true;
    return false;
}
