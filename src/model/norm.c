/* model/norm.c - what stands between the halves of a layer: a branch comes to its end
 * (bias, norm, scale), is added to the residual stream, and the next half's rows are
 * normed and packed. */
#include <string.h>

#include "model/forward_internal.h"

void forward_norm(const struct forward *f, float *y, const float *x, const struct norm *norm,
                  size_t n)
{
    float eps = f->model->config.norm_eps;
    if (norm->bias)
        f->kernels->layer_norm(y, x, norm->weight, norm->bias, n, eps);
    else if (norm->weight)
        f->kernels->rms_norm(y, x, norm->weight, n, eps);
    else if (y != x)
        memcpy(y, x, n * sizeof(*y));
}

void forward_absorb(struct forward *f, size_t row, const struct branch_end *end)
{
    const struct model_config *c = &f->model->config;
    float *x = f->x + row * f->width_stride, *branch = f->branch + row * f->width_stride;
    if (end->bias)
        f->kernels->add(branch, end->bias, c->width);
    forward_norm(f, branch, branch, &end->norm, c->width);
    if (c->residual_scale != 1)
        f->kernels->scale(branch, c->width, c->residual_scale);
    f->kernels->add(x, branch, c->width);
    forward_norm(f, x, x, &end->sum_norm, c->width);
}

struct norm_phase {
    struct forward *f;
    const struct branch_end *end;
    const struct norm *norm;
    unsigned kinds;
    bool keep;
};

static void norm_item(void *ctx, size_t item, unsigned worker)
{
    const struct norm_phase *ph = ctx;
    struct forward *f = ph->f;
    const struct model_config *c = &f->model->config;
    size_t start = forward_tile_start(item, f->n), width = tile_width(start, f->n);
    const struct strip whole = forward_whole(start, width, c->width);
    float *norm = ph->keep ? f->branch + start * f->width_stride
                           : f->norm + worker * TILE_TOKENS * f->width_stride;
    for (size_t i = 0; i < width; i++) {
        size_t row = start + i;
        float *y = norm + i * f->width_stride;
        if (ph->end)
            forward_absorb(f, row, ph->end);
        forward_norm(f, y, f->x + row * f->width_stride, ph->norm, c->width);
        forward_guard(f, row, y, c->width);
    }
    forward_pack(f, ph->kinds, &whole, norm, f->width_stride);
}

void forward_norm_pack(struct forward *f, const struct branch_end *end, const struct norm *norm,
                       unsigned kinds, bool keep)
{
    struct norm_phase ph = {f, end, norm, kinds, keep};
    pool_run(f->pool, norm_item, &ph, tile_count(f->n));
}
