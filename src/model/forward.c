/* model/forward.c - a step: embed the rows, walk the layers, make logits.
 *
 * All scratch is one piece of memory, sized when the forward is opened; a step
 * allocates nothing. */
#include "model/forward.h"

#include <string.h>

#include "base/assert.h"
#include "base/ckd.h"
#include "base/limits.h"
#include "base/mem.h"
#include "model/forward_internal.h"
#include "realm/status.h"

/* Hands out the scratch; with base NULL it only counts. */
struct carver {
    uint8_t *base;
    size_t used;
};

static void *carve(struct carver *c, size_t n, size_t size)
{
    size_t at = c->used;
    c->used = round_up(at + n * size, KERN_ALIGN);
    return c->base ? c->base + at : NULL;
}

static float *carve_floats(struct carver *c, size_t rows, size_t stride)
{
    return carve(c, rows, stride * sizeof(float));
}

/* The bytes that the longest row of n matrices takes as `kind`; 0: none takes it so. */
static size_t longest_row(const struct matrix *const *all, size_t n, enum act_kind kind)
{
    size_t k = 0;
    for (size_t i = 0; i < n; i++)
        if (all[i]->rows && act_kind_of(all[i]->type) == kind)
            k = max_size(k, all[i]->k);
    return k ? act_bytes(kind, k) : 0;
}

/* What any product of the model reads as `kind`. */
static size_t acts_bytes(const struct forward *f, enum act_kind kind)
{
    const struct model *m = f->model;
    const struct matrix *const output[] = {&m->output};
    size_t bytes = f->rows_max * longest_row(output, 1, kind);
    for (uint32_t i = 0; i < m->config.layers; i++) {
        const struct model_layer *l = &m->layers[i];
        const struct experts *x = &l->experts;
        const struct matrix *const by_row[] = {&l->q,         &l->k,           &l->v,
                                               &l->o,         &l->ffn.gate,    &l->ffn.up,
                                               &l->ffn.down,  &x->router,      &x->shared.gate,
                                               &x->shared.up, &x->shared.down, &x->shared_gate};
        const struct matrix *const by_entry[] = {&x->each.gate, &x->each.up, &x->each.down};
        bytes = max_size(bytes, f->rows_max * longest_row(by_row, ARRAY_LEN(by_row), kind));
        bytes = max_size(bytes, f->entries * longest_row(by_entry, ARRAY_LEN(by_entry), kind));
    }
    return bytes;
}

static void carve_acts(struct forward *f, struct carver *c)
{
    for (unsigned kind = 0; kind < ACT_KINDS; kind++) {
        size_t bytes = acts_bytes(f, (enum act_kind)kind);
        f->acts[kind] = bytes ? carve(c, bytes, 1) : NULL;
    }
}

static void carve_rows(struct forward *f, struct carver *c)
{
    size_t rows = f->rows_max;
    const struct model_config *cfg = &f->model->config;
    f->x = carve_floats(c, rows, f->width_stride);
    f->branch = carve_floats(c, rows, f->width_stride);
    f->q = carve_floats(c, rows, f->q_stride);
    f->k = carve_floats(c, rows, f->kv_stride);
    f->v = carve_floats(c, rows, f->kv_stride);
    f->q_heads = carve_floats(c, rows * cfg->heads, f->dim_stride);
    f->att = carve_floats(c, rows, f->att_stride);
    f->gate = carve_floats(c, max_size(rows, f->entries), f->ffn_stride);
    f->up = carve_floats(c, max_size(rows, f->entries), f->ffn_stride);
    f->cs = carve_floats(c, rows * f->model->n_ropes, cfg->rope_dim);
    f->norm = carve_floats(c, pool_threads(f->pool) * TILE_TOKENS, f->width_stride);
    f->logits = carve_floats(c, f->logits_max, f->logits_stride);
    f->stretches = carve(c, pool_threads(f->pool), forward_stretch_bytes());
    f->sees = carve(c, rows * (cfg->heads / cfg->kv_heads), sizeof(*f->sees));
    f->runs = carve(c, rows, sizeof(*f->runs));
    f->run_of = carve(c, rows, sizeof(*f->run_of));
    f->logits_row = carve(c, f->logits_max, sizeof(*f->logits_row));
    f->bad = carve(c, rows, sizeof(*f->bad));
}

static void carve_experts(struct forward *f, struct carver *c)
{
    size_t rows = f->rows_max, experts = f->model->config.experts;
    if (!experts)
        return;
    f->router = carve_floats(c, rows, f->experts_stride);
    f->expert_out = carve_floats(c, f->entries, f->width_stride);
    f->chosen = carve(c, f->entries, sizeof(*f->chosen));
    f->shares = carve(c, f->entries, sizeof(*f->shares));
    f->entry_of = carve(c, f->entries, sizeof(*f->entry_of));
    f->row_of = carve(c, f->entries, sizeof(*f->row_of));
    f->expert_first = carve(c, experts + 1, sizeof(*f->expert_first));
    f->tiles = carve(c, f->entries, sizeof(*f->tiles));
    f->products = carve(c, 2 * experts, sizeof(*f->products));
    if (!f->model->config.shared_ffn)
        return;
    f->shared = carve_floats(c, rows, f->width_stride);
    f->shared_gate = carve_floats(c, rows, PANEL_ROWS);
}

static void carve_parts(struct forward *f, struct carver *c, size_t bytes)
{
    const struct model_config *cfg = &f->model->config;
    size_t segments = (cfg->context + ATTN_SEGMENT_KEYS - 1) / ATTN_SEGMENT_KEYS + 1; // a sink
    size_t of_row = cfg->heads * segments;
    size_t slot_bytes = (1 + KV_PAGE_TOKENS + f->dim_stride) * sizeof(float);
    f->slots = min_size(f->rows_max * of_row, max_size(of_row, bytes / slot_bytes));
    f->part_m = carve_floats(c, f->slots, 1);
    f->part_l = carve_floats(c, f->slots, KV_PAGE_TOKENS);
    f->part_o = carve_floats(c, f->slots, f->dim_stride);
}

static size_t carve_all(struct forward *f, uint8_t *base, size_t part_bytes)
{
    struct carver c = {.base = base};
    carve_rows(f, &c);
    carve_experts(f, &c);
    carve_acts(f, &c);
    carve_parts(f, &c, part_bytes);
    return c.used;
}

static void set_strides(struct forward *f)
{
    const struct model_config *c = &f->model->config;
    size_t q_width = (size_t)c->heads * c->head_dim;
    f->width_stride = round_up(c->width, PANEL_ROWS);
    f->q_stride = round_up(q_width, PANEL_ROWS);
    f->kv_stride = round_up((size_t)c->kv_heads * c->head_dim, PANEL_ROWS);
    f->att_stride = round_up(q_width, ATTN_DIM_PAD) + ATTN_DIM_PAD;
    size_t ffn = c->experts ? max_size(c->expert_ffn, c->shared_ffn) : c->ffn;
    f->ffn_stride = round_up(ffn, PANEL_ROWS);
    f->experts_stride = round_up(c->experts, PANEL_ROWS);
    f->entries = f->rows_max * c->experts_used;
    f->logits_stride = round_up(c->vocab, PANEL_ROWS);
    f->dim_stride = round_up(c->head_dim, ATTN_DIM_PAD);
}

size_t forward_rows_max(const struct model_config *c)
{
    return c->encoder ? max_size(BATCH_ROWS_MAX, c->context) : BATCH_ROWS_MAX;
}

struct kv_shape forward_kv_shape(const struct model_config *c, enum kv_type type)
{
    return (struct kv_shape){
        .layers = c->encoder ? 1 : c->layers,
        .kv_heads = c->kv_heads,
        .head_dim = c->head_dim,
        .type = c->encoder ? KV_F32 : type,
    };
}

int forward_open(struct forward **out, const struct model *m, struct pool *pool,
                 const struct kernels *kernels, size_t rows_max)
{
    return forward_open_sized(out, m, pool, kernels, rows_max, 32 * MiB);
}

int forward_open_sized(struct forward **out, const struct model *m, struct pool *pool,
                       const struct kernels *kernels, size_t rows_max, size_t part_bytes)
{
    ASSERT(rows_max >= 1 && rows_max <= forward_rows_max(&m->config));
    *out = NULL;
    struct forward *f = mem_zalloc(sizeof(*f));
    if (!f)
        return REALM_E_NOMEM;
    f->model = m;
    f->kernels = kernels;
    f->pool = pool;
    f->rows_max = rows_max;
    f->logits_max = m->config.encoder ? 0 : min_size(rows_max, FORWARD_LOGITS_MAX);
    set_strides(f);
    f->memory_bytes = carve_all(f, NULL, part_bytes);
    f->memory = mem_pages(f->memory_bytes);
    if (!f->memory) {
        mem_free(f);
        return REALM_E_NOMEM;
    }
    carve_all(f, f->memory, part_bytes);
    *out = f;
    return 0;
}

void forward_close(struct forward *f)
{
    if (!f)
        return;
    mem_pages_free(f->memory, f->memory_bytes);
    mem_free(f);
}

uint64_t forward_bytes(const struct forward *f)
{
    return f->memory_bytes;
}

/* Up to where rows see: their own position, or an encoder's the last of their text, which is
 * whole in the step. */
static void set_sight(struct forward *f)
{
    const struct model_config *c = &f->model->config;
    size_t per_kv = c->heads / c->kv_heads;
    const struct forward_row *next = NULL;
    uint32_t sees = 0;
    for (size_t i = f->n; i-- > 0; next = &f->rows[i]) {
        const struct forward_row *r = &f->rows[i];
        bool more = c->encoder && next && next->seq == r->seq;
        ASSERT(!more || next->pos == r->pos + 1);
        ASSERT(!c->encoder || r->pos == 0 || (i > 0 && f->rows[i - 1].seq == r->seq));
        sees = more ? sees : r->pos;
        for (size_t j = 0; j < per_kv; j++)
            f->sees[i * per_kv + j] = sees;
    }
}

/* Takes over the rows of a step. */
static void begin(struct forward *f, const struct forward_row *rows, size_t n)
{
    const struct model_config *c = &f->model->config;
    f->rows = rows;
    f->n = n;
    f->n_logits = f->n_hidden = 0;
    set_sight(f);
    for (size_t i = 0; i < n; i++) {
        ASSERT(rows[i].token < c->vocab && rows[i].pos < c->context);
        f->bad[i] = false;
        f->n_hidden += rows[i].wants_hidden;
        if (!rows[i].wants_logits)
            continue;
        ASSERT(f->n_logits < f->logits_max);
        f->logits_row[f->n_logits++] = (uint32_t)i;
    }
}

/* Cosines and sines of a position, as the architecture's pairs lie. */
static void turn(const struct model *m, const struct rope *r, uint32_t pos, float *cs)
{
    size_t pairs = m->config.rope_dim / 2;
    for (size_t i = 0; i < pairs; i++) {
        float s, c;
        kern_sincos((double)pos * r->inv_freq[i], &s, &c);
        cs[m->config.arch->rope_halves ? i : 2 * i] = c * r->magnitude;
        cs[m->config.arch->rope_halves ? pairs + i : 2 * i + 1] = s * r->magnitude;
    }
}

static void read_row(const struct matrix *m, size_t row, float *out)
{
    panel_unpack_row(m->type, m->data + row / PANEL_ROWS * m->panel_bytes, row % PANEL_ROWS, m->k,
                     out);
}

/* What an encoder's tokens have beside their own embeddings; branch is free yet. */
static void embed_more(struct forward *f, size_t row)
{
    const struct model *m = f->model;
    float *x = f->x + row * f->width_stride, *more = f->branch + row * f->width_stride;
    if (m->types.rows) {
        read_row(&m->types, 0, more);
        f->kernels->add(x, more, m->config.width);
    }
    if (m->positions.rows) {
        read_row(&m->positions, f->rows[row].pos, more);
        f->kernels->add(x, more, m->config.width);
    }
    forward_norm(f, x, x, &m->embed_norm, m->config.width);
}

static void embed_item(void *ctx, size_t row, unsigned worker)
{
    (void)worker;
    struct forward *f = ctx;
    const struct model *m = f->model;
    const struct forward_row *r = &f->rows[row];
    read_row(&m->embed, r->token, f->x + row * f->width_stride);
    if (m->config.embedding_scale != 1)
        f->kernels->scale(f->x + row * f->width_stride, m->config.width, m->config.embedding_scale);
    embed_more(f, row);
    for (size_t i = 0; i < m->n_ropes; i++)
        turn(m, &m->ropes[i], r->pos, f->cs + (row * m->n_ropes + i) * m->config.rope_dim);
}

static const struct branch_end *last_end(const struct model *m)
{
    return &m->layers[m->config.layers - 1].ffn_end;
}

/* The last layer's branch is added to the rows that want something alone. */
static void output_item(void *ctx, size_t item, unsigned worker)
{
    struct forward *f = ctx;
    const struct model *m = f->model;
    const struct matrix *const out[] = {&m->output};
    size_t start = forward_tile_start(item, f->n_logits), width = tile_width(start, f->n_logits);
    const struct strip whole = forward_whole(start, width, m->config.width);
    float *norm = f->norm + worker * TILE_TOKENS * f->width_stride;
    for (size_t i = 0; i < width; i++) {
        size_t row = f->logits_row[start + i];
        float *y = norm + i * f->width_stride;
        forward_absorb(f, row, last_end(m));
        forward_norm(f, y, f->x + row * f->width_stride, &m->output_norm, m->config.width);
        forward_guard(f, row, y, m->config.width);
    }
    forward_pack(f, forward_kinds(out, 1), &whole, norm, f->width_stride);
}

static void finish_logits_item(void *ctx, size_t i, unsigned worker)
{
    (void)worker;
    struct forward *f = ctx;
    const struct model_config *c = &f->model->config;
    float *logits = forward_logits(f, i);
    if (c->logit_divisor != 1)
        f->kernels->scale(logits, c->vocab, 1.0f / c->logit_divisor);
    if (c->logit_cap > 0)
        f->kernels->soft_cap(logits, c->vocab, c->logit_cap);
    forward_guard(f, f->logits_row[i], logits, c->vocab);
}

static void make_logits(struct forward *f)
{
    if (!f->n_logits)
        return;
    pool_run(f->pool, output_item, f, tile_count(f->n_logits));
    const struct product product = {
        .w = &f->model->output, .y = f->logits, .y_stride = f->logits_stride, .rows = f->n_logits};
    forward_products(f, &product, 1);
    pool_run(f->pool, finish_logits_item, f, f->n_logits);
}

/* Into branch, which is in x by now; for a row with logits output_item put it there. */
static void hidden_item(void *ctx, size_t row, unsigned worker)
{
    (void)worker;
    struct forward *f = ctx;
    const struct model *m = f->model;
    if (!f->rows[row].wants_hidden)
        return;
    float *x = f->x + row * f->width_stride, *branch = f->branch + row * f->width_stride;
    if (!f->rows[row].wants_logits)
        forward_absorb(f, row, last_end(m));
    forward_norm(f, branch, x, &m->output_norm, m->config.width);
    forward_guard(f, row, branch, m->config.width);
}

static int find_bad(const struct forward *f, size_t *bad)
{
    for (size_t i = 0; i < f->n; i++) {
        if (f->bad[i]) {
            *bad = i;
            return REALM_E_NUMERIC;
        }
    }
    return 0;
}

/* Gives up the rows from the n-th on. */
static void keep_first(struct forward *f, size_t n)
{
    while (f->n > n)
        f->n_hidden -= f->rows[--f->n].wants_hidden;
    while (f->n_logits && f->logits_row[f->n_logits - 1] >= n)
        f->n_logits--;
}

int forward_step(struct forward *f, const struct forward_row *rows, size_t n,
                 size_t (*wanted)(void *ctx, uint32_t layer), void *ctx, size_t *bad)
{
    ASSERT(n >= 1 && n <= f->rows_max);
    begin(f, rows, n);
    pool_run(f->pool, embed_item, f, n);
    for (uint32_t i = 0; i < f->model->config.layers; i++) {
        if (wanted)
            keep_first(f, wanted(ctx, i));
        if (!f->n)
            return REALM_E_CANCELLED;
        f->layer = &f->model->layers[i];
        f->layer_index = i;
        forward_attention(f);
        forward_ffn(f);
    }
    make_logits(f);
    if (f->n_hidden)
        pool_run(f->pool, hidden_item, f, f->n);
    return find_bad(f, bad);
}

bool forward_row_bad(const struct forward *f, size_t i)
{
    return f->bad[i];
}

float *forward_logits(struct forward *f, size_t i)
{
    ASSERT(i < f->n_logits);
    return f->logits + i * f->logits_stride;
}

const float *forward_hidden(const struct forward *f, size_t i)
{
    ASSERT(i < f->n);
    return f->branch + i * f->width_stride;
}
