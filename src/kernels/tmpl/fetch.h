/* kernels/tmpl/fetch.h - weights asked for before a product gets to them. */
#ifndef KERNELS_TMPL_FETCH_H
#define KERNELS_TMPL_FETCH_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/gemm_init.h"
#include "kernels/panel.h"
#include "kernels/tmpl/inline.h"

enum { FETCH_TO_L2 = 2, FETCH_TO_L1 = 3 }; /* in __builtin_prefetch's words */

/* Asks for the lines of `bytes` bytes.  They may lie behind a matrix' end: asking reads nothing. */
ALWAYS_INLINE void ask(uintptr_t first, const size_t bytes)
{
    if (gemm_fetch.to_l1)
        EACH (line, (bytes + LINE_BYTES - 1) / LINE_BYTES)
            __builtin_prefetch((const void *)(first + line * LINE_BYTES), 0, FETCH_TO_L1);
    else
        EACH (line, (bytes + LINE_BYTES - 1) / LINE_BYTES)
            __builtin_prefetch((const void *)(first + line * LINE_BYTES), 0, FETCH_TO_L2);
}

/* Asks for what lies `ahead` bytes further on than a part of a matrix; for nothing if ahead is 0,
 * as it is for all tiles of tokens but the first. */
ALWAYS_INLINE void fetch(const void *part, const size_t bytes, size_t ahead)
{
    if (ahead)
        ask((uintptr_t)part + ahead, bytes);
}

/* Which of each ASK_PARTS parts (bit i: the i-th) the tile-th of `tiles` tiles asks for, where
 * they share out what all of them take next, so that memory has the time of all to bring it. */
enum { ASK_PARTS = 16 };

static inline uint32_t ask_parts(size_t tile, size_t tiles)
{
    const size_t every = tiles > ASK_PARTS ? tiles / ASK_PARTS : 1; // the others have no part
    uint32_t parts = 0;
    for (size_t i = tile / every; tile % every == 0 && i < ASK_PARTS; i += tiles)
        parts |= 1u << i;
    return parts;
}

#endif
