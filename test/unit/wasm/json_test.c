/* Requests that guests write as JSON. */
#include <setjmp.h> // cmocka.h wants these four before it
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/compiler.h"
#include "wasm/json.h"

static int read_text(const char *text, json_t **json, struct realm_error *err)
{
    return json_read(text, strlen(text), json, err);
}

static void test_shape(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "", "{", "{}x", "[]", "1", "{\"a\":1,\"a\":2}", "{\"a\":\"\xff\"}", "{\"a\":01}", "{'a':1}",
    };
    struct realm_error err;
    json_t *json;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(read_text(bad[i], &json, &err), REALM_E_ARG);
        assert_null(json);
    }
    assert_int_equal(read_text("{\"a\":\"[[[[\\\"[[{{\"}", &json, &err), 0);
    json_decref(json);
}

/* 64 levels are read and 65 are not, whatever stands in strings. */
static void test_depth(void **state)
{
    (void)state;
    struct realm_error err;
    json_t *json;
    char text[256];
    for (size_t depth = 64; depth <= 65; depth++) {
        size_t n = 0;
        n += (size_t)snprintf(text, sizeof(text), "{\"a\":");
        for (size_t i = 1; i < depth; i++)
            text[n++] = '[';
        for (size_t i = 1; i < depth; i++)
            text[n++] = ']';
        text[n++] = '}';
        assert_int_equal(json_read(text, n, &json, &err), depth == 64 ? 0 : REALM_E_LIMIT);
        json_decref(json);
    }
    const size_t many = 1 << 20;
    char *wide = malloc(many);
    memset(wide, ',', many);
    memcpy(wide, "{\"a\":[0", 7);
    assert_int_equal(json_read(wide, many, &json, &err), REALM_E_LIMIT);
    assert_non_null(strstr(err.message, "values"));
    free(wide);
}

static void test_wish(void **state)
{
    (void)state;
    struct realm_error err;
    struct json_wish wish;
    json_t *json;
    assert_int_equal(read_text("{\"prompt\":\"p\\u0000q\",\"temperature\":0.25,\"top_p\":null,"
                               "\"max_completion_tokens\":9,\"seed\":9007199254740993,\"n\":1,"
                               "\"stop\":[\"a\",\"bc\"],\"stream\":true,\"user\":{}}",
                               &json, &err),
                     0);
    assert_int_equal(json_wish_read(json, &wish, &err), 0);
    assert_null(wish.messages);
    assert_int_equal(wish.prompt_bytes, 3);
    assert_true(wish.sampling.temperature == 0.25f);
    assert_true(wish.sampling.top_p == 1.0f);
    assert_int_equal(wish.sampling.max_tokens, 9);
    assert_true(wish.sampling.has_seed);
    assert_true(wish.sampling.seed == 9007199254740993u); // which no double is
    assert_int_equal(wish.n_stop, 2);
    assert_string_equal(wish.stop[1], "bc");
    json_decref(json);
}

static void test_bad_wishes(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        {"{}", "messages"},
        {"{\"prompt\":7}", "prompt"},
        {"{\"messages\":\"hi\"}", "messages"},
        {"{\"prompt\":\"x\",\"temperature\":-1}", "temperature"},
        {"{\"prompt\":\"x\",\"temperature\":\"1\"}", "temperature"},
        {"{\"prompt\":\"x\",\"temperature\":true}", "temperature"},
        {"{\"prompt\":\"x\",\"temperature\":1e999}", ""},
        {"{\"prompt\":\"x\",\"max_tokens\":0}", "max_tokens"},
        {"{\"prompt\":\"x\",\"max_tokens\":1.5}", "max_tokens"},
        {"{\"prompt\":\"x\",\"max_tokens\":-1}", "max_tokens"},
        {"{\"prompt\":\"x\",\"max_completion_tokens\":[]}", "max_completion_tokens"},
        {"{\"prompt\":\"x\",\"top_k\":4294967296}", "top_k"},
        {"{\"prompt\":\"x\",\"seed\":-1}", "seed"},
        {"{\"prompt\":\"x\",\"n\":3}", "n must"},
        {"{\"prompt\":\"x\",\"n\":\"1\"}", "n must"},
        {"{\"prompt\":\"x\",\"stop\":[\"a\",1]}", "stop"},
        {"{\"prompt\":\"x\",\"stop\":\"a\\u0000b\"}", "stop"},
        {"{\"prompt\":\"x\",\"stop\":[\"1\",\"1\",\"1\",\"1\",\"1\",\"1\",\"1\",\"1\",\"1\","
         "\"1\",\"1\",\"1\",\"1\",\"1\",\"1\",\"1\",\"1\"]}",
         "stop"},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct realm_error err = {0};
        struct json_wish wish;
        json_t *json;
        int status = read_text(bad[i][0], &json, &err);
        if (!status)
            status = json_wish_read(json, &wish, &err);
        if (status != REALM_E_ARG || !strstr(err.message, bad[i][1]))
            fail_msg("%s: %d %s", bad[i][0], status, err.message);
        json_decref(json);
    }
}

/* What the host writes for a guest it reads back alike. */
static void test_written(void **state)
{
    (void)state;
    struct realm_sampling s;
    struct realm_error err;
    struct json_wish wish;
    realm_sampling_init(&s, REALM_DOOR_CLI);
    s.top_k = 17;
    s.has_seed = true;
    s.seed = 5;
    s.temperature = 0.3f;
    json_t *json = json_wish_write(NULL, "say", 3, &s);
    assert_int_equal(json_wish_read(json, &wish, &err), 0);
    assert_memory_equal(wish.prompt, "say", 3);
    assert_memory_equal(&wish.sampling.temperature, &s.temperature, sizeof(float));
    assert_int_equal(wish.sampling.top_k, 17);
    assert_int_equal(wish.sampling.max_tokens, 0);
    assert_int_equal(wish.sampling.seed, 5);
    json_decref(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shape),   cmocka_unit_test(test_depth),
        cmocka_unit_test(test_wish),    cmocka_unit_test(test_bad_wishes),
        cmocka_unit_test(test_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
