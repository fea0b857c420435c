/* model/product.c - rows into tiles, tiles times matrices. */
#include <string.h>

#include "base/assert.h"
#include "base/ckd.h"
#include "base/limits.h"
#include "model/forward_internal.h"

/* Chunks of panels per thread and phase: enough to even out, few enough that each
 * is a long stretch of memory. */
enum { CHUNKS_PER_THREAD = 8 };

/* Rows that panels are multiplied by in one go: so many that they stay in a core's
 * second-level cache while one panel after another comes along.  Panels of floats are
 * more bytes, which should come from memory for many rows; rows that stay in the
 * third-level cache come fast enough for them. */
enum {
    PASS_ROWS = 2 * TILE_TOKENS, /* a multiple of it */
    PASS_BYTES = 192 * KiB,
    FLOAT_PASS_BYTES = 2 * MiB,
    FLOAT_PASS_LEAST = 4 * PASS_ROWS,
};

static size_t pass_rows(enum act_kind kind, size_t k)
{
    const bool floats = kind == ACT_F32 || kind == ACT_BF16;
    const size_t rows = (floats ? FLOAT_PASS_BYTES : PASS_BYTES) / act_bytes(kind, k);
    return max_size(rows / PASS_ROWS * PASS_ROWS, floats ? FLOAT_PASS_LEAST : PASS_ROWS);
}

struct product_phase {
    const struct forward *f;
    const struct product *products;
    size_t n;
    size_t panels; /* of all products */
    size_t chunk;  /* panels of one item */
};

static void some_panels(const struct forward *f, const struct product *p, size_t from, size_t n)
{
    const struct matrix *w = p->w;
    const enum act_kind kind = act_kind_of(w->type);
    const size_t row_bytes = act_bytes(kind, w->k);
    const size_t pass = pass_rows(kind, w->k);
    const uint8_t *panels = w->data + (p->index * w->panels + from) * w->panel_bytes;
    const uint8_t *acts = (const uint8_t *)f->acts[kind] + p->first * row_bytes;
    for (size_t row = 0; row < p->rows; row += pass)
        f->kernels->gemm[w->type](p->y + row * p->y_stride + from * PANEL_ROWS, p->y_stride, panels,
                                  n, acts + row * row_bytes, w->k, min_size(pass, p->rows - row));
}

static void product_item(void *ctx, size_t item, unsigned worker)
{
    (void)worker;
    const struct product_phase *ph = ctx;
    size_t begin = item * ph->chunk, end = min_size(begin + ph->chunk, ph->panels);
    size_t base = 0;
    for (size_t i = 0; i < ph->n; i++) {
        size_t panels = ph->products[i].w->panels;
        size_t from = max_size(begin, base), to = min_size(end, base + panels);
        if (from < to)
            some_panels(ph->f, &ph->products[i], from - base, to - from);
        base += panels;
    }
}

void forward_products(struct forward *f, const struct product *products, size_t n)
{
    struct product_phase ph = {.f = f, .products = products, .n = n};
    for (size_t i = 0; i < n; i++)
        ph.panels += products[i].w->panels;
    ph.chunk = max_size(ph.panels / (pool_threads(f->pool) * CHUNKS_PER_THREAD), 1);
    pool_run(f->pool, product_item, &ph, (ph.panels + ph.chunk - 1) / ph.chunk);
}

unsigned forward_kinds(const struct matrix *const *matrices, size_t n)
{
    unsigned kinds = 0;
    for (size_t i = 0; i < n; i++)
        if (matrices[i]->rows)
            kinds |= 1u << act_kind_of(matrices[i]->type);
    return kinds;
}

size_t forward_tile_start(size_t tile, size_t rows)
{
    size_t whole = rows / TILE_TOKENS;
    size_t start = min_size(tile, whole) * TILE_TOKENS;
    for (size_t i = whole; i < tile; i++)
        start += tile_width(start, rows);
    return start;
}

void forward_pack(struct forward *f, unsigned kinds, size_t tile_start, size_t width,
                  const float *x, size_t x_stride, size_t k)
{
    for (unsigned kind = 0; kind < ACT_KINDS; kind++) {
        if (!(kinds & 1u << kind))
            continue;
        uint8_t *tile = (uint8_t *)f->acts[kind] + tile_start * act_bytes((enum act_kind)kind, k);
        f->kernels->act_pack[kind](tile, x, x_stride, k, width);
    }
}

void forward_guard(struct forward *f, size_t row, float *values, size_t n)
{
    if (LIKELY(f->kernels->all_finite(values, n)))
        return;
    f->bad[row] = true;
    memset(values, 0, n * sizeof(*values));
}
