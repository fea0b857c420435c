/* BPE whose tokens are spelled as they are: with U+2581 for spaces, as Gemma's, and without
 * spaces. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "make.h"

static struct small s;

static struct vocab *open_made(void)
{
    struct vocab *v;
    struct realm_error err = {0};
    if (small_open(&s, &v, &err))
        fail_msg("%s", err.message);
    return v;
}

static void check(const struct vocab *v, const char *text, unsigned flags, const char *want)
{
    static uint32_t ids[SMALL_IDS];
    static char got[4096];
    (void)small_encode(v, text, flags, ids, got);
    assert_string_equal(got, want);
}

static void add_merge(const char *merge, const char *joined)
{
    small_add(&s, joined, TOKEN_NORMAL, 0);
    s.merges[s.n_merges++] = slice_of(merge);
}

static uint32_t find(const char *text)
{
    for (uint32_t id = 0; id < s.n; id++) {
        if (slice_is(s.tokens[id], text))
            return id;
    }
    fail_msg("no token \"%s\"", text);
    return 0;
}

static void gemma(void **state)
{
    (void)state;
    small_plain(&s);
    struct vocab *v = open_made();
    check(v, "", 0, "");
    check(v, "the the", 0, "the|\u2581the");
    check(v, "  the", 0, "\u2581\u2581|the"); // the pair of spaces comes first in the list
    check(v, "a\n\n\nthe", 0, "a|\n\n|\n|the");
    check(v, "\u00f6a!", 0, "<0xC3>|<0xB6>|a|<0x21>");
    check(v, "\u2581the", 0, "\u2581the");
    check(v, "the<turn|>", VOCAB_SPECIAL | VOCAB_BOS, "<bos>|the|<turn|>");
    struct slice piece = vocab_piece(v, find("\u2581the"), false);
    assert_true(slice_is(piece, " the"));
    assert_true(vocab_is_end(v, find("<turn|>")));
    vocab_close(v);
}

/* The first files of Gemma 4 said that it adds none. */
static void bos(void **state)
{
    (void)state;
    static const struct {
        const char *model, *pre;
        bool adds;
    } files[] = {{"gemma4", NULL, true},
                 {"gpt2", "granite-embed-multi-311m", true},
                 {"gpt2", "sarvam-moe", false}};
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        struct make m;
        struct vocab *v;
        small_plain(&s);
        s.model = files[i].model;
        s.pre = files[i].pre;
        make_init(&m);
        small_write(&s, &m);
        make_bool(&m, "tokenizer.ggml.add_bos_token", false);
        struct gguf *g = make_gguf(&m);
        assert_int_equal(vocab_open(&v, g, NULL), 0);
        assert_int_equal(vocab_adds_bos(v), files[i].adds);
        vocab_close(v);
        gguf_close(g);
        make_free(&m);
    }
}

/* Bytes are normal tokens, and runs of spaces the user's, which the merges know as U+2581. */
static void another_converter(void **state)
{
    (void)state;
    small_plain(&s);
    s.model = "gpt2";
    s.pre = "sarvam-moe";
    for (uint32_t id = 0; id < s.n; id++)
        s.types[id] = s.types[id] == TOKEN_BYTE ? TOKEN_NORMAL : s.types[id];
    uint32_t spaces = find("\u2581\u2581");
    s.tokens[spaces] = slice_of("  ");
    s.types[spaces] = TOKEN_USER_DEFINED;
    struct vocab *v = open_made();
    check(v, "a  the   \u00f6", 0, "a|  |the|  |\u2581|<0xC3>|<0xB6>");
    check(v, "\u2581\u2581", 0, "  ");
    assert_int_equal(vocab_kind(v, find("<0xC3>")), TOKEN_BYTE);
    assert_int_equal(vocab_piece(v, find("<0xC3>"), false).n, 1);
    vocab_close(v);
    s.merges[0] = slice_of("\u2581 \u2581t"); // a token that there is not
    struct realm_error err = {0};
    assert_int_equal(small_open(&s, &v, &err), REALM_E_FORMAT);
    assert_non_null(strstr(err.message, "merge 0: no token"));
}

static void over_a_line(void **state)
{
    (void)state;
    small_plain(&s);
    add_merge("o \n", "o\n");
    struct vocab *v = open_made();
    check(v, "ao\nll", 0, "a|o\n|ll");
    vocab_close(v);
}

static void words_without_spaces(void **state)
{
    (void)state;
    small_plain(&s);
    s.model = "whitespace";
    struct vocab *v = open_made();
    check(v, "the  (all)\nThe", 0, "the|(|a|ll|<0x29>|<0x54>|h|e");
    vocab_close(v);
    for (uint32_t id = 0; id < s.n; id++) { // as the model has it: no bytes
        if (s.types[id] == TOKEN_BYTE)
            s.tokens[id] = slice_of("");
        s.types[id] = s.types[id] == TOKEN_BYTE ? TOKEN_UNUSED : s.types[id];
    }
    struct make m;
    make_init(&m);
    small_write(&s, &m);
    make_bool(&m, "tokenizer.ggml.normalizer.lowercase", true);
    struct gguf *g = make_gguf(&m);
    assert_int_equal(vocab_open(&v, g, NULL), 0);
    check(v, " The \u0130\u00f6\t\u3000", 0, "the|<unk>|<unk>|<unk>"); // an i and its dot
    check(v, " \n", 0, "");
    vocab_close(v);
    gguf_close(g);
    make_free(&m);
    assert_int_equal(mem_live(), 0);
}

static void memory_fails(void **state)
{
    (void)state;
    small_plain(&s);
    small_memory_fails(&s, "the the\n\u00f6", 5);
    s.model = "whitespace";
    small_memory_fails(&s, "the (\u00f6", 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gemma),
        cmocka_unit_test(bos),
        cmocka_unit_test(another_converter),
        cmocka_unit_test(over_a_line),
        cmocka_unit_test(words_without_spaces),
        cmocka_unit_test(memory_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
