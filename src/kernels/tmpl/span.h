/* kernels/tmpl/span.h - a span of weights, and how those that come next are asked for meanwhile.
 *
 * Memory brings weights while products go on, if somebody asks early enough.  Types whose panel
 * stays in the first-level cache let the first tile of tokens ask for what it will take itself, a
 * few KiB later.  The wide ones of floats go through panels in spans, and each tile asks for its
 * share of the next span, so that memory has the time of all of them. */
#ifndef KERNELS_TMPL_SPAN_H
#define KERNELS_TMPL_SPAN_H

#include <stddef.h>
#include <stdint.h>

#include "base/ckd.h"
#include "base/limits.h"
#include "kernels/gemm_init.h"
#include "kernels/kernels.h"
#include "kernels/panel.h"
#include "kernels/tmpl/inline.h"

/* What a tile asks for while it goes through a span: some of what lies `ahead` bytes behind. */
struct ask {
    size_t ahead;
    uint32_t parts; /* bit i: the i-th of each ASK_PARTS parts of the span */
};

enum { ASK_PARTS = 16 };

static const struct ask ask_nothing = {0};

/* Steps begin to end along k (of a type in blocks: these blocks) of a panel, or of some that
 * follow each other. */
struct span {
    const uint8_t *panel;
    const uint8_t *lines; /* of these blocks unpacked, as <OP>_block_unpack leaves them; or NULL */
    size_t begin, end;
    struct ask ask;
};

/* The share of the tile-th of `tiles` tiles in what lies ahead. */
static inline struct ask ask_share(size_t ahead, size_t tile, size_t tiles)
{
    struct ask ask = {.ahead = ahead};
    for (size_t i = tile; i < ASK_PARTS && gemm_fetch.ahead; i += tiles)
        ask.parts |= 1u << i;
    return ask;
}

enum { FETCH_TO_L2 = 2, FETCH_TO_L1 = 3 }; /* in __builtin_prefetch's words */

/* Asks for the lines that lie ahead of the i-th part, of `bytes` bytes, if the tile is to ask for
 * them.  They may lie behind the matrix' end: asking reads nothing. */
ALWAYS_INLINE void fetch(const void *part, const size_t bytes, size_t i, struct ask ask)
{
    if (!(ask.parts >> i % ASK_PARTS & 1))
        return;
    const uintptr_t first = (uintptr_t)part + ask.ahead;
    if (gemm_fetch.to_l1)
        EACH (line, (bytes + LINE_BYTES - 1) / LINE_BYTES)
            __builtin_prefetch((const void *)(first + line * LINE_BYTES), 0, FETCH_TO_L1);
    else
        EACH (line, (bytes + LINE_BYTES - 1) / LINE_BYTES)
            __builtin_prefetch((const void *)(first + line * LINE_BYTES), 0, FETCH_TO_L2);
}

#endif
