#include "text/merge.h"

#include "base/ckd.h"
#include "base/mem.h"
#include "realm/status.h"

void merger_init(struct merger *m)
{
    *m = (struct merger){0};
}

void merger_free(struct merger *m)
{
    mem_free(m->symbols);
    mem_free(m->heap);
    merger_init(m);
}

int merger_reserve(struct merger *m, size_t n)
{
    if (n <= m->cap)
        return 0;
    size_t cap = max_size(n, 64);
    merger_free(m);
    m->symbols = mem_array(cap, sizeof(*m->symbols));
    // n - 1 candidates at first; each merge takes one and brings at most two
    m->heap = mem_array(2 * cap, sizeof(*m->heap));
    if (!m->symbols || !m->heap) {
        merger_free(m);
        return REALM_E_NOMEM;
    }
    m->cap = cap;
    return 0;
}

static bool before(const struct candidate *a, const struct candidate *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->left < b->left;
}

static void push(struct merger *m, struct candidate c)
{
    size_t i = m->n_heap++;
    while (i > 0) {
        size_t parent = (i - 1) / 2;
        if (!before(&c, &m->heap[parent]))
            break;
        m->heap[i] = m->heap[parent];
        i = parent;
    }
    m->heap[i] = c;
}

static struct candidate pop(struct merger *m)
{
    struct candidate top = m->heap[0];
    struct candidate last = m->heap[--m->n_heap];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= m->n_heap)
            break;
        if (child + 1 < m->n_heap && before(&m->heap[child + 1], &m->heap[child]))
            child++;
        if (!before(&m->heap[child], &last))
            break;
        m->heap[i] = m->heap[child];
        i = child;
    }
    m->heap[i] = last;
    return top;
}

static void consider(struct merger *m, const uint8_t *word, uint32_t left, uint32_t right,
                     merge_lookup lookup, const void *ctx)
{
    if (left == MERGE_END || right == MERGE_END)
        return;
    const struct symbol *a = &m->symbols[left], *b = &m->symbols[right];
    struct candidate c;
    if (!lookup(ctx, word, a, b, &c))
        return;
    c.left = left;
    c.n = a->n + b->n;
    push(m, c);
}

/* Whether the two symbols a candidate was made of are still there as they were:
 * the left one can only have grown by swallowing the right one, and either
 * change makes the sum another. */
static bool current(const struct merger *m, const struct candidate *c)
{
    const struct symbol *left = &m->symbols[c->left];
    return left->n != 0 && left->next != MERGE_END && left->n + m->symbols[left->next].n == c->n;
}

void merger_run(struct merger *m, const uint8_t *word, size_t n, merge_lookup lookup,
                const void *ctx)
{
    struct symbol *s = m->symbols;
    m->n_heap = 0;
    for (uint32_t i = 0; i < n; i++) {
        s[i].prev = i ? i - 1 : MERGE_END;
        s[i].next = i + 1 < n ? i + 1 : MERGE_END;
    }
    for (uint32_t i = 1; i < n; i++)
        consider(m, word, i - 1, i, lookup, ctx);
    while (m->n_heap) {
        struct candidate c = pop(m);
        if (!current(m, &c))
            continue;
        struct symbol *left = &s[c.left], *right = &s[left->next];
        left->n += right->n;
        left->id = c.id;
        left->next = right->next;
        right->n = 0;
        if (left->next != MERGE_END)
            s[left->next].prev = c.left;
        consider(m, word, left->prev, c.left, lookup, ctx);
        consider(m, word, c.left, left->next, lookup, ctx);
    }
}
