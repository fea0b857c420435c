/* model/ffn.c - the gated feed-forward half of a layer. */
#include "base/compiler.h"
#include "model/forward_internal.h"

struct ffn_phase {
    struct forward *f;
    unsigned kinds;
};

static void silu_item(void *ctx, size_t item, unsigned worker)
{
    (void)worker;
    const struct ffn_phase *ph = ctx;
    struct forward *f = ph->f;
    size_t ffn = f->model->config.ffn;
    size_t start = forward_tile_start(item, f->n), width = tile_width(start, f->n);
    float *gate = f->gate + start * f->ffn_stride, *up = f->up + start * f->ffn_stride;
    for (size_t i = 0; i < width; i++) {
        float *row = gate + i * f->ffn_stride;
        f->kernels->silu_mul(row, row, up + i * f->ffn_stride, ffn);
        forward_guard(f, start + i, row, ffn);
    }
    forward_pack(f, ph->kinds, start, width, gate, f->ffn_stride, ffn);
}

void forward_ffn(struct forward *f)
{
    const struct model_layer *l = f->layer;
    const struct matrix *const in[] = {&l->gate, &l->up}, *const out[] = {&l->down};
    forward_norm_pack(f, l->ffn_norm, forward_kinds(in, ARRAY_LEN(in)), true);
    const struct product gate_up[] = {{&l->gate, f->gate, f->ffn_stride},
                                      {&l->up, f->up, f->ffn_stride}};
    forward_products(f, gate_up, ARRAY_LEN(gate_up), f->n);
    struct ffn_phase ph = {f, forward_kinds(out, ARRAY_LEN(out))};
    pool_run(f->pool, silu_item, &ph, forward_tiles(f->n));
    const struct product down = {&l->down, f->branch, f->width_stride};
    forward_products(f, &down, 1, f->n);
}
