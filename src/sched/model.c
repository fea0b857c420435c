/* sched/model.c - what a model needs to run. */
#include "base/ckd.h"
#include "base/mem.h"
#include "sched/sched_impl.h"

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
    struct kv_shape shape = {c->layers, c->kv_heads, c->head_dim, s->options.kv_type};
    int status = grow_scratch(s, c->vocab);
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
    list_init(&m->link);
    list_init(&m->running);
    int status =
        forward_open(&m->forward, model, s->options.pool, s->options.kernels, BATCH_ROWS_MAX);
    if (!status)
        status = sched_call(s, sched_attach, m);
    if (status) {
        forward_close(m->forward);
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
    forward_close(m->forward);
    mem_free(m);
}

/* Of one row: residual and branch, q twice, attention, k and v, gate and up; and
 * each as packed activations, which are never wider. */
uint64_t sched_model_bytes(const struct model_config *c, unsigned threads)
{
    uint64_t heads = (uint64_t)c->heads * round_up(c->head_dim, ATTN_DIM_PAD);
    uint64_t kv_heads = (uint64_t)c->kv_heads * round_up(c->head_dim, ATTN_DIM_PAD);
    uint64_t row = 2 * (uint64_t)c->width + 3 * heads + 2 * kv_heads + 2 * (uint64_t)c->ffn +
                   c->width + heads + c->ffn + c->rope_dim;
    uint64_t segments = c->context / ATTN_SEGMENT_KEYS + 1;
    uint64_t parts = (1 + KV_PAGE_TOKENS + (uint64_t)c->head_dim) * c->heads * segments;
    uint64_t floats = row * BATCH_ROWS_MAX + (uint64_t)c->vocab * FORWARD_LOGITS_MAX + parts +
                      (uint64_t)threads * TILE_TOKENS * c->width;
    return floats * sizeof(float) + 32 * MiB;
}
