/* Model files of any bytes: what is planned can be loaded, and of what is small a step is
 * computed, whatever its weights are. */
#include <stdlib.h>

#include "base/assert.h"
#include "base/mem.h"
#include "model/forward.h"

enum { SMALL = 64, ROWS = 3 };

static bool is_small(const struct model_config *c)
{
    return c->context <= SMALL && c->width <= SMALL && c->ffn <= SMALL && c->heads <= SMALL &&
           c->head_dim <= SMALL && c->layers <= 4 && c->experts <= SMALL;
}

/* Two sequences, of which each row wants all that there is. */
static void step(const struct model *m)
{
    struct pool *pool;
    struct forward *f;
    struct kv_budget budget;
    struct kv_pool *kv;
    struct kv_seq *seqs[2];
    struct forward_row rows[2 * ROWS];
    const struct kv_shape shape = forward_kv_shape(&m->config, KV_F16);
    size_t n = 0, bad;
    kv_budget_init(&budget, UINT64_MAX);
    int status = pool_open(&pool, 1);
    ASSERT(status == 0);
    status = forward_open(&f, m, pool, kernels_best(), 2 * ROWS);
    ASSERT(status == 0);
    status = kv_pool_open(&kv, &shape, &budget);
    ASSERT(status == 0);
    for (size_t s = 0; s < 2; s++) {
        status = kv_seq_open(&seqs[s], kv);
        ASSERT(status == 0);
        status = kv_seq_reserve(seqs[s], ROWS);
        ASSERT(status == 0);
        for (uint32_t i = 0; i < ROWS && i < m->config.context; i++)
            rows[n++] = (struct forward_row){seqs[s], (i + (uint32_t)s) % m->config.vocab, i,
                                             !m->config.encoder, true};
    }
    status = forward_step(f, rows, n, NULL, NULL, &bad);
    ASSERT(status == 0 || (status == REALM_E_NUMERIC && bad < n));
    kv_seq_close(seqs[0]);
    kv_seq_close(seqs[1]);
    kv_pool_close(kv);
    forward_close(f);
    pool_close(pool);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct gguf_file *file;
    struct realm_error err = {0};
    struct model_plan plan;
    struct model *m;
    uint64_t live = mem_live();
    if (gguf_file_from_memory(&file, data, n, &err))
        return 0;
    int status = model_plan(&plan, file, &err);
    ASSERT(status == 0 || (status < 0 && err.message[0]));
    int loaded = model_load(&m, file, NULL, &err);
    ASSERT(status ? loaded == status : loaded == 0 || loaded == REALM_E_FORMAT);
    gguf_file_close(file);
    if (!loaded && is_small(&m->config))
        step(m);
    model_close(m);
    ASSERT(mem_live() == live);
    return 0;
}
