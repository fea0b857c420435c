/* What holds at every door: generated from the rows by which requests are read. */
#include "doors.h"

typedef void row_fn(const struct door *d, const struct ask_member *m);

static void each_in(const struct door *d, const struct ask_group *g, row_fn *f)
{
    for (size_t i = 0; g && i < g->n; i++)
        f(d, &g->rows[i]);
}

static void each_row(row_fn *f)
{
    for (size_t i = 0; i < ARRAY_LEN(doors); i++) {
        each_in(&doors[i], &doors[i].endpoint->own, f);
        for (size_t k = 0; k < ASK_SHARED_MAX; k++)
            each_in(&doors[i], doors[i].endpoint->shared[k], f);
    }
}

static bool in_range(const struct realm_param *p, const struct ask_member *m, double value)
{
    double max = m->max > 0 ? m->max : p->max;
    return value >= p->min && value <= max && !(p->above_min && value == p->min) &&
           !(p->below_max && value == max);
}

/* J05: -1, 0, 1, max, max + 1, 2^31, 2^63 and what is no number, for each of realm_params. */
static void numbers_of_the_table(const struct door *d, const struct ask_member *m)
{
    if (m->kind != ASK_PARAM)
        return;
    const struct realm_param *p = ask_param_of(m->param ? m->param : m->name);
    bool whole = p->type == REALM_PARAM_U32;
    const double values[] = {-1, 0, 1, p->max, p->max + 1, 2147483648.0, 9223372036854774784.0};
    char text[64];
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        snprintf(text, sizeof(text), "%.0f", values[i]);
        assert_int_equal(takes(d, m->name, text), in_range(p, m, values[i]));
    }
    assert_int_equal(takes(d, m->name, "0.5"), !whole);
    assert_false(whole && takes(d, m->name, "1.0"));
    static const char *const others[] = {"\"1\"", "true", "false", "[1]", "{}", "[]", "\"\""};
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        assert_false(takes(d, m->name, others[i]));
}

static void test_numbers_of_the_table(void **state)
{
    (void)state;
    each_row(numbers_of_the_table);
}

/* The same for counts with a range of their own. */
static void counts(const struct door *d, const struct ask_member *m)
{
    if (m->kind != ASK_COUNT)
        return;
    const double values[] = {
        -1, 0, 1, m->min - 1, m->max, m->max + 1, 2147483648.0, 9223372036854774784.0};
    char text[64];
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        snprintf(text, sizeof(text), "%.0f", values[i]);
        bool fits = values[i] >= m->min && values[i] <= m->max;
        if (strcmp(m->name, "top_logprobs") != 0 || !fits || values[i] == 0)
            assert_int_equal(takes(d, m->name, text), fits);
    }
    static const char *const others[] = {"1.0", "1.5", "\"1\"", "true", "[1]", "{}"};
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        assert_false(takes(d, m->name, others[i]));
}

static void test_counts(void **state)
{
    (void)state;
    each_row(counts);
}

/* Numbers that rows read in their own way. */
static void test_other_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        double min, max;
    } fields[] = {{"logprobs", 0, 5}, {"n_predict", -1, 4294967295.0}, {"n_probs", 0, 1024}};
    static const struct door *at[] = {&doors[1], &doors[4], &doors[4]};
    char text[64];
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        const double values[] = {
            -2, -1, 0, 1, fields[i].max, fields[i].max + 1, 9223372036854774784.0};
        for (size_t k = 0; k < ARRAY_LEN(values); k++) {
            snprintf(text, sizeof(text), "%.0f", values[k]);
            assert_int_equal(takes(at[i], fields[i].name, text),
                             values[k] >= fields[i].min && values[k] <= fields[i].max);
        }
        assert_false(takes(at[i], fields[i].name, "1.0"));
        assert_false(takes(at[i], fields[i].name, "\"1\""));
        assert_false(takes(at[i], fields[i].name, "true"));
    }
}

/* null is as if it were not there: nothing of the least request may be. */
static void null_is_absent(const struct door *d, const struct ask_member *m)
{
    char quoted[64];
    snprintf(quoted, sizeof(quoted), "\"%s\":", m->name);
    bool least = strstr(d->base, quoted) != NULL;
    assert_true(least || !m->required);
    assert_int_equal(takes(d, m->name, "null"), !least);
}

static void test_null(void **state)
{
    (void)state;
    each_row(null_is_absent);
}

static void types_are_strict(const struct door *d, const struct ask_member *m)
{
    static const struct {
        unsigned type;
        const char *value;
    } values[] = {{ASK_STRING, "\"zzz\""},      {ASK_BOOL, "true"},
                  {ASK_INT | ASK_NUMBER, "7"},  {ASK_NUMBER, "7.5"},
                  {ASK_ARRAY, "[{\"z\":[1]}]"}, {ASK_OBJECT, "{\"z\":[1]}"}};
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        bool taken = takes(d, m->name, values[i].value);
        if (m->kind == ASK_REFUSE || (m->kind == ASK_NEUTRAL && !m->words && !m->max))
            assert_false(taken);
        if (m->kind == ASK_PASS)
            assert_int_equal(taken, (m->types & values[i].type) != 0);
        if (m->kind == ASK_FLAG)
            assert_int_equal(taken, values[i].type == ASK_BOOL);
        if (m->types && !(m->types & values[i].type))
            assert_false(taken);
    }
}

static void test_types(void **state)
{
    (void)state;
    each_row(types_are_strict);
}

/* What cannot be honoured has the code that says so. */
static void refusals_say_so(const struct door *d, const struct ask_member *m)
{
    struct ask a;
    struct api_error e;
    if (m->kind != ASK_REFUSE)
        return;
    assert_int_equal(read_with(d, m->name, "{\"a\":1}", &a, &e), 400);
    assert_string_equal(e.code, "unsupported_parameter");
    assert_string_equal(e.param, m->name);
}

static void test_refusals(void **state)
{
    (void)state;
    each_row(refusals_say_so);
}

static const struct ask_member *find_row(const struct door *d, const char *name, size_t *times)
{
    const struct ask_member *found = NULL;
    const struct ask_group *groups[] = {&d->endpoint->own, d->endpoint->shared[0],
                                        d->endpoint->shared[1]};
    *times = 0;
    for (size_t k = 0; k < ARRAY_LEN(groups); k++)
        for (size_t i = 0; groups[k] && i < groups[k]->n; i++)
            if (strcmp(groups[k]->rows[i].name, name) == 0) {
                found = &groups[k]->rows[i];
                (*times)++;
            }
    return found;
}

static void stands_once(const struct door *d, const struct ask_member *m)
{
    size_t times;
    assert_ptr_equal(find_row(d, m->name, &times), m);
    assert_int_equal(times, 1);
}

static void test_once(void **state)
{
    (void)state;
    each_row(stands_once);
}

/* Every member of the request types of openai 3.57.0 and anthropic 2.14.0 (those of its beta
 * included) is known, so that none is passed over in silence. */
static void test_official_clients(void **state)
{
    (void)state;
    static const struct {
        const char *door, *names;
    } clients[] = {
        {"chat",
         "messages model audio frequency_penalty function_call functions logit_bias logprobs "
         "max_completion_tokens max_tokens metadata modalities moderation n parallel_tool_calls "
         "prediction presence_penalty prompt_cache_key prompt_cache_options "
         "prompt_cache_retention reasoning_effort response_format safety_identifier seed "
         "service_tier stop store stream stream_options temperature tool_choice tools "
         "top_logprobs top_p user verbosity web_search_options "},
        {"completion",
         "model prompt best_of echo frequency_penalty logit_bias logprobs max_tokens n "
         "presence_penalty seed stop stream stream_options suffix temperature top_p user "},
        {"embeddings", "input model dimensions encoding_format user "},
        {"messages",
         "max_tokens messages model cache_control container diagnostics inference_geo metadata "
         "output_config service_tier speed stop_sequences system thinking tool_choice tools "
         "temperature top_k top_p user_profile_id workspace_id stream billing_policy compaction "
         "context_management fallback_credit_token fallbacks mcp_servers thread betas "
         "output_format "},
        {"count", "messages model cache_control output_config speed system thinking tool_choice "
                  "tools user_profile_id workspace_id "},
    };
    size_t n = 0, times;
    char name[64];
    for (size_t i = 0; i < ARRAY_LEN(clients); i++)
        for (size_t d = 0; d < ARRAY_LEN(doors); d++)
            for (const char *p = clients[i].names;
                 strcmp(doors[d].name, clients[i].door) == 0 && *p; p += strcspn(p, " ") + 1, n++) {
                copy_word(p, " ", name, sizeof(name));
                if (!find_row(&doors[d], name, &times))
                    fail_msg("%s has no row %s", doors[d].name, name);
            }
    assert_int_equal(n, 37 + 18 + 5 + 31 + 11);
}

/* What changes an answer at one door is honoured at each of the others, or refused by its name. */
static void test_nothing_is_passed_over(void **state)
{
    (void)state;
    static const struct {
        const char *name, *value;
    } options[] = {{"n", "2"},
                   {"logprobs", "true"},
                   {"top_logprobs", "3"},
                   {"logit_bias", "{\"5\":1}"},
                   {"stop", "\"x\""},
                   {"response_format", "{\"type\":\"json_object\"}"},
                   {"tools", "[{\"type\":\"function\"}]"}};
    size_t times;
    for (size_t d = 0; d < ARRAY_LEN(doors); d++)
        for (size_t i = 0; doors[d].endpoint->defaults && i < ARRAY_LEN(options); i++) {
            const struct ask_member *m = find_row(&doors[d], options[i].name, &times);
            if (!m)
                fail_msg("%s has no row %s", doors[d].name, options[i].name);
            bool gives = m->kind == ASK_COUNT || m->kind == ASK_FLAG || m->read == ask_read_bias ||
                         m->read == ask_read_stop;
            if (strcmp(options[i].name, "top_logprobs") != 0) // which needs logprobs
                assert_int_equal(takes(&doors[d], options[i].name, options[i].value), gives);
        }
    assert_true(takes(&doors[2], "n", "1") && takes(&doors[7], "logit_bias", "{}"));
    assert_true(takes(&doors[4], "response_format", "{\"type\":\"text\"}"));
}

/* Every allocation of ours fails once: 503, and nothing is leaked. */
static void test_memory(void **state)
{
    (void)state;
    static const char text[] = "{" TALK ",\"prompt\":[[1,2],[3]],\"input\":[[1,2],\"b\"],"
                               "\"max_tokens\":5,\"logit_bias\":{\"5\":1},\"n\":2}";
    for (size_t i = 0; i < ARRAY_LEN(doors); i++) {
        uint64_t live = mem_live();
        bool failed = true;
        for (uint64_t at = 1; failed && at < 100; at++) {
            struct ask a;
            struct api_error e;
            mem_fail_at(at, 0);
            int http = read_text(&doors[i], text, &a, &e);
            mem_fail_at(0, 0);
            failed = http == 503;
            if (failed)
                assert_string_equal(e.code, "out_of_memory");
            if (http == 0)
                ask_free(&a);
            assert_int_equal(mem_live(), live);
        }
        assert_false(failed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers_of_the_table),
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_other_numbers),
        cmocka_unit_test(test_null),
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_once),
        cmocka_unit_test(test_official_clients),
        cmocka_unit_test(test_nothing_is_passed_over),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests_name("api/ask_doors", tests, NULL, NULL);
}
