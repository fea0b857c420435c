/* model/ffn.c - the feed-forward half of a layer, with a gate or without. */
#include "model/forward_internal.h"

struct ffn_phase {
    struct forward *f;
    const struct ffn *ffn;
    size_t size;
    unsigned kinds;
};

static void gate_by(const struct forward *f, float *gate, const float *up, size_t n)
{
    const struct kernels *k = f->kernels;
    switch (f->model->config.arch->gate) {
    case GATE_SILU:
        k->silu_mul(gate, gate, up, n);
        break;
    case GATE_GELU:
        k->gelu_mul(gate, gate, up, n);
        break;
    case GATE_CLAMPED:
        k->clamped_mul(gate, gate, up, n);
        break;
    }
}

float *forward_gate(const struct forward *f, const struct ffn *ffn, size_t expert, size_t row,
                    const struct strip *strip)
{
    const size_t n = strip->n, at = row * f->ffn_stride + strip->at;
    const size_t bias_at = expert * strip->k + strip->at;
    float *gate = f->gate + at, *up = f->up + at;
    if (ffn->up_bias)
        f->kernels->add(up, ffn->up_bias + bias_at, n);
    if (!ffn->gate.rows) {
        (f->model->config.arch->gelu_by_erf ? f->kernels->gelu_erf : f->kernels->gelu)(up, n);
        return up;
    }
    if (ffn->gate_bias)
        f->kernels->add(gate, ffn->gate_bias + bias_at, n);
    gate_by(f, gate, up, n);
    return gate;
}

static void gate_item(void *ctx, size_t item, unsigned worker)
{
    (void)worker;
    const struct ffn_phase *ph = ctx;
    struct forward *f = ph->f;
    const struct strip strip = forward_strip(f, ph->size, item);
    const float *rows = ph->ffn->gate.rows ? f->gate : f->up;
    for (size_t row = strip.start; row < strip.start + strip.width; row++)
        forward_guard(f, row, forward_gate(f, ph->ffn, 0, row, &strip), strip.n);
    forward_pack(f, ph->kinds, &strip, rows + strip.start * f->ffn_stride + strip.at,
                 f->ffn_stride);
}

void forward_dense(struct forward *f, const struct ffn *ffn, size_t size, float *y)
{
    const struct matrix *const out[] = {&ffn->down};
    const struct product products[] = {
        {.w = &ffn->gate, .y = f->gate, .y_stride = f->ffn_stride, .rows = f->n},
        {.w = &ffn->up, .y = f->up, .y_stride = f->ffn_stride, .rows = f->n}};
    size_t gates = ffn->gate.rows ? 1 : 0;
    forward_products(f, products + 1 - gates, 1 + gates);
    struct ffn_phase ph = {f, ffn, size, forward_kinds(out, ARRAY_LEN(out))};
    pool_run(f->pool, gate_item, &ph, forward_strips(f, size));
    const struct product down = {
        .w = &ffn->down, .y = y, .y_stride = f->width_stride, .rows = f->n};
    forward_products(f, &down, 1);
}

void forward_ffn(struct forward *f)
{
    const struct model_layer *l = f->layer;
    const struct matrix *const in[] = {&l->ffn.gate, &l->ffn.up};
    if (f->model->config.experts) {
        forward_experts(f);
        return;
    }
    unsigned kinds = forward_kinds(in, ARRAY_LEN(in));
    forward_norm_pack(f, &l->attn_end, &l->ffn_norm, kinds, false);
    forward_dense(f, &l->ffn, f->model->config.ffn, f->branch);
}
