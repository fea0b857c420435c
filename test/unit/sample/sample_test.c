#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/rng.h"
#include "sample/sample.h"
#include "sample/top.h"

enum { SMALL = 6, LARGE = 131072 };

static const struct realm_sampling PLAIN = {.temperature = 1, .top_p = 1, .repetition_penalty = 1};

static struct sample_input input(const float *logits, size_t vocab, const struct realm_sampling *o)
{
    return (struct sample_input){.logits = logits, .vocab = vocab, .sampling = o, .seed = 7};
}

/* Draws at positions 0 to n - 1 and counts what came. */
static void count_draws(const struct sample_input *in, size_t n, size_t *counts)
{
    struct sample_scratch *s;
    assert_int_equal(sample_scratch_open(&s, in->vocab), 0);
    memset(counts, 0, in->vocab * sizeof(*counts));
    struct sample_input at = *in;
    for (at.position = 0; at.position < n; at.position++)
        counts[sample_draw(s, kernels_best(), &at)]++;
    sample_scratch_close(s);
}

/* Pearson's chi-square of counts against probabilities that sum to 1; a token of
 * probability 0 must not have been drawn. */
static double chi_square(const size_t *counts, const double *p, size_t vocab, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < vocab; i++) {
        double want = p[i] * (double)n, off = (double)counts[i] - want;
        if (p[i] == 0)
            assert_int_equal(counts[i], 0);
        else
            sum += off * off / want;
    }
    return sum;
}

/* p = logits' exp over t where keep says so, normalised: written from the definition. */
static void expected(const float *logits, const bool *keep, double t, double *p)
{
    double sum = 0;
    for (size_t i = 0; i < SMALL; i++)
        sum += p[i] = keep[i] ? exp((double)logits[i] / t) : 0;
    for (size_t i = 0; i < SMALL; i++)
        p[i] /= sum;
}

/* Probabilities at temperature 1: .4 .25 .15 .1 .06 .04, ids shuffled. */
static void small_logits(float *logits)
{
    static const double p[SMALL] = {0.1, 0.4, 0.04, 0.25, 0.15, 0.06};
    for (size_t i = 0; i < SMALL; i++)
        logits[i] = (float)log(p[i]) + 3;
}

/* 20000 draws; critical value of chi-square with 5 degrees at p = 0.0001 is 25.7. */
static void expect_draws(const struct realm_sampling *o, const bool *keep)
{
    float logits[SMALL];
    size_t counts[SMALL];
    double p[SMALL];
    small_logits(logits);
    struct sample_input in = input(logits, SMALL, o);
    count_draws(&in, 20000, counts);
    expected(logits, keep, (double)o->temperature, p);
    assert_true(chi_square(counts, p, SMALL, 20000) < 25.7);
}

static void draws_follow_the_candidates(void **state)
{
    (void)state;
    struct realm_sampling o = PLAIN;
    expect_draws(&o, (bool[]){1, 1, 1, 1, 1, 1});
    o.temperature = 0.5f;
    expect_draws(&o, (bool[]){1, 1, 1, 1, 1, 1});
    o.temperature = 3;
    expect_draws(&o, (bool[]){1, 1, 1, 1, 1, 1});
    o = PLAIN;
    o.top_k = 3;
    expect_draws(&o, (bool[]){0, 1, 0, 1, 1, 0});
    o = PLAIN;
    o.top_p = 0.7f; // .4 .65 .8: the one that crosses stays
    expect_draws(&o, (bool[]){0, 1, 0, 1, 1, 0});
    o.top_p = 0.39f;
    expect_draws(&o, (bool[]){0, 1, 0, 0, 0, 0});
    o = PLAIN;
    o.min_p = 0.2f; // at least 0.08
    expect_draws(&o, (bool[]){1, 1, 0, 1, 1, 0});
    o = PLAIN;
    o.top_k = 4; // .44 .28 .17 .11 of what is left
    o.top_p = 0.73f;
    expect_draws(&o, (bool[]){0, 1, 0, 1, 1, 0});
    o.min_p = 0.5f; // top_p before min_p
    o.temperature = 2;
    expect_draws(&o, (bool[]){0, 1, 0, 1, 0, 0});
}

static void temperature_comes_after_top_p(void **state)
{
    (void)state;
    /* At temperature 100 all six are alike; the nucleus was found before that. */
    struct realm_sampling o = PLAIN;
    o.temperature = 100;
    o.top_p = 0.5f;
    expect_draws(&o, (bool[]){0, 1, 0, 1, 0, 0});
}

static void greedy_takes_the_lowest_of_equals(void **state)
{
    (void)state;
    struct sample_scratch *s;
    assert_int_equal(sample_scratch_open(&s, SMALL), 0);
    struct realm_sampling o = PLAIN;
    o.temperature = 0;
    float logits[SMALL] = {-1, 5, 2, 5, 5, 0};
    struct sample_input in = input(logits, SMALL, &o);
    assert_int_equal(sample_draw(s, kernels_best(), &in), 1);
    o.temperature = 1;
    o.top_k = 1;
    assert_int_equal(sample_draw(s, kernels_best(), &in), 1);
    sample_scratch_close(s);
}

static uint32_t greedy(const float *logits, const struct realm_sampling *o, const uint32_t *history,
                       size_t n)
{
    struct sample_scratch *s;
    assert_int_equal(sample_scratch_open(&s, SMALL), 0);
    struct sample_input in = input(logits, SMALL, o);
    in.history = history;
    in.n_history = n;
    uint32_t token = sample_draw(s, kernels_best(), &in);
    sample_scratch_close(s);
    return token;
}

static void penalties_count_in_the_window(void **state)
{
    (void)state;
    struct realm_sampling o = PLAIN;
    o.temperature = 0;
    const float logits[SMALL] = {10, 9, 8, -1, -2, -20};
    uint32_t history[70] = {0};
    for (size_t i = 0; i < 70; i++)
        history[i] = 5;
    history[3] = 0; // outside of the last 64
    history[20] = 1;
    o.repetition_penalty = 10;
    assert_int_equal(greedy(logits, &o, history, 70), 0);
    history[69] = 0; // 10 / 10 and 9 / 10 against 8
    assert_int_equal(greedy(logits, &o, history, 70), 2);
    o = PLAIN;
    o.temperature = 0;
    o.frequency_penalty = 0.75f;
    history[68] = 0; // 10 - 2 * .75 = 8.5 > 9 - .75
    assert_int_equal(greedy(logits, &o, history, 70), 0);
    history[67] = 0; // 7.75 < 8.25
    assert_int_equal(greedy(logits, &o, history, 70), 1);
    o.frequency_penalty = 0;
    o.presence_penalty = 2; // 8 (lower id) against 7 and 8
    assert_int_equal(greedy(logits, &o, history, 70), 0);
    const float negative[SMALL] = {-1, -1.5f, -30, -30, -30, -30};
    o = PLAIN;
    o.temperature = 0;
    o.repetition_penalty = 2; // -1 * 2 < -1.5
    history[20] = 5;
    assert_int_equal(greedy(negative, &o, history, 70), 1);
}

static void extremes_stay_finite(void **state)
{
    (void)state;
    struct realm_sampling o = PLAIN;
    const float logits[SMALL] = {3e38f, 1, 0, -1, -3e38f, 0};
    const uint32_t history[] = {0, 4};
    o.repetition_penalty = 1e-38f;
    o.temperature = 1e-38f;
    assert_int_equal(greedy(logits, &o, history, 2), 0);
    o.repetition_penalty = 10;
    o.top_p = 0.5f;
    o.min_p = 0.9f;
    assert_int_equal(greedy(logits, &o, history, 2), 0);
}

static void a_draw_depends_on_seed_choice_and_position_alone(void **state)
{
    (void)state;
    float logits[SMALL] = {0};
    struct realm_sampling o = PLAIN;
    struct sample_scratch *s;
    assert_int_equal(sample_scratch_open(&s, SMALL), 0);
    uint32_t first[200], other[200];
    size_t same = 0;
    for (unsigned kind = 0; kind < 4; kind++) {
        for (uint32_t i = 0; i < 200; i++) {
            struct sample_input in = input(logits, SMALL, &o);
            in.seed = kind == 1 ? 8 : 7;
            in.choice = kind == 2;
            in.position = kind == 3 ? 199 - i : i; // the last time backwards
            uint32_t token = sample_draw(s, kernels_best(), &in);
            if (kind == 3)
                assert_int_equal(token, first[199 - i]);
            else
                (kind ? other : first)[i] = token;
        }
        for (unsigned i = 0; i < 200 && (kind == 1 || kind == 2); i++)
            same += first[i] == other[i];
    }
    assert_in_range(same, 30, 110); // of 400, a sixth by chance
    sample_scratch_close(s);
}

static void biases_come_before_all_else(void **state)
{
    (void)state;
    float logits[SMALL], before[SMALL];
    double p[SMALL];
    size_t counts[SMALL];
    struct realm_sampling o = PLAIN;
    small_logits(logits);
    memcpy(before, logits, sizeof(before));
    /* .1 .4 .04 .25 .15 .06, the second out, the third as likely as the first was; two
     * of one token add up. */
    const struct realm_logit_bias bias[] = {{1, -100}, {2, 1}, {2, (float)log(2.5) - 1}};
    struct sample_input in = input(logits, SMALL, &o);
    in.bias = bias;
    in.n_bias = 3;
    count_draws(&in, 20000, counts);
    const double want[SMALL] = {0.1, 0, 0.1, 0.25, 0.15, 0.06};
    for (size_t i = 0; i < SMALL; i++)
        p[i] = want[i] / 0.66;
    assert_true(chi_square(counts, p, SMALL, 20000) < 25.7);
    /* The likeliest two are chosen among the biased. */
    o.top_k = 2;
    count_draws(&in, 2000, counts);
    assert_int_equal(counts[3] + counts[4], 2000);
    /* A penalty halves what the bias made, (-1 + 4) / 2; before it, it would double what
     * was there and leave -2 + 4. */
    const float two[2] = {-1, 1.75f};
    const struct realm_logit_bias up = {0, 4};
    o = PLAIN;
    o.temperature = 0;
    o.repetition_penalty = 2;
    struct sample_scratch *s;
    assert_int_equal(sample_scratch_open(&s, SMALL), 0);
    in = input(two, 2, &o);
    in.history = (const uint32_t[]){0};
    in.bias = &up;
    in.n_bias = 1;
    assert_int_equal(sample_draw(s, kernels_best(), &in), 0);
    in.n_history = 1;
    assert_int_equal(sample_draw(s, kernels_best(), &in), 1);
    sample_scratch_close(s);
    assert_memory_equal(logits, before, sizeof(before));
}

static int by_likelihood(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    if (x->logit != y->logit)
        return x->logit > y->logit ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

static void selection_equals_sorting(void **state)
{
    (void)state;
    enum { N = 5000 };
    static float logits[N];
    static struct candidate sorted[N], top[N];
    for (unsigned kind = 0; kind < 4; kind++) {
        for (size_t i = 0; i < N; i++) {
            float x = (float)rng_unit(3, kind, i);
            logits[i] = kind == 0 ? x : kind == 1 ? floorf(x * 20) : (float)(kind == 2 ? i : N - i);
            sorted[i] = (struct candidate){logits[i], (uint32_t)i};
        }
        qsort(sorted, N, sizeof(*sorted), by_likelihood);
        for (size_t k = 1; k <= N; k = k * 3 + 1 > N && k < N ? N : k * 3 + 1) {
            top_select(top, k, logits, N);
            for (size_t i = 0; i < k; i++)
                assert_int_equal(top[i].id, sorted[i].id);
        }
    }
}

/* A nucleus that needs more than the first guess: 10 % of a flat large vocabulary. */
static void wide_nucleus_keeps_the_right_number(void **state)
{
    (void)state;
    float *logits = malloc(LARGE * sizeof(*logits));
    struct sample_scratch *s;
    assert_non_null(logits);
    assert_int_equal(sample_scratch_open(&s, LARGE), 0);
    for (size_t i = 0; i < LARGE; i++)
        logits[i] = 1;
    struct realm_sampling o = PLAIN;
    o.top_p = 0.1f;
    struct sample_input in = input(logits, LARGE, &o);
    uint32_t greatest = 0;
    for (in.position = 0; in.position < 80; in.position++) {
        uint32_t token = sample_draw(s, kernels_best(), &in);
        greatest = token > greatest ? token : greatest;
    }
    /* Equal ones are taken by id; 80 draws come close to the end. */
    assert_in_range(greatest, LARGE / 10 * 95 / 100, LARGE / 10 + 1);
    sample_scratch_close(s);
    free(logits);
}

/* The sets that large top_k and top_p leave, by sorting and adding; at temperature
 * 100 all of them are drawn about alike. */
static void large_selections_are_exact(void **state)
{
    (void)state;
    enum { N = 1400, DRAWS = 20000 };
    static float logits[N];
    static struct candidate sorted[N];
    static size_t counts[N];
    for (size_t i = 0; i < N; i++) {
        logits[i] = (float)(3 * rng_unit(5, 0, i) + 3 * rng_unit(5, 1, i));
        sorted[i] = (struct candidate){logits[i], (uint32_t)i};
    }
    qsort(sorted, N, sizeof(*sorted), by_likelihood);
    static const struct {
        uint32_t top_k;
        float top_p;
    } cases[] = {{1200, 1}, {0, 0.8f}, {1300, 0.7f}};
    for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
        size_t want = cases[c].top_k ? cases[c].top_k : N;
        double total = 0, sum = 0;
        for (size_t i = 0; i < want; i++)
            total += exp((double)sorted[i].logit);
        for (size_t i = 0; i < want && cases[c].top_p < 1; i++) {
            sum += exp((double)sorted[i].logit);
            if (sum >= (double)cases[c].top_p * total)
                want = i + 1;
        }
        struct realm_sampling o = PLAIN;
        o.temperature = 100;
        o.top_k = cases[c].top_k;
        o.top_p = cases[c].top_p;
        struct sample_input in = input(logits, N, &o);
        count_draws(&in, DRAWS, counts);
        for (size_t i = 0; i < N; i++)
            assert_true((counts[sorted[i].id] > 0) == (i < want));
    }
}

static void logprobs_are_those_before_the_chain(void **state)
{
    (void)state;
    float logits[SMALL];
    small_logits(logits);
    struct sample_scratch *s;
    struct realm_logprob top[SMALL];
    assert_int_equal(sample_scratch_open(&s, SMALL), 0);
    float p = sample_logprobs(s, kernels_best(), logits, SMALL, 4, top, SMALL);
    assert_true(fabs((double)p - log(0.15)) < 1e-6);
    static const uint32_t order[SMALL] = {1, 3, 4, 0, 5, 2};
    static const double want[SMALL] = {0.4, 0.25, 0.15, 0.1, 0.06, 0.04};
    for (size_t i = 0; i < SMALL; i++) {
        assert_int_equal(top[i].token, order[i]);
        assert_true(fabs((double)top[i].logprob - log(want[i])) < 1e-6);
    }
    p = sample_logprobs(s, kernels_best(), logits, SMALL, 1, NULL, 0);
    assert_true(fabs((double)p - log(0.4)) < 1e-6);
    sample_scratch_close(s);
}

static void scratch_survives_failing_allocations(void **state)
{
    (void)state;
    uint64_t before = mem_live();
    for (uint64_t n = 1; n <= 4; n++) {
        struct sample_scratch *s;
        mem_fail_at(n, 0);
        assert_int_equal(sample_scratch_open(&s, 100), REALM_E_NOMEM);
        mem_fail_at(0, 0);
        assert_null(s);
        assert_int_equal(mem_live(), before);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(draws_follow_the_candidates),
        cmocka_unit_test(temperature_comes_after_top_p),
        cmocka_unit_test(greedy_takes_the_lowest_of_equals),
        cmocka_unit_test(penalties_count_in_the_window),
        cmocka_unit_test(extremes_stay_finite),
        cmocka_unit_test(a_draw_depends_on_seed_choice_and_position_alone),
        cmocka_unit_test(biases_come_before_all_else),
        cmocka_unit_test(selection_equals_sorting),
        cmocka_unit_test(wide_nucleus_keeps_the_right_number),
        cmocka_unit_test(large_selections_are_exact),
        cmocka_unit_test(logprobs_are_those_before_the_chain),
        cmocka_unit_test(scratch_survives_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
