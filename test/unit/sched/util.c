#include "util.h"

#include <string.h>

#include "model/forward.h"

static atomic_uint_fast64_t now_ns, step_ns;

static uint64_t look(void *ctx)
{
    (void)ctx;
    return atomic_fetch_add(&now_ns, atomic_load(&step_ns));
}

static const struct clock test_clock = {.now_ns = look};

void bench_open(struct bench *b, struct model *model, struct sched_options options,
                unsigned threads, uint64_t look_ns)
{
    atomic_store(&now_ns, 1);
    atomic_store(&step_ns, look_ns);
    assert_int_equal(pool_open(&b->pool, threads), 0);
    options.pool = b->pool;
    options.kernels = kernels_best();
    options.clock = &test_clock;
    options.step_ms = 50;
    assert_int_equal(sched_open(&b->sched, &options), 0);
    assert_int_equal(sched_model_open(&b->model, b->sched, model), 0);
}

void bench_close(struct bench *b)
{
    sched_model_close(b->model);
    const struct sched_stats s = bench_stats(b);
    assert_int_equal(s.kv_pages + s.kv_cached_pages + s.kv_bytes, 0);
    sched_close(b->sched);
    pool_close(b->pool);
}

struct sched_stats bench_stats(const struct bench *b)
{
    struct sched_stats s;
    sched_stats(b->sched, &s);
    return s;
}

void bench_run(struct bench *b)
{
    while (sched_turn(b->sched))
        ;
}

uint64_t bench_scratch(const struct model *model, unsigned threads)
{
    struct pool *pool;
    struct forward *f;
    assert_int_equal(pool_open(&pool, threads), 0);
    assert_int_equal(
        forward_open(&f, model, pool, kernels_best(), forward_rows_max(&model->config)), 0);
    uint64_t bytes = forward_bytes(f);
    forward_close(f);
    pool_close(pool);
    return bytes;
}

uint64_t bench_page_bytes(const struct model *model, enum kv_type type)
{
    struct kv_budget budget;
    struct kv_pool *kv;
    const struct kv_shape shape = forward_kv_shape(&model->config, type);
    kv_budget_init(&budget, UINT64_MAX);
    assert_int_equal(kv_pool_open(&kv, &shape, &budget), 0);
    uint64_t bytes = kv_page_bytes(kv);
    kv_pool_close(kv);
    return bytes;
}

struct realm_request bench_request(uint32_t max_tokens)
{
    struct realm_request r;
    memset(&r, 0, sizeof(r));
    r.sampling =
        (struct realm_sampling){.max_tokens = max_tokens, .top_p = 1, .repetition_penalty = 1};
    r.ignore_end = true;
    return r;
}

struct sched_gen *bench_start(struct bench *b, const char *tenant, const uint32_t *ids, size_t n,
                              size_t n_public, uint32_t max_tokens)
{
    struct realm_request request = bench_request(max_tokens);
    struct sched_gen *g;
    request.logprobs = true;
    request.tenant = tenant;
    assert_int_equal(sched_gen_open(&g, b->model, ids, n, n_public, &request, 1, NULL), 0);
    return g;
}

void bench_read(struct sched_gen *g, struct answer *a)
{
    struct realm_event e;
    *a = (struct answer){0};
    for (;;) {
        assert_int_equal(sched_gen_next(g, &e, NULL), 0);
        if (e.kind == REALM_EVENT_END)
            break;
        if (a->n < ANSWER_MAX) {
            a->tokens[a->n] = e.token;
            a->logprobs[a->n] = e.logprob;
        }
        a->n++;
    }
    assert_int_equal(e.status, 0);
    a->usage = e.usage;
    sched_gen_close(g);
}
