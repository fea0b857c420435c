/* base/fair.h - what many share and none may have all of.
 *
 * The rule of dynamic thresholds (Choudhury and Hahne, 1998, with alpha 1): nobody comes to hold
 * more than is left to all others.  Who is alone may have half; of n who want all they can get
 * each has one part of n + 1, and the last is left to whoever comes next. */
#ifndef BASE_FAIR_H
#define BASE_FAIR_H

#include <stdbool.h>
#include <stdint.h>

/* Whether one who holds `held` may have `more`, of which `left` are nobody's. */
static inline bool fair_fits(uint64_t held, uint64_t more, uint64_t left)
{
    return more <= left && held <= left - more;
}

/* FNV-1a, of names that an operator chooses: nobody is after collisions. */
static inline uint32_t fair_hash(const char *name)
{
    uint32_t hash = 2166136261u;
    for (; *name; name++)
        hash = (hash ^ (uint8_t)*name) * 16777619u;
    return hash;
}

#endif
