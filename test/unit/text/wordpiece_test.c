/* WordPiece over a small vocabulary, and vocabularies that it cannot use. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "make.h"
#include "text/detok.h"

static struct small s;

/* The tokens' texts with a bar between them, then what they decode to. */
static void check(const struct vocab *v, const char *text, unsigned flags, const char *want,
                  const char *back)
{
    uint32_t ids[SMALL_IDS];
    char got[4096], out[4096];
    struct detok d;
    size_t n = small_encode(v, text, flags, ids, got), out_n = 0;
    detok_init(&d, v, true, false);
    for (size_t i = 0; i < n; i++)
        out_n += detok_push(&d, ids[i], out + out_n);
    out[out_n] = 0;
    assert_string_equal(got, want);
    assert_string_equal(out, back);
}

static void words(void **state)
{
    (void)state;
    struct vocab *v;
    small_wordpiece(&s);
    assert_int_equal(small_open(&s, &v, NULL), 0);
    check(v, "", 0, "", "");
    check(v, " \n\t ", 0, "", "");
    check(v, "hello", VOCAB_BOS | VOCAB_END, "[CLS]|\u2581hello|[SEP]", "hello");
    check(v, "Héllo", 0, "\u2581hello", "hello"); // bare and small
    check(v, "HELLOllo hellos", 0, "\u2581hello|llo|\u2581hello|s", "hellollo hellos");
    check(v, "hellox in", 0, "[UNK]|\u2581in", "in"); // no part of an unknown word is known
    check(v, "in.in!", 0, "\u2581in|\u2581.|\u2581in|\u2581!", "in. in!");
    check(v, "a\u4e2da", 0, "\u2581a|\u2581\u4e2d|\u2581a", "a \u4e2d a");
    check(v, "h\u200de", 0, "\u2581he", "he"); // a joiner is dropped
    check(v, "\u2581hello", 0, "[UNK]", "");   // as text it is no mark of a beginning
    check(v, "a\u2581in", 0, "[UNK]", "");
    check(v, "aaaaaa", 0, "\u2581a|aaa|a|a", "aaaaaa");
    check(v, "[SEP]", 0, "[UNK]|[UNK]|[UNK]", "");
    check(v, "a[SEP]in", VOCAB_SPECIAL, "\u2581a|[SEP]|\u2581in", "a in");
    vocab_close(v);
    assert_int_equal(mem_live(), 0);
}

static void long_words_are_unknown(void **state)
{
    (void)state;
    struct vocab *v;
    char text[102];
    uint32_t ids[SMALL_IDS];
    size_t n;
    small_wordpiece(&s);
    assert_int_equal(small_open(&s, &v, NULL), 0);
    memset(text, 'a', sizeof(text));
    assert_int_equal(vocab_encode(v, text, 100, 0, ids, SMALL_IDS, &n), 0);
    assert_int_equal(n, 34);
    assert_int_equal(vocab_encode(v, text, 101, 0, ids, SMALL_IDS, &n), 0);
    assert_int_equal(n, 1);
    assert_int_equal(ids[0], 1);
    vocab_close(v);
}

static void no_unknown_token(void **state)
{
    (void)state;
    struct vocab *v;
    struct realm_error err = {0};
    small_wordpiece(&s);
    s.tokens[1] = slice_of("[???]");
    assert_int_equal(small_open(&s, &v, &err), REALM_E_FORMAT);
    assert_non_null(strstr(err.message, "unknown_token_id is missing"));
    s.unknown = 1;
    assert_int_equal(small_open(&s, &v, &err), 0);
    vocab_close(v);
}

static void memory_fails(void **state)
{
    (void)state;
    small_wordpiece(&s);
    small_memory_fails(&s, "h\u00e9llo in", 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words),
        cmocka_unit_test(long_words_are_unknown),
        cmocka_unit_test(no_unknown_token),
        cmocka_unit_test(memory_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
