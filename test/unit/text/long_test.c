/* Hostile texts of 16 MiB: no tokeniser and no pre-tokeniser takes much longer over one
 * word than over many.  The bound is some twenty times what they take; a tokeniser whose
 * time grows with the square of the text would take days. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/limits.h"
#include "base/mem.h"
#include "make.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { TEXT_BYTES = 1 << 20 };
#else
enum { TEXT_BYTES = 16 << 20 };
#endif
static const double seconds_max = 100;
/* Of 1 MiB and a vocabulary made for it: some three times what they take. */
static const double hostile_seconds_max = 4;

static void encode(const struct vocab *v, const char *name, const char *unit, size_t bytes,
                   double most)
{
    size_t unit_n = strlen(unit), n = bytes / unit_n * unit_n, wanted;
    char *text = mem_alloc(n);
    assert_non_null(text);
    for (size_t i = 0; i < n; i += unit_n)
        memcpy(text + i, unit, unit_n);
    double start = cpu_seconds();
    assert_int_equal(vocab_encode(v, text, n, 0, NULL, 0, &wanted), REALM_E_TOO_SMALL);
    double took = cpu_seconds() - start;
    if (took > most)
        fail_msg("%s over \"%s\": %g s", name, unit, took);
    mem_free(text);
}

static void one_letter(void **state)
{
    (void)state;
    static void (*const makers[])(struct small *) = {small_spm, small_bpe, small_wordpiece,
                                                     small_unigram, small_plain};
    static const char *const names[] = {"SPM", "BPE", "WordPiece", "Unigram", "plain BPE"};
    static struct small s;
    for (size_t i = 0; i < ARRAY_LEN(makers); i++) {
        struct vocab *v;
        makers[i](&s);
        assert_int_equal(small_open(&s, &v, NULL), 0);
        encode(v, names[i], "a", TEXT_BYTES, seconds_max);
        vocab_close(v);
    }
}

/* A letter, twice the letter, three times ...: of SPM each merge hashes all that came of
 * those before, and Unigram walks along all of these from every place. */
static void tokens_of_each_length(void **state)
{
    (void)state;
    static const char *const models[] = {"llama", "t5"};
    static struct small s;
    static char letters[TOKEN_SPECIAL_MAX];
    memset(letters, 'a', sizeof(letters));
    for (size_t i = 0; i < ARRAY_LEN(models); i++) {
        struct vocab *v;
        s = (struct small){.model = models[i], .spm = i == 0, .bos = -1, .eos = -1};
        small_add(&s, "<unk>", TOKEN_UNKNOWN, 0);
        for (size_t n = 1; n <= sizeof(letters); n++) {
            uint32_t id = small_add(&s, "", TOKEN_NORMAL, (float)n); // the longest goes first
            s.tokens[id] = (struct slice){(const uint8_t *)letters, n};
        }
        assert_int_equal(small_open(&s, &v, NULL), 0);
        encode(v, models[i], "a", TEXT_BYTES / 16, hostile_seconds_max);
        vocab_close(v);
    }
}

/* Special tokens that almost stand at every place: what is looked for is so long at most. */
static void almost_special(void **state)
{
    (void)state;
    static struct small s;
    static char letters[TOKEN_SPECIAL_MAX][TOKEN_SPECIAL_MAX + 1];
    struct vocab *v;
    small_bpe(&s);
    for (size_t n = 20; n < TOKEN_SPECIAL_MAX; n++) {
        memset(letters[n], 'a', n);
        letters[n][n] = '!';
        if (s.n < SMALL_MAX)
            small_add(&s, letters[n], TOKEN_USER_DEFINED, 0);
    }
    assert_int_equal(small_open(&s, &v, NULL), 0);
    encode(v, "special tokens", "a", TEXT_BYTES / 16, hostile_seconds_max);
    vocab_close(v);
}

/* Where an expression gives back, or a normaliser puts in order. */
static void pre_tokenisers(void **state)
{
    (void)state;
    static const char *const pres[] = {
        "qwen2",  "qwen35",       "gpt-4o",         "tekken",      "kimi-k2",    "tiny_aya",
        "youtu",  "deepseek-llm", "deepseek-coder", "deepseek-v3", "exaone-moe", "jais-2",
        "falcon", "bailingmoe",   "minicpm5",       "viking",      "seed-coder", "laguna",
        "afmoe",  "superbpe",     "spark2_5",       "ufakzeka"};
    static const char *const units[] = {"A",         "\u4e2d",       "7",       " ", "\n",
                                        " \n",       "\u0301\u0323", "\u4e2dA", "'", "a \u0301",
                                        "7777\u00bd"};
    static struct small s;
    for (size_t i = 0; i < ARRAY_LEN(pres); i++) {
        struct vocab *v;
        small_bpe(&s);
        s.pre = pres[i];
        assert_int_equal(small_open(&s, &v, NULL), 0);
        for (size_t u = 0; u < ARRAY_LEN(units); u++)
            encode(v, pres[i], units[u], TEXT_BYTES / 64, seconds_max);
        vocab_close(v);
    }
}

/* Spaces to which something else comes only at the end. */
static void spaces_before_a_letter(void **state)
{
    (void)state;
    static const char *const pres[] = {"deepseek-llm", "gpt-4o", "jais-2", "bloom", "tiny_aya"};
    static struct small s;
    char *text = mem_alloc(TEXT_BYTES / 16);
    assert_non_null(text);
    for (size_t i = 0; i < ARRAY_LEN(pres); i++) {
        struct vocab *v;
        size_t wanted;
        small_bpe(&s);
        s.pre = pres[i];
        assert_int_equal(small_open(&s, &v, NULL), 0);
        memset(text, pres[i][0] == 't' ? '1' : ' ', TEXT_BYTES / 16);
        text[TEXT_BYTES / 16 - 1] = 'x';
        double start = cpu_seconds();
        assert_int_equal(vocab_encode(v, text, TEXT_BYTES / 16, 0, NULL, 0, &wanted),
                         REALM_E_TOO_SMALL);
        assert_true(cpu_seconds() - start < seconds_max);
        vocab_close(v);
    }
    mem_free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_letter),
        cmocka_unit_test(tokens_of_each_length),
        cmocka_unit_test(almost_special),
        cmocka_unit_test(pre_tokenisers),
        cmocka_unit_test(spaces_before_a_letter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
