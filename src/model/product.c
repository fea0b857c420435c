/* model/product.c - rows into tiles, tiles times matrices. */
#include <string.h>

#include "base/assert.h"
#include "base/ckd.h"
#include "model/forward_internal.h"

/* Chunks of panels per thread and phase: enough to even out, few enough that each
 * is a long stretch of memory. */
enum { CHUNKS_PER_THREAD = 8 };

struct product_phase {
    const struct forward *f;
    const struct product *products;
    size_t n;
    size_t rows;
    size_t panels; /* of all products */
    size_t chunk;  /* panels of one item */
};

static void product_item(void *ctx, size_t item, unsigned worker)
{
    (void)worker;
    const struct product_phase *ph = ctx;
    size_t begin = item * ph->chunk, end = min_size(begin + ph->chunk, ph->panels);
    size_t base = 0;
    for (size_t i = 0; i < ph->n; i++) {
        const struct product *p = &ph->products[i];
        const struct matrix *w = p->w;
        size_t from = max_size(begin, base), to = min_size(end, base + w->panels);
        if (from < to)
            ph->f->kernels->gemm[w->type](p->y + (from - base) * PANEL_ROWS, p->y_stride,
                                          w->data + (from - base) * w->panel_bytes, to - from,
                                          ph->f->acts[act_kind_of(w->type)], w->k, ph->rows);
        base += w->panels;
    }
}

void forward_products(struct forward *f, const struct product *products, size_t n, size_t rows)
{
    struct product_phase ph = {.f = f, .products = products, .n = n, .rows = rows};
    for (size_t i = 0; i < n; i++)
        ph.panels += products[i].w->panels;
    ph.chunk = max_size(ph.panels / (pool_threads(f->pool) * CHUNKS_PER_THREAD), 1);
    pool_run(f->pool, product_item, &ph, (ph.panels + ph.chunk - 1) / ph.chunk);
}

unsigned forward_kinds(const struct matrix *const *matrices, size_t n)
{
    unsigned kinds = 0;
    for (size_t i = 0; i < n; i++)
        kinds |= 1u << act_kind_of(matrices[i]->type);
    return kinds;
}

size_t forward_tiles(size_t rows)
{
    size_t tiles = rows / TILE_TOKENS;
    for (size_t rest = rows % TILE_TOKENS; rest; rest &= rest - 1)
        tiles++;
    return tiles;
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

struct norm_phase {
    struct forward *f;
    const float *weight;
    unsigned kinds;
    bool add_branch;
};

static void norm_item(void *ctx, size_t item, unsigned worker)
{
    const struct norm_phase *ph = ctx;
    struct forward *f = ph->f;
    const struct model_config *c = &f->model->config;
    size_t start = forward_tile_start(item, f->n), width = tile_width(start, f->n);
    float *norm = f->norm + worker * TILE_TOKENS * f->width_stride;
    for (size_t i = 0; i < width; i++) {
        size_t row = start + i;
        float *x = f->x + row * f->width_stride, *y = norm + i * f->width_stride;
        if (ph->add_branch)
            f->kernels->add(x, f->branch + row * f->width_stride, c->width);
        f->kernels->rms_norm(y, x, ph->weight, c->width, c->norm_eps);
        forward_guard(f, row, y, c->width);
    }
    forward_pack(f, ph->kinds, start, width, norm, f->width_stride, c->width);
}

void forward_norm_pack(struct forward *f, const float *weight, unsigned kinds, bool add_branch)
{
    struct norm_phase ph = {f, weight, kinds, add_branch};
    pool_run(f->pool, norm_item, &ph, forward_tiles(f->n));
}
