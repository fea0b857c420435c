/* sample/top.h - the likeliest few of many tokens, in order. */
#ifndef SAMPLE_TOP_H
#define SAMPLE_TOP_H

#include <stddef.h>
#include <stdint.h>

struct candidate {
    float logit;
    uint32_t id;
};

/* Puts the k (1 to n) best of n logits into out, best first: the greater logit,
 * then the lower id.  Time is n + k log k when the best stand anywhere, and
 * n log k at worst. */
void top_select(struct candidate *out, size_t k, const float *logits, size_t n);

/* Puts n candidates in order, best first; 0 is fine. */
void top_sort(struct candidate *candidates, size_t n);

#endif
