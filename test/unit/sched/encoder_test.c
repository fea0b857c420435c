/* Embeddings of an encoder's texts, against a forward pass over each alone: the same bits, a
 * step for each text or for several, nothing computed twice and nothing left behind. */
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "model/forward.h"
#include "model_file.h"
#include "sample/sample.h"
#include "util.h"

enum { CONTEXT = 700, TEXTS = 40, KINDS = 3 };

static const enum realm_pooling kinds[KINDS] = {REALM_POOL_MEAN, REALM_POOL_LAST, REALM_POOL_CLS};

static struct model *model;
static uint32_t ids[CONTEXT + 1];
static float *want[TEXTS][KINDS];

/* Mostly short, some of more rows than others' steps have. */
static uint32_t length_of(size_t text)
{
    return text % 13 == 5 ? CONTEXT - (uint32_t)text : 1 + (uint32_t)(text * 7 % 60);
}

static const uint32_t *ids_of(size_t text)
{
    return ids + CONTEXT - length_of(text);
}

static void take_embedding(struct forward *f, size_t n, enum realm_pooling pooling, float *out)
{
    size_t width = model->config.width;
    for (size_t j = 0; j < width; j++) {
        double sum = 0;
        for (size_t i = 0; i < n; i++)
            sum += (double)forward_hidden(f, i)[j];
        out[j] = pooling == REALM_POOL_MEAN
                     ? (float)(sum / (double)n)
                     : forward_hidden(f, pooling == REALM_POOL_CLS ? 0 : n - 1)[j];
    }
}

static void make_reference(void)
{
    struct pool *pool;
    struct forward *f;
    struct kv_budget budget;
    struct kv_pool *kv;
    static struct forward_row rows[CONTEXT];
    const struct kv_shape shape = forward_kv_shape(&model->config, KV_F16);
    size_t bad;
    kv_budget_init(&budget, UINT64_MAX);
    assert_int_equal(pool_open(&pool, 1), 0);
    assert_int_equal(forward_open(&f, model, pool, kernels_best(), CONTEXT), 0);
    assert_int_equal(kv_pool_open(&kv, &shape, &budget), 0);
    for (size_t text = 0; text < TEXTS; text++) {
        struct kv_seq *seq;
        uint32_t n = length_of(text);
        assert_int_equal(kv_seq_open(&seq, kv), 0);
        assert_int_equal(kv_seq_reserve(seq, n), 0);
        for (uint32_t i = 0; i < n; i++)
            rows[i] = (struct forward_row){seq, ids_of(text)[i], i, false, true};
        assert_int_equal(forward_step(f, rows, n, NULL, NULL, &bad), 0);
        for (size_t k = 0; k < KINDS; k++) {
            want[text][k] = calloc(model->config.width, sizeof(float));
            assert_non_null(want[text][k]);
            take_embedding(f, n, kinds[k], want[text][k]);
        }
        kv_seq_close(seq);
    }
    kv_pool_close(kv);
    forward_close(f);
    pool_close(pool);
}

static void open_bench(struct bench *b, unsigned threads, uint64_t pages, uint64_t look_ns)
{
    const struct sched_options options = {
        .kv_bytes_max = pages * bench_page_bytes(model, KV_F16),
        .kv_type = KV_F16,
        .poison = true,
        .audit = true,
    };
    bench_open(b, model, options, threads, look_ns);
}

static struct sched_gen *start(struct bench *b, size_t text, enum realm_pooling pooling,
                               const char *tenant)
{
    struct sched_gen *g;
    struct realm_request r = bench_request(0);
    r.prompt_only = true;
    r.pooling = pooling;
    r.tenant = tenant;
    assert_int_equal(sched_gen_open(&g, b->model, ids_of(text), length_of(text), 0, &r, 1, NULL),
                     0);
    return g;
}

static void expect(struct sched_gen *g, size_t text, size_t kind)
{
    struct realm_event e;
    assert_int_equal(sched_gen_next(g, &e, NULL), 0);
    assert_int_equal(e.kind, REALM_EVENT_END);
    assert_int_equal(e.status, 0);
    assert_int_equal(e.usage.prompt_tokens, length_of(text));
    assert_int_equal(e.usage.cached_tokens, 0);
    assert_memory_equal(e.embedding, want[text][kind], model->config.width * sizeof(float));
    sched_gen_close(g);
}

/* On machines of several speeds, with pages for all or for one long text. */
static void texts_are_whole(void **state)
{
    (void)state;
    static const char *const tenants[] = {"a", "b", "c"};
    static const uint64_t speeds[] = {0, 2000000, 50000000};
    for (unsigned way = 0; way < 6; way++) {
        struct bench b;
        struct sched_gen *gens[TEXTS];
        uint64_t tokens = 0;
        open_bench(&b, 1 + way % 3, way < 3 ? 4000 : CONTEXT / KV_PAGE_TOKENS + 1, speeds[way % 3]);
        for (size_t i = 0; i < TEXTS; i++) {
            gens[i] = start(&b, i, kinds[i % KINDS], tenants[i % 3]);
            tokens += length_of(i);
        }
        for (size_t i = 0; i < TEXTS; i++)
            expect(gens[i], i, i % KINDS);
        const struct sched_stats s = bench_stats(&b);
        assert_int_equal(s.prompt_rows, tokens);
        assert_in_range(s.steps, 1, TEXTS);
        assert_int_equal(s.cached_tokens + s.kv_cached_pages + s.kv_pages, 0);
        bench_close(&b);
    }
}

static void short_texts_share_steps(void **state)
{
    (void)state;
    enum { N = 200 };
    struct bench b;
    struct sched_gen *gens[N];
    const struct sched_options options = {
        .kv_bytes_max = 4000 * bench_page_bytes(model, KV_F16),
        .kv_type = KV_F16,
        .manual = true, // they have all come before the first step
    };
    bench_open(&b, model, options, 2, 0);
    for (size_t i = 0; i < N; i++)
        gens[i] = start(&b, 1, REALM_POOL_MEAN, NULL);
    bench_run(&b);
    for (size_t i = 0; i < N; i++)
        expect(gens[i], 1, 0);
    assert_true(bench_stats(&b).steps < N / 2);
    bench_close(&b);
}

/* The same text again, and one that begins alike, while the first one's pages would be kept. */
static void nothing_is_found_again(void **state)
{
    (void)state;
    struct bench b;
    open_bench(&b, 2, 4000, 0);
    for (int again = 0; again < 3; again++) {
        struct sched_gen *g = start(&b, 5, REALM_POOL_NONE, NULL);
        struct realm_event e;
        assert_int_equal(sched_gen_next(g, &e, NULL), 0);
        assert_int_equal(e.usage.cached_tokens, 0);
        assert_null(e.embedding);
        sched_gen_close(g);
        expect(start(&b, 5, REALM_POOL_LAST, NULL), 5, 1);
        assert_int_equal(bench_stats(&b).kv_cached_pages, 0);
    }
    bench_close(&b);
}

static void a_text_may_fill_the_context(void **state)
{
    (void)state;
    struct bench b;
    struct sched_gen *g;
    struct realm_event e;
    struct realm_request r = bench_request(0);
    struct realm_error err = {0};
    r.prompt_only = true;
    r.pooling = REALM_POOL_CLS;
    open_bench(&b, 2, 4000, 0);
    assert_int_equal(sched_gen_open(&g, b.model, ids, CONTEXT + 1, 0, &r, 1, &err),
                     REALM_E_CONTEXT);
    assert_non_null(strstr(err.message, "701 tokens and the context 700"));
    assert_int_equal(sched_gen_open(&g, b.model, ids, CONTEXT, 0, &r, 1, &err), 0);
    assert_int_equal(sched_gen_next(g, &e, NULL), 0);
    assert_int_equal(e.status, 0);
    assert_non_null(e.embedding);
    sched_gen_close(g);
    assert_int_equal(bench_stats(&b).steps, 1);
    bench_close(&b);
}

/* Some are given up at once; the others do not notice. */
static void who_leaves_harms_nobody(void **state)
{
    (void)state;
    struct bench b;
    struct sched_gen *gens[TEXTS];
    open_bench(&b, 2, 200, 2000000);
    for (size_t i = 0; i < TEXTS; i++)
        gens[i] = start(&b, i, kinds[i % KINDS], NULL);
    for (size_t i = 0; i < TEXTS; i += 2)
        sched_gen_close(gens[i]);
    for (size_t i = 1; i < TEXTS; i += 2)
        expect(gens[i], i, i % KINDS);
    bench_close(&b);
}

static void scratch_is_what_was_said(void **state)
{
    (void)state;
    for (unsigned threads = 1; threads <= 16; threads *= 4) {
        uint64_t said = sched_model_bytes(&model->config, threads);
        assert_in_range(bench_scratch(model, threads), said / 2, said);
    }
}

int main(void)
{
    struct model_spec spec = model_spec_default();
    struct gguf_file *file;
    size_t n;
    spec.encoder = true;
    spec.width = spec.ffn = 64;
    spec.layers = 3;
    spec.kv_heads = spec.heads;
    spec.context = CONTEXT;
    uint8_t *bytes = model_file_make(&spec, &n);
    if (gguf_file_from_memory(&file, bytes, n, NULL) ||
        model_load(&model, file, &(struct model_load_options){0}, NULL))
        return 2;
    gguf_file_close(file);
    free(bytes);
    for (size_t i = 0; i <= CONTEXT; i++)
        ids[i] = (uint32_t)(i * i * 31 % spec.vocab);
    make_reference();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_are_whole),         cmocka_unit_test(short_texts_share_steps),
        cmocka_unit_test(nothing_is_found_again),  cmocka_unit_test(a_text_may_fill_the_context),
        cmocka_unit_test(who_leaves_harms_nobody), cmocka_unit_test(scratch_is_what_was_said),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    for (size_t i = 0; i < TEXTS; i++)
        for (size_t k = 0; k < KINDS; k++)
            free(want[i][k]);
    model_close(model);
    return failed;
}
