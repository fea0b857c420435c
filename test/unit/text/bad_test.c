/* Damaged vocabularies: each is refused with a sentence that names the key, the
 * token or the merge; and memory that fails at any point fails cleanly. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/limits.h"
#include "base/mem.h"
#include "make.h"

static struct small s;

static void refused(int want, const char *words)
{
    struct vocab *v;
    struct realm_error err = {0};
    int status = small_open(&s, &v, &err);
    assert_null(v);
    if (status != want || err.status != want || !strstr(err.message, words))
        fail_msg("status %d \"%s\", want %d with \"%s\"", status, err.message, want, words);
}

static void accepted(void)
{
    struct vocab *v;
    struct realm_error err = {0};
    if (small_open(&s, &v, &err))
        fail_msg("%s", err.message);
    vocab_close(v);
}

static void tokens(void **state)
{
    (void)state;
    small_spm(&s);
    s.tokens[300 - 30] = s.tokens[265];
    refused(REALM_E_FORMAT, "token 270 has the text of token 265");
    small_spm(&s);
    s.tokens[270] = s.tokens[271] = slice_of(""); // nothing spells them: no harm
    accepted();
    static uint8_t large[TOKEN_TEXT_MAX + 1];
    memset(large, 'x', sizeof(large));
    s.tokens[270] = (struct slice){large, TOKEN_SPECIAL_MAX};
    accepted();
    s.tokens[270].n++;
    refused(REALM_E_FORMAT, "token 270 has 257 bytes");
    s.types[270] = TOKEN_CONTROL;
    refused(REALM_E_FORMAT, "token 270 is special and has 257 bytes");
    s.tokens[270].n--;
    accepted();
    small_bpe(&s); // ids are merged, not texts: tokens can be longer
    s.tokens[272] = (struct slice){large, TOKEN_TEXT_MAX};
    s.n_merges--;
    accepted();
    s.tokens[272].n++;
    refused(REALM_E_FORMAT, "token 272 has 65537 bytes");
    small_spm(&s);
    s.n = 0;
    refused(REALM_E_FORMAT, "0 tokens");
    small_spm(&s);
    s.tokens[270] = (struct slice){(const uint8_t *)"\xFF\xC3", 2}; // no text has it
    s.types[270] = TOKEN_USER_DEFINED;
    accepted();
}

static void types_and_scores(void **state)
{
    (void)state;
    static const int32_t wrong[] = {0, 7, -1, INT32_MAX, INT32_MIN};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        small_bpe(&s);
        s.types[100] = wrong[i];
        refused(REALM_E_FORMAT, "token 100 has type");
    }
    small_spm(&s);
    s.scores[262] = NAN;
    refused(REALM_E_FORMAT, "token 262 has no number");
    s.scores[262] = -INFINITY;
    accepted();
}

static void bytes(void **state)
{
    (void)state;
    static const char *const wrong[] = {"<0x-1>", "<0xZZ>", "<0x1>", "<0x100>", "0x41", "<0x1G>"};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        small_spm(&s);
        s.tokens[20] = slice_of(wrong[i]);
        refused(REALM_E_FORMAT, "byte token 20 is spelled");
    }
    small_spm(&s);
    uint32_t id = small_add(&s, "<0xab>", TOKEN_BYTE, 0); // the 257th byte
    assert_int_equal(id, s.n - 1);
    refused(REALM_E_FORMAT, "is byte 171 like token 174");
    small_spm(&s);
    s.types['a' + 3] = TOKEN_NORMAL;
    accepted(); // its letters fall to the unknown token
    s.unknown = -1;
    s.types[0] = TOKEN_NORMAL;
    refused(REALM_E_FORMAT, "byte 0x61 and no unknown token");
    small_bpe(&s);
    s.tokens[0x80] = slice_of("other");
    refused(REALM_E_FORMAT, "byte 0x80 and no unknown token");
    s.unknown = 256;
    accepted();
    small_bpe(&s);
    s.tokens[0xC0] = slice_of("other"); // a byte that no UTF-8 has
    accepted();
}

static void roles(void **state)
{
    (void)state;
    small_spm(&s);
    s.bos = (int64_t)s.n;
    refused(REALM_E_FORMAT, "tokenizer.ggml.bos_token_id: id 288");
    small_spm(&s);
    s.eos = UINT32_MAX;
    refused(REALM_E_FORMAT, "tokenizer.ggml.eos_token_id: id 4294967295");
    small_bpe(&s);
    s.unknown = (int64_t)s.n - 1;
    accepted();
}

static void merges(void **state)
{
    (void)state;
    static const struct {
        const char *merge, *words;
    } wrong[] = {
        {"h q", "merge 3: no token \"hq\""},
        {"zz a", "merge 3: no token \"zz\""},
        {"a zz", "merge 3: no token \"zz\""},
        {"he", "merge 3 is not two tokens"},
        {"he ", "merge 3 is not two tokens"},
        {" ", "merge 3 is not two tokens"},
        {"", "merge 3 is not two tokens"},
        {"<|im_end|> <", "merge 3: token 273 \"<|im_end|>\" is not text"},
    };
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        small_bpe(&s);
        s.merges[3] = slice_of(wrong[i].merge);
        refused(REALM_E_FORMAT, wrong[i].words);
    }
    small_bpe(&s);
    s.merges[3] = s.merges[0]; // twice the same: the first counts
    accepted();
    s.n_merges = 0;
    accepted();
}

/* What a whole GGUF with these changes gives. */
static void gguf_refused(void (*write)(struct make *m), int want, const char *words)
{
    struct make m;
    struct vocab *v;
    struct realm_error err = {0};
    make_init(&m);
    write(&m);
    struct gguf *g = make_gguf(&m);
    assert_non_null(g);
    int status = vocab_open(&v, g, &err);
    if (status != want || v || !strstr(err.message, words))
        fail_msg("status %d \"%s\", want %d with \"%s\"", status, err.message, want, words);
    gguf_close(g);
    make_free(&m);
}

static void no_tokenizer(struct make *m)
{
    make_string(m, "general.architecture", "llama");
}

static void other_tokenizer(struct make *m)
{
    make_string(m, "tokenizer.ggml.model", "rwkv");
}

static void model_no_string(struct make *m)
{
    make_u32(m, "tokenizer.ggml.model", 1);
}

static void no_tokens(struct make *m)
{
    make_string(m, "tokenizer.ggml.model", "llama");
}

static void tokens_no_strings(struct make *m)
{
    make_string(m, "tokenizer.ggml.model", "llama");
    make_i32s(m, "tokenizer.ggml.tokens", (int32_t[]){1, 2}, 2);
}

static const struct slice two[] = {{(const uint8_t *)"a", 1}, {(const uint8_t *)"b", 1}};

static void no_scores(struct make *m)
{
    make_string(m, "tokenizer.ggml.model", "llama");
    make_strings(m, "tokenizer.ggml.tokens", two, 2);
}

static void few_scores(struct make *m)
{
    no_scores(m);
    make_f32s(m, "tokenizer.ggml.scores", (float[]){1}, 1);
}

static void scores_no_floats(struct make *m)
{
    no_scores(m);
    make_i32s(m, "tokenizer.ggml.scores", (int32_t[]){1, 2}, 2);
}

static void many_types(struct make *m)
{
    no_scores(m);
    make_i32s(m, "tokenizer.ggml.token_type", (int32_t[]){1, 1, 1}, 3);
}

static void types_no_ints(struct make *m)
{
    no_scores(m);
    make_f32s(m, "tokenizer.ggml.token_type", (float[]){1, 1}, 2);
}

static void bos_below_zero(struct make *m)
{
    no_scores(m);
    make_f32s(m, "tokenizer.ggml.scores", (float[]){1, 2}, 2);
    make_i32(m, "tokenizer.ggml.bos_token_id", -1);
}

static void prefix_no_bool(struct make *m)
{
    small_spm(&s);
    small_write(&s, m);
    make_u32(m, "tokenizer.ggml.add_space_prefix", 1);
}

static void add_bos_no_bool(struct make *m)
{
    small_spm(&s);
    small_write(&s, m);
    make_u32(m, "tokenizer.ggml.add_bos_token", 1);
}

static void no_merges(struct make *m)
{
    make_string(m, "tokenizer.ggml.model", "gpt2");
    make_strings(m, "tokenizer.ggml.tokens", two, 2);
}

static void unknown_pre(struct make *m)
{
    no_merges(m);
    make_string(m, "tokenizer.ggml.pre", "sixpence");
}

static void keys(void **state)
{
    (void)state;
    gguf_refused(no_tokenizer, REALM_E_NOT_FOUND, "no tokenizer");
    gguf_refused(other_tokenizer, REALM_E_UNSUPPORTED, "\"rwkv\"");
    gguf_refused(model_no_string, REALM_E_FORMAT, "tokenizer.ggml.model");
    gguf_refused(no_tokens, REALM_E_FORMAT, "tokenizer.ggml.tokens is missing");
    gguf_refused(tokens_no_strings, REALM_E_FORMAT, "tokenizer.ggml.tokens");
    gguf_refused(no_scores, REALM_E_FORMAT, "tokenizer.ggml.scores is missing");
    gguf_refused(few_scores, REALM_E_FORMAT, "tokenizer.ggml.scores: 1 items for 2 tokens");
    gguf_refused(scores_no_floats, REALM_E_FORMAT, "tokenizer.ggml.scores");
    gguf_refused(many_types, REALM_E_FORMAT, "tokenizer.ggml.token_type: 3 items for 2 tokens");
    gguf_refused(types_no_ints, REALM_E_FORMAT, "tokenizer.ggml.token_type");
    gguf_refused(bos_below_zero, REALM_E_FORMAT, "tokenizer.ggml.bos_token_id");
    gguf_refused(prefix_no_bool, REALM_E_FORMAT, "tokenizer.ggml.add_space_prefix");
    gguf_refused(add_bos_no_bool, REALM_E_FORMAT, "tokenizer.ggml.add_bos_token");
    gguf_refused(no_merges, REALM_E_FORMAT, "tokenizer.ggml.merges is missing");
    gguf_refused(unknown_pre, REALM_E_UNSUPPORTED, "\"sixpence\"");
}

/* Makes the first, second, third ... allocation fail until none does. */
static void open_with_failing_memory(bool spm, const char *pre)
{
    struct make m;
    make_init(&m);
    if (spm)
        small_spm(&s);
    else
        small_bpe(&s);
    s.pre = pre;
    small_write(&s, &m);
    struct gguf *g = make_gguf(&m);
    assert_non_null(g);
    uint64_t live = mem_live(), failures = 0;
    struct vocab *v = NULL;
    while (!v) {
        struct realm_error err = {0};
        failures++;
        mem_fail_at(failures, failures % 2);
        int status = vocab_open(&v, g, &err);
        mem_fail_at(0, 0);
        assert_true(v ? status == 0 : status == REALM_E_NOMEM && err.status == REALM_E_NOMEM);
        assert_true(v || mem_live() == live);
        assert_true(failures < 1000);
    }
    assert_true(failures > 5);
    vocab_close(v);
    assert_int_equal(mem_live(), live);
    gguf_close(g);
    make_free(&m);
}

static void memory_fails_while_opening(void **state)
{
    (void)state;
    open_with_failing_memory(true, NULL);
    open_with_failing_memory(false, "default");
    open_with_failing_memory(false, "llama-bpe");
}

static void memory_fails_while_encoding(void **state)
{
    (void)state;
    static const char text[] = "hello" VOCAB_GUARD " the<|im_end|>hello <tool>";
    for (int spm = 0; spm < 2; spm++) {
        struct vocab *v;
        if (spm)
            small_spm(&s);
        else
            small_bpe(&s);
        assert_int_equal(small_open(&s, &v, NULL), 0);
        uint64_t live = mem_live(), failures = 0;
        int status = REALM_E_NOMEM;
        while (status) {
            uint32_t ids[128];
            size_t n;
            failures++;
            mem_fail_at(failures, failures % 2);
            status = vocab_encode(v, text, strlen(text), VOCAB_SPECIAL, ids, 128, &n);
            mem_fail_at(0, 0);
            assert_true(status == REALM_E_NOMEM ? n == 0 : status == 0 && n > 5);
            assert_int_equal(mem_live(), live);
        }
        assert_true(failures > 3);
        vocab_close(v);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens),
        cmocka_unit_test(types_and_scores),
        cmocka_unit_test(bytes),
        cmocka_unit_test(roles),
        cmocka_unit_test(merges),
        cmocka_unit_test(keys),
        cmocka_unit_test(memory_fails_while_opening),
        cmocka_unit_test(memory_fails_while_encoding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
