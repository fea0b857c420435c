#include "text/trie.h"

#include <stdlib.h>
#include <string.h>

#include "base/ckd.h"
#include "base/limits.h"
#include "base/mem.h"
#include "realm/status.h"

/* Items that share a node: those of [from, to), which begin with the same bytes. */
struct range {
    uint32_t from, to;
};

static int compare(const void *a, const void *b)
{
    const struct slice *x = &((const struct trie_item *)a)->text;
    const struct slice *y = &((const struct trie_item *)b)->text;
    int c = memcmp(x->p, y->p, min_size(x->n, y->n));
    return c ? c : (x->n > y->n) - (x->n < y->n);
}

static size_t shared(struct slice a, struct slice b)
{
    size_t n = 0, max = min_size(a.n, b.n);
    while (n < max && a.p[n] == b.p[n])
        n++;
    return n;
}

/* One for the root, and one for each byte that no item before begins with as well. */
static size_t count_nodes(const struct trie_item *items, size_t n)
{
    size_t nodes = 1;
    for (size_t i = 0; i < n && nodes <= TOKEN_NODES_MAX; i++)
        nodes += items[i].text.n - (i ? shared(items[i - 1].text, items[i].text) : 0);
    return nodes;
}

/* Gives a node its value and its children.  ranges[node] begins with the item that ends
 * here, if there is one. */
static uint32_t expand(struct trie *t, const struct trie_item *items, struct range *ranges,
                       uint32_t node, uint32_t depth, uint32_t next)
{
    struct range r = ranges[node];
    t->first[node] = next;
    t->values[node] = TRIE_NONE;
    if (r.from < r.to && items[r.from].text.n == depth)
        t->values[node] = items[r.from++].id;
    while (r.from < r.to) {
        uint8_t byte = items[r.from].text.p[depth];
        uint32_t from = r.from;
        while (r.from < r.to && items[r.from].text.p[depth] == byte)
            r.from++;
        t->bytes[next] = byte;
        ranges[next++] = (struct range){from, r.from};
    }
    return next;
}

/* Level by level, so that children lie side by side. */
static void build(struct trie *t, const struct trie_item *items, size_t n, struct range *ranges)
{
    uint32_t next = 1, level_end = 1, depth = 0;
    ranges[0] = (struct range){0, (uint32_t)n};
    t->bytes[0] = 0;
    for (uint32_t node = 0; node < t->n; node++) {
        if (node == level_end) {
            depth++;
            level_end = next;
        }
        next = expand(t, items, ranges, node, depth, next);
    }
    t->first[t->n] = next;
    for (unsigned b = 0; b < 256; b++)
        t->root[b] = TRIE_NONE;
    for (uint32_t child = t->first[0]; child < t->first[1]; child++)
        t->root[t->bytes[child]] = child;
}

int trie_init(struct trie *t, struct trie_item *items, size_t n)
{
    *t = (struct trie){0};
    if (n)
        qsort(items, n, sizeof(*items), compare);
    size_t nodes = count_nodes(items, n);
    if (nodes > TOKEN_NODES_MAX)
        return REALM_E_LIMIT;
    t->n = (uint32_t)nodes;
    t->first = mem_array(nodes + 1, sizeof(*t->first));
    t->values = mem_array(nodes, sizeof(*t->values));
    t->bytes = mem_alloc(nodes);
    struct range *ranges = mem_array(nodes, sizeof(*ranges));
    bool whole = t->first && t->values && t->bytes && ranges;
    if (whole)
        build(t, items, n, ranges);
    else
        trie_free(t);
    mem_free(ranges);
    return whole ? 0 : REALM_E_NOMEM;
}

void trie_free(struct trie *t)
{
    mem_free(t->first);
    mem_free(t->values);
    mem_free(t->bytes);
    *t = (struct trie){0};
}

size_t trie_bytes(const struct trie *t)
{
    return t->n * (sizeof(*t->first) + sizeof(*t->values) + sizeof(*t->bytes));
}
