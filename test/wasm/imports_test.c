/* Every import once as it should be and in each way that it can be wrong, from
 * guests written as text. */
#include <stdlib.h>
#include <string.h>

#include "model_file.h"
#include "util.h"
#include "wasm/tenant.h"

struct bad {
    const char *body;
    int32_t code;
};

static void check_codes(struct rig *rig, const char *prompt, const char *extra,
                        const struct bad *cases, size_t n)
{
    struct wasm_request r = request_of(rig, prompt);
    struct outcome out;
    for (size_t i = 0; i < n; i++) {
        int32_t code = code_of(rig, &r, extra, cases[i].body, &out);
        if (code != cases[i].code)
            fail_msg("%s: %d, not %d", cases[i].body, code, cases[i].code);
    }
}

/* Streams what the call wrote at 4096 and answers its code. */
#define STREAM_TEXT(call)                                                          \
    "(local.tee $c " call ")"                                                      \
    "(if (i32.gt_s (local.get $c) (i32.const 0)) (then (drop (call $stream_token " \
    "(i32.const 4096) (local.get $c)))))"

static void test_generate(void **state)
{
    struct rig *rig = *state;
    struct wasm_request r = request_of(rig, "Once upon a time");
    struct outcome out;
    char *wanted = direct_answer(rig, &r);
    int32_t n = code_of(rig, &r, "",
                        STREAM_TEXT("(call $generate (i32.const 0) (local.get $p) (local.get $n)"
                                    " (local.get $o) (i32.const 4096) (i32.const 8192))"),
                        &out);
    assert_int_equal(n, (int32_t)strlen(wanted) + 1);
    assert_int_equal(out.streamed_n, (size_t)n);
    assert_memory_equal(out.streamed, wanted, (size_t)n); // its NUL, too
    assert_true(out.result.prompt_tokens > 1);
    assert_int_equal(out.result.completion_tokens, 12);
    assert_true(out.result.streamed);
    assert_int_equal(out.result.host_calls, 2);
    free(wanted);
}

static void test_generate_in_place(void **state)
{
    struct rig *rig = *state;
    struct wasm_request r = request_of(rig, "Once upon a time, long ago, there was a king");
    struct outcome out;
    char *wanted = direct_answer(rig, &r);
    int32_t n = code_of(rig, &r, "",
                        "(call $generate (i32.const 0) (local.get $p) (local.get $n)"
                        " (local.get $o) (local.get $p) (i32.const 8192))",
                        &out);
    assert_int_equal(n, (int32_t)strlen(wanted) + 1);
    free(wanted);
}

#define GENERATE(id, p, n, o, out, max) \
    "(call $generate (i32.const " id ")" p n o "(i32.const " out ") (i32.const " max "))"
#define P "(local.get $p)"
#define N "(local.get $n)"
#define O "(local.get $o)"
#define C(x) "(i32.const " x ")"

static void test_generate_codes(void **state)
{
    static const char extra[] =
        "(data (i32.const 256) \"\\ff\\fe\")"
        /* max_tokens 4 with temperature NaN, with stop id 99999, with none; max_tokens 0 */
        "(data (i32.const 512) \"\\04\\00\\00\\00\\00\\00\\c0\\7f\\00\\00\\80\\3f\\00\\00\\00\\00"
        "\\00\\00\\80\\3f\\00\\00\\00\\00\\00\\ff\\ff\\ff\\00\\00\\00\\00\")"
        "(data (i32.const 544) \"\\04\\00\\00\\00\\00\\00\\00\\00\\00\\00\\80\\3f\\00\\00\\00\\00"
        "\\00\\00\\80\\3f\\00\\00\\00\\00\\01\\00\\00\\00\\20\\03\\00\\00\")"
        "(data (i32.const 576) \"\\00\\00\\00\\00\\00\\00\\00\\00\\00\\00\\80\\3f\\00\\00\\00\\00"
        "\\00\\00\\80\\3f\\00\\00\\00\\00\\00\\00\\00\\00\\00\\00\\00\\00\")"
        "(data (i32.const 608) \"\\04\\00\\00\\00\\00\\00\\00\\00\\00\\00\\80\\3f\\00\\00\\00\\00"
        "\\00\\00\\80\\3f\\00\\00\\00\\00\\ff\\00\\00\\00\\f0\\ff\\ff\\ff\")"
        "(data (i32.const 800) \"\\9f\\86\\01\\00\")";
    static const struct bad cases[] = {
        {GENERATE("0", P, N, C("0x7fffffff"), "4096", "8192"), -2},
        {GENERATE("0", P, N, C("-8"), "4096", "8192"), -2},
        {GENERATE("0", P, N, C("512"), "4096", "8192"), -2},
        {GENERATE("0", P, N, C("544"), "4096", "8192"), -2},
        {GENERATE("0", P, N, C("576"), "4096", "8192"), -2},
        {GENERATE("0", P, N, C("608"), "4096", "8192"), -2},
        {GENERATE("0", C("-1"), C("1"), O, "4096", "8192"), -3},
        {GENERATE("0", C("0"), C("-1"), O, "4096", "8192"), -3},
        {GENERATE("0", C("0x80000000"), C("0x80000000"), O, "4096", "8192"), -3},
        {GENERATE("0", C("256"), C("2"), O, "4096", "8192"), -4},
        {GENERATE("77", P, N, O, "4096", "8192"), -5},
        {GENERATE("-1", P, N, O, "4096", "8192"), -5},
        {GENERATE("0", P, N, O, "4096", "0"), -5},
        {GENERATE("0", P, N, O, "4096", "2"), -5},
        {GENERATE("0", P, N, O, "0x7ffffff0", "8192"), -6},
        {GENERATE("0", P, N, O, "-1", "2"), -6},
        {GENERATE("0", C("8192"), C("100000"), O, "4096", "1000"), -8}, // NULs are tokens
        {GENERATE("0", P, C("0"), O, "4096", "8192"), -9},
        {GENERATE("0", C("-1"), C("0"), O, "4096", "8192"), -9},
    };
    check_codes(*state, "Once upon a time", extra, cases, sizeof(cases) / sizeof(cases[0]));
}

/* The model of a conversation is asked about the conversation. */
static void test_generate_chat(void **state)
{
    struct rig *rig = *state;
    struct outcome out;
    json_t *talk =
        json_pack("[{s:s,s:s},{s:s,s:s},{s:s,s:s},{s:s,s:s}]", "role", "system", "content",
                  "Be brief.", "role", "user", "content", "Hello", "role", "assistant", "content",
                  "Hi!", "role", "user", "content", "What is the capital?");
    struct wasm_request r = request_of(rig, "");
    r.prompt = NULL;
    r.messages = talk;
    char *wanted = direct_answer(rig, &r);
    code_of(rig, &r, "",
            STREAM_TEXT("(call $generate (i32.const 0) (local.get $p) (local.get $n)"
                        " (local.get $o) (i32.const 4096) (i32.const 8192))"),
            &out);
    assert_string_equal(out.streamed, wanted);
    free(wanted);
    /* Another prompt stands where the last user message stood, and nowhere else. */
    json_t *other = json_deep_copy(talk);
    json_object_set_new(json_array_get(other, 3), "content", json_string("Once upon a time"));
    r.messages = other;
    wanted = direct_answer(rig, &r);
    r.messages = talk;
    code_of(rig, &r, "(data (i32.const 256) \"Once upon a time\")",
            STREAM_TEXT("(call $generate (i32.const 0) (i32.const 256) (i32.const 16)"
                        " (local.get $o) (i32.const 4096) (i32.const 8192))"),
            &out);
    assert_string_equal(out.streamed, wanted);
    free(wanted);
    json_decref(other);
    json_decref(talk);
}

static void test_load_by_name(void **state)
{
    static const char extra[] = "(data (i32.const 256) \"tiny-q8_0../tiny-q8_0nobody\\ff\")";
    static const struct bad cases[] = {
        {"(i32.lt_s (i32.const 0) (call $load_by_name (i32.const 256) (i32.const 9)))", 1},
        {"(i32.eq (call $load_by_name (i32.const 256) (i32.const 9))"
         " (call $load_by_name (i32.const 256) (i32.const 9)))",
         1},
        {"(i32.lt_s (i32.const 0) (call $generate (call $load_by_name (i32.const 256)"
         " (i32.const 9)) (local.get $p) (local.get $n) (local.get $o) (i32.const 4096)"
         " (i32.const 8192)))",
         1},
        {"(call $load_by_name (i32.const 265) (i32.const 12))", -5},
        {"(call $load_by_name (i32.const 277) (i32.const 6))", -5},
        {"(call $load_by_name (i32.const 277) (i32.const 0))", -5},
        {"(call $load_by_name (i32.const 283) (i32.const 1))", -4},
        {"(call $load_by_name (i32.const -4) (i32.const 9))", -3},
        {"(call $load_by_name (i32.const 256) (i32.const 5000))", -2},
    };
    check_codes(*state, "Once", extra, cases, sizeof(cases) / sizeof(cases[0]));
}

/* A model of random weights and without a tokenizer comes as the prompt. */
static void test_store_and_remove(void **state)
{
    struct rig *rig = *state;
    struct model_spec spec = model_spec_default();
    spec.width = 64;
    spec.ffn = 64;
    spec.vocab = 64;
    spec.type = DTYPE_F32;
    struct outcome out;
    struct wasm_tenant *small;
    struct wasm_request r = request_of(rig, "");
    uint8_t *gguf = model_file_make(&spec, &r.prompt_bytes);
    r.prompt = (const char *)gguf;
    assert_int_equal(wasm_tenant_open(&r.tenant, rig->host, rig->engine, "storing", 0), 0);
    assert_int_equal(wasm_tenant_open(&small, rig->host, rig->engine, "small", 1000), 0);
#define STORE "(call $store_model (local.get $p) (local.get $n) (i32.const 0))"
    int32_t id = code_of(rig, &r, "", STORE, &out);
    assert_true(id > 0);
    assert_int_equal(code_of(rig, &r, "",
                             "(call $store_model (local.get $p) (local.get $n)"
                             " (i32.const 77))",
                             &out),
                     77);
    assert_int_equal(code_of(rig, &r, "",
                             "(call $generate (i32.const 77) (i32.const 72)"
                             " (i32.const 1) (i32.const 0) (i32.const 4096)"
                             " (i32.const 100))",
                             &out),
                     -7);
    assert_int_equal(code_of(rig, &r, "",
                             "(drop (call $get_model_info (i32.const 77)"
                             " (i32.const 128) (i32.const 136)))"
                             "(i32.load (i32.const 128))",
                             &out),
                     2 * 9 + 2 + spec.own_output);
    /* Another tenant does not have it, and one with less room may not. */
    struct wasm_tenant *mine = r.tenant;
    r.tenant = rig->tenant;
    assert_int_equal(code_of(rig, &r, "", "(call $remove_model (i32.const 77))", &out), -5);
    r.tenant = small;
    assert_int_equal(code_of(rig, &r, "", STORE, &out), -12);
    r.tenant = mine;
    assert_int_equal(code_of(rig, &r, "",
                             "(call $store_model (local.get $p) (i32.sub"
                             " (local.get $n) (i32.const 9)) (i32.const 0))",
                             &out),
                     -10);
    assert_int_equal(code_of(rig, &r, "",
                             "(call $store_model (i32.const -4) (local.get $n)"
                             " (i32.const 0))",
                             &out),
                     -3);
    assert_int_equal(code_of(rig, &r, "",
                             "(call $store_model (local.get $p) (local.get $n)"
                             " (i32.const -1))",
                             &out),
                     -2);
    assert_int_equal(code_of(rig, &r, "", "(call $remove_model (i32.const 77))", &out), 0);
    assert_int_equal(code_of(rig, &r, "", "(call $remove_model (i32.const 77))", &out), -5);
    assert_int_equal(code_of(rig, &r, "", "(call $remove_model (i32.const 0))", &out), -5);
    /* One more than the seven that are still free. */
    for (int i = 0; i < 7; i++)
        assert_true(code_of(rig, &r, "", STORE, &out) > 0);
    assert_int_equal(code_of(rig, &r, "", STORE, &out), -12);
    wasm_tenant_close(small);
    wasm_tenant_close(mine);
    free(gguf);
}

/* Stores as many as t may have; what they take together. */
static uint64_t store_all(struct wasm_tenant *t, const void *gguf, size_t n)
{
    struct realm_error err;
    uint32_t id = 0, stored = 0;
    while (tenant_add_bytes(t, gguf, n, NULL, &id, &err) == 0) {
        id = 0;
        stored++;
    }
    return stored;
}

/* However many tenants store all that they may, the operator's models still load. */
static void test_stores_of_many(void **state)
{
    enum { TENANTS = 12 };
    struct rig *rig = *state;
    struct model_spec spec = model_spec_default();
    struct realm_model_info tiny;
    struct realm_error err = {0};
    struct wasm_tenant *tenants[TENANTS];
    struct realm_model *m;
    struct realm *engine;
    uint64_t stored[TENANTS];
    size_t n;
    spec.width = spec.ffn = spec.vocab = 64;
    spec.type = DTYPE_F32;
    uint8_t *gguf = model_file_make(&spec, &n);
    realm_model_info(rig->model, &tiny);
    const struct realm_options options = {.threads = 1,
                                          .bytes_max = 4 * tiny.reserved_bytes + (1 << 20),
                                          .kv_bytes_max = 1 << 20,
                                          .load_wait_ms = 100};
    assert_int_equal(realm_open(&engine, &options, &err), 0);
    for (int i = 0; i < TENANTS; i++) {
        assert_int_equal(wasm_tenant_open(&tenants[i], rig->host, engine, "storing", 0), 0);
        stored[i] = store_all(tenants[i], gguf, n);
    }
    assert_true(stored[0] > 1 && stored[1] > 0 && stored[TENANTS - 1] == 0);
    if (realm_model_open(&m, engine, tiny_path, NULL, &err))
        fail_msg("%s", err.message);
    realm_model_close(m);
    /* What one lets go of another may have. */
    wasm_tenant_close(tenants[0]);
    for (int i = 0; store_all(tenants[TENANTS - 1], gguf, n) == 0; i++)
        assert_true(i < 300); // the thread that gives up memory may come to it late
    for (int i = 1; i < TENANTS; i++)
        wasm_tenant_close(tenants[i]);
    realm_close(engine);
    free(gguf);
}

static void test_model_info(void **state)
{
    struct rig *rig = *state;
    struct wasm_request r = request_of(rig, "x");
    struct realm_model_info info;
    struct outcome out;
    realm_model_info(rig->model, &info);
#define INFO "(drop (call $get_model_info (i32.const 0) (i32.const 128) (i32.const 136)))"
    assert_int_equal(code_of(rig, &r, "", INFO "(i32.load (i32.const 128))", &out), info.tensors);
    assert_int_equal(code_of(rig, &r, "", INFO "(i32.load (i32.const 136))", &out),
                     (int32_t)info.tensor_bytes);
    assert_int_equal(code_of(rig, &r, "", INFO "(i32.load (i32.const 140))", &out), 0);
    static const struct bad cases[] = {
        {"(call $get_model_info (i32.const 0) (i32.const 128) (i32.const 136))", 0},
        {"(call $get_model_info (i32.const 9) (i32.const 128) (i32.const 136))", -5},
        {"(call $get_model_info (i32.const 0) (i32.const -2) (i32.const 136))", -6},
        {"(call $get_model_info (i32.const 0) (i32.const 128) (i32.const -7))", -6},
        {"(call $get_model_metadata (i32.const 9) (i32.const 128) (i32.const 1000))", -5},
        {"(call $get_model_metadata (i32.const 0) (i32.const 128) (i32.const 9))", -5},
        {"(call $get_model_metadata (i32.const 0) (i32.const -5) (i32.const 1000))", -6},
    };
    check_codes(rig, "x", "", cases, sizeof(cases) / sizeof(cases[0]));
    code_of(rig, &r, "",
            STREAM_TEXT("(call $get_model_metadata (i32.const 0) (i32.const 4096)"
                        " (i32.const 1000))"),
            &out);
    json_t *meta = json_loadb(out.streamed, out.streamed_n, 0, NULL);
    const json_t *config = json_object_get(meta, "config");
    assert_int_equal(json_integer_value(json_object_get(config, "vocab_size")), info.vocab_size);
    assert_int_equal(json_integer_value(json_object_get(config, "num_kv_heads")),
                     info.num_kv_heads);
    assert_int_equal(json_integer_value(json_object_get(config, "max_seq_len")),
                     info.context_tokens);
    assert_int_equal(json_object_size(config), 9);
    assert_true(json_is_true(json_object_get(meta, "has_tokenizer")));
    json_decref(meta);
}

static void test_tokens(void **state)
{
    struct rig *rig = *state;
    static const char text[] = "Once upon a time, <|im_start|> \xC3\xA9";
    struct wasm_request r = request_of(rig, text);
    struct outcome out;
    uint32_t ids[64];
    size_t n;
    assert_int_equal(realm_tokenize(rig->model, text, strlen(text), 0, ids, 64, &n), 0);
#define ENCODE                                                                       \
    "(local.set $c (call $encode_tokens (i32.const 0) (local.get $p) (local.get $n)" \
    " (i32.const 4096) (i32.const 64)))"
    assert_int_equal(code_of(rig, &r, "", ENCODE "(local.get $c)", &out), (int32_t)n);
    for (size_t i = 0; i < n; i++) {
        char body[256];
        snprintf(body, sizeof(body), ENCODE "(i32.load (i32.const %zu))", 4096 + 4 * i);
        assert_int_equal(code_of(rig, &r, "", body, &out), (int32_t)ids[i]);
    }
    code_of(rig, &r, "",
            ENCODE "(local.set $c (call $decode_tokens (i32.const 0) (i32.const 4096)"
                   " (local.get $c) (i32.const 8192) (i32.const 100)))"
                   "(call $stream_token (i32.const 8192) (local.get $c))",
            &out);
    assert_int_equal(out.streamed_n, strlen(text));
    assert_memory_equal(out.streamed, text, strlen(text));
    static const struct bad cases[] = {
        {"(call $encode_tokens (i32.const 5) (local.get $p) (local.get $n) (i32.const 0)"
         " (i32.const 9))",
         -5},
        {"(call $encode_tokens (i32.const 0) (i32.const -9) (local.get $n) (i32.const 0)"
         " (i32.const 9))",
         -3},
        {"(call $encode_tokens (i32.const 0) (local.get $p) (local.get $n) (i32.const 0)"
         " (i32.const 3))",
         -5},
        {"(call $encode_tokens (i32.const 0) (local.get $p) (local.get $n) (i32.const 0)"
         " (i32.const 0x40000001))",
         -6},
        {"(call $encode_tokens (i32.const 0) (local.get $p) (i32.const 0) (i32.const -1)"
         " (i32.const 0))",
         0},
        {"(call $encode_tokens (i32.const 0) (i32.const 256) (i32.const 1) (i32.const 0)"
         " (i32.const 9))",
         -4},
        {"(call $decode_tokens (i32.const 0) (i32.const 128) (i32.const 0x40000000)"
         " (i32.const 0) (i32.const 9))",
         -2},
        {"(call $decode_tokens (i32.const 0) (i32.const 128) (i32.const 500000)"
         " (i32.const 0) (i32.const 9))",
         -3},
        {"(call $decode_tokens (i32.const 0) (i32.const 256) (i32.const 1) (i32.const 0)"
         " (i32.const 9))",
         -2},
        {"(call $decode_tokens (i32.const 0) (i32.const 260) (i32.const 1) (i32.const -1)"
         " (i32.const 9))",
         -6},
        {"(call $decode_tokens (i32.const 0) (i32.const 260) (i32.const 1) (i32.const 0)"
         " (i32.const 0))",
         -5},
        {"(call $decode_tokens (i32.const 6) (i32.const 260) (i32.const 1) (i32.const 0)"
         " (i32.const 9))",
         -5},
    };
    check_codes(rig, text, "(data (i32.const 256) \"\\ff\\ff\\ff\\ff\\64\\00\\00\\00\")", cases,
                sizeof(cases) / sizeof(cases[0]));
}

static void test_stream(void **state)
{
    struct rig *rig = *state;
    struct wasm_request r = request_of(rig, "one two");
    struct outcome out;
    static const struct bad cases[] = {
        {"(call $stream_token (i32.const 0) (i32.const 0))", 0},
        {"(call $stream_token (i32.const -1) (i32.const 0))", 0},
        {"(call $stream_token (i32.const -1) (i32.const 2))", -3},
        {"(call $stream_token (i32.const 256) (i32.const 1))", -4},
    };
    check_codes(rig, "x", "(data (i32.const 256) \"\\c3\\a9\")", cases,
                sizeof(cases) / sizeof(cases[0]));
    assert_int_equal(code_of(rig, &r, "",
                             "(drop (call $stream_token (i32.add (local.get $p) (i32.const 4))"
                             " (i32.const 3)))(call $stream_token (local.get $p) (i32.const 3))",
                             &out),
                     0);
    assert_memory_equal(out.streamed, "twoone", 6);
    assert_int_equal(out.streamed_n, 6);
    /* A caller who is gone ends the request. */
    struct wasm_guest *g;
    char *text = guest_text("", "(call $stream_token (local.get $p) (i32.const 3))");
    assert_int_equal(guest_from_text(rig->host, text, &g, &out.err), 0);
    out.deaf = true;
    run_guest(g, &r, &out);
    assert_int_equal(out.status, REALM_E_CANCELLED);
    wasm_guest_close(g);
    free(text);
}

static void test_last_error(void **state)
{
    struct rig *rig = *state;
    struct wasm_request r = request_of(rig, "x");
    struct outcome out;
    assert_int_equal(
        code_of(rig, &r, "", "(call $last_error (i32.const 4096) (i32.const 500))", &out), 0);
    code_of(rig, &r, "",
            "(drop (call $generate (i32.const 0) (local.get $p) (local.get $n) (local.get $o)"
            " (i32.const 4096) (i32.const 1)))" STREAM_TEXT(
                "(call $last_error (i32.const 4096) (i32.const 500))"),
            &out);
    out.streamed[out.streamed_n] = '\0';
    assert_non_null(strstr(out.streamed, "there are 1"));
    assert_int_equal(code_of(rig, &r, "",
                             "(drop (call $remove_model (i32.const 9)))"
                             "(call $last_error (i32.const 4096) (i32.const 7))",
                             &out),
                     7);
    assert_int_equal(
        code_of(rig, &r, "", "(call $last_error (i32.const -4) (i32.const 500))", &out), -6);
}

static void test_chat(void **state)
{
    struct rig *rig = *state;
    static const char body[] = "{\"messages\":[{\"role\":\"user\",\"content\":\"Where is Rome?\"}],"
                               "\"temperature\":0,\"max_tokens\":12,\"repetition_penalty\":1.1,"
                               "\"top_p\":0.9,\"top_k\":40,\"stream\":true,\"whatever\":[]}";
    struct wasm_request r = request_of(rig, body);
    struct outcome out;
    json_t *request = json_loads(body, 0, NULL);
    struct wasm_request same = request_of(rig, "");
    same.messages = json_object_get(request, "messages");
    char *wanted = direct_answer(rig, &same);
    code_of(rig, &r, "",
            STREAM_TEXT("(call $chat (local.get $p) (local.get $n) (i32.const 4096)"
                        " (i32.const 8192))"),
            &out);
    json_t *answer = json_loadb(out.streamed, out.streamed_n, 0, NULL);
    const json_t *choice = json_array_get(json_object_get(answer, "choices"), 0);
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(choice, "message"), "content")), wanted);
    const json_t *usage = json_object_get(answer, "usage");
    assert_int_equal(json_integer_value(json_object_get(usage, "prompt_tokens")),
                     out.result.prompt_tokens);
    assert_int_equal(json_integer_value(json_object_get(usage, "completion_tokens")),
                     out.result.completion_tokens);
    json_decref(answer);
    json_decref(request);
    free(wanted);
}

/* The prompt is the request. */
static void test_chat_codes(void **state)
{
    struct rig *rig = *state;
    static const char *const bad[] = {
        "",
        "[]",
        "{",
        "{}",
        "{\"messages\":[]}",
        "{\"messages\":[{\"role\":\"nobody\",\"content\":\"x\"}]}",
        "{\"prompt\":\"x\"}",
        "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"top_p\":0}",
        "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"top_p\":\"1\"}",
        "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"max_tokens\":0}",
        "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"n\":2}",
        "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"stop\":[\"\"]}",
        "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"stop\":7}",
        "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"model\":[]}",
        "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"seed\":1,\"seed\":2}",
    };
    struct outcome out;
#define CHAT "(call $chat (local.get $p) (local.get $n) (i32.const 4096) (i32.const 8192))"
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct wasm_request r = request_of(rig, bad[i]);
        int32_t code = code_of(rig, &r, "", CHAT, &out);
        if (code != -2)
            fail_msg("%s: %d", bad[i], code);
    }
    char deep[400];
    memset(deep, '[', sizeof(deep));
    deep[sizeof(deep) - 1] = '\0';
    struct wasm_request r = request_of(rig, deep);
    assert_int_equal(code_of(rig, &r, "", CHAT, &out), -2);
    r = request_of(rig, "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"model\":\"no\"}");
    assert_int_equal(code_of(rig, &r, "", CHAT, &out), -5);
    r = request_of(rig, "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"model\":12}");
    assert_int_equal(code_of(rig, &r, "", CHAT, &out), -5);
    r = request_of(rig, "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],"
                        "\"model\":\"tiny-q8_0\",\"stop\":[\"a\",\"b\"],\"max_tokens\":3}");
    assert_true(code_of(rig, &r, "", CHAT, &out) > 0);
    assert_int_equal(code_of(rig, &r, "",
                             "(call $chat (local.get $p) (local.get $n)"
                             " (i32.const 4096) (i32.const 20))",
                             &out),
                     -5);
    assert_int_equal(code_of(rig, &r, "",
                             "(call $chat (local.get $p) (local.get $n)"
                             " (i32.const -1) (i32.const 20))",
                             &out),
                     -6);
    assert_int_equal(code_of(rig, &r, "",
                             "(call $chat (i32.const -1) (local.get $n)"
                             " (i32.const 4096) (i32.const 20))",
                             &out),
                     -3);
}

static const char COMPLETION[] =
    "{\"prompt\":\"Once upon a time\",\"temperature\":0,\"max_tokens\":12,"
    "\"repetition_penalty\":1.1,\"top_p\":0.9,\"top_k\":40}";

#define START "(local.set $h (call $generate_start (local.get $p) (local.get $n)))"

/* W09: handles that are forged, stale or closed. */
static void test_handles(void **state)
{
    struct rig *rig = *state;
    struct wasm_request r = request_of(rig, COMPLETION), same = request_of(rig, "Once upon a time");
    struct outcome out;
    char *wanted = direct_answer(rig, &same);
    int32_t code = code_of(
        rig, &r, "",
        START "(loop $more (local.set $c (call $generate_next (local.get $h) (i32.const 4096)"
              " (i32.const 5)))"
              "(if (i32.gt_s (local.get $c) (i32.const 0)) (then (drop (call $stream_token"
              " (i32.const 4096) (local.get $c))) (br $more))))"
              "(i32.add (local.get $c) (call $generate_end (local.get $h)))",
        &out);
    assert_int_equal(code, 0);
    out.streamed[out.streamed_n] = '\0';
    assert_string_equal(out.streamed, wanted);
    assert_int_equal(out.result.completion_tokens, 12);
    free(wanted);
    static const struct bad cases[] = {
        {START "(drop (call $generate_end (local.get $h))) (call $generate_end (local.get $h))",
         -2},
        {START "(drop (call $generate_end (local.get $h))) (drop (call $generate_start"
               " (local.get $p) (local.get $n))) (call $generate_next (local.get $h)"
               " (i32.const 4096) (i32.const 100))",
         -2},
        {"(call $generate_next (i32.const 1) (i32.const 4096) (i32.const 100))", -2},
        {"(call $generate_next (i32.const 0) (i32.const 4096) (i32.const 100))", -2},
        {"(call $generate_next (i32.const -1) (i32.const 4096) (i32.const 100))", -2},
        {START "(call $generate_next (local.get $h) (i32.const -1) (i32.const 100))", -6},
        {START "(call $generate_next (local.get $h) (i32.const 4096) (i32.const 0))", -5},
        {"(loop $more (local.set $c (call $generate_start (local.get $p) (local.get $n)))"
         "(local.set $i (i32.add (local.get $i) (i32.const 1)))"
         "(br_if $more (i32.gt_s (local.get $c) (i32.const 0))))"
         "(i32.sub (local.get $c) (i32.mul (local.get $i) (i32.const 1000)))",
         -17012},
        {"(call $generate_start (i32.const 128) (i32.const 2))", -2},
        {"(call $generate_start (i32.const -1) (i32.const 2))", -3},
    };
    check_codes(rig, COMPLETION, "(data (i32.const 128) \"{}\")", cases,
                sizeof(cases) / sizeof(cases[0]));
}

int wasm_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_generate),       cmocka_unit_test(test_generate_in_place),
        cmocka_unit_test(test_generate_codes), cmocka_unit_test(test_generate_chat),
        cmocka_unit_test(test_load_by_name),   cmocka_unit_test(test_store_and_remove),
        cmocka_unit_test(test_stores_of_many), cmocka_unit_test(test_model_info),
        cmocka_unit_test(test_tokens),         cmocka_unit_test(test_stream),
        cmocka_unit_test(test_last_error),     cmocka_unit_test(test_chat),
        cmocka_unit_test(test_chat_codes),     cmocka_unit_test(test_handles),
    };
    return cmocka_run_group_tests(tests, rig_setup, rig_teardown);
}
