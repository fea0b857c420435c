/* model/product.c - rows into tiles, tiles times matrices. */
#include <stdatomic.h>
#include <string.h>

#include "base/assert.h"
#include "base/ckd.h"
#include "base/limits.h"
#include "model/forward_internal.h"

/* A thread's share of the panels, of which it takes one chunk after another: memory is read in
 * one go, and what the end of a chunk asks for ahead is the beginning of its own next.  Then it
 * helps the others.  A stretch is the same thread's in every step, which finds in its cache what
 * fits there. */
enum { CHUNKS_PER_STRETCH = 16 };

struct stretch {
    ALIGNED(CACHE_LINE) atomic_size_t next; /* chunk */
    size_t end;
};

size_t forward_stretch_bytes(void)
{
    return sizeof(struct stretch);
}

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
    size_t chunk;  /* panels */
    size_t threads;
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

static void take_chunk(const struct product_phase *ph, size_t chunk)
{
    size_t begin = chunk * ph->chunk, end = min_size(begin + ph->chunk, ph->panels);
    size_t base = 0;
    for (size_t i = 0; i < ph->n; i++) {
        size_t panels = ph->products[i].w->panels;
        size_t from = max_size(begin, base), to = min_size(end, base + panels);
        if (from < to)
            some_panels(ph->f, &ph->products[i], from - base, to - from);
        base += panels;
    }
}

static void product_item(void *ctx, size_t item, unsigned worker)
{
    (void)item;
    const struct product_phase *ph = ctx;
    for (size_t i = 0; i < ph->threads; i++) {
        struct stretch *s = &ph->f->stretches[(worker + i) % ph->threads];
        while (atomic_load_explicit(&s->next, memory_order_relaxed) < s->end) {
            size_t chunk = atomic_fetch_add_explicit(&s->next, 1, memory_order_relaxed);
            if (chunk < s->end)
                take_chunk(ph, chunk);
        }
    }
}

void forward_products(struct forward *f, const struct product *products, size_t n)
{
    struct product_phase ph = {
        .f = f, .products = products, .n = n, .threads = pool_threads(f->pool)};
    for (size_t i = 0; i < n; i++)
        ph.panels += products[i].w->panels;
    /* Even, for panels of floats are taken in pairs, unless threads would have none then. */
    ph.chunk = max_size(round_up(ph.panels / (ph.threads * CHUNKS_PER_STRETCH), 2),
                        ph.panels < 4 * ph.threads ? 1 : 2);
    size_t chunks = (ph.panels + ph.chunk - 1) / ph.chunk;
    for (size_t i = 0; i < ph.threads; i++) {
        atomic_init(&f->stretches[i].next, chunks * i / ph.threads);
        f->stretches[i].end = chunks * (i + 1) / ph.threads;
    }
    pool_run(f->pool, product_item, &ph, ph.threads);
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

struct strip forward_whole(size_t start, size_t width, size_t k)
{
    return (struct strip){.start = start, .width = width, .k = k, .n = k};
}

/* A strip begins where blocks of every kind do, and is worth its item in a tile of average
 * width. */
enum { STRIP_COLUMNS = 256, STRIP_VALUES = 4096 };

static size_t strips_of_tile(const struct forward *f, size_t k)
{
    size_t tiles = tile_count(f->n);
    size_t wanted = (2 * pool_threads(f->pool) + tiles - 1) / tiles;
    size_t worth = max_size(f->n * k / tiles / STRIP_VALUES, 1);
    return min_size(min_size(wanted, worth), (k + STRIP_COLUMNS - 1) / STRIP_COLUMNS);
}

size_t forward_strips(const struct forward *f, size_t k)
{
    return tile_count(f->n) * strips_of_tile(f, k);
}

struct strip forward_strip(const struct forward *f, size_t k, size_t i)
{
    size_t n = strips_of_tile(f, k), blocks = (k + STRIP_COLUMNS - 1) / STRIP_COLUMNS;
    size_t start = forward_tile_start(i / n, f->n), nth = i % n;
    size_t at = blocks * nth / n * STRIP_COLUMNS, end = blocks * (nth + 1) / n * STRIP_COLUMNS;
    return (struct strip){.start = start,
                          .width = tile_width(start, f->n),
                          .k = k,
                          .at = at,
                          .n = min_size(end, k) - at};
}

void forward_pack(struct forward *f, unsigned kinds, const struct strip *strip, const float *x,
                  size_t x_stride)
{
    for (unsigned kind = 0; kind < ACT_KINDS; kind++) {
        if (!(kinds & 1u << kind))
            continue;
        uint8_t *tile = (uint8_t *)f->acts[kind] +
                        strip->start * act_bytes((enum act_kind)kind, strip->k) +
                        strip->width * act_at((enum act_kind)kind, strip->at);
        f->kernels->act_pack[kind](tile, x, x_stride, strip->n, strip->width);
    }
}

void forward_guard(struct forward *f, size_t row, float *values, size_t n)
{
    if (LIKELY(f->kernels->all_finite(values, n)))
        return;
    f->bad[row] = true;
    memset(values, 0, n * sizeof(*values));
}
