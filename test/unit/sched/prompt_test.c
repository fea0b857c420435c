/* What is wanted of a prompt's own tokens, against a forward pass that computes the
 * whole prompt in one step: the same bits, each once, however the prompt is cut. */
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "model/forward.h"
#include "sample/sample.h"
#include "util.h"

enum { LENGTH = 420, TOP = 3 };

static struct model *model;
static uint32_t ids[LENGTH];

/* Of the whole prompt in one step. */
static float want_logprobs[LENGTH];
static struct realm_logprob want_top[LENGTH][TOP];
static float *want_hidden; /* (LENGTH, width) */

static void open_bench(struct bench *b, unsigned threads, uint64_t kv_pages, uint64_t ns)
{
    const struct sched_options options = {
        .kv_bytes_max = kv_pages * PAGE_BYTES_F16,
        .kv_type = KV_F16,
    };
    bench_open(b, model, options, threads, ns);
}

static void make_reference(void)
{
    struct pool *pool;
    struct forward *f;
    struct kv_budget budget;
    struct kv_pool *kv;
    struct kv_seq *seq;
    struct sample_scratch *scratch;
    static struct forward_row rows[LENGTH];
    const struct model_config *c = &model->config;
    const struct kv_shape shape = forward_kv_shape(c, KV_F16);
    size_t bad;
    kv_budget_init(&budget, UINT64_MAX);
    assert_int_equal(pool_open(&pool, 1), 0);
    assert_int_equal(forward_open(&f, model, pool, kernels_best(), LENGTH), 0);
    assert_int_equal(kv_pool_open(&kv, &shape, &budget), 0);
    assert_int_equal(kv_seq_open(&seq, kv), 0);
    assert_int_equal(kv_seq_reserve(seq, LENGTH), 0);
    assert_int_equal(sample_scratch_open(&scratch, c->vocab), 0);
    want_hidden = malloc(LENGTH * c->width * sizeof(float));
    assert_non_null(want_hidden);
    /* Twice, for not all of them may want logits at once. */
    for (uint32_t half = 0; half < 2; half++) {
        size_t n = 0;
        for (uint32_t i = 0; i < LENGTH; i++)
            rows[i] = (struct forward_row){seq, ids[i], i, i / (LENGTH / 2) == half, true};
        assert_int_equal(forward_step(f, rows, LENGTH, NULL, NULL, &bad), 0);
        for (uint32_t i = 0; i < LENGTH; i++) {
            memcpy(want_hidden + i * c->width, forward_hidden(f, i), c->width * sizeof(float));
            if (rows[i].wants_logits && i + 1 < LENGTH)
                want_logprobs[i + 1] =
                    sample_logprobs(scratch, kernels_best(), forward_logits(f, n), c->vocab,
                                    ids[i + 1], want_top[i + 1], TOP);
            n += rows[i].wants_logits;
        }
    }
    sample_scratch_close(scratch);
    kv_seq_close(seq);
    kv_pool_close(kv);
    forward_close(f);
    pool_close(pool);
}

static struct sched_gen *start(struct bench *b, size_t n, const struct realm_request *r)
{
    struct sched_gen *g;
    assert_int_equal(sched_gen_open(&g, b->model, ids, n, 0, r, 1, NULL), 0);
    return g;
}

/* Reads the prompt's events, comparing all of them, up to the first that is none. */
static struct realm_event read_prompt(struct sched_gen *g, uint32_t n_top)
{
    struct realm_event e;
    for (uint32_t index = 1;; index++) {
        assert_int_equal(sched_gen_next(g, &e, NULL), 0);
        if (e.kind != REALM_EVENT_PROMPT) {
            assert_int_equal(index, LENGTH);
            return e;
        }
        assert_int_equal(e.index, index);
        assert_int_equal(e.token, ids[index]);
        assert_int_equal(e.text_bytes, 0);
        assert_int_equal(e.n_top, n_top);
        assert_memory_equal(&e.logprob, &want_logprobs[index], sizeof(float));
        assert_memory_equal(e.top, want_top[index], n_top * sizeof(*e.top));
    }
}

static void expect_embedding(const struct realm_event *end, enum realm_pooling pooling)
{
    size_t width = model->config.width;
    assert_int_equal(end->kind, REALM_EVENT_END);
    assert_int_equal(end->status, 0);
    assert_int_equal(end->finish, REALM_FINISH_LENGTH);
    assert_int_equal(end->usage.prompt_tokens, LENGTH);
    assert_int_equal(end->usage.completion_tokens, 0);
    if (pooling == REALM_POOL_NONE) {
        assert_null(end->embedding);
        return;
    }
    assert_non_null(end->embedding);
    for (size_t j = 0; j < width; j++) {
        double sum = 0;
        for (size_t i = 0; i < LENGTH; i++)
            sum += (double)want_hidden[i * width + j];
        float want = pooling == REALM_POOL_LAST ? want_hidden[(LENGTH - 1) * width + j]
                                                : (float)(sum / LENGTH);
        assert_memory_equal(&end->embedding[j], &want, sizeof(want));
    }
}

/* All that can be wanted of a prompt, on a machine so fast or slow that it is cut into
 * a few steps or many. */
static void a_prompt_is_the_same_however_it_is_cut(void **state)
{
    (void)state;
    static const uint64_t speeds[] = {0, 2000000, 20000000};
    struct bench b;
    for (unsigned i = 0; i < 3; i++) {
        open_bench(&b, 1 + i, 400, speeds[i]);
        struct sched_gen *gens[6];
        for (unsigned k = 0; k < 6; k++) {
            struct realm_request r = bench_request(2);
            r.prompt_only = k < 5;
            r.pooling = k < 5 ? (enum realm_pooling)(k % 3) : REALM_POOL_NONE;
            r.prompt_logprobs = k >= 3 || k == 0;
            r.top_logprobs = k == 4 ? TOP : 0;
            gens[k] = start(&b, LENGTH, &r);
        }
        for (unsigned k = 0; k < 6; k++) {
            struct realm_event e;
            if (k >= 3 || k == 0)
                e = read_prompt(gens[k], k == 4 ? TOP : 0);
            else
                assert_int_equal(sched_gen_next(gens[k], &e, NULL), 0);
            if (k < 5)
                expect_embedding(&e, (enum realm_pooling)(k % 3));
            else
                assert_int_equal(e.kind, REALM_EVENT_TOKEN);
            sched_gen_close(gens[k]);
        }
        assert_int_equal(bench_stats(&b).prompt_rows, 6 * LENGTH);
        assert_int_equal(bench_stats(&b).kv_pages, 0);
        bench_close(&b);
    }
}

/* An older answer takes the pages in the middle of the prompt: what was told of its
 * tokens, or added to the mean, is not told or added again. */
static void nothing_of_a_prompt_is_taken_twice(void **state)
{
    (void)state;
    for (int pooling = REALM_POOL_NONE; pooling <= REALM_POOL_LAST; pooling++) {
        struct bench b;
        struct realm_event e;
        struct gate gate = {.calls = 20};
        open_bench(&b, 2, 29, 12 * 1000000u);
        struct realm_request r = bench_request(80);
        gate_hold(&r, &gate);
        struct sched_gen *older = start(&b, 10, &r); // two pages, full three steps after the gate
        gate_await(&gate);
        r = bench_request(0);
        r.prompt_only = r.prompt_logprobs = true;
        r.top_logprobs = TOP;
        r.pooling = (enum realm_pooling)pooling;
        struct sched_gen *g = start(&b, LENGTH, &r); // the other 27
        gate_let_go(&gate);
        e = read_prompt(g, TOP);
        expect_embedding(&e, r.pooling);
        sched_gen_close(g);
        do {
            assert_int_equal(sched_gen_next(older, &e, NULL), 0);
        } while (e.kind == REALM_EVENT_TOKEN);
        assert_int_equal(e.status, 0);
        sched_gen_close(older);
        struct sched_stats s = bench_stats(&b);
        assert_int_equal(s.preempted, 1);
        assert_true(s.prompt_rows > 10 + LENGTH); // some were computed twice
        assert_int_equal(s.kv_pages, 0);
        bench_close(&b);
    }
}

/* Prompts that want all their logits at once share what a step has of them. */
static void many_prompts_share_the_logits_of_a_step(void **state)
{
    (void)state;
    enum { N = 5 };
    struct bench b;
    struct sched_gen *gens[N];
    open_bench(&b, 2, 400, 0);
    struct realm_request r = bench_request(3);
    r.prompt_logprobs = true;
    for (unsigned i = 0; i < N; i++)
        gens[i] = start(&b, LENGTH, &r);
    for (unsigned i = 0; i < N; i++) {
        struct realm_event e = read_prompt(gens[i], 0);
        for (unsigned token = 0; token < 3; token++) {
            assert_int_equal(e.kind, REALM_EVENT_TOKEN);
            assert_int_equal(e.index, token);
            assert_int_equal(sched_gen_next(gens[i], &e, NULL), 0);
        }
        assert_int_equal(e.kind, REALM_EVENT_END);
        sched_gen_close(gens[i]);
    }
    bench_close(&b);
}

static void a_prompt_may_fill_the_context(void **state)
{
    (void)state;
    struct bench b;
    struct sched_gen *g;
    struct realm_event e;
    size_t n = model->config.context;
    uint32_t *all = calloc(n + 1, sizeof(*all));
    assert_non_null(all);
    for (size_t i = 0; i <= n; i++)
        all[i] = ids[i % LENGTH];
    open_bench(&b, 2, 400, 0);
    struct realm_request r = bench_request(0);
    r.prompt_only = true;
    r.pooling = REALM_POOL_MEAN;
    for (size_t over = 0; over < 2; over++) {
        int status = sched_gen_open(&g, b.model, all, n + over, 0, &r, 1, NULL);
        assert_int_equal(status, over ? REALM_E_CONTEXT : 0);
        if (status)
            continue;
        assert_int_equal(sched_gen_next(g, &e, NULL), 0);
        assert_int_equal(e.kind, REALM_EVENT_END);
        assert_int_equal(e.status, 0);
        assert_non_null(e.embedding);
        sched_gen_close(g);
    }
    /* A single token has nothing before it, and an embedding. */
    r.prompt_logprobs = true;
    g = start(&b, 1, &r);
    assert_int_equal(sched_gen_next(g, &e, NULL), 0);
    assert_int_equal(e.kind, REALM_EVENT_END);
    assert_memory_equal(e.embedding, want_hidden, model->config.width * sizeof(float));
    sched_gen_close(g);
    free(all);
    bench_close(&b);
}

int main(int argc, char **argv)
{
    struct gguf_file *file;
    if (argc < 2 || gguf_file_open(&file, io_system(), argv[1], 0, NULL) ||
        model_load(&model, file, &(struct model_load_options){0}, NULL))
        return 2;
    gguf_file_close(file);
    for (size_t i = 0; i < LENGTH; i++)
        ids[i] = 300 + (uint32_t)(i * i * 31 % 1000);
    make_reference();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_prompt_is_the_same_however_it_is_cut),
        cmocka_unit_test(nothing_of_a_prompt_is_taken_twice),
        cmocka_unit_test(many_prompts_share_the_logits_of_a_step),
        cmocka_unit_test(a_prompt_may_fill_the_context),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(want_hidden);
    model_close(model);
    return failed;
}
