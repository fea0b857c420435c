/* The rules by which text is cut into words.  The expected cuts are those that the
 * package `tokenizers` makes by the expressions that the models were published with;
 * # stands between two words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "text/pretok.h"

static const struct {
    const char *pre, *text, *want;
} cases[] = {
    // clang-format off
    {"gpt-2", "I'm 12345, you'LL see: don't!",
     "I#'m# 12345#,# you#'#LL# see#:# don#'t#!"},
    {"gpt-2", "a  b   \012\012  c\015\012",
     "a# # b#   \012\012 # c#\015\012"},
    {"gpt-2", "x=1+22;\011//ok \302\240 \341\240\216\343\200\200z",
     "x#=#1#+#22#;#\011#//#ok# \302\240# \341\240\216#\343\200\200#z"},
    {"gpt-2", "\302\275\331\243 \344\270\255\346\226\207\357\274\201\012 e\314\201",
     "\302\275\331\243# \344\270\255\346\226\207#\357\274\201#\012# e#\314\201"},
    {"starcoder", "I'm 12345, you'LL see: don't!",
     "I#'m# #1#2#3#4#5#,# you#'#LL# see#:# don#'t#!"},
    {"starcoder", "a  b   \012\012  c\015\012",
     "a# # b#   \012\012 # c#\015\012"},
    {"starcoder", "x=1+22;\011//ok \302\240 \341\240\216\343\200\200z",
     "x#=#1#+#2#2#;#\011#//#ok# \302\240# \341\240\216#\343\200\200#z"},
    {"starcoder", "\302\275\331\243 \344\270\255\346\226\207\357\274\201\012 e\314\201",
     "\302\275#\331\243# \344\270\255\346\226\207#\357\274\201#\012# e#\314\201"},
    {"qwen2", "I'm 12345, you'LL see: don't!",
     "I#'m# #1#2#3#4#5#,# you#'LL# see#:# don#'t#!"},
    {"qwen2", "a  b   \012\012  c\015\012",
     "a# # b#   \012\012# # c#\015\012"},
    {"qwen2", "x=1+22;\011//ok \302\240 \341\240\216\343\200\200z",
     "x#=#1#+#2#2#;#\011#//#ok# \302\240# \341\240\216#\343\200\200z"},
    {"qwen2", "\302\275\331\243 \344\270\255\346\226\207\357\274\201\012 e\314\201",
     "\302\275#\331\243# \344\270\255\346\226\207#\357\274\201\012# e#\314\201"},
    {"llama-bpe", "I'm 12345, you'LL see: don't!",
     "I#'m# #123#45#,# you#'LL# see#:# don#'t#!"},
    {"llama-bpe", "a  b   \012\012  c\015\012",
     "a# # b#   \012\012# # c#\015\012"},
    {"llama-bpe", "x=1+22;\011//ok \302\240 \341\240\216\343\200\200z",
     "x#=#1#+#22#;#\011#//#ok# \302\240# \341\240\216#\343\200\200z"},
    {"llama-bpe", "\302\275\331\243 \344\270\255\346\226\207\357\274\201\012 e\314\201",
     "\302\275\331\243# \344\270\255\346\226\207#\357\274\201\012# e#\314\201"},
    {"default", "I'm 12345, you'LL see: don't!",
     "I#'#m# #123#45#,# you#'#LL# see#:# don#'#t#!"},
    {"default", "a  b   \012\012  c\015\012",
     "a# # b#   \012\012 # c#\015\012"},
    {"default", "x=1+22;\011//ok \302\240 \341\240\216\343\200\200z",
     "x#=#1#+#22#;#\011#//#ok# \302\240# \341\240\216#\343\200\200#z"},
    {"default", "\302\275\331\243 \344\270\255\346\226\207\357\274\201\012 e\314\201",
     "\302\275\331\243# \344\270\255\346\226\207#\357\274\201#\012# e#\314\201"},
    // clang-format on
};

static void check_words(const struct pretok *p, const char *text, const char *want)
{
    struct pretok_walk w;
    struct slice word;
    char got[256];
    size_t n = 0;
    int status;
    assert_int_equal(pretok_walk_open(&w, p), 0);
    pretok_walk_start(&w, slice_of(text));
    while ((status = pretok_walk_next(&w, &word)) == 1) {
        assert_true(word.n > 0 && n + word.n + 2 < sizeof(got));
        if (n)
            got[n++] = '#';
        memcpy(got + n, word.p, word.n);
        n += word.n;
    }
    got[n] = 0;
    assert_int_equal(status, 0);
    assert_string_equal(got, want);
    pretok_walk_close(&w);
}

static void words(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct pretok *p;
        assert_int_equal(pretok_open(&p, slice_of(cases[i].pre), NULL), 0);
        check_words(p, cases[i].text, cases[i].want);
        pretok_close(p);
    }
    assert_int_equal(mem_live(), 0);
}

static void names(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "gpt", "gpt-22", "starcoder ", "GPT-2"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct pretok *p;
        struct realm_error err = {0};
        assert_int_equal(pretok_open(&p, slice_of(bad[i]), &err), REALM_E_UNSUPPORTED);
        assert_null(p);
        assert_non_null(strstr(err.message, bad[i]));
    }
}

/* Without the memory to compile an expression to machine code the interpreter
 * must cut the same; without the memory for the rest nothing is opened. */
static void memory_fails(void **state)
{
    (void)state;
    size_t refused = 0, opened = 0;
    for (uint64_t n = 1; n <= 20; n++) {
        const size_t i = n % ARRAY_LEN(cases);
        struct pretok *p;
        mem_fail_at(n, 0);
        int status = pretok_open(&p, slice_of(cases[i].pre), NULL);
        mem_fail_at(0, 0);
        assert_int_equal(status, p ? 0 : REALM_E_NOMEM);
        if (p)
            check_words(p, cases[i].text, cases[i].want);
        opened += p != NULL;
        refused += p == NULL;
        pretok_close(p);
        assert_int_equal(mem_live(), 0);
    }
    assert_true(refused > 4 && opened > 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words),
        cmocka_unit_test(names),
        cmocka_unit_test(memory_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
