/* What clients are told: status, code, param and the sentence, in each client's form. */
#include <setjmp.h> // cmocka.h wants these four before it
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "api/error.h"
#include "base/compiler.h"
#include "base/err.h"

static void test_bad(void **state)
{
    (void)state;
    struct api_error e;
    assert_int_equal(api_bad(&e, "n", "x", "%s is %d\n", "n", 3), -1);
    assert_int_equal(e.http, 400);
    assert_string_equal(e.type, "invalid_request_error");
    assert_string_equal(e.param, "n");
    assert_string_equal(e.code, "x");
    assert_string_equal(e.message, "n is 3?");
    char longer[1000];
    memset(longer, 0xc3, sizeof(longer)); // no character
    longer[sizeof(longer) - 1] = '\0';
    assert_int_equal(api_bad(&e, longer, NULL, "%s", longer), -1);
    assert_int_equal(strspn(e.message, "?"), strlen(e.message));
    json_t *json = api_error_openai(&e, NULL);
    assert_non_null(json);
    json_decref(json);
}

/* Statuses with the sentences that go with them. */
static void test_statuses(void **state)
{
    (void)state;
    static const struct {
        int status, http;
        const char *code;
        uint32_t retry_ms;
        const char *said, *shown, *param;
    } rows[] = {
        {REALM_E_CONTEXT, 400, "context_length_exceeded", 0,
         "the prompt has 9 tokens and the context 8",
         "prompt is too long, this model's maximum context length is exceeded: the prompt has 9 "
         "tokens and the context 8",
         ""},
        {REALM_E_LIMIT, 503, "overloaded", 1000, "1024 requests are waiting: the queue is full",
         "1024 requests are waiting: the queue is full", ""},
        {REALM_E_LIMIT, 503, "overloaded", 1000, NULL, NULL, ""},
        {REALM_E_LIMIT, 422, "limit_exceeded", 0, "the helper process reached a limit",
         "the helper process reached a limit", ""},
        {REALM_E_NO_ROOM, 507, "insufficient_memory", 0, NULL, NULL, ""},
        {REALM_E_NO_ROOM, 503, "overloaded", 1000, "9 MiB, and the models are in use", NULL, ""},
        {REALM_E_NOT_FOUND, 404, "model_not_found", 0,
         "/srv/my models/a.gguf: this user is not allowed to read it",
         "a.gguf: this user is not allowed to read it", ""},
        {REALM_E_NOT_FOUND, 404, "model_not_found", 0, "models/a.gguf: no such file",
         "a.gguf: no such file", ""},
        {REALM_E_FORMAT, 422, "model_invalid", 0, "a.gguf: key x at offset 5: (see /tmp/x/y.gguf)",
         "a.gguf: key x at offset 5: (see y.gguf)", ""},
        {REALM_E_IO, 500, "io_error", 0, "cannot read '/var/lib/realm/m.gguf'",
         "cannot read 'm.gguf'", ""},
        {REALM_E_SYS, 503, "system_error", 1000, "ends in a folder /tmp/", "ends in a folder ", ""},
        {REALM_E_UNSUPPORTED, 422, "model_unsupported", 0, "architecture mamba",
         "architecture mamba", ""},
        {REALM_E_UNSUPPORTED, 400, "model_unsupported", 0, "the model has no chat template",
         "the model has no chat template", ""},
        {REALM_E_NUMERIC, 500, "numerical_error", 0, NULL, NULL, ""},
        {REALM_E_GUEST, 502, "tenant_program_error", 0, "the guest trapped", "the guest trapped",
         ""},
        {REALM_E_DEADLINE, 504, "timeout", 0, NULL, NULL, ""},
        {REALM_E_SHUTDOWN, 503, "shutdown", 1000, NULL, NULL, ""},
        {REALM_E_NOMEM, 503, "out_of_memory", 1000, NULL, NULL, ""},
        {REALM_E_CANCELLED, 499, "cancelled", 0, NULL, NULL, ""},
        {REALM_E_TOO_SMALL, 500, "internal_error", 0, NULL, NULL, ""},
        {12345, 500, "internal_error", 0, NULL, NULL, ""},
        {REALM_E_UTF8, 400, "invalid_utf8", 0, NULL, NULL, ""},
        {REALM_E_ARG, 400, NULL, 0, "messages[3].content must be a string and/or more",
         "messages[3].content must be a string and/or more", "messages[3].content"},
        {REALM_E_ARG, 400, NULL, 0, "messages[3].content[12].text must be a string", NULL,
         "messages[3].content[12].text"},
        {REALM_E_ARG, 400, NULL, 0, "logit_bias: id 7 at index 0", NULL, "logit_bias"},
        {REALM_E_ARG, 400, NULL, 0, "top_p must be a number over 0", NULL, "top_p"},
        {REALM_E_ARG, 400, NULL, 0, "stop[", NULL, "stop["},
        {REALM_E_ARG, 400, NULL, 0, "the prompt is empty", NULL, ""},
        {REALM_E_ARG, 400, NULL, 0, "messages. And so on", NULL, "messages"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct api_error e;
        struct realm_error err;
        if (rows[i].said)
            (void)err_set(&err, rows[i].status, "%s", rows[i].said);
        assert_int_equal(api_from_status(&e, rows[i].status, rows[i].said ? &err : NULL), -1);
        assert_int_equal(e.http, rows[i].http);
        assert_int_equal(e.retry_ms, rows[i].retry_ms);
        assert_string_equal(e.code ? e.code : "-", rows[i].code ? rows[i].code : "-");
        assert_string_equal(e.param, rows[i].param);
        assert_true(e.message[0]);
        if (rows[i].shown)
            assert_string_equal(e.message, rows[i].shown);
    }
}

static void same(json_t *got, const char *want)
{
    json_t *json = json_loads(want, 0, NULL);
    assert_non_null(got);
    assert_non_null(json);
    if (!json_equal(got, json))
        fail_msg("%s is not %s", json_dumps(got, 0), want);
    json_decref(json);
    json_decref(got);
}

static void test_forms(void **state)
{
    (void)state;
    struct api_error e;
    (void)api_bad(&e, "n", NULL, "n is \"odd\"");
    same(api_error_openai(&e, "req_1"),
         "{\"error\":{\"message\":\"n is \\\"odd\\\"\",\"type\":\"invalid_request_error\","
         "\"code\":null,\"param\":\"n\",\"request_id\":\"req_1\"}}");
    same(api_error_anthropic(&e, "req_1"),
         "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\","
         "\"message\":\"n is \\\"odd\\\"\"},\"request_id\":\"req_1\"}");
    same(api_error_ws(&e), "{\"code\":\"INVALID_PARAMS\",\"message\":\"n is \\\"odd\\\"\","
                           "\"details\":{\"param\":\"n\"}}");
    (void)api_from_status(&e, REALM_E_LIMIT, NULL);
    same(api_error_ws(&e), "{\"code\":\"OVERLOADED\",\"message\":\"the server has too much to do\","
                           "\"retry_after\":1}");
    same(api_error_anthropic(&e, NULL),
         "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":"
         "\"the server has too much to do\"},\"request_id\":null}");
}

static size_t allocations_left;

static void *some_bytes(size_t n)
{
    return allocations_left && allocations_left-- ? malloc(n) : NULL;
}

/* X01: when memory is short for the sentence it is that which the client is told. */
static void test_memory(void **state)
{
    (void)state;
    static api_error_form *const forms[] = {api_error_openai, api_error_anthropic};
    static const char *const wants[] = {
        "{\"error\":{\"message\":\"the server is short of memory\",\"type\":\"server_error\","
        "\"code\":\"out_of_memory\",\"param\":null,\"request_id\":\"req_1\"}}",
        "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":"
        "\"the server is short of memory\"},\"request_id\":\"req_1\"}"};
    for (size_t i = 0; i < 2; i++) {
        bool failed = true;
        for (size_t n = 0; failed && n < 1000; n++) {
            struct api_error_text t;
            struct api_error e;
            (void)api_bad(&e, "n", NULL, "n is odd");
            allocations_left = n;
            json_set_alloc_funcs(some_bytes, free);
            api_error_write(&t, &e, forms[i], "req_1");
            json_set_alloc_funcs(malloc, free);
            failed = e.http != 400;
            assert_true(!failed || (e.http == 503 && e.retry_ms == 1000));
            if (failed)
                same(json_loads(t.text, 0, NULL), wants[i]);
            else
                assert_non_null(strstr(t.text, "n is odd"));
            api_error_text_free(&t);
        }
        assert_false(failed);
    }
}

static void test_ws_codes(void **state)
{
    (void)state;
    static const struct {
        int http;
        const char *code, *ws;
    } rows[] = {
        {400, NULL, "INVALID_PARAMS"},
        {400, "context_length_exceeded", "CONTEXT_LENGTH_EXCEEDED"},
        {401, NULL, "UNAUTHORIZED"},
        {404, "model_not_found", "MODEL_NOT_FOUND"},
        {404, "unknown_function", "UNKNOWN_FUNCTION"},
        {429, "rate_limit_exceeded", "RATE_LIMIT_EXCEEDED"},
        {429, "quota_exceeded", "QUOTA_EXCEEDED"},
        {422, "model_invalid", "INTERNAL_ERROR"},
        {500, NULL, "INTERNAL_ERROR"},
        {502, "tenant_program_error", "GUEST_ERROR"},
        {503, "overloaded", "OVERLOADED"},
        {507, NULL, "INTERNAL_ERROR"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct api_error e;
        (void)api_fail(&e, rows[i].http, rows[i].code, "why");
        json_t *json = api_error_ws(&e);
        assert_string_equal(json_string_value(json_object_get(json, "code")), rows[i].ws);
        json_decref(json);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad),      cmocka_unit_test(test_statuses),
        cmocka_unit_test(test_forms),    cmocka_unit_test(test_memory),
        cmocka_unit_test(test_ws_codes),
    };
    return cmocka_run_group_tests_name("api/error", tests, NULL, NULL);
}
