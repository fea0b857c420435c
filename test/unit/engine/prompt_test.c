/* Requests for a prompt's own tokens, biases and choices, on the tiny model. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/limits.h"
#include "util.h"

static const char TEXT[] = "The capital of France is";

/* A prompt and its answer with all their log-probabilities. */
struct told {
    uint32_t tokens[ANSWER_MAX]; /* the first is not told */
    float logprobs[ANSWER_MAX];
    struct realm_logprob top[ANSWER_MAX][2];
    size_t n, n_prompt;
    struct realm_event end;
};

static void read_all(struct realm_model *m, const struct realm_request *r, struct told *out)
{
    struct realm_gen *g;
    struct realm_event e;
    memset(out, 0, sizeof(*out));
    out->n = out->n_prompt = 1;
    assert_int_equal(realm_gen_start(&g, m, r, NULL), 0);
    for (;;) {
        assert_int_equal(realm_gen_next(g, &e, NULL), 0);
        if (e.kind == REALM_EVENT_END)
            break;
        assert_int_equal(e.index, e.kind == REALM_EVENT_PROMPT ? out->n : out->n - out->n_prompt);
        assert_int_equal(e.n_top, r->top_logprobs);
        memcpy(out->top[out->n], e.top, e.n_top * sizeof(*e.top));
        out->tokens[out->n] = e.token;
        out->logprobs[out->n++] = e.logprob;
        out->n_prompt += e.kind == REALM_EVENT_PROMPT;
    }
    out->end = e;
    assert_int_equal(realm_gen_prompt_tokens(g), out->n_prompt);
    assert_int_equal(e.usage.prompt_tokens, out->n_prompt);
    assert_int_equal(e.usage.completion_tokens, out->n - out->n_prompt);
    realm_gen_close(g);
}

static void a_prompt_is_told_as_scoring_tells_it(void **state)
{
    (void)state;
    static struct told whole, prompt;
    static float logprobs[ANSWER_MAX];
    struct realm *r = open_engine(NULL);
    struct realm_model *m = open_tiny(r);
    struct realm_logprob next;
    struct realm_request request = request_for(TEXT, 20);
    request.prompt_logprobs = true;
    request.top_logprobs = 2;
    read_all(m, &request, &whole);
    assert_int_equal(whole.end.status, 0);
    assert_int_equal(whole.n - whole.n_prompt, 20);
    assert_null(whole.end.embedding);

    size_t n;
    assert_int_equal(realm_tokenize(m, TEXT, strlen(TEXT), REALM_TEXT_BOS, prompt.tokens, 99, &n),
                     0);
    assert_int_equal(n, whole.n_prompt);
    assert_memory_equal(prompt.tokens + 1, whole.tokens + 1, (n - 1) * sizeof(uint32_t));
    whole.tokens[0] = prompt.tokens[0];
    assert_int_equal(realm_score(m, whole.tokens, whole.n, logprobs, &next, 1, NULL, NULL), 0);
    assert_memory_equal(logprobs + 1, whole.logprobs + 1, (whole.n - 1) * sizeof(float));
    for (size_t i = whole.n_prompt; i < whole.n; i++) // greedy: the likeliest was drawn
        assert_memory_equal(&whole.top[i][0],
                            &((struct realm_logprob){whole.tokens[i], logprobs[i]}),
                            sizeof(struct realm_logprob));

    request.prompt_only = true;
    uint64_t drawn = stats_of(r).completion_tokens;
    read_all(m, &request, &prompt);
    assert_int_equal(prompt.end.status, 0);
    assert_int_equal(prompt.end.finish, REALM_FINISH_LENGTH);
    assert_int_equal(prompt.n, whole.n_prompt);
    assert_memory_equal(prompt.logprobs, whole.logprobs, prompt.n * sizeof(float));
    assert_memory_equal(prompt.top, whole.top, prompt.n * sizeof(prompt.top[0]));
    assert_int_equal(stats_of(r).completion_tokens, drawn);

    request.prompt_logprobs = false; // nothing but the end, which counts them
    struct realm_gen *g;
    struct realm_event e;
    assert_int_equal(realm_gen_start(&g, m, &request, NULL), 0);
    assert_int_equal(realm_gen_next(g, &e, NULL), 0);
    assert_int_equal(e.kind, REALM_EVENT_END);
    assert_int_equal(e.status, 0);
    assert_int_equal(e.usage.prompt_tokens, whole.n_prompt);
    realm_gen_close(g);
    realm_model_close(m);
    realm_close(r);
}

static void an_embedding_comes_with_the_end(void **state)
{
    (void)state;
    struct realm *r = open_engine(NULL);
    struct realm_model *m = open_tiny(r);
    struct realm_model_info info;
    realm_model_info(m, &info);
    for (int pooling = REALM_POOL_MEAN; pooling <= REALM_POOL_LAST; pooling++) {
        struct realm_request request = request_for(TEXT, 0);
        struct realm_gen *g;
        struct realm_event e;
        request.prompt_only = true;
        request.pooling = (enum realm_pooling)pooling;
        assert_int_equal(realm_gen_start(&g, m, &request, NULL), 0);
        for (int again = 0; again < 2; again++) {
            assert_int_equal(realm_gen_next(g, &e, NULL), 0);
            assert_int_equal(e.kind, REALM_EVENT_END);
            double sum = 0;
            for (size_t i = 0; i < info.hidden_size; i++)
                sum += (double)e.embedding[i] * (double)e.embedding[i];
            assert_true(isfinite(sum) && sum > 0);
        }
        realm_gen_close(g);
        assert_int_equal(realm_gen_start(&g, m, &request, NULL), 0);
        realm_gen_cancel(g);
        assert_int_equal(realm_gen_next(g, &e, NULL), 0);
        assert_true((e.embedding == NULL) == (e.status != 0));
        realm_gen_close(g);
    }
    realm_model_close(m);
    realm_close(r);
}

static void biases_move_draws_and_not_logprobs(void **state)
{
    (void)state;
    static struct told plain, biased;
    static float logprobs[ANSWER_MAX];
    struct realm *r = open_engine(NULL);
    struct realm_model *m = open_tiny(r);
    struct realm_request request = request_for(TEXT, 12);
    request.prompt_logprobs = true;
    request.logprobs = true;
    read_all(m, &request, &plain);
    uint32_t first = plain.tokens[plain.n_prompt];
    const struct realm_logit_bias bias[] = {{first, -100}, {1234, 0}};
    request.logit_bias = bias;
    request.n_logit_bias = 2;
    read_all(m, &request, &biased);
    for (size_t i = biased.n_prompt; i < biased.n; i++)
        assert_int_not_equal(biased.tokens[i], first);
    assert_memory_equal(biased.logprobs, plain.logprobs, plain.n_prompt * sizeof(float));
    /* They are still what the model gives these tokens. */
    size_t n;
    assert_int_equal(realm_tokenize(m, TEXT, strlen(TEXT), REALM_TEXT_BOS, plain.tokens, 99, &n),
                     0);
    biased.tokens[0] = plain.tokens[0];
    assert_int_equal(realm_score(m, biased.tokens, biased.n, logprobs, NULL, 0, NULL, NULL), 0);
    assert_memory_equal(logprobs + 1, biased.logprobs + 1, (biased.n - 1) * sizeof(float));
    /* And one that is pushed is always drawn. */
    request.logit_bias = &(const struct realm_logit_bias){777, 100};
    request.n_logit_bias = 1;
    request.sampling.temperature = 1;
    read_all(m, &request, &biased);
    for (size_t i = biased.n_prompt; i < biased.n; i++)
        assert_int_equal(biased.tokens[i], 777);
    realm_model_close(m);
    realm_close(r);
}

static void choices_differ_and_repeat(void **state)
{
    (void)state;
    static struct answer answers[4];
    struct realm *r = open_engine(NULL);
    struct realm_model *m = open_tiny(r);
    struct realm_request request = request_for(TEXT, 30);
    request.sampling.temperature = 1.5f;
    request.sampling.has_seed = true;
    request.sampling.seed = 5;
    for (uint32_t i = 0; i < 4; i++) {
        request.choice = i % 3; // the first and the last are one
        ask(m, &request, &answers[i]);
        assert_int_equal(answers[i].n, 30);
    }
    assert_same_answer(&answers[0], &answers[3]);
    for (unsigned i = 0; i < 3; i++)
        assert_memory_not_equal(answers[i].tokens, answers[(i + 1) % 3].tokens,
                                30 * sizeof(uint32_t));
    realm_model_close(m);
    realm_close(r);
}

static void bad_wishes_are_refused(void **state)
{
    (void)state;
    struct realm *r = open_engine(NULL);
    struct realm_model *m = open_tiny(r);
    static struct realm_logit_bias many[LOGIT_BIAS_MAX + 1];
    const struct realm_logit_bias id = {1 << 30, 0}, low = {5, -100.5f}, high = {5, 101};
    const struct realm_logit_bias nan = {5, NAN}, edges[] = {{5, 100}, {6, -100}};
    const struct {
        struct realm_request set;
        int status;
        const char *names;
    } cases[] = {
        {{.logit_bias = &id, .n_logit_bias = 1}, REALM_E_ARG, "logit_bias"},
        {{.logit_bias = &low, .n_logit_bias = 1}, REALM_E_ARG, "logit_bias"},
        {{.logit_bias = &high, .n_logit_bias = 1}, REALM_E_ARG, "logit_bias"},
        {{.logit_bias = &nan, .n_logit_bias = 1}, REALM_E_ARG, "logit_bias"},
        {{.logit_bias = many, .n_logit_bias = LOGIT_BIAS_MAX + 1}, REALM_E_ARG, "1024"},
        {{.logit_bias = many, .n_logit_bias = LOGIT_BIAS_MAX}, 0, ""},
        {{.logit_bias = edges, .n_logit_bias = 2}, 0, ""},
        {{.pooling = REALM_POOL_MEAN}, REALM_E_ARG, "pooling"},
        {{.pooling = (enum realm_pooling)7, .prompt_only = true}, REALM_E_ARG, "pooling"},
        {{.pooling = REALM_POOL_LAST, .prompt_only = true}, 0, ""},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct realm_request request = request_for(TEXT, 1);
        struct realm_error err = {0};
        struct realm_gen *g;
        request.logit_bias = cases[i].set.logit_bias;
        request.n_logit_bias = cases[i].set.n_logit_bias;
        request.pooling = cases[i].set.pooling;
        request.prompt_only = cases[i].set.prompt_only;
        assert_int_equal(realm_gen_start(&g, m, &request, &err), cases[i].status);
        assert_true((g == NULL) == (cases[i].status != 0));
        assert_non_null(strstr(err.message, cases[i].names));
        realm_gen_close(g);
    }
    realm_model_close(m);
    realm_close(r);
}

static bool always(void *ctx)
{
    (void)ctx;
    return true;
}

static void scores_are_those_of_the_answer(void **state)
{
    (void)state;
    enum { PROMPT = 600, ANSWER = 40, N = PROMPT + ANSWER };
    static uint32_t ids[N];
    static float logprobs[N];
    static struct realm_logprob next[4];
    static struct answer a;
    struct realm *r = open_engine(NULL);
    struct realm_model *m = open_tiny(r);
    long_ids(m, ids, PROMPT);
    struct realm_request request = request_for(NULL, ANSWER + 1);
    request.ids = ids;
    request.n_ids = PROMPT;
    request.logprobs = true;
    ask(m, &request, &a);
    memcpy(ids + PROMPT, a.tokens, ANSWER * sizeof(*ids));
    assert_int_equal(realm_score(m, ids, N, logprobs, next, 4, NULL, NULL), 0);
    assert_true(isnan(logprobs[0]));
    for (size_t i = 1; i < N; i++)
        assert_true(logprobs[i] <= 0);
    assert_memory_equal(logprobs + PROMPT, a.logprobs, ANSWER * sizeof(float));
    assert_int_equal(next[0].token, a.tokens[ANSWER]);
    assert_memory_equal(&next[0].logprob, &a.logprobs[ANSWER], sizeof(float));
    assert_true(next[0].logprob >= next[1].logprob && next[1].logprob >= next[2].logprob);

    assert_int_equal(realm_score(m, ids, 1, logprobs, NULL, 0, NULL, NULL), 0);
    assert_true(isnan(logprobs[0]));
    assert_int_equal(realm_score(m, ids, 0, logprobs, NULL, 0, NULL, NULL), REALM_E_ARG);
    struct realm_wait wait = {.cancelled = always};
    assert_int_equal(realm_score(m, ids, N, logprobs, next, 4, &wait, NULL), REALM_E_CANCELLED);
    assert_int_equal(stats_of(r).kv_pages, 0);
    realm_model_close(m);
    realm_close(r);
}

static void steps_and_turns_are_counted(void **state)
{
    (void)state;
    static struct answer a;
    struct realm *r = open_engine(NULL);
    struct realm_model *m = open_tiny(r);
    struct realm_request request = request_for(TEXT, 20);
    uint64_t turns = stats_of(r).turns;
    ask(m, &request, &a);
    struct realm_stats s = stats_of(r);
    assert_true(s.turns >= turns + s.steps && s.steps >= 20);
    assert_true(s.step_ns_max > 0 && s.step_ns_max <= s.step_ns);
    assert_true(s.step_ns_max >= s.step_ns / s.steps);
    realm_model_close(m);
    realm_close(r);
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return 2;
    tiny_path = argv[1];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_prompt_is_told_as_scoring_tells_it),
        cmocka_unit_test(an_embedding_comes_with_the_end),
        cmocka_unit_test(biases_move_draws_and_not_logprobs),
        cmocka_unit_test(choices_differ_and_repeat),
        cmocka_unit_test(bad_wishes_are_refused),
        cmocka_unit_test(scores_are_those_of_the_answer),
        cmocka_unit_test(steps_and_turns_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
