/* The scheduler on a clock of the test's: what goes into a step, and in which
 * order generations are let in. */
#include <string.h>
#include <time.h>

#include "base/limits.h"
#include "model/forward.h"
#include "sample/sample.h"
#include "util.h"

static const char *tiny_path;
static struct model *model;

static void open_bench(struct bench *b, uint64_t kv_pages, uint64_t ns)
{
    const struct sched_options options = {
        .kv_bytes_max = kv_pages * PAGE_BYTES_F16,
        .kv_type = KV_F16,
        .cache_off = true, // its prompts begin alike
    };
    bench_open(b, model, options, 2, ns);
}

static struct sched_gen *start_request(struct bench *b, size_t n_ids,
                                       const struct realm_request *request)
{
    static uint32_t ids[2000];
    for (size_t i = 0; i < n_ids; i++)
        ids[i] = 300 + (uint32_t)(i * 31 % 1000);
    struct sched_gen *g;
    assert_int_equal(sched_gen_open(&g, b->model, ids, n_ids, 0, request, 1, NULL), 0);
    return g;
}

static struct sched_gen *start(struct bench *b, size_t n_ids, uint32_t max_tokens)
{
    struct realm_request request = bench_request(max_tokens);
    return start_request(b, n_ids, &request);
}

/* The scheduler is held at its first token until the gate is opened. */
static struct sched_gen *start_held(struct bench *b, struct gate *gate, size_t n_ids,
                                    uint32_t max_tokens)
{
    struct realm_request request = bench_request(max_tokens);
    *gate = (struct gate){.calls = 1};
    gate_hold(&request, gate);
    struct sched_gen *g = start_request(b, n_ids, &request);
    gate_await(gate);
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
    struct sched_stats s = bench_stats(&b);
    assert_int_equal(s.prompt_rows, 1000);
    assert_in_range(s.steps, 3, 9); // 8 rows, 16, 32 and so on
    assert_int_equal(s.decode_rows, 0);
    bench_close(&b);
}

static void answers_go_on_while_a_prompt_is_read(void **state)
{
    (void)state;
    struct bench b;
    struct gate gate;
    open_bench(&b, 200, 10 * 1000000u);
    struct sched_gen *first = start_held(&b, &gate, 5, 300);
    uint64_t decoded = bench_stats(&b).decode_rows;
    struct sched_gen *second = start(&b, 900, 1);
    gate_let_go(&gate);
    struct realm_usage usage = finish(second);
    struct sched_stats s = bench_stats(&b);
    /* The second's prompt took many steps, and the first was in most of them. */
    assert_int_equal(usage.completion_tokens, 1);
    assert_true(s.decode_rows - decoded > 5);
    usage = finish(first);
    assert_int_equal(usage.completion_tokens, 300);
    s = bench_stats(&b);
    assert_int_equal(s.prompt_rows, 905);
    assert_int_equal(s.decode_rows, 299);
    assert_int_equal(s.prompt_tokens, 905);
    assert_int_equal(s.completion_tokens, 301);
    bench_close(&b);
}

static uint64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* It is looked for, whether it comes or not, and then the thread sleeps again. */
static void what_is_expected_is_looked_for_for_a_moment(void **state)
{
    (void)state;
    struct bench b;
    open_bench(&b, 200, 0);
    for (int i = 0; i < 20; i++) {
        sched_expect(b.sched);
        if (i % 2)
            nanosleep(&(struct timespec){0, 1000000}, NULL);
        finish(start(&b, 5, 2));
    }
    sched_expect(b.sched);
    nanosleep(&(struct timespec){0, 20000000}, NULL);
    uint64_t before = cpu_ns();
    nanosleep(&(struct timespec){0, 200000000}, NULL);
    assert_true(cpu_ns() - before < 20000000u);
    bench_close(&b);
}

static void first_come_first_served(void **state)
{
    (void)state;
    struct bench b;
    struct gate gate;
    open_bench(&b, 10, 1000);
    struct sched_gen *gens[4] = {
        start_held(&b, &gate, 100, 30),
        start(&b, 140, 8), // does not fit beside the first
        start(&b, 10, 4),  // would, but came later
        start(&b, 10, 4),
    };
    gate_let_go(&gate);
    struct realm_usage u[4];
    for (unsigned i = 0; i < 4; i++)
        u[i] = finish(gens[i]);
    assert_true(u[1].queued_ns > u[0].prefill_ns + u[0].decode_ns / 2);
    assert_true(u[2].queued_ns + 10000 > u[1].queued_ns);
    assert_int_equal(bench_stats(&b).kv_pages, 0);
    bench_close(&b);
}

static void the_oldest_is_never_preempted(void **state)
{
    (void)state;
    struct bench b;
    open_bench(&b, 12, 1000);
    struct gate gate;
    struct sched_gen *gens[5];
    for (unsigned i = 0; i < 5; i++) // 11 pages each in the end
        gens[i] = i ? start(&b, 20, 150) : start_held(&b, &gate, 20, 150);
    gate_let_go(&gate);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(finish(gens[i]).completion_tokens, 150);
    struct sched_stats s = bench_stats(&b);
    assert_true(s.preempted >= 4);
    assert_int_equal(s.completion_tokens, 5 * 150);
    /* What was drawn is not drawn again: rows computed twice count as prompts. */
    assert_int_equal(s.decode_rows + s.prompt_rows > 5 * (20 + 149), 1);
    assert_int_equal(s.finished, 5);
    bench_close(&b);
}

static void shutdown_ends_all_and_refuses_more(void **state)
{
    (void)state;
    struct bench b;
    struct realm_event e;
    struct gate gate;
    open_bench(&b, 100, 1000);
    struct sched_gen *g = start_held(&b, &gate, 10, 500);
    sched_shutdown(b.sched);
    gate_let_go(&gate);
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
    bench_close(&b);
}

static void scratch_is_what_was_said(void **state)
{
    (void)state;
    for (unsigned threads = 1; threads <= 16; threads *= 4) {
        uint64_t said = sched_model_bytes(&model->config, threads);
        uint64_t drawing = threads * sample_scratch_bytes(model->config.vocab);
        assert_in_range(bench_scratch(model, threads) + drawing, said * 3 / 4, said);
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
        cmocka_unit_test(what_is_expected_is_looked_for_for_a_moment),
        cmocka_unit_test(first_come_first_served),
        cmocka_unit_test(the_oldest_is_never_preempted),
        cmocka_unit_test(scratch_is_what_was_said),
        cmocka_unit_test(shutdown_ends_all_and_refuses_more),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    model_close(model);
    return failed;
}
