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
#include <math.h>
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

static void rope_item(void *ctx, size_t row, unsigned worker)
{
    (void)worker;
    struct forward *f = ctx;
    const struct model_config *c = &f->model->config;
    const struct forward_row *r = &f->rows[row];
    float *q = f->q + row * f->q_stride;
    float *k = f->k + row * f->kv_stride, *v = f->v + row * f->kv_stride;
    const float *cs = f->cs + row * c->rope_dim;
    f->kernels->rope(q, c->heads, c->head_dim, c->rope_dim, cs);
    f->kernels->rope(k, c->kv_heads, c->head_dim, c->rope_dim, cs);
    scatter_queries(f, row, q);
    const struct kv_pool *pool = kv_seq_pool(r->seq);
    uint8_t *page = kv_seq_page(r->seq, r->pos);
    for (uint32_t h = 0; h < c->kv_heads; h++)
        f->kernels->kv_write[kv_pool_shape(pool)->type](
            page + kv_keys_at(pool, f->layer_index, h),
            page + kv_values_at(pool, f->layer_index, h), k + h * c->head_dim, v + h * c->head_dim,
            c->head_dim, r->pos % KV_PAGE_TOKENS);
}

/* One round of attention: rows first to end. */
struct round {
    struct forward *f;
    size_t first, end;
    size_t runs;
    size_t items;
};

static size_t segments_of(uint32_t pos)
{
    return pos / ATTN_SEGMENT_KEYS + 1;
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
        size_t done = before + (run && !more ? heads * run->segments * run->rows : 0);
        size_t rows = more ? run->rows + 1 : 1;
        if (r->end > first && done + heads * segments_of(row->pos) * rows > f->slots)
            return;
        if (!more) {
            run = &f->runs[r->runs++];
            *run = (struct run){.seq = row->seq, .row0 = r->end, .pos0 = row->pos, .slot0 = done};
            before = done;
        }
        run->rows = rows;
        run->segments = segments_of(row->pos);
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

/* The partial result of query row i of a run. */
static size_t slot_of(const struct forward *f, const struct run *run, size_t head, size_t segment,
                      size_t i)
{
    return run->slot0 + (head * run->segments + segment) * run->rows * queries_per_kv(f) + i;
}

/* Query rows of the item that see its segment: begin to end, within the run. */
static void rows_of_item(const struct forward *f, const struct run *run, size_t group,
                         size_t segment, size_t *begin, size_t *end)
{
    size_t per_kv = queries_per_kv(f), key0 = segment * ATTN_SEGMENT_KEYS;
    size_t first = key0 > run->pos0 ? (key0 - run->pos0) * per_kv : 0;
    *begin = max_size(group * ITEM_ROWS, first);
    *end = min_size((group + 1) * ITEM_ROWS, run->rows * per_kv);
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
    size_t segment = local / run->groups % run->segments;
    size_t head = local / run->groups / run->segments;
    size_t per_kv = queries_per_kv(f), begin, end;
    rows_of_item(f, run, group, segment, &begin, &end);
    if (begin >= end)
        return;
    size_t query = run->row0 * per_kv + begin, slot = slot_of(f, run, head, segment, begin);
    const uint32_t *pos = f->pos + query;
    uint32_t key_begin = (uint32_t)segment * ATTN_SEGMENT_KEYS;
    uint32_t seen = pos[end - begin - 1] + 1 - key_begin;
    const struct attn_item work = {
        .q = f->q_heads + (head * f->n * per_kv + query) * f->dim_stride,
        .q_stride = f->dim_stride,
        .pos = pos,
        .rows = end - begin,
        .dim = c->head_dim,
        .scale = 1.0f / sqrtf((float)c->head_dim),
        .key_begin = key_begin,
        .key_end = key_begin + (uint32_t)min_size(seen, ATTN_SEGMENT_KEYS),
        .pages = kv_seq_pages(run->seq),
        .keys_at = kv_keys_at(pool, f->layer_index, (uint32_t)head),
        .values_at = kv_values_at(pool, f->layer_index, (uint32_t)head),
        .m = f->part_m + slot,
        .l = f->part_l + slot * KV_PAGE_TOKENS,
        .o = f->part_o + slot * f->dim_stride,
        .o_stride = f->dim_stride,
    };
    f->kernels->attn[kv_pool_shape(pool)->type](&work);
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
    float *out = f->att + row * f->att_stride;
    for (size_t h = 0; h < c->heads; h++) {
        size_t slot = slot_of(f, run, h / per_kv, 0, (row - run->row0) * per_kv + h % per_kv);
        f->kernels->attn_merge(out + h * c->head_dim, c->head_dim, segments_of(f->rows[row].pos),
                               f->part_m + slot, stride, f->part_l + slot * KV_PAGE_TOKENS,
                               stride * KV_PAGE_TOKENS, f->part_o + slot * f->dim_stride,
                               stride * f->dim_stride);
    }
    forward_guard(f, row, out, (size_t)c->heads * c->head_dim);
}

struct att_pack_phase {
    struct forward *f;
    unsigned kinds;
};

static void att_pack_item(void *ctx, size_t item, unsigned worker)
{
    (void)worker;
    const struct att_pack_phase *ph = ctx;
    struct forward *f = ph->f;
    const struct model_config *c = &f->model->config;
    size_t start = forward_tile_start(item, f->n);
    forward_pack(f, ph->kinds, start, tile_width(start, f->n), f->att + start * f->att_stride,
                 f->att_stride, (size_t)c->heads * c->head_dim);
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
    forward_norm_pack(f, l->attn_norm, forward_kinds(in, ARRAY_LEN(in)), f->layer_index > 0);
    const struct product qkv[] = {
        {&l->q, f->q, f->q_stride}, {&l->k, f->k, f->kv_stride}, {&l->v, f->v, f->kv_stride}};
    forward_products(f, qkv, ARRAY_LEN(qkv), f->n);
    pool_run(f->pool, rope_item, f, f->n);
    attend(f);
    struct att_pack_phase ph = {f, forward_kinds(out, ARRAY_LEN(out))};
    pool_run(f->pool, att_pack_item, &ph, forward_tiles(f->n));
    const struct product o = {&l->o, f->branch, f->width_stride};
    forward_products(f, &o, 1, f->n);
}
