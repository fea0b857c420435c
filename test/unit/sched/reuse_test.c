/* The scheduler with its cache of pages: what comes of a generation does not depend on what
 * was there, and nobody finds what another tenant left.  Pages are handed out full of NaN, and
 * counted anew after each step. */
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "util.h"

enum {
    PROMPTS = 24,
    PROMPT_MAX = 96,
    ANSWER = ANSWER_MAX,
    SHORT = 6,
    REQUESTS = 10000,
    AT_ONCE = 40,
    TENANTS = 5,
};

static struct model *model;

static void open_bench(struct bench *b, enum kv_type type, uint64_t pages, bool cache_off,
                       uint64_t ns)
{
    const struct sched_options options = {
        .kv_bytes_max = pages * bench_page_bytes(model, type),
        .kv_type = type,
        .cache_off = cache_off,
        .poison = true,
        .audit = true,
        .hash_mask = 255,
    };
    bench_open(b, model, options, 2, ns);
}

/* ---- many tenants ---- */

struct prompt {
    uint32_t ids[PROMPT_MAX + ANSWER]; /* and what is answered */
    uint32_t n;
    struct answer want;
};

static struct prompt prompts[PROMPTS];

/* Texts that have much in common: each takes the beginning of an earlier one. */
static void make_prompts(void)
{
    for (uint32_t i = 0; i < PROMPTS; i++) {
        uint32_t r[4];
        rng_philox(5, 1, i, r);
        struct prompt *p = &prompts[i], *from = &prompts[i ? r[0] % i : 0];
        p->n = 20 + r[1] % (PROMPT_MAX - 20);
        uint32_t same = i ? r[2] % (from->n + 1) : 0;
        for (uint32_t j = 0; j < p->n; j++) {
            rng_philox(5, 2 + i, j, r);
            p->ids[j] = j < same ? from->ids[j] : 300 + r[0] % 1000;
        }
    }
}

/* Alone, in a scheduler that has no cache. */
static void make_references(enum kv_type type)
{
    struct bench b;
    open_bench(&b, type, 100, true, 0);
    for (uint32_t i = 0; i < PROMPTS; i++) {
        struct prompt *p = &prompts[i];
        bench_read(bench_start(&b, NULL, p->ids, p->n, 0, ANSWER), &p->want);
        assert_int_equal(p->want.n, ANSWER);
        assert_int_equal(p->want.usage.cached_tokens, 0);
        memcpy(p->ids + p->n, p->want.tokens, sizeof(p->want.tokens));
    }
    bench_close(&b);
}

static uint32_t alike(const struct prompt *a, const struct prompt *b)
{
    uint32_t most = a->n - 1 < b->n + ANSWER ? a->n - 1 : b->n + ANSWER, same = 0;
    while (same < most && a->ids[same] == b->ids[same])
        same++;
    return same;
}

/* What a tenant may find at most: the longest beginning in common with what it sent itself. */
static uint32_t own_before(const bool *sent, uint32_t prompt)
{
    uint32_t most = 0;
    for (uint32_t i = 0; i < PROMPTS; i++)
        if (sent[i] && alike(&prompts[prompt], &prompts[i]) > most)
            most = alike(&prompts[prompt], &prompts[i]);
    return most;
}

static void run_many(enum kv_type type, uint64_t pages, uint32_t requests, uint32_t max_tokens)
{
    static const char *const tenants[TENANTS] = {"a", "b", "c", "d", "aa"};
    bool sent[TENANTS][PROMPTS] = {{false}};
    struct bench b;
    uint64_t cached = 0;
    open_bench(&b, type, pages, false, 0);
    for (uint32_t done = 0; done + AT_ONCE <= requests; done += AT_ONCE) {
        struct sched_gen *gens[AT_ONCE];
        uint32_t of[AT_ONCE], whose[AT_ONCE];
        for (uint32_t i = 0; i < AT_ONCE; i++) {
            uint32_t r[4];
            rng_philox(6, pages, done + i, r);
            of[i] = r[0] % PROMPTS;
            /* Tenants come one after the other, so that each is new once. */
            whose[i] = r[1] % (1 + done * TENANTS / requests);
            sent[whose[i]][of[i]] = true;
            gens[i] = bench_start(&b, tenants[whose[i]], prompts[of[i]].ids, prompts[of[i]].n, 0,
                                  max_tokens);
        }
        for (uint32_t i = 0; i < AT_ONCE; i++) {
            struct answer a;
            const struct answer *want = &prompts[of[i]].want;
            bench_read(gens[i], &a);
            assert_int_equal(a.n, max_tokens);
            assert_memory_equal(a.tokens, want->tokens, a.n * sizeof(*a.tokens));
            assert_memory_equal(a.logprobs, want->logprobs, a.n * sizeof(*a.logprobs));
            assert_true(a.usage.cached_tokens <= own_before(sent[whose[i]], of[i]));
            cached += a.usage.cached_tokens;
        }
    }
    struct sched_stats s = bench_stats(&b);
    assert_int_equal(s.cached_tokens, cached);
    assert_true(cached > requests);
    assert_int_equal(s.kv_pages, 0);
    assert_true(pages > 40 || s.preempted > 0);
    bench_close(&b);
}

/* I04: pages that come from others are full of NaN. */
static void answers_do_not_depend_on_what_was_there(void **state)
{
    (void)state;
    static const enum kv_type types[KV_TYPES] = {KV_F16, KV_F32, KV_BF16, KV_Q8_0};
    make_prompts();
    for (unsigned i = 0; i < KV_TYPES; i++) {
        make_references(types[i]);
        run_many(types[i], 400, i ? REQUESTS / 10 : REQUESTS, SHORT);
        run_many(types[i], 24, REQUESTS / 60, ANSWER); // in little room: evictions and preemptions
    }
}

/* ---- one prompt many times at once ---- */

enum { LONG = 900 };
static uint32_t long_ids[LONG];

static void equal_prompts_that_come_together_are_computed_once(void **state)
{
    (void)state;
    enum { N = 8 };
    struct bench b;
    struct answer a[N], other;
    open_bench(&b, KV_F16, 1000, false, 10 * 1000000u);
    struct sched_gen *gens[N];
    for (unsigned i = 0; i < N; i++)
        gens[i] = bench_start(&b, "a", long_ids, LONG, 0, ANSWER);
    for (unsigned i = 0; i < N; i++) {
        bench_read(gens[i], &a[i]);
        assert_memory_equal(a[i].tokens, a[0].tokens, sizeof(a[0].tokens));
        assert_int_equal(a[i].usage.cached_tokens >= (i ? LONG / 16 * 16 : 0), true);
    }
    assert_in_range(bench_stats(&b).prompt_rows, LONG, LONG + (N - 1) * (LONG % 16));
    bench_read(bench_start(&b, "a", long_ids, LONG, 0, ANSWER), &other);
    assert_int_equal(other.usage.cached_tokens, LONG - 1);
    uint64_t rows = bench_stats(&b).prompt_rows;
    bench_read(bench_start(&b, "b", long_ids, LONG, 0, ANSWER), &other);
    assert_int_equal(other.usage.cached_tokens, 0);
    assert_int_equal(bench_stats(&b).prompt_rows, rows + LONG);
    assert_memory_equal(other.tokens, a[0].tokens, sizeof(other.tokens));
    bench_close(&b);
}

/* Whoever waits for a beginning holds up nobody, and goes on when the other one leaves. */
static void waiting_for_another_ends_with_it(void **state)
{
    (void)state;
    struct bench b;
    struct answer second, third;
    const struct sched_options options = {
        .kv_bytes_max = 1000 * PAGE_BYTES_F16,
        .kv_type = KV_F16,
        .manual = true,
    };
    bench_open(&b, model, options, 2, 20 * 1000000u);
    struct sched_gen *first = bench_start(&b, "a", long_ids, LONG, 0, ANSWER);
    struct sched_gen *same = bench_start(&b, "a", long_ids, LONG, 0, ANSWER);
    struct sched_gen *own = bench_start(&b, "a", prompts[0].ids, prompts[0].n, 0, ANSWER);
    struct sched_stats s;
    do {
        assert_true(sched_turn(b.sched));
        s = bench_stats(&b);
    } while (s.running < 2);
    assert_int_equal(s.waiting, 1);
    assert_true(s.prompt_rows < LONG / 16 * 16); // it is not the one that waits which runs
    sched_gen_cancel(first);
    (void)sched_turn(b.sched);
    sched_gen_close(first);
    bench_run(&b);
    bench_read(same, &second);
    bench_read(own, &third);
    assert_int_equal(third.usage.cached_tokens, 0);
    assert_true(second.usage.cached_tokens < LONG);
    bench_close(&b);
}

/* I03: the same prompt for tenants who say how much of it is public. */
static void the_declared_beginning_alone_crosses(void **state)
{
    (void)state;
    struct bench b;
    struct answer a, want;
    open_bench(&b, KV_F16, 1000, false, 0);
    bench_read(bench_start(&b, "a", long_ids, LONG, 70, ANSWER), &want);
    assert_int_equal(want.usage.cached_tokens, 0);
    static const struct {
        const char *tenant;
        size_t n_public;
        uint32_t cached;
    } cases[] = {
        {"b", 0, 0},         {"c", 15, 0},
        {"d", 16, 16},       {"e", 33, 32},
        {"f", 70, 64},       {"g", LONG, 64},
        {"b", 70, 64},       {"b", 0, LONG - 1},
        {"a", 70, LONG - 1}, {"h", LONG, LONG / 16 * 16},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        bench_read(bench_start(&b, cases[i].tenant, long_ids, LONG, cases[i].n_public, ANSWER), &a);
        assert_int_equal(a.usage.cached_tokens, cases[i].cached);
        assert_memory_equal(a.tokens, want.tokens, sizeof(a.tokens));
        assert_memory_equal(a.logprobs, want.logprobs, sizeof(a.logprobs));
    }
    bench_close(&b);
}

/* ---- what the order tells ---- */

enum { IN_ORDER = 6 };

/* Runs two tenants' generations on a scheduler that lets two in at a time, after `before` has had
 * the same prompts or (alike false) others as long; in which order they end, in which steps. */
static void note_order(const char *before, bool alike, uint64_t order[IN_ORDER])
{
    uint32_t ids[LONG];
    for (uint32_t i = 0; i < LONG; i++)
        ids[i] = alike ? long_ids[i] : long_ids[LONG - 1 - i];
    const struct realm_wait at_once = {.deadline_ns = 1};
    const struct sched_options options = {
        .kv_bytes_max = 200 * PAGE_BYTES_F16,
        .kv_type = KV_F16,
        .running_max = 2,
        .manual = true,
    };
    struct bench b;
    struct realm_event e;
    struct sched_gen *gens[IN_ORDER];
    bench_open(&b, model, options, 2, 10 * 1000000u);
    for (uint32_t i = 0; i < IN_ORDER; i++) {
        struct sched_gen *g = bench_start(&b, before, ids + i, LONG - 40 * i, 0, 2);
        bench_run(&b);
        struct answer a;
        bench_read(g, &a);
    }
    const uint64_t first = bench_stats(&b).steps;
    for (uint32_t i = 0; i < IN_ORDER; i++)
        gens[i] = bench_start(&b, i % 3 ? "a" : "b", long_ids + i, LONG - 40 * i, 0, 4);
    for (uint32_t ended = 0; ended < IN_ORDER;) {
        (void)sched_turn(b.sched);
        for (uint32_t i = 0; i < IN_ORDER; i++) {
            while (gens[i] && sched_gen_next(gens[i], &e, &at_once) == 0) {
                if (e.kind != REALM_EVENT_END)
                    continue;
                order[ended++] = (bench_stats(&b).steps - first) * IN_ORDER + i;
                sched_gen_close(gens[i]);
                gens[i] = NULL;
            }
        }
    }
    bench_close(&b);
}

/* I11: who goes first depends on nobody else's pages; on one's own it does, or this would see
 * nothing. */
static void the_order_tells_nothing_of_others_pages(void **state)
{
    (void)state;
    uint64_t cold[IN_ORDER], others[IN_ORDER], own[IN_ORDER];
    note_order("c", false, cold);
    note_order("c", true, others);
    note_order("a", true, own);
    assert_memory_equal(cold, others, sizeof(cold));
    assert_memory_not_equal(cold, own, sizeof(cold));
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return 2;
    struct gguf_file *file;
    if (gguf_file_open(&file, io_system(), argv[1], 0, NULL) ||
        model_load(&model, file, &(struct model_load_options){0}, NULL))
        return 2;
    gguf_file_close(file);
    for (uint32_t i = 0; i < LONG; i++)
        long_ids[i] = 300 + i * 31 % 1000;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_do_not_depend_on_what_was_there),
        cmocka_unit_test(equal_prompts_that_come_together_are_computed_once),
        cmocka_unit_test(waiting_for_another_ends_with_it),
        cmocka_unit_test(the_declared_beginning_alone_crosses),
        cmocka_unit_test(the_order_tells_nothing_of_others_pages),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    model_close(model);
    return failed;
}
