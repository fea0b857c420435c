/* sched/model.c - what a model needs to run. */
#include "base/ckd.h"
#include "base/mem.h"
#include "sched/sched_impl.h"

/* Roundings between the arrays. */
#define SMALL_BYTES (64 * KiB)
#define PARTS_BYTES (32 * MiB)

enum {
    PRODUCTS_FLOATS = 32, /* an expert's two in the list of products */
    ROW_BYTES = 128,      /* of the lists of rows */
};

static int grow_scratch(struct sched *s, size_t vocab)
{
    if (vocab <= s->vocab_max)
        return 0;
    unsigned n = pool_threads(s->options.pool);
    for (unsigned i = 0; i < n; i++) {
        struct sample_scratch *larger;
        int status = sample_scratch_open(&larger, vocab);
        if (status)
            return status; // some are larger than they have to be
        sample_scratch_close(s->scratch[i]);
        s->scratch[i] = larger;
    }
    s->vocab_max = vocab;
    return 0;
}

void sched_scratch_close(struct sched *s)
{
    unsigned n = pool_threads(s->options.pool);
    for (unsigned i = 0; s->scratch && i < n; i++)
        sample_scratch_close(s->scratch[i]);
    mem_free(s->scratch);
}

int sched_attach(struct sched *s, struct sched_model *m)
{
    const struct model_config *c = &m->model->config;
    struct kv_shape shape = forward_kv_shape(c, s->options.kv_type);
    int status = c->encoder ? 0 : grow_scratch(s, c->vocab);
    if (!status)
        status = kv_pool_open(&m->kv, &shape, &s->budget);
    if (!status)
        list_add_tail(&s->models, &m->link);
    return status;
}

int sched_detach(struct sched *s, struct sched_model *m)
{
    (void)s;
    ASSERT(list_empty(&m->running));
    list_remove(&m->link);
    kv_pool_close(m->kv);
    return 0;
}

int sched_model_open(struct sched_model **out, struct sched *s, const struct model *model)
{
    *out = NULL;
    struct sched_model *m = mem_zalloc(sizeof(*m));
    if (!m)
        return REALM_E_NOMEM;
    m->sched = s;
    m->model = model;
    m->cost = model->params ? (double)(model->params - model->idle_params) : 1;
    list_init(&m->link);
    list_init(&m->running);
    m->rows_max = forward_rows_max(&model->config);
    int status =
        s->forward->open(&m->forward, model, s->options.pool, s->options.kernels, m->rows_max);
    if (!status)
        status = sched_call(s, sched_attach, m);
    if (status) {
        s->forward->close(m->forward);
        mem_free(m);
        return status;
    }
    *out = m;
    return 0;
}

void sched_model_close(struct sched_model *m)
{
    if (!m)
        return;
    (void)sched_call(m->sched, sched_detach, m);
    m->sched->forward->close(m->forward);
    mem_free(m);
}

/* Partial results of attention: forward keeps no more than fit PARTS_BYTES, but
 * enough for one row over the whole context. */
static uint64_t parts_bytes(const struct model_config *c)
{
    uint64_t row = (uint64_t)c->heads * (c->context / ATTN_SEGMENT_KEYS + 2) *
                   (1 + KV_PAGE_TOKENS + round_up(c->head_dim, ATTN_DIM_PAD)) * sizeof(float);
    uint64_t most = row * forward_rows_max(c);
    return row > PARTS_BYTES ? row : most < PARTS_BYTES ? most : PARTS_BYTES;
}

/* Floats that experts take for one row: gate and up, what the products read and what they
 * give, once for each expert that the row uses; the router's; and the shared one's. */
static uint64_t expert_floats(const struct model_config *c)
{
    uint64_t ffn = c->expert_ffn > c->shared_ffn ? c->expert_ffn : c->shared_ffn;
    uint64_t longest = ffn > c->width ? ffn : c->width;
    return c->experts_used * (2 * ffn + longest + c->width + 8 * (uint64_t)PANEL_ROWS) +
           c->experts + c->width + PANEL_ROWS;
}

/* What logits take, and drawing from them. */
static uint64_t logits_bytes(const struct model_config *c, unsigned threads)
{
    uint64_t floats = (uint64_t)round_up(c->vocab, PANEL_ROWS) * FORWARD_LOGITS_MAX;
    return c->encoder ? 0 : floats * sizeof(float) + threads * sample_scratch_bytes(c->vocab);
}

/* Of one row: residual and branch; q twice, and attention; k and v; gate and up;
 * and what the products read, packed, for which one of each kind is enough. */
uint64_t sched_model_bytes(const struct model_config *c, unsigned threads)
{
    uint64_t heads = (uint64_t)c->heads * round_up(c->head_dim, ATTN_DIM_PAD);
    uint64_t kv_heads = (uint64_t)c->kv_heads * round_up(c->head_dim, ATTN_DIM_PAD);
    uint64_t ffn = c->experts ? expert_floats(c) : 3 * (uint64_t)c->ffn;
    uint64_t row = 3 * (uint64_t)c->width + 4 * heads + 2 * kv_heads + ffn +
                   ROPES_MAX * (uint64_t)c->rope_dim + 8 * (uint64_t)PANEL_ROWS + c->heads;
    uint64_t rows = forward_rows_max(c);
    uint64_t floats = row * rows + (uint64_t)c->experts * PRODUCTS_FLOATS +
                      (uint64_t)threads * TILE_TOKENS * round_up(c->width, PANEL_ROWS);
    return floats * sizeof(float) + parts_bytes(c) + rows * ROW_BYTES + SMALL_BYTES +
           logits_bytes(c, threads);
}
