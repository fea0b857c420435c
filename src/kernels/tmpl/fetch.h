/* kernels/tmpl/fetch.h - weights asked for before a product gets to them. */
#ifndef KERNELS_TMPL_FETCH_H
#define KERNELS_TMPL_FETCH_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/panel.h"
#include "kernels/tmpl/inline.h"

enum { FETCH_TO_L2 = 2 }; /* in __builtin_prefetch's words */

/* Asks for the lines of the `bytes` bytes that come `ahead` behind a part of a matrix, if
 * ahead is not 0.  They may lie behind its end: asking reads nothing. */
ALWAYS_INLINE void fetch(const void *part, const size_t bytes, size_t ahead)
{
    if (ahead == 0)
        return;
    EACH (line, (bytes + LINE_BYTES - 1) / LINE_BYTES)
        __builtin_prefetch((const void *)((uintptr_t)part + ahead + line * LINE_BYTES), 0,
                           FETCH_TO_L2);
}

#endif
