/* model/experts.c - the feed-forward half of a layer by experts.
 *
 * A router gives each row its likeliest experts.  Rows are then gathered by expert, so
 * that an expert's matrices are read once for all of them; what a row gets does not
 * depend on who is gathered with it, and its experts are added up in the order of their
 * weights. */
#include <string.h>

#include "base/ckd.h"
#include "model/forward_internal.h"

/* The likeliest of n that is not taken, the first of equals. */
static uint32_t best_of(const float *p, uint32_t n)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < n; i++)
        if (p[i] > p[best])
            best = i;
    return best;
}

/* Softmax, the experts with the greatest share, and what each of them counts. */
static void choose_item(void *ctx, size_t row, unsigned worker)
{
    (void)worker;
    struct forward *f = ctx;
    const struct model_config *c = &f->model->config;
    float *p = f->router + row * f->experts_stride, most, sum = 0;
    uint32_t *chosen = f->chosen + row * c->experts_used;
    float *shares = f->shares + row * c->experts_used;
    if (f->layer->experts.router_bias)
        f->kernels->add(p, f->layer->experts.router_bias, c->experts);
    forward_guard(f, row, p, c->experts);
    float total = f->kernels->exp_max(p, p, c->experts, &most);
    for (uint32_t i = 0; i < c->experts_used; i++) {
        chosen[i] = best_of(p, c->experts);
        shares[i] = p[chosen[i]];
        sum = sum + shares[i];
        p[chosen[i]] = -1; // taken
    }
    float divisor = c->experts_sum_to_one ? sum : total;
    for (uint32_t i = 0; i < c->experts_used; i++)
        shares[i] = shares[i] / divisor * c->expert_scale;
}

/* Gives each row at each of its experts an entry, those of an expert together. */
static void gather(struct forward *f)
{
    const struct model_config *c = &f->model->config;
    size_t n = f->n * c->experts_used;
    memset(f->expert_first, 0, (c->experts + 1) * sizeof(*f->expert_first));
    for (size_t i = 0; i < n; i++)
        f->expert_first[f->chosen[i] + 1]++;
    for (uint32_t e = 0; e < c->experts; e++)
        f->expert_first[e + 1] += f->expert_first[e];
    for (size_t i = 0; i < n; i++) { // moves each first to the next expert's
        uint32_t entry = f->expert_first[f->chosen[i]]++;
        f->entry_of[i] = entry;
        f->row_of[entry] = (uint32_t)(i / c->experts_used);
    }
    memmove(f->expert_first + 1, f->expert_first, c->experts * sizeof(*f->expert_first));
    f->expert_first[0] = 0;
}

static size_t rows_of_expert(const struct forward *f, uint32_t e)
{
    return f->expert_first[e + 1] - f->expert_first[e];
}

static void cut_tiles(struct forward *f)
{
    f->n_tiles = 0;
    for (uint32_t e = 0; e < f->model->config.experts; e++)
        for (size_t n = rows_of_expert(f, e), at = 0, width; at < n; at += width) {
            width = tile_width(at, n);
            f->tiles[f->n_tiles++] =
                (struct tile){e, f->expert_first[e] + (uint32_t)at, (uint32_t)width};
        }
}

struct tile_phase {
    struct forward *f;
    unsigned kinds;
};

static void pack_rows_item(void *ctx, size_t item, unsigned worker)
{
    const struct tile_phase *ph = ctx;
    struct forward *f = ph->f;
    const struct tile *t = &f->tiles[item];
    size_t width = f->model->config.width;
    float *rows = f->norm + worker * TILE_TOKENS * f->width_stride;
    for (size_t i = 0; i < t->width; i++)
        memcpy(rows + i * f->width_stride, f->branch + f->row_of[t->first + i] * f->width_stride,
               width * sizeof(*rows));
    const struct strip whole = forward_whole(t->first, t->width, width);
    forward_pack(f, ph->kinds, &whole, rows, f->width_stride);
}

static void gate_tile_item(void *ctx, size_t item, unsigned worker)
{
    (void)worker;
    const struct tile_phase *ph = ctx;
    struct forward *f = ph->f;
    const struct tile *t = &f->tiles[item];
    const struct strip whole = forward_whole(t->first, t->width, f->model->config.expert_ffn);
    for (size_t entry = t->first; entry < t->first + t->width; entry++) {
        float *gate = forward_gate(f, &f->layer->experts.each, t->expert, entry, &whole);
        forward_guard(f, f->row_of[entry], gate, whole.n);
    }
    forward_pack(f, ph->kinds, &whole, f->gate + t->first * f->ffn_stride, f->ffn_stride);
}

/* Appends y = x W^T of every expert that has rows; returns the products there are. */
static size_t add_products(struct forward *f, size_t n, const struct matrix *w, float *y,
                           size_t y_stride)
{
    for (uint32_t e = 0; e < f->model->config.experts; e++)
        if (rows_of_expert(f, e))
            f->products[n++] = (struct product){.w = w,
                                                .y = y + f->expert_first[e] * y_stride,
                                                .y_stride = y_stride,
                                                .rows = rows_of_expert(f, e),
                                                .first = f->expert_first[e],
                                                .index = e};
    return n;
}

static void run_experts(struct forward *f)
{
    const struct ffn *each = &f->layer->experts.each;
    const struct matrix *const in[] = {&each->gate, &each->up}, *const out[] = {&each->down};
    struct tile_phase ph = {f, forward_kinds(in, ARRAY_LEN(in))};
    pool_run(f->pool, pack_rows_item, &ph, f->n_tiles);
    size_t n = add_products(f, 0, &each->gate, f->gate, f->ffn_stride);
    n = add_products(f, n, &each->up, f->up, f->ffn_stride);
    forward_products(f, f->products, n);
    ph.kinds = forward_kinds(out, ARRAY_LEN(out));
    pool_run(f->pool, gate_tile_item, &ph, f->n_tiles);
    n = add_products(f, 0, &each->down, f->expert_out, f->width_stride);
    forward_products(f, f->products, n);
}

/* What the expert that all rows use counts. */
static float shared_share(const struct forward *f, size_t row)
{
    if (!f->layer->experts.shared_gate.rows)
        return 1;
    return 1.0f / (1.0f + kern_expf(-f->shared_gate[row * PANEL_ROWS]));
}

/* branch = the sum of a row's experts, and of the one that all rows use. */
static void sum_item(void *ctx, size_t row, unsigned worker)
{
    (void)worker;
    struct forward *f = ctx;
    const struct model_config *c = &f->model->config;
    const struct experts *x = &f->layer->experts;
    float *sum = f->branch + row * f->width_stride;
    memset(sum, 0, c->width * sizeof(*sum));
    for (uint32_t i = 0; i < c->experts_used; i++) {
        size_t at = row * c->experts_used + i;
        float *y = f->expert_out + f->entry_of[at] * f->width_stride;
        if (x->down_bias)
            f->kernels->add(y, x->down_bias + f->chosen[at] * c->width, c->width);
        f->kernels->add_scaled(sum, y, c->width, f->shares[at]);
    }
    if (c->shared_ffn)
        f->kernels->add_scaled(sum, f->shared + row * f->width_stride, c->width,
                               shared_share(f, row));
}

void forward_experts(struct forward *f)
{
    const struct model_config *c = &f->model->config;
    const struct experts *x = &f->layer->experts;
    const struct matrix *const in[] = {&x->router, &x->shared_gate, &x->shared.gate, &x->shared.up};
    const struct product routes[] = {
        {.w = &x->router, .y = f->router, .y_stride = f->experts_stride, .rows = f->n},
        {.w = &x->shared_gate, .y = f->shared_gate, .y_stride = PANEL_ROWS, .rows = f->n}};
    forward_norm_pack(f, &f->layer->attn_end, &f->layer->ffn_norm, forward_kinds(in, ARRAY_LEN(in)),
                      true);
    forward_products(f, routes, x->shared_gate.rows ? 2 : 1);
    if (c->shared_ffn)
        forward_dense(f, &x->shared, c->shared_ffn, f->shared);
    pool_run(f->pool, choose_item, f, f->n);
    gather(f);
    cut_tiles(f);
    run_experts(f);
    pool_run(f->pool, sum_item, f, f->n);
}
