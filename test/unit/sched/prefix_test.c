/* What is answered is the same, bit for bit, when its beginning was in the cache of pages: for
 * each type of weights, alone and in batches of 2 to 64, on one thread and on two, whatever steps
 * prompts are cut into.  Pages are handed out full of NaN.
 *
 *   prefix [FILE...]   of models in GGUF files instead */
#include <stdlib.h>
#include <string.h>

#include "base/compiler.h"
#include "base/rng.h"
#include "model_file.h"
#include "util.h"

enum { PROMPTS = 12, PROMPT_MAX = 72, ANSWER = 8, AT_ONCE = 64, PAGES = 800 };

static const char *name; /* of the model, for a sentence */
static struct model *model;

struct prompt {
    uint32_t ids[PROMPT_MAX];
    uint32_t n;
    struct answer want;
};

static struct prompt prompts[PROMPTS];

/* Each takes the beginning of an earlier one, mostly up to somewhere inside a page. */
static void make_prompts(void)
{
    for (uint32_t i = 0; i < PROMPTS; i++) {
        uint32_t r[4];
        rng_philox(8, 1, i, r);
        struct prompt *p = &prompts[i], *from = &prompts[i ? r[0] % i : 0];
        p->n = 24 + r[1] % (PROMPT_MAX - 24);
        uint32_t same = i ? from->n / 2 + r[2] % (from->n / 2) : 0;
        for (uint32_t j = 0; j < p->n; j++) {
            rng_philox(8, 2 + i, j, r);
            p->ids[j] = j < same ? from->ids[j] : r[0] % model->config.vocab;
        }
    }
}

/* look_ns: each look at the clock takes this long, so that steps have few rows. */
static void open_bench(struct bench *b, enum kv_type kv, unsigned threads, bool cache_off,
                       uint64_t look_ns)
{
    const struct sched_options options = {
        .kv_bytes_max = PAGES * bench_page_bytes(model, kv),
        .kv_type = kv,
        .cache_off = cache_off,
        .manual = true,
        .poison = true,
        .audit = true,
    };
    bench_open(b, model, options, threads, look_ns);
}

static struct sched_gen *start(struct bench *b, uint32_t prompt)
{
    return bench_start(b, "a", prompts[prompt].ids, prompts[prompt].n, 0, ANSWER);
}

static void make_references(enum kv_type kv)
{
    struct bench b;
    open_bench(&b, kv, 1, true, 0);
    for (uint32_t i = 0; i < PROMPTS; i++) {
        struct sched_gen *g = start(&b, i);
        bench_run(&b);
        bench_read(g, &prompts[i].want);
        assert_int_equal(prompts[i].want.n, ANSWER);
        assert_int_equal(prompts[i].want.usage.cached_tokens, 0);
    }
    bench_close(&b);
}

/* Returns how many tokens of its prompt g found. */
static uint32_t compare(struct sched_gen *g, uint32_t prompt, unsigned threads, uint32_t n)
{
    const struct answer *want = &prompts[prompt].want;
    struct answer got;
    bench_read(g, &got);
    assert_int_equal(got.n, ANSWER);
    if (memcmp(got.tokens, want->tokens, sizeof(got.tokens)) != 0 ||
        memcmp(got.logprobs, want->logprobs, sizeof(got.logprobs)) != 0)
        fail_msg("%s, prompt %u, %u of its tokens found, %u at once, %u threads: another answer",
                 name, prompt, got.usage.cached_tokens, n, threads);
    return got.usage.cached_tokens;
}

/* Some prompts one by one, each of which finds what those before it left, then n at once: some
 * of these find all but their last token, others a part, or wait for one that begins alike. */
static void compare_batch(enum kv_type kv, unsigned threads, uint32_t n)
{
    struct bench b;
    struct sched_gen *gens[AT_ONCE];
    uint32_t found = 0;
    open_bench(&b, kv, threads, false, n % 2 ? 0 : 5 * 1000000u);
    for (uint32_t i = 0; i < PROMPTS; i += 3) {
        struct sched_gen *g = start(&b, i);
        bench_run(&b);
        found += compare(g, i, threads, 1);
    }
    for (uint32_t i = 0; i < n; i++)
        gens[i] = start(&b, i * 5 % PROMPTS);
    bench_run(&b);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t prompt = i * 5 % PROMPTS, cached = compare(gens[i], prompt, threads, n);
        assert_true(prompt % 3 || cached == prompts[prompt].n - 1);
        found += cached;
    }
    assert_true(found > n * 16);
    assert_true(bench_stats(&b).decode_batch_max > n / 2);
    bench_close(&b);
}

static void compare_all(enum kv_type kv)
{
    static const uint32_t batches[] = {2, 3, 8, 17, 64};
    make_prompts();
    make_references(kv);
    for (unsigned threads = 1; threads <= 2; threads++)
        for (size_t i = 0; i < ARRAY_LEN(batches); i++)
            compare_batch(kv, threads, batches[i]);
}

/* Takes over the file. */
static void compare_file(struct gguf_file *file, const char *called, enum kv_type kv)
{
    struct realm_error err = {0};
    name = called;
    if (model_load(&model, file, NULL, &err))
        fail_msg("%s: %s", name, err.message);
    gguf_file_close(file);
    compare_all(kv);
    model_close(model);
}

/* Each type of keys and values has its turn. */
static void each_type_finds_the_same(void **state)
{
    (void)state;
    struct model_spec spec = model_spec_default();
    unsigned types = 0;
    spec.ffn = 256;
    for (uint32_t type = 0; type < 100; type++) {
        const struct dtype_info *info = dtype_info(type);
        struct gguf_file *file;
        size_t n;
        if (!info || !info->runs)
            continue;
        spec.type = (enum dtype)type;
        uint8_t *bytes = model_file_make(&spec, &n);
        assert_int_equal(gguf_file_from_memory(&file, bytes, n, NULL), 0);
        compare_file(file, info->name, (enum kv_type)(types++ % KV_TYPES));
        free(bytes);
    }
    assert_true(types >= 16);
}

static void a_file_finds_the_same(void **state)
{
    const char *path = *state;
    struct gguf_file *file;
    struct realm_error err = {0};
    if (gguf_file_open(&file, io_system(), path, 0, &err))
        fail_msg("%s", err.message);
    compare_file(file, path, KV_F16);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest types[] = {cmocka_unit_test(each_type_finds_the_same)};
    int failed = argc > 1 ? 0 : cmocka_run_group_tests_name("prefix", types, NULL, NULL);
    for (int i = 1; i < argc; i++) {
        const struct CMUnitTest test[] = {{argv[i], a_file_finds_the_same, NULL, NULL, argv[i]}};
        failed += cmocka_run_group_tests_name(argv[i], test, NULL, NULL);
    }
    return failed;
}
