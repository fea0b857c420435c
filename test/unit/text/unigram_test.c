/* Unigram over a small vocabulary, and vocabularies that it cannot use. */
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

static void check(const struct vocab *v, const char *text, unsigned flags, const char *want)
{
    uint32_t ids[SMALL_IDS];
    char got[4096];
    (void)small_encode(v, text, flags, ids, got);
    assert_string_equal(got, want);
}

/* Opens s with the flags of its normaliser. */
static struct vocab *open_with(bool prefix, bool joins)
{
    struct make m;
    struct vocab *v;
    struct realm_error err = {0};
    make_init(&m);
    small_write(&s, &m);
    make_bool(&m, "tokenizer.ggml.add_space_prefix", prefix);
    make_bool(&m, "tokenizer.ggml.remove_extra_whitespaces", joins);
    struct gguf *g = make_gguf(&m);
    assert_non_null(g);
    if (vocab_open(&v, g, &err))
        fail_msg("%s", err.message);
    gguf_close(g);
    make_free(&m);
    return v;
}

static void the_best_sum(void **state)
{
    (void)state;
    small_unigram(&s);
    struct vocab *v = open_with(true, false);
    check(v, "", 0, "");
    check(v, "hello", VOCAB_BOS | VOCAB_END, "\u2581hello|</s>");
    check(v, "hellohello", 0, "\u2581hello|h|e|llo");
    check(v, "aaaa", 0, "\u2581|aa|aa"); // -6, and the token of all four -9
    check(v, "aaa", 0, "\u2581|a|aa");   // of ways that are as good, the first that is found
    check(v, "a  a", 0, "\u2581|a|\u2581\u2581|a");
    check(v, "zz\u00e4a", 0, "\u2581|<unk>|a"); // one for all that is unknown in a row
    check(v, "z z", 0, "\u2581|<unk>|\u2581|<unk>");
    check(v, "a<tool>a", 0, "\u2581|a|<tool>|\u2581|a");
    check(v, "</s>", VOCAB_SPECIAL, "</s>");
    vocab_close(v);
    assert_int_equal(mem_live(), 0);
}

static void spaces(void **state)
{
    (void)state;
    small_unigram(&s);
    struct vocab *v = open_with(true, true);
    check(v, "  a   a ", 0, "\u2581|a|\u2581|a");
    check(v, "   ", 0, "");
    vocab_close(v);
    v = open_with(false, false);
    check(v, "a a ", 0, "a|\u2581|a|\u2581");
    vocab_close(v);
}

static void refused(int want, const char *words)
{
    struct vocab *v;
    struct realm_error err = {0};
    int status = small_open(&s, &v, &err);
    assert_null(v);
    if (status != want || !strstr(err.message, words))
        fail_msg("status %d \"%s\", want %d with \"%s\"", status, err.message, want, words);
}

static void damaged(void **state)
{
    (void)state;
    static uint8_t large[TOKEN_SPECIAL_MAX + 1];
    static const float wrong[] = {NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        small_unigram(&s);
        s.scores[5] = wrong[i];
        refused(REALM_E_FORMAT, "token 5 has no");
    }
    small_unigram(&s);
    memset(large, 'x', sizeof(large));
    s.tokens[4] = (struct slice){large, sizeof(large)};
    refused(REALM_E_FORMAT, "token 4 has 257 bytes");
    small_unigram(&s);
    s.tokens[4] = s.tokens[6];
    refused(REALM_E_FORMAT, "token 6 has the text of token 4");
    small_unigram(&s);
    s.unknown = -1;
    refused(REALM_E_FORMAT, "no unknown token");
    small_unigram(&s);
    s.unknown = 99;
    refused(REALM_E_FORMAT, "unknown_token_id: id 99");
}

static void memory_fails(void **state)
{
    (void)state;
    small_unigram(&s);
    small_memory_fails(&s, "hello a", 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_best_sum),
        cmocka_unit_test(spaces),
        cmocka_unit_test(damaged),
        cmocka_unit_test(memory_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
