/* kernels/tmpl/fetch.h - weights asked for before a product gets to them. */
#ifndef KERNELS_TMPL_FETCH_H
#define KERNELS_TMPL_FETCH_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/gemm_init.h"
#include "kernels/panel.h"
#include "kernels/tmpl/inline.h"

enum { FETCH_TO_L2 = 2, FETCH_TO_L1 = 3 }; /* in __builtin_prefetch's words */

/* Asks for the lines of the `bytes` bytes that come `ahead` behind a part of a matrix, if
 * ahead is not 0, as it is for all tiles of tokens but the first.  They may lie behind its end:
 * asking reads nothing. */
ALWAYS_INLINE void fetch(const void *part, const size_t bytes, size_t ahead)
{
    if (ahead == 0)
        return;
    const uintptr_t first = (uintptr_t)part + ahead;
    if (gemm_fetch.to_l1)
        EACH (line, (bytes + LINE_BYTES - 1) / LINE_BYTES)
            __builtin_prefetch((const void *)(first + line * LINE_BYTES), 0, FETCH_TO_L1);
    else
        EACH (line, (bytes + LINE_BYTES - 1) / LINE_BYTES)
            __builtin_prefetch((const void *)(first + line * LINE_BYTES), 0, FETCH_TO_L2);
}

#endif
