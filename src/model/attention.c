/* model/attention.c - the attention half of a layer.
 *
 * Keys and values of all rows are written to their pages first; then attention
 * reads them from there alone, so that it makes no difference whether they were
 * computed in this step or in an earlier one.
 *
 * A work item is (sequence, kv head, segment of 1024 keys, group of query rows).
 * Segments are kept apart and merged in order, with any number of threads.  When
 * their partial results would take more than the scratch has, the rows are done
 * in several rounds. */
#include <string.h>

#include "base/ckd.h"
#include "model/forward_internal.h"

enum { ITEM_ROWS = 48 }; /* query rows of one work item */

static size_t queries_per_kv(const struct forward *f)
{
    return f->model->config.heads / f->model->config.kv_heads;
}

/* Copies a row's queries to where its kv head's queries stand together. */
static void scatter_queries(struct forward *f, size_t row, const float *q)
{
    const struct model_config *c = &f->model->config;
    size_t per_kv = queries_per_kv(f);
    for (size_t h = 0; h < c->heads; h++) {
        size_t at = (h / per_kv * f->n + row) * per_kv + h % per_kv;
        memcpy(f->q_heads + at * f->dim_stride, q + h * c->head_dim, c->head_dim * sizeof(*q));
    }
}

/* Brings a row's heads to where positions turn them: bias, norm. */
static void finish_heads(const struct forward *f, float *x, size_t heads, const float *bias,
                         const struct norm *norm)
{
    const struct model_config *c = &f->model->config;
    if (bias)
        f->kernels->add(x, bias, heads * c->head_dim);
    if (!norm)
        return;
    size_t n = c->arch->qk_norm_whole ? heads * c->head_dim : c->head_dim;
    for (size_t at = 0; norm->weight && at < heads * c->head_dim; at += n)
        forward_norm(f, x + at, x + at, norm, n);
}

static void turn_heads(const struct forward *f, float *x, size_t heads, const float *cs)
{
    const struct model_config *c = &f->model->config;
    if (c->arch->learned_positions)
        return;
    if (c->arch->rope_halves)
        f->kernels->rope_halves(x, heads, c->head_dim, c->rope_dim, cs);
    else
        f->kernels->rope(x, heads, c->head_dim, c->rope_dim, cs);
}

/* Among those of which there are pages: an encoder's are of the layer that runs. */
static uint32_t kv_layer(const struct forward *f)
{
    return f->model->config.encoder ? 0 : f->layer_index;
}

/* The last position that a row sees. */
static uint32_t seen_by(const struct forward *f, size_t row)
{
    return f->sees[row * queries_per_kv(f)];
}

static void rope_item(void *ctx, size_t row, unsigned worker)
{
    (void)worker;
    struct forward *f = ctx;
    const struct model_config *c = &f->model->config;
    const struct model_layer *l = f->layer;
    const struct forward_row *r = &f->rows[row];
    float *q = f->q + row * f->q_stride;
    float *k = f->k + row * f->kv_stride, *v = f->v + row * f->kv_stride;
    const float *cs = f->cs + (row * f->model->n_ropes + l->rope) * c->rope_dim;
    finish_heads(f, q, c->heads, l->q_bias, &l->q_norm);
    finish_heads(f, k, c->kv_heads, l->k_bias, &l->k_norm);
    finish_heads(f, v, c->kv_heads, l->v_bias, NULL);
    turn_heads(f, q, c->heads, cs);
    turn_heads(f, k, c->kv_heads, cs);
    scatter_queries(f, row, q);
    const struct kv_pool *pool = kv_seq_pool(r->seq);
    uint8_t *page = kv_seq_page(r->seq, r->pos);
    for (uint32_t h = 0; h < c->kv_heads; h++)
        f->kernels->kv_write[kv_pool_shape(pool)->type](
            page + kv_keys_at(pool, kv_layer(f), h), page + kv_values_at(pool, kv_layer(f), h),
            k + h * c->head_dim, v + h * c->head_dim, c->head_dim, r->pos % KV_PAGE_TOKENS);
}

/* One round of attention: rows first to end. */
struct round {
    struct forward *f;
    size_t first, end;
    size_t runs;
    size_t items;
};

/* The segments that a row sees: from the first up to the end. */
static size_t first_segment(const struct forward *f, size_t row)
{
    uint32_t window = f->layer->window, seen = seen_by(f, row);
    return window && seen >= window ? (seen + 1 - window) / ATTN_SEGMENT_KEYS : 0;
}

static size_t end_segment(const struct forward *f, size_t row)
{
    return seen_by(f, row) / ATTN_SEGMENT_KEYS + 1;
}

/* A sink takes the place of one more segment, behind the others. */
static size_t slots_of(const struct forward *f, size_t segments)
{
    return segments + (f->layer->sinks ? 1 : 0);
}

/* Fills in the round's runs from row `first` on, as many rows as there are slots for. */
static void plan_round(struct round *r, size_t first)
{
    struct forward *f = r->f;
    size_t heads = f->model->config.heads;
    size_t before = 0; // slots of the runs that are complete
    struct run *run = NULL;
    r->first = r->end = first;
    r->runs = 0;
    for (; r->end < f->n; r->end++) {
        const struct forward_row *row = &f->rows[r->end];
        bool more = run && run->seq == row->seq;
        size_t done = before + (run && !more ? heads * slots_of(f, run->segments) * run->rows : 0);
        size_t rows = more ? run->rows + 1 : 1;
        size_t segment0 = more ? run->segment0 : first_segment(f, r->end);
        size_t segments = end_segment(f, r->end) - segment0;
        if (r->end > first && done + heads * slots_of(f, segments) * rows > f->slots)
            return;
        if (!more) {
            run = &f->runs[r->runs++];
            *run = (struct run){.seq = row->seq,
                                .row0 = r->end,
                                .sees0 = seen_by(f, r->end),
                                .segment0 = segment0,
                                .slot0 = done};
            before = done;
        }
        run->rows = rows;
        run->segments = segments;
        f->run_of[r->end] = (uint32_t)(r->runs - 1);
    }
}

static void count_items(struct round *r)
{
    struct forward *f = r->f;
    r->items = 0;
    for (size_t i = 0; i < r->runs; i++) {
        struct run *run = &f->runs[i];
        run->groups = (run->rows * queries_per_kv(f) + ITEM_ROWS - 1) / ITEM_ROWS;
        run->item0 = r->items;
        r->items += f->model->config.kv_heads * run->segments * run->groups;
    }
}

static const struct run *run_of_item(const struct round *r, size_t item)
{
    size_t low = 0, high = r->runs; // the last run that begins at or before item
    while (high - low > 1) {
        size_t mid = (low + high) / 2;
        if (r->f->runs[mid].item0 <= item)
            low = mid;
        else
            high = mid;
    }
    return &r->f->runs[low];
}

/* The partial result of query row i of a run, in the run's n-th segment. */
static size_t slot_of(const struct forward *f, const struct run *run, size_t head, size_t n,
                      size_t i)
{
    size_t segments = slots_of(f, run->segments);
    return run->slot0 + (head * segments + n) * run->rows * queries_per_kv(f) + i;
}

/* Query rows of the item that see its segment: begin to end, within the run. */
static void rows_of_item(const struct forward *f, const struct run *run, size_t group,
                         size_t segment, size_t *begin, size_t *end)
{
    size_t per_kv = queries_per_kv(f), key0 = segment * ATTN_SEGMENT_KEYS;
    size_t first = key0 > run->sees0 ? (key0 - run->sees0) * per_kv : 0;
    size_t rows = run->rows;
    if (f->layer->window) { // the first row that sees no key of it any more
        size_t past = key0 + ATTN_SEGMENT_KEYS + f->layer->window - 1;
        rows = min_size(rows, past > run->sees0 ? past - run->sees0 : 0);
    }
    *begin = max_size(group * ITEM_ROWS, first);
    *end = min_size((group + 1) * ITEM_ROWS, rows * per_kv);
}

static void attention_item(void *ctx, size_t item, unsigned worker)
{
    (void)worker;
    const struct round *r = ctx;
    const struct forward *f = r->f;
    const struct model_config *c = &f->model->config;
    const struct run *run = run_of_item(r, item);
    const struct kv_pool *pool = kv_seq_pool(run->seq);
    size_t local = item - run->item0, group = local % run->groups;
    size_t nth = local / run->groups % run->segments, segment = run->segment0 + nth;
    size_t head = local / run->groups / run->segments;
    size_t per_kv = queries_per_kv(f), begin, end;
    rows_of_item(f, run, group, segment, &begin, &end);
    if (begin >= end)
        return;
    size_t query = run->row0 * per_kv + begin, slot = slot_of(f, run, head, nth, begin);
    const uint32_t *sees = f->sees + query;
    uint32_t key_begin = (uint32_t)segment * ATTN_SEGMENT_KEYS;
    uint32_t seen = sees[end - begin - 1] + 1 - key_begin;
    const struct attn_item work = {
        .q = f->q_heads + (head * f->n * per_kv + query) * f->dim_stride,
        .q_stride = f->dim_stride,
        .pos = sees,
        .rows = end - begin,
        .dim = c->head_dim,
        .scale = c->score_scale,
        .soft_cap = c->score_cap,
        .window = f->layer->window,
        .key_begin = key_begin,
        .key_end = key_begin + (uint32_t)min_size(seen, ATTN_SEGMENT_KEYS),
        .pages = kv_seq_pages(run->seq),
        .keys_at = kv_keys_at(pool, kv_layer(f), (uint32_t)head),
        .values_at = kv_values_at(pool, kv_layer(f), (uint32_t)head),
        .m = f->part_m + slot,
        .l = f->part_l + slot * KV_PAGE_TOKENS,
        .o = f->part_o + slot * f->dim_stride,
        .o_stride = f->dim_stride,
    };
    f->kernels->attn[kv_pool_shape(pool)->type](&work);
}

/* A sink has a score and no value: a segment whose only key adds to the sum alone. */
static void put_sink(struct forward *f, size_t slot, float score)
{
    f->part_m[slot] = score;
    memset(f->part_l + slot * KV_PAGE_TOKENS, 0, KV_PAGE_TOKENS * sizeof(float));
    memset(f->part_o + slot * f->dim_stride, 0, f->dim_stride * sizeof(float));
    f->part_l[slot * KV_PAGE_TOKENS] = 1;
}

/* Heads in rising order: the padding of one is overwritten by the next. */
static void merge_item(void *ctx, size_t item, unsigned worker)
{
    (void)worker;
    const struct round *r = ctx;
    struct forward *f = r->f;
    const struct model_config *c = &f->model->config;
    size_t row = r->first + item, per_kv = queries_per_kv(f);
    const struct run *run = &f->runs[f->run_of[row]];
    size_t stride = run->rows * per_kv; // from segment to segment
    size_t first = first_segment(f, row), end = end_segment(f, row);
    float *out = f->att + row * f->att_stride;
    for (size_t h = 0; h < c->heads; h++) {
        size_t slot = slot_of(f, run, h / per_kv, first - run->segment0,
                              (row - run->row0) * per_kv + h % per_kv);
        if (f->layer->sinks)
            put_sink(f, slot + (end - first) * stride, f->layer->sinks[h]);
        f->kernels->attn_merge(out + h * c->head_dim, c->head_dim, slots_of(f, end - first),
                               f->part_m + slot, stride, f->part_l + slot * KV_PAGE_TOKENS,
                               stride * KV_PAGE_TOKENS, f->part_o + slot * f->dim_stride,
                               stride * f->dim_stride);
    }
    forward_guard(f, row, out, (size_t)c->heads * c->head_dim);
}

struct att_pack_phase {
    struct forward *f;
    unsigned kinds;
    size_t k;
};

static void att_pack_item(void *ctx, size_t item, unsigned worker)
{
    (void)worker;
    const struct att_pack_phase *ph = ctx;
    struct forward *f = ph->f;
    const struct strip strip = forward_strip(f, ph->k, item);
    forward_pack(f, ph->kinds, &strip, f->att + strip.start * f->att_stride + strip.at,
                 f->att_stride);
}

static void attend(struct forward *f)
{
    struct round r = {.f = f};
    while (r.end < f->n) {
        plan_round(&r, r.end);
        count_items(&r);
        pool_run(f->pool, attention_item, &r, r.items);
        pool_run(f->pool, merge_item, &r, r.end - r.first);
    }
}

void forward_attention(struct forward *f)
{
    const struct model_layer *l = f->layer;
    const struct matrix *const in[] = {&l->q, &l->k, &l->v}, *const out[] = {&l->o};
    const struct branch_end *before = f->layer_index > 0 ? &(l - 1)->ffn_end : NULL;
    forward_norm_pack(f, before, &l->attn_norm, forward_kinds(in, ARRAY_LEN(in)), false);
    const struct product qkv[] = {{.w = &l->q, .y = f->q, .y_stride = f->q_stride, .rows = f->n},
                                  {.w = &l->k, .y = f->k, .y_stride = f->kv_stride, .rows = f->n},
                                  {.w = &l->v, .y = f->v, .y_stride = f->kv_stride, .rows = f->n}};
    forward_products(f, qkv, ARRAY_LEN(qkv));
    pool_run(f->pool, rope_item, f, f->n);
    attend(f);
    struct att_pack_phase ph = {f, forward_kinds(out, ARRAY_LEN(out)), l->o.k};
    pool_run(f->pool, att_pack_item, &ph, forward_strips(f, ph.k));
    const struct product o = {
        .w = &l->o, .y = f->branch, .y_stride = f->width_stride, .rows = f->n};
    forward_products(f, &o, 1);
}
