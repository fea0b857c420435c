/* Generations on the tiny model: what they yield, and how they end. */
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "util.h"

static const char *const PROMPTS[] = {
    "The capital of France is",
    "Once upon a time",
    "2 + 3 =",
    "Tom and Ella went to the",
    "What is the capital of Japan?",
    "A",
    "The sun was warm. The sky was blue. Lily said:",
    "One day a small boat sailed far away over the sea, and nobody knew where it went",
};
enum { PROMPTS_N = sizeof(PROMPTS) / sizeof(PROMPTS[0]) };

/* The i-th of many different requests. */
static struct realm_request varied(unsigned i)
{
    struct realm_request request = request_for(PROMPTS[i % PROMPTS_N], 20 + 3 * (i % 11));
    request.sampling.temperature = i % 3 ? 0.9f : 0;
    request.sampling.top_k = i % 4 ? 0 : 20;
    request.sampling.top_p = i % 5 ? 1 : 0.8f;
    request.sampling.repetition_penalty = i % 2 ? 1 : 1.2f;
    request.sampling.has_seed = true;
    request.sampling.seed = i;
    request.logprobs = true;
    request.top_logprobs = i % 7;
    return request;
}

/* I06: alone and in a batch. */
static void an_answer_is_the_same_alone_and_among_others(void **state)
{
    (void)state;
    enum { N = 32 };
    static struct answer alone[N], among[N];
    for (uint32_t threads = 1; threads <= 2; threads++) {
        struct realm *r = open_engine(&(struct realm_options){.threads = threads});
        struct realm_model *m = open_tiny(r);
        struct realm_gen *gens[N];
        struct gate gate = {0};
        for (unsigned i = 0; i < N && threads == 1; i++) {
            struct realm_request request = varied(i);
            ask(m, &request, &alone[i]);
            assert_int_equal(alone[i].status, 0);
            assert_int_equal(alone[i].n, request.sampling.max_tokens);
        }
        for (unsigned i = 0; i < N; i++) {
            struct realm_request request = varied(i);
            if (i == 0)
                gate_hold(&request, &gate);
            assert_int_equal(realm_gen_start(&gens[i], m, &request, NULL), 0);
        }
        gate_let_go(&gate);
        for (unsigned i = 0; i < N; i++) {
            read_answer(gens[i], &among[i]);
            assert_same_answer(&alone[i], &among[i]);
        }
        struct realm_stats s = stats_of(r);
        assert_true(s.decode_batch_max >= N / 2);
        assert_int_equal(s.finished, threads == 1 ? 2 * N : N);
        assert_int_equal(s.kv_pages, 0);
        assert_int_equal(s.running + s.waiting, 0);
        realm_model_close(m);
        realm_close(r);
    }
}

/* I06: answers that gave way. */
static void preempted_answers_are_the_same(void **state)
{
    (void)state;
    enum { N = 6 };
    static struct answer want[N], got[N];
    struct realm *r = open_engine(NULL);
    struct realm_model *m = open_tiny(r);
    struct realm_gen *gens[N];
    struct gate gate = {0};
    for (unsigned i = 0; i < N; i++) {
        struct realm_request request = varied(i);
        request.sampling.max_tokens = 90;
        ask(m, &request, &want[i]);
    }
    uint64_t page = stats_of(r).kv_bytes;
    assert_true(page > 0);
    realm_model_close(m);
    realm_close(r);

    /* A page of the tiny model: 5 layers, 2 heads of 64, keys and values in f16. */
    page = 5 * 2 * 2 * 64 * 16 * 2;
    r = open_engine(&(struct realm_options){.kv_bytes_max = 12 * page});
    m = open_tiny(r);
    for (unsigned i = 0; i < N; i++) {
        struct realm_request request = varied(i);
        request.sampling.max_tokens = 90;
        if (i == 0)
            gate_hold(&request, &gate);
        assert_int_equal(realm_gen_start(&gens[i], m, &request, NULL), 0);
    }
    gate_let_go(&gate);
    for (unsigned i = 0; i < N; i++) {
        read_answer(gens[i], &got[i]);
        assert_same_answer(&want[i], &got[i]);
    }
    assert_true(stats_of(r).preempted > 0);
    assert_int_equal(stats_of(r).kv_pages, 0);
    assert_true(stats_of(r).kv_bytes <= 12 * page);

    /* What can never fit is refused at once, with both numbers. */
    struct realm_error err;
    struct realm_request request = request_for(PROMPTS[0], 500);
    assert_int_equal(realm_gen_start(&gens[0], m, &request, &err), REALM_E_NO_ROOM);
    assert_null(gens[0]);
    assert_non_null(strstr(err.message, "192"));
    /* An answer without a limit of its own is as long as there is room. */
    request.sampling.max_tokens = 0;
    ask(m, &request, &got[0]);
    assert_int_equal(got[0].finish, REALM_FINISH_LENGTH);
    assert_int_equal(got[0].usage.prompt_tokens + got[0].n, 193);
    realm_model_close(m);
    realm_close(r);
}

static void an_answer_ends_where_it_should(void **state)
{
    (void)state;
    static struct answer whole, cut;
    struct realm *r = open_engine(NULL);
    struct realm_model *m = open_tiny(r);
    struct realm_request request = request_for(PROMPTS[1], 40);
    ask(m, &request, &whole);
    assert_int_equal(whole.finish, REALM_FINISH_LENGTH);
    assert_int_equal(whole.n, 40);
    assert_int_equal(whole.usage.completion_tokens, 40);

    uint32_t stop_id = whole.tokens[7];
    size_t first = 0;
    while (whole.tokens[first] != stop_id)
        first++;
    request.stop_ids = &stop_id;
    request.n_stop_ids = 1;
    ask(m, &request, &cut);
    assert_int_equal(cut.finish, REALM_FINISH_STOP);
    assert_int_equal(cut.n, first);
    assert_int_equal(cut.usage.completion_tokens, first + 1);
    assert_memory_equal(cut.text, whole.text, cut.text_bytes);

    request.n_stop_ids = 0;
    for (size_t at = 1; at + 9 < whole.text_bytes; at += 5) {
        char stop[2][10] = {{0}, "\x01"};
        memcpy(stop[0], whole.text + at, 9);
        request.stop = (const char *const[]){stop[1], stop[0]};
        request.n_stop = 2;
        ask(m, &request, &cut);
        assert_int_equal(cut.finish, REALM_FINISH_STOP);
        assert_int_equal(cut.text_bytes, strstr(whole.text, stop[0]) - whole.text);
        assert_memory_equal(cut.text, whole.text, cut.text_bytes);
    }
    /* One that never comes changes nothing, not even what is held at the end. */
    char never[3] = {whole.text[whole.text_bytes - 1], 1, 0};
    request.stop = (const char *const[]){never};
    request.n_stop = 1;
    ask(m, &request, &cut);
    assert_same_answer(&whole, &cut);
    realm_model_close(m);
    realm_close(r);
}

static void seeds_repeat(void **state)
{
    (void)state;
    static struct answer a, b, c;
    struct realm *r = open_engine(NULL);
    struct realm_model *m = open_tiny(r);
    struct realm_request request = request_for(PROMPTS[1], 30);
    request.sampling.temperature = 1.5f;
    ask(m, &request, &a);
    ask(m, &request, &c);
    assert_true(a.seed != c.seed);
    assert_memory_not_equal(a.tokens, c.tokens, 30 * sizeof(uint32_t));
    request.sampling.has_seed = true;
    request.sampling.seed = a.seed;
    ask(m, &request, &b);
    assert_same_answer(&a, &b);
    realm_model_close(m);
    realm_close(r);
}

static void bad_requests_are_refused(void **state)
{
    (void)state;
    struct realm *r = open_engine(NULL);
    struct realm_model *m = open_tiny(r);
    struct realm_gen *g;
    struct realm_error err;
    uint32_t id = 1 << 30;
    char long_stop[STOP_BYTES_MAX + 2];
    memset(long_stop, 'x', sizeof(long_stop) - 1);
    long_stop[sizeof(long_stop) - 1] = '\0';
    const char *stops[STOP_MAX + 1];
    for (size_t i = 0; i <= STOP_MAX; i++)
        stops[i] = "x";
    static const uint32_t many[256];

    const struct {
        struct realm_request set;
        int status;
        const char *names;
    } cases[] = {
        {{.text = ""}, REALM_E_ARG, "empty"},
        {{.ids = &id, .n_ids = 1}, REALM_E_ARG, "1073741824"},
        {{.text = "\xff", .text_bytes = 1}, REALM_E_UTF8, "prompt"},
        {{.text = "a", .text_bytes = PROMPT_BYTES_MAX + 1}, REALM_E_ARG, "4194304"},
        {{.stop_ids = &id, .n_stop_ids = 1}, REALM_E_ARG, "stop_ids"},
        {{.stop_ids = many, .n_stop_ids = 256}, REALM_E_ARG, "255"},
        {{.stop = stops, .n_stop = STOP_MAX + 1}, REALM_E_ARG, "16"},
        {{.stop = (const char *const[]){""}, .n_stop = 1}, REALM_E_ARG, "stop"},
        {{.stop = (const char *const[]){long_stop}, .n_stop = 1}, REALM_E_ARG, "256"},
        {{.top_logprobs = TOP_LOGPROBS_MAX + 1}, REALM_E_ARG, "top_logprobs"},
        {{.sampling = {.temperature = NAN}}, REALM_E_ARG, "temperature"},
        {{.sampling = {.top_p = 1.5f}}, REALM_E_ARG, "top_p"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct realm_request request = cases[i].set;
        struct realm_sampling wanted = request.sampling;
        if (!request.text && !request.ids) {
            request.text = "a";
            request.text_bytes = 1;
        }
        realm_sampling_init(&request.sampling, REALM_DOOR_CLI);
        if (!(wanted.temperature == 0))
            request.sampling.temperature = wanted.temperature;
        if (wanted.top_p > 0)
            request.sampling.top_p = wanted.top_p;
        assert_int_equal(realm_gen_start(&g, m, &request, &err), cases[i].status);
        assert_null(g);
        assert_non_null(strstr(err.message, cases[i].names));
    }
    assert_int_equal(stats_of(r).started, 0);
    assert_int_equal(stats_of(r).leases, 1);
    realm_model_close(m);
    realm_close(r);
}

static void the_context_is_a_limit(void **state)
{
    (void)state;
    static uint32_t ids[1 << 16];
    static struct answer a;
    struct realm *r = open_engine(NULL);
    struct realm_model *m = open_tiny(r);
    struct realm_model_info info;
    struct realm_error err;
    struct realm_gen *g;
    realm_model_info(m, &info);
    assert_true(info.context_tokens < sizeof(ids) / sizeof(ids[0]));
    long_ids(m, ids, info.context_tokens + 1);
    struct realm_request request = request_for(NULL, 0);
    request.ids = ids;
    for (uint32_t over = 0; over < 2; over++) {
        char number[16];
        request.n_ids = info.context_tokens + over;
        snprintf(number, sizeof(number), "%zu", request.n_ids);
        assert_int_equal(realm_gen_start(&g, m, &request, &err), REALM_E_CONTEXT);
        assert_non_null(strstr(err.message, number));
    }
    request.n_ids = info.context_tokens - 3;
    request.sampling.max_tokens = 1000;
    ask(m, &request, &a);
    assert_int_equal(a.status, 0);
    assert_int_equal(a.n, 3);
    assert_int_equal(a.finish, REALM_FINISH_LENGTH);
    realm_model_close(m);
    realm_close(r);
}

/* What cannot fit is refused from its length: it takes no memory to read it. */
static void a_text_far_too_long_is_not_read(void **state)
{
    (void)state;
    struct realm *r = open_engine(NULL);
    struct realm_model *m = open_tiny(r);
    struct realm_error err;
    struct realm_gen *g;
    size_t n = 4 * MiB;
    char *text = malloc(n);
    assert_non_null(text);
    memset(text, 'a', n);
    struct realm_request request = request_for(NULL, 0);
    request.text = text;
    request.text_bytes = n;
    mem_fail_at(3, 1); /* the generation and its lease, and no more */
    int status = realm_gen_start(&g, m, &request, &err);
    mem_fail_at(0, 0);
    assert_int_equal(status, REALM_E_CONTEXT);
    assert_non_null(strstr(err.message, "1024"));
    free(text);
    realm_model_close(m);
    realm_close(r);
}

/* Reads until n tokens have come. */
static void read_tokens(struct realm_gen *g, unsigned n)
{
    struct realm_event e;
    for (unsigned i = 0; i < n; i++) {
        assert_int_equal(realm_gen_next(g, &e, NULL), 0);
        assert_int_equal(e.kind, REALM_EVENT_TOKEN);
    }
}

static void expect_cancelled(struct realm_gen *g, uint32_t least, uint32_t most)
{
    struct realm_event e;
    do {
        assert_int_equal(realm_gen_next(g, &e, NULL), 0);
    } while (e.kind == REALM_EVENT_TOKEN);
    assert_int_equal(e.status, REALM_E_CANCELLED);
    assert_int_equal(e.finish, REALM_FINISH_ERROR);
    assert_in_range(e.usage.completion_tokens, least, most);
    assert_int_equal(realm_gen_next(g, &e, NULL), 0);
    assert_int_equal(e.kind, REALM_EVENT_END);
    realm_gen_close(g);
}

/* An engine whose pages one generation takes, so that others must wait. */
static struct realm *open_narrow(void)
{
    return open_engine(&(struct realm_options){.kv_bytes_max = 40 * 5 * 2 * 2 * 64 * 16 * 2,
                                               .bytes_max = 1 << 30});
}

/* gate: NULL, or where the engine is held once the hog has its room. */
static struct realm_gen *start_hog(struct realm_model *m, struct gate *gate)
{
    static uint32_t ids[630];
    long_ids(m, ids, 630); // 40 pages with its first answers
    struct realm_request request = request_for(NULL, 10);
    request.ids = ids;
    request.n_ids = 630;
    struct realm_gen *g;
    if (gate)
        gate_hold(&request, gate);
    assert_int_equal(realm_gen_start(&g, m, &request, NULL), 0);
    if (gate)
        gate_await(gate);
    return g;
}

static void cancel_gives_pages_back(void **state)
{
    (void)state;
    struct realm *r = open_engine(NULL);
    struct realm_model *m = open_tiny(r);
    static uint32_t ids[900];
    struct realm_gen *g;
    struct gate gate = {.calls = 3};
    struct realm_request request = request_for(PROMPTS[1], 400);
    gate_hold(&request, &gate);
    assert_int_equal(realm_gen_start(&g, m, &request, NULL), 0);
    read_tokens(g, 3);
    realm_gen_cancel(g); // while it decodes
    gate_let_go(&gate);
    expect_cancelled(g, 3, 400);
    assert_int_equal(stats_of(r).kv_pages, 0);

    long_ids(m, ids, 900);
    request.ids = ids;
    request.n_ids = 900;
    gate = (struct gate){0};
    uint64_t rows = stats_of(r).prompt_rows;
    assert_int_equal(realm_gen_start(&g, m, &request, NULL), 0);
    while (stats_of(r).prompt_rows == rows)
        ;
    realm_gen_cancel(g); // in its prompt, or at its first token
    gate_let_go(&gate);
    expect_cancelled(g, 0, 400);
    assert_int_equal(stats_of(r).kv_pages, 0);

    /* At once and unread; a try in which the machine answered all of it first is none. */
    for (uint64_t tries = 1; stats_of(r).cancelled == 2; tries++) {
        assert_true(tries < 1000);
        assert_int_equal(realm_gen_start(&g, m, &request, NULL), 0);
        realm_gen_close(g);
        assert_int_equal(stats_of(r).finished + stats_of(r).cancelled, 2 + tries);
    }
    struct realm_stats s = stats_of(r);
    assert_int_equal(s.kv_pages, 0);
    assert_int_equal(s.cancelled, 3);
    assert_int_equal(s.running + s.waiting, 0);
    realm_model_close(m);
    realm_close(r);
}

static void cancel_in_the_queue_leaves_others_alone(void **state)
{
    (void)state;
    static struct answer want, got;
    struct realm *r = open_narrow();
    struct realm_model *m = open_tiny(r);
    read_answer(start_hog(m, NULL), &want);
    assert_int_equal(want.n, 10);
    struct gate gate = {0};
    struct realm_gen *first = start_hog(m, &gate), *second = start_hog(m, NULL),
                     *third = start_hog(m, NULL);
    realm_gen_cancel(second);
    gate_let_go(&gate);
    expect_cancelled(second, 0, 0);
    read_answer(third, &got);
    assert_same_answer(&want, &got);
    read_answer(first, &got);
    assert_same_answer(&want, &got);
    assert_int_equal(stats_of(r).kv_pages, 0);
    realm_model_close(m);
    realm_close(r);
}

static bool always(void *ctx)
{
    (void)ctx;
    return true;
}

static void a_wait_ends_and_the_generation_goes_on(void **state)
{
    (void)state;
    static struct answer want, got;
    struct realm *r = open_narrow();
    struct realm_model *m = open_tiny(r);
    read_answer(start_hog(m, NULL), &want);
    struct gate gate = {0};
    struct realm_gen *first = start_hog(m, &gate), *second = start_hog(m, NULL);
    struct realm_event e;
    uint64_t now = clock_ns(clock_system());
    assert_int_equal(realm_gen_next(second, &e, &(struct realm_wait){.deadline_ns = now}),
                     REALM_E_DEADLINE);
    assert_int_equal(realm_gen_next(second, &e, &(struct realm_wait){.cancelled = always}),
                     REALM_E_CANCELLED);
    gate_let_go(&gate);
    read_answer(second, &got);
    assert_same_answer(&want, &got);
    realm_gen_close(first);
    realm_model_close(m);
    realm_close(r);
}

static void *read_until_the_end(void *arg)
{
    struct realm_gen *g = arg;
    struct realm_event e;
    int status;
    do {
        status = realm_gen_next(g, &e, NULL);
    } while (status == 0 && e.kind == REALM_EVENT_TOKEN);
    realm_gen_close(g);
    return status == 0 && e.status == REALM_E_SHUTDOWN ? g : NULL;
}

struct opener {
    struct realm_model *model;
    struct gate *gate;
};

/* Lets the engine go on once it closes, which is when it takes nothing more. */
static void *let_go_when_closed(void *arg)
{
    static struct realm_gen *gens[QUEUE_REQUESTS_MAX];
    const struct opener *o = arg;
    struct realm_request request = request_for("A", 1);
    size_t n = 0;
    int status = 0;
    while (status != REALM_E_SHUTDOWN) {
        status = realm_gen_start(&gens[n], o->model, &request, NULL);
        n += status == 0;
        gate_nap();
    }
    gate_let_go(o->gate);
    while (n)
        realm_gen_close(gens[--n]);
    realm_model_close(o->model);
    return NULL;
}

static void closing_ends_what_runs(void **state)
{
    (void)state;
    enum { N = 8 };
    struct realm *r = open_narrow();
    struct gate gate = {.calls = 2};
    struct opener opener = {open_tiny(r), &gate};
    struct realm_request request = request_for(PROMPTS[3], 600);
    pthread_t threads[N], last;
    struct realm_gen *gens[N];
    for (unsigned i = 0; i < N; i++) {
        request.notify = i ? NULL : gate_notice;
        request.notify_ctx = &gate;
        assert_int_equal(realm_gen_start(&gens[i], opener.model, &request, NULL), 0);
    }
    read_tokens(gens[0], 2);
    for (unsigned i = 0; i < N; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_until_the_end, gens[i]), 0);
    assert_int_equal(pthread_create(&last, NULL, let_go_when_closed, &opener), 0);
    realm_close(r);
    assert_int_equal(pthread_join(last, NULL), 0);
    for (unsigned i = 0; i < N; i++) {
        void *ended;
        assert_int_equal(pthread_join(threads[i], &ended), 0);
        assert_non_null(ended);
    }
}

static void two_models_share_the_team(void **state)
{
    (void)state;
    static struct answer want, got;
    struct realm *r = open_engine(NULL);
    struct realm_model *m = open_tiny(r), *other;
    struct realm_request request = varied(7);
    ask(m, &request, &want);
    char copy[64];
    snprintf(copy, sizeof(copy), "/tmp/realm-second-%d.gguf", (int)getpid());
    copy_tiny(copy);
    int status = realm_model_open(&other, r, copy, NULL, NULL);
    remove(copy);
    assert_int_equal(status, 0);
    assert_int_equal(stats_of(r).models, 2);
    struct realm_gen *gens[2];
    assert_int_equal(realm_gen_start(&gens[0], m, &request, NULL), 0);
    assert_int_equal(realm_gen_start(&gens[1], other, &request, NULL), 0);
    for (unsigned i = 0; i < 2; i++) {
        read_answer(gens[i], &got);
        assert_same_answer(&want, &got);
    }
    realm_model_close(m);
    realm_model_close(other);
    realm_close(r);
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return 2;
    tiny_path = argv[1];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_is_the_same_alone_and_among_others),
        cmocka_unit_test(preempted_answers_are_the_same),
        cmocka_unit_test(an_answer_ends_where_it_should),
        cmocka_unit_test(seeds_repeat),
        cmocka_unit_test(bad_requests_are_refused),
        cmocka_unit_test(the_context_is_a_limit),
        cmocka_unit_test(a_text_far_too_long_is_not_read),
        cmocka_unit_test(cancel_gives_pages_back),
        cmocka_unit_test(cancel_in_the_queue_leaves_others_alone),
        cmocka_unit_test(a_wait_ends_and_the_generation_goes_on),
        cmocka_unit_test(closing_ends_what_runs),
        cmocka_unit_test(two_models_share_the_team),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
