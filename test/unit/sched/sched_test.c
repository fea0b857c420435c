/* The scheduler on a clock of the test's: what goes into a step, and in which
 * order generations are let in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/limits.h"
#include "model/forward.h"
#include "sample/sample.h"
#include "sched/sched.h"

static const char *tiny_path;
static struct model *model;

/* Each look at it takes this long. */
static atomic_uint_fast64_t now_ns, look_ns;

static uint64_t look(void *ctx)
{
    (void)ctx;
    return atomic_fetch_add(&now_ns, atomic_load(&look_ns));
}

static const struct clock test_clock = {.now_ns = look};

struct bench {
    struct pool *pool;
    struct sched *sched;
    struct sched_model *model;
};

static void open_bench(struct bench *b, uint64_t kv_pages, uint64_t ns)
{
    atomic_store(&now_ns, 1);
    atomic_store(&look_ns, ns);
    assert_int_equal(pool_open(&b->pool, 2), 0);
    struct sched_options options = {
        .pool = b->pool,
        .kernels = kernels_best(),
        .clock = &test_clock,
        .kv_bytes_max = kv_pages * 40960,
        .kv_type = KV_F16,
        .step_ms = 50,
        .cache_off = true, // its prompts begin alike
    };
    assert_int_equal(sched_open(&b->sched, &options), 0);
    assert_int_equal(sched_model_open(&b->model, b->sched, model), 0);
}

static void close_bench(struct bench *b)
{
    sched_model_close(b->model);
    sched_close(b->sched);
    pool_close(b->pool);
}

static struct sched_stats stats_of(struct bench *b)
{
    struct sched_stats s;
    sched_stats(b->sched, &s);
    return s;
}

static struct sched_gen *start(struct bench *b, size_t n_ids, uint32_t max_tokens)
{
    static uint32_t ids[2000];
    for (size_t i = 0; i < n_ids; i++)
        ids[i] = 300 + (uint32_t)(i * 31 % 1000);
    struct realm_request request;
    struct sched_gen *g;
    memset(&request, 0, sizeof(request));
    request.sampling =
        (struct realm_sampling){.max_tokens = max_tokens, .top_p = 1, .repetition_penalty = 1};
    request.ignore_end = true;
    assert_int_equal(sched_gen_open(&g, b->model, ids, n_ids, 0, &request, 1, NULL), 0);
    return g;
}

/* Reads to the end; the usage there. */
static struct realm_usage finish(struct sched_gen *g)
{
    struct realm_event e;
    do {
        assert_int_equal(sched_gen_next(g, &e, NULL), 0);
    } while (e.kind == REALM_EVENT_TOKEN);
    assert_int_equal(e.status, 0);
    sched_gen_close(g);
    return e.usage;
}

static void a_fast_machine_takes_prompts_in_large_pieces(void **state)
{
    (void)state;
    struct bench b;
    open_bench(&b, 200, 0); // a step takes no time
    finish(start(&b, 1000, 1));
    struct sched_stats s = stats_of(&b);
    assert_int_equal(s.prompt_rows, 1000);
    assert_in_range(s.steps, 3, 9); // 8 rows, 16, 32 and so on
    assert_int_equal(s.decode_rows, 0);
    close_bench(&b);
}

static void answers_go_on_while_a_prompt_is_read(void **state)
{
    (void)state;
    struct bench b;
    struct realm_event e;
    open_bench(&b, 200, 10 * 1000000u);
    struct sched_gen *first = start(&b, 5, 300);
    assert_int_equal(sched_gen_next(first, &e, NULL), 0);
    uint64_t decoded = stats_of(&b).decode_rows;
    struct sched_gen *second = start(&b, 900, 1);
    struct realm_usage usage = finish(second);
    struct sched_stats s = stats_of(&b);
    /* The second's prompt took many steps, and the first was in most of them. */
    assert_int_equal(usage.completion_tokens, 1);
    assert_true(s.decode_rows - decoded > 5);
    usage = finish(first);
    assert_int_equal(usage.completion_tokens, 300);
    s = stats_of(&b);
    assert_int_equal(s.prompt_rows, 905);
    assert_int_equal(s.decode_rows, 299);
    assert_int_equal(s.prompt_tokens, 905);
    assert_int_equal(s.completion_tokens, 301);
    close_bench(&b);
}

static void first_come_first_served(void **state)
{
    (void)state;
    struct bench b;
    open_bench(&b, 10, 1000);
    struct sched_gen *gens[4] = {
        start(&b, 100, 30),
        start(&b, 140, 8), // does not fit beside the first
        start(&b, 10, 4),  // would, but came later
        start(&b, 10, 4),
    };
    struct realm_usage u[4];
    for (unsigned i = 0; i < 4; i++)
        u[i] = finish(gens[i]);
    assert_true(u[1].queued_ns > u[0].prefill_ns + u[0].decode_ns / 2);
    assert_true(u[2].queued_ns + 10000 > u[1].queued_ns);
    assert_int_equal(stats_of(&b).kv_pages, 0);
    close_bench(&b);
}

static void the_oldest_is_never_preempted(void **state)
{
    (void)state;
    struct bench b;
    open_bench(&b, 12, 1000);
    struct sched_gen *gens[5];
    for (unsigned i = 0; i < 5; i++)
        gens[i] = start(&b, 20, 150); // 11 pages each in the end
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(finish(gens[i]).completion_tokens, 150);
    struct sched_stats s = stats_of(&b);
    assert_true(s.preempted >= 4);
    assert_int_equal(s.completion_tokens, 5 * 150);
    /* What was drawn is not drawn again: rows computed twice count as prompts. */
    assert_int_equal(s.decode_rows + s.prompt_rows > 5 * (20 + 149), 1);
    assert_int_equal(s.finished, 5);
    close_bench(&b);
}

static void shutdown_ends_all_and_refuses_more(void **state)
{
    (void)state;
    struct bench b;
    struct realm_event e;
    open_bench(&b, 100, 1000);
    struct sched_gen *g = start(&b, 10, 500);
    sched_shutdown(b.sched);
    do {
        assert_int_equal(sched_gen_next(g, &e, NULL), 0);
    } while (e.kind == REALM_EVENT_TOKEN);
    assert_int_equal(e.status, REALM_E_SHUTDOWN);
    sched_gen_close(g);
    uint32_t id = 300;
    struct realm_request request;
    memset(&request, 0, sizeof(request));
    assert_int_equal(sched_gen_open(&g, b.model, &id, 1, 0, &request, 1, NULL), REALM_E_SHUTDOWN);
    assert_null(g);
    close_bench(&b);
}

static void scratch_is_what_was_said(void **state)
{
    (void)state;
    for (unsigned threads = 1; threads <= 16; threads *= 4) {
        struct pool *pool;
        struct forward *f;
        assert_int_equal(pool_open(&pool, threads), 0);
        assert_int_equal(forward_open(&f, model, pool, kernels_best(), BATCH_ROWS_MAX), 0);
        uint64_t said = sched_model_bytes(&model->config, threads);
        uint64_t is = forward_bytes(f) + threads * sample_scratch_bytes(model->config.vocab);
        assert_in_range(is, said * 3 / 4, said);
        forward_close(f);
        pool_close(pool);
    }
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return 2;
    tiny_path = argv[1];
    struct gguf_file *file;
    if (gguf_file_open(&file, io_system(), tiny_path, 0, NULL) ||
        model_load(&model, file, &(struct model_load_options){0}, NULL))
        return 2;
    gguf_file_close(file);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fast_machine_takes_prompts_in_large_pieces),
        cmocka_unit_test(answers_go_on_while_a_prompt_is_read),
        cmocka_unit_test(first_come_first_served),
        cmocka_unit_test(the_oldest_is_never_preempted),
        cmocka_unit_test(scratch_is_what_was_said),
        cmocka_unit_test(shutdown_ends_all_and_refuses_more),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    model_close(model);
    return failed;
}
