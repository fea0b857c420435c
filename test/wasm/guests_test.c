/* The guests that come along, and one from Rust, against the engine without them.
 * args: default.wasm, stream.wasm, handle.wasm and maybe rust.wasm. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "util.h"

enum { DEFAULT, STREAM, HANDLE, RUST, GUESTS };

static const char *paths[GUESTS];

static struct wasm_guest *load(struct rig *rig, int which)
{
    struct wasm_guest *g;
    struct realm_error err;
    size_t n;
    uint8_t *wasm = read_bytes(paths[which], &n);
    if (wasm_guest_open(&g, rig->host, wasm, n, &err))
        fail_msg("%s", err.message);
    free(wasm);
    return g;
}

static json_t *conversation(const char *question)
{
    return json_pack("[{s:s,s:s}]", "role", "user", "content", question);
}

/* Raw prompts and conversations, with options and a seed of the caller's. */
static void check_same(struct rig *rig, int which, const char *before)
{
    struct outcome out = {0};
    struct wasm_guest *g = load(rig, which);
    for (int chat = 0; chat < 2; chat++) {
        struct wasm_request r = request_of(rig, "Once \"upon\",\n a time, there");
        struct realm_sampling s = *r.sampling;
        json_t *talk = chat ? conversation(r.prompt) : NULL;
        s.temperature = 0.5f;
        s.max_tokens = 40;
        s.has_seed = true;
        s.seed = 7;
        r.sampling = &s;
        r.messages = talk;
        char *wanted = direct_answer(rig, &r);
        run_guest(g, &r, &out);
        if (out.status)
            fail_msg("%s", out.err.message);
        assert_memory_equal(out.result.text, before, strlen(before));
        assert_string_equal(out.result.text + strlen(before), wanted);
        assert_int_equal(out.result.streamed, which == STREAM && wanted[0] != '\0');
        if (which == STREAM) {
            out.streamed[out.streamed_n] = '\0';
            assert_string_equal(out.streamed, wanted);
        }
        assert_false(out.result.handled);
        outcome_free(&out);
        free(wanted);
        json_decref(talk);
    }
    wasm_guest_close(g);
}

static void test_default(void **state)
{
    check_same(*state, DEFAULT, "");
}

static void test_stream(void **state)
{
    check_same(*state, STREAM, "");
}

static void test_default_without_options(void **state)
{
    struct rig *rig = *state;
    struct outcome out = {0};
    for (int which = DEFAULT; which <= STREAM; which++) {
        struct wasm_request r = request_of(rig, "Once");
        struct wasm_guest *g = load(rig, which);
        r.sampling = NULL;
        run_guest(g, &r, &out);
        assert_int_equal(out.status, 0);
        assert_true(out.result.completion_tokens > 0);
        outcome_free(&out);
        wasm_guest_close(g);
    }
}

static void test_default_fails(void **state)
{
    struct rig *rig = *state;
    struct outcome out = {0};
    struct wasm_request r = request_of(rig, "");
    struct wasm_guest *g = load(rig, DEFAULT);
    run_guest(g, &r, &out);
    assert_int_equal(out.status, REALM_E_GUEST);
    assert_non_null(strstr(out.err.message, "empty"));
    wasm_guest_close(g);
}

static void test_handle(void **state)
{
    struct rig *rig = *state;
    struct outcome out = {0};
    struct wasm_guest *g = load(rig, HANDLE);
    struct wasm_request r = request_of(rig, "");
    r.prompt = NULL;
    r.messages = conversation("What is the capital of Peru?");
    char *wanted = direct_answer(rig, &r);
    run_guest(g, &r, &out);
    assert_int_equal(out.status, 0);
    assert_true(out.result.handled);
    json_t *answer = json_loads(out.result.text, 0, NULL);
    const json_t *choice = json_array_get(json_object_get(answer, "choices"), 0);
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(choice, "message"), "content")), wanted);
    json_decref(answer);
    json_decref((json_t *)r.messages);
    outcome_free(&out);
    free(wanted);
    /* Its policy sees the body that the caller sent. */
    json_t *body = json_pack("{s:s,s:o}", "user", "xyzzy", "messages", conversation("Hello"));
    r.messages = json_object_get(body, "messages");
    r.body = body;
    run_guest(g, &r, &out);
    assert_int_equal(out.status, 0);
    assert_non_null(strstr(out.result.text, "content_filter"));
    assert_int_equal(out.result.completion_tokens, 0);
    outcome_free(&out);
    json_decref(body);
    wasm_guest_close(g);
}

static void test_rust(void **state)
{
    struct rig *rig = *state;
    static const char *const ends[][2] = {
        {"throw", "__wbindgen_placeholder__.__wbindgen_throw"},
        {"grow", "__wbindgen_externref_table_grow"},
        {"panic", "unreachable"},
    };
    struct outcome out = {0};
    /* cmocka's own skip reads as a failure to TAP. */
    if (!paths[RUST]) {
        print_message("# no rustc with wasm32-unknown-unknown: its guest is not tried\n");
        return;
    }
    check_same(rig, RUST, "Rust: ");
    struct wasm_guest *g = load(rig, RUST);
    for (size_t i = 0; i < 3; i++) {
        struct wasm_request r = request_of(rig, ends[i][0]);
        run_guest(g, &r, &out);
        assert_int_equal(out.status, REALM_E_GUEST);
        assert_non_null(strstr(out.err.message, ends[i][1]));
    }
    wasm_guest_close(g);
}

int wasm_tests(void)
{
    for (int i = 0; i < GUESTS && i < n_args; i++)
        paths[i] = args[i];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_default),
        cmocka_unit_test(test_stream),
        cmocka_unit_test(test_default_without_options),
        cmocka_unit_test(test_default_fails),
        cmocka_unit_test(test_handle),
        cmocka_unit_test(test_rust),
    };
    return cmocka_run_group_tests(tests, rig_setup, rig_teardown);
}
