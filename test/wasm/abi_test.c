/* docs/guest-abi.md against guests: each import that it offers is called by one
 * and does its work, and each that it says is not there ends the guest with its
 * name.  An import that is written down and called by nobody fails this test. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model_file.h"
#include "util.h"

#define REQUEST "{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}],\"max_tokens\":2}"

struct import {
    const char *name, *body;
    int32_t least, most;
};

/* At 256: the chat request; at 512: the name of the tiny model.  The prompt is the
 * bytes of a small model. */
#define TEXT "(i32.const 512) (i32.const 9)"
#define OUT "(i32.const 4096) (i32.const 8192)"

static const struct import offered[] = {
    {"realm_host_generate", "(call $generate (i32.const 0) " TEXT " (local.get $o) " OUT ")", 1,
     8192},
    {"realm_stream_token", "(call $stream_token " TEXT ")", 0, 0},
    {"realm_chat", "(call $chat (i32.const 256) (i32.const %zu) " OUT ")", 20, 8192},
    {"realm_generate_start", "(call $generate_start (i32.const 256) (i32.const %zu))", 1,
     INT32_MAX},
    {"realm_generate_next",
     "(call $generate_next (call $generate_start (i32.const 256) (i32.const %zu)) " OUT ")", 0,
     8192},
    {"realm_generate_end",
     "(call $generate_end (call $generate_start (i32.const 256) (i32.const %zu)))", 0, 0},
    {"realm_last_error", "(drop (call $remove_model (i32.const 12345))) (call $last_error " OUT ")",
     10, 8192},
    {"realm_host_load_model_by_name", "(call $load_by_name " TEXT ")", 1, INT32_MAX},
    {"realm_store_model", "(call $store_model (local.get $p) (local.get $n) (i32.const 77))", 77,
     77},
    {"realm_remove_model",
     "(call $remove_model (call $store_model (local.get $p) (local.get $n) (i32.const 0)))", 0, 0},
    {"realm_get_model_info", "(call $get_model_info (i32.const 0) (i32.const 128) (i32.const 136))",
     0, 0},
    {"realm_get_model_metadata", "(call $get_model_metadata (i32.const 0) " OUT ")", 100, 8192},
    {"realm_encode_tokens", "(call $encode_tokens (i32.const 0) " TEXT " " OUT ")", 1, 9},
    {"realm_decode_tokens",
     "(call $decode_tokens (i32.const 0) (i32.const 4096)"
     " (call $encode_tokens (i32.const 0) " TEXT " " OUT ") (i32.const 8192) (i32.const 100))",
     9, 9},
};

static char *doc;

static void test_each_import_is_called(void **state)
{
    struct rig *rig = *state;
    struct model_spec spec = model_spec_default();
    spec.width = spec.ffn = spec.vocab = 64;
    spec.type = DTYPE_F32;
    struct wasm_request r = request_of(rig, "");
    struct outcome out;
    char extra[256];
    uint8_t *gguf = model_file_make(&spec, &r.prompt_bytes);
    r.prompt = (const char *)gguf;
    snprintf(extra, sizeof(extra),
             "(data (i32.const 256) \"{\\22messages\\22:[{\\22role\\22:\\22user\\22,"
             "\\22content\\22:\\22Hi\\22}],\\22max_tokens\\22:2}\")"
             "(data (i32.const 512) \"tiny-q8_0\")");
    for (size_t i = 0; i < ARRAY_LEN(offered); i++) {
        char body[512];
        const char *length = strstr(offered[i].body, "%zu");
        if (length)
            snprintf(body, sizeof(body), "%.*s%zu%s", (int)(length - offered[i].body),
                     offered[i].body, strlen(REQUEST), length + 3);
        else
            snprintf(body, sizeof(body), "%s", offered[i].body);
        int32_t code = code_of(rig, &r, extra, body, &out);
        if (code < offered[i].least || code > offered[i].most)
            fail_msg("%s: %d", offered[i].name, code);
        assert_true(out.result.host_calls > 0);
    }
    free(gguf);
}

/* The next name of an import in backticks, from *at on and before end. */
static bool next_name(const char **at, const char *end, char name[64])
{
    static const char *const begins[] = {"`realm_", "`candle_"};
    for (const char *p = *at; p < end; p++) {
        bool begin = false;
        for (size_t i = 0; i < ARRAY_LEN(begins); i++)
            begin |= strncmp(p, begins[i], strlen(begins[i])) == 0;
        size_t n = begin ? strspn(p + 1, "abcdefghijklmnopqrstuvwxyz_0123456789") : 0;
        if (!begin || p[n] == '_' || n >= 64) // a part of a name, as of a family
            continue;
        snprintf(name, 64, "%.*s", (int)n, p + 1);
        *at = p + n + 1;
        return true;
    }
    return false;
}

/* Where the section of what is not offered begins and ends. */
static const char *absent(const char **end)
{
    const char *from = strstr(doc, "\n## What is not there");
    assert_non_null(from);
    *end = strstr(from + 4, "\n## ");
    if (!*end)
        *end = from + strlen(from);
    return from;
}

static bool is_called(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(offered); i++)
        if (strcmp(offered[i].name, name) == 0)
            return true;
    return false;
}

static void test_what_is_written_is_called(void **state)
{
    const char *at = strstr(doc, "\n## What a guest imports"), *after;
    const char *end = absent(&after);
    char name[64];
    size_t found = 0;
    (void)state;
    assert_non_null(at);
    for (; next_name(&at, end, name); found++)
        if (!is_called(name))
            fail_msg("no guest here calls %s", name);
    assert_true(found >= ARRAY_LEN(offered));
    for (size_t i = 0; i < ARRAY_LEN(offered); i++) {
        char quoted[64];
        snprintf(quoted, sizeof(quoted), "`%s", offered[i].name);
        const char *p = strstr(doc, quoted);
        if (!p || p > end)
            fail_msg("%s is not written down", offered[i].name);
    }
}

static void test_what_is_not_there_says_so(void **state)
{
    struct rig *rig = *state;
    const char *end, *at = absent(&end);
    char name[64], text[512];
    size_t found = 0;
    for (; next_name(&at, end, name); found++) {
        struct wasm_request r = request_of(rig, "x");
        struct wasm_guest *g;
        struct outcome out = {0};
        snprintf(text, sizeof(text),
                 "(module (import \"env\" \"%s\" (func $f (param i32 i64 f32)))"
                 "(memory (export \"memory\") 1) (func (export \"generate\")"
                 " (param i32 i32 i32 i32) (result i32)"
                 " (call $f (i32.const 1) (i64.const 2) (f32.const 3)) (i32.const 8)))",
                 name);
        assert_int_equal(guest_from_text(rig->host, text, &g, &out.err), 0);
        run_guest(g, &r, &out);
        assert_int_equal(out.status, REALM_E_GUEST);
        if (!strstr(out.err.message, name) || !strstr(out.err.message, "not offered yet"))
            fail_msg("%s: %s", name, out.err.message);
        wasm_guest_close(g);
    }
    assert_in_range(found, 8, 20);
}

int wasm_tests(void)
{
    if (n_args != 1)
        return 2;
    size_t n;
    FILE *f = fopen(args[0], "r");
    doc = calloc(1, 1 << 20);
    if (!f || !doc)
        return 2;
    n = fread(doc, 1, (1 << 20) - 1, f);
    fclose(f);
    doc[n] = '\0';
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_import_is_called),
        cmocka_unit_test(test_what_is_written_is_called),
        cmocka_unit_test(test_what_is_not_there_says_so),
    };
    int failed = cmocka_run_group_tests(tests, rig_setup, rig_teardown);
    free(doc);
    return failed;
}
