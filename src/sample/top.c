/* sample/top.c - a heap of the k best so far, its worst at the root.
 *
 * Most of a large vocabulary is worse than the root and costs one comparison;
 * no input is slow, which a partition around pivots could not promise. */
#include "sample/top.h"

#include <stdbool.h>

static bool better(struct candidate a, struct candidate b)
{
    return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}

/* Lets item sink from position i of a heap of k whose other items are in order. */
static void sink(struct candidate *heap, size_t k, size_t i, struct candidate item)
{
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= k)
            break;
        if (child + 1 < k && better(heap[child], heap[child + 1]))
            child++;
        if (!better(item, heap[child]))
            break;
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = item;
}

static void make_heap(struct candidate *heap, size_t k)
{
    for (size_t i = k / 2; i-- > 0;)
        sink(heap, k, i, heap[i]);
}

/* Takes the worst to the end until nothing is left of the heap. */
static void unmake_heap(struct candidate *heap, size_t k)
{
    for (size_t left = k; left > 1; left--) {
        struct candidate worst = heap[0];
        sink(heap, left - 1, 0, heap[left - 1]);
        heap[left - 1] = worst;
    }
}

void top_select(struct candidate *out, size_t k, const float *logits, size_t n)
{
    for (size_t i = 0; i < k; i++)
        out[i] = (struct candidate){logits[i], (uint32_t)i};
    make_heap(out, k);
    for (size_t i = k; i < n; i++)
        if (logits[i] > out[0].logit) // an equal one has the higher id
            sink(out, k, 0, (struct candidate){logits[i], (uint32_t)i});
    unmake_heap(out, k);
}

void top_sort(struct candidate *candidates, size_t n)
{
    make_heap(candidates, n);
    unmake_heap(candidates, n);
}
