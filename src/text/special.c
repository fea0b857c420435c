#include "text/special.h"

#include <stdlib.h>

#include "base/ckd.h"
#include "base/mem.h"
#include "realm/status.h"

int special_init(struct special_set *s, size_t cap)
{
    *s = (struct special_set){.cap = cap, .shortest = SIZE_MAX};
    s->items = mem_array(cap, sizeof(*s->items));
    return s->items ? 0 : REALM_E_NOMEM;
}

void special_free(struct special_set *s)
{
    mem_free(s->items);
    *s = (struct special_set){0};
}

void special_add(struct special_set *s, struct slice text, uint32_t id)
{
    ASSERT(s->n < s->cap && text.n > 0);
    s->items[s->n++] = (struct special){text, id};
    s->shortest = min_size(s->shortest, text.n);
}

static int compare(const void *a, const void *b)
{
    const struct slice *x = &((const struct special *)a)->text;
    const struct slice *y = &((const struct special *)b)->text;
    int c = memcmp(x->p, y->p, min_size(x->n, y->n));
    return c ? c : (x->n > y->n) - (x->n < y->n);
}

void special_sort(struct special_set *s)
{
    if (s->n)
        qsort(s->items, s->n, sizeof(*s->items), compare);
    uint32_t i = 0;
    for (unsigned b = 0; b <= 256; b++) {
        while (i < s->n && s->items[i].text.p[0] < b)
            i++;
        s->first[b] = i;
    }
}

/* The first item of [low, high) whose byte at depth is not less than b. */
static size_t lower(const struct special_set *s, size_t low, size_t high, size_t depth, unsigned b)
{
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (s->items[middle].text.p[depth] < b)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The longest item that text begins with. */
static const struct special *longest(const struct special_set *s, struct slice text)
{
    const struct special *best = NULL;
    size_t low = s->first[text.p[0]], high = s->first[text.p[0] + 1];
    for (size_t depth = 1; low < high; depth++) {
        if (s->items[low].text.n == depth) // all of it: the shortest sorts first
            best = &s->items[low++];
        if (depth == text.n)
            break;
        low = lower(s, low, high, depth, text.p[depth]);
        high = lower(s, low, high, depth, text.p[depth] + 1u);
    }
    return best;
}

const struct special *special_find(const struct special_set *s, struct slice text, size_t from,
                                   size_t *start)
{
    if (s->n == 0)
        return NULL;
    for (size_t i = from; i < text.n; i++) {
        uint8_t b = text.p[i];
        if (s->first[b] == s->first[b + 1])
            continue;
        const struct special *found = longest(s, (struct slice){text.p + i, text.n - i});
        if (found) {
            *start = i;
            return found;
        }
    }
    return NULL;
}
