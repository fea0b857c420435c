#include "fake.h"

#include <string.h>

#include "base/assert.h"
#include "base/limits.h"
#include "base/mem.h"

struct forward {
    const struct model *model;
    bool bad[BATCH_ROWS_MAX];
    size_t n_logits;
    float logits[FORWARD_LOGITS_MAX][FAKE_VOCAB];
    float hidden[1];
};

static struct fake_watch watcher;

void fake_watch(const struct fake_watch *watch)
{
    watcher = *watch;
}

struct model fake_model(uint32_t layers, uint64_t params)
{
    return (struct model){
        .config = {.vocab = FAKE_VOCAB,
                   .width = 1,
                   .layers = layers,
                   .heads = 1,
                   .kv_heads = 1,
                   .head_dim = 16,
                   .context = FAKE_CONTEXT},
        .params = params,
    };
}

uint64_t fake_lead(const struct model *m, uint64_t hash, uint32_t token)
{
    uint64_t x = hash + token + m->config.layers + 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

uint32_t fake_token(uint64_t hash)
{
    return (uint32_t)(hash % FAKE_VOCAB);
}

static int open(struct forward **out, const struct model *m, struct pool *pool,
                const struct kernels *kernels, size_t rows_max)
{
    (void)pool;
    (void)kernels;
    ASSERT(rows_max <= BATCH_ROWS_MAX);
    *out = mem_zalloc(sizeof(**out));
    if (!*out)
        return REALM_E_NOMEM;
    (*out)->model = m;
    return 0;
}

static void close(struct forward *f)
{
    mem_free(f);
}

static uint64_t hash_at(const struct kv_seq *seq, uint32_t pos)
{
    const uint64_t *page = kv_seq_pages(seq)[pos / KV_PAGE_TOKENS];
    return page[pos % KV_PAGE_TOKENS];
}

static void compute(struct forward *f, const struct forward_row *row)
{
    uint64_t before = row->pos ? hash_at(row->seq, row->pos - 1) : 0;
    uint64_t hash = fake_lead(f->model, before, row->token);
    uint64_t *page = kv_seq_page(row->seq, row->pos);
    page[row->pos % KV_PAGE_TOKENS] = hash;
    if (!row->wants_logits)
        return;
    float *logits = f->logits[f->n_logits++];
    memset(logits, 0, sizeof(f->logits[0]));
    logits[fake_token(hash)] = 8;
}

static int step(struct forward *f, const struct forward_row *rows, size_t n,
                size_t (*wanted)(void *ctx, uint32_t layer), void *ctx, size_t *bad)
{
    int status = 0;
    f->n_logits = 0;
    if (!watcher.step(watcher.ctx, rows, n))
        n = wanted(ctx, 0);
    if (n == 0)
        return REALM_E_CANCELLED;
    for (size_t i = n; i-- > 0;) {
        f->bad[i] = watcher.bad(watcher.ctx, &rows[i]);
        if (f->bad[i]) {
            status = REALM_E_NUMERIC;
            *bad = i;
        }
    }
    for (size_t i = 0; i < n; i++)
        compute(f, &rows[i]);
    return status;
}

static bool row_bad(const struct forward *f, size_t i)
{
    return f->bad[i];
}

static float *logits_of(struct forward *f, size_t i)
{
    ASSERT(i < f->n_logits);
    return f->logits[i];
}

static const float *hidden_of(const struct forward *f, size_t i)
{
    (void)i;
    return f->hidden;
}

const struct sched_forward fake_forward = {
    .open = open,
    .close = close,
    .step = step,
    .row_bad = row_bad,
    .logits = logits_of,
    .hidden = hidden_of,
};
