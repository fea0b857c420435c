/* Encoding over the two small vocabularies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/rng.h"
#include "base/utf8.h"
#include "make.h"
#include "text/detok.h"

enum { IDS_MAX = 4096 };

static struct vocab *open_small(bool spm)
{
    static struct small s;
    struct vocab *v;
    struct realm_error err = {0};
    if (spm)
        small_spm(&s);
    else
        small_bpe(&s);
    if (small_open(&s, &v, &err))
        fail_msg("%s", err.message);
    return v;
}

/* The tokens' texts with a bar between them. */
static void check(const struct vocab *v, const char *text, unsigned flags, const char *want)
{
    uint32_t ids[IDS_MAX];
    size_t n, at = 0;
    char got[8192];
    assert_true(vocab_bound(v, strlen(text)) <= IDS_MAX);
    assert_int_equal(vocab_encode(v, text, strlen(text), flags, ids, IDS_MAX, &n), 0);
    assert_true(n <= vocab_bound(v, strlen(text)));
    assert_true(n >= vocab_least(v, text, strlen(text), flags));
    got[0] = 0;
    for (size_t i = 0; i < n; i++) {
        struct slice t = vocab_text(v, ids[i]);
        at += (size_t)snprintf(got + at, sizeof(got) - at, "%s%.*s", i ? "|" : "", (int)t.n,
                               (const char *)t.p);
    }
    assert_string_equal(got, want);
}

static void spm_text(void **state)
{
    (void)state;
    struct vocab *v = open_small(true);
    check(v, "", 0, "");
    check(v, "", VOCAB_BOS, "<s>");
    check(v, "hello", VOCAB_BOS, "<s>|\u2581hello");
    check(v, "hello the hello", 0, "\u2581hello|\u2581the|\u2581hello");
    check(v, "the in", 0, "\u2581the|\u2581|in");
    check(v, " ", 0, "\u2581\u2581");
    check(v, "q", 0, "\u2581|<0x71>");
    check(v, "\u00e4\u00f6", 0, "\u2581|\u00e4|<0xC3>|<0xB6>");
    check(v, "\U0001F600", 0, "\u2581|\U0001F600");
    check(v, "\n", 0, "\u2581|<0x0A>");
    vocab_close(v);
}

static void bpe_text(void **state)
{
    (void)state;
    struct vocab *v = open_small(false);
    check(v, "", VOCAB_BOS, ""); // this vocabulary adds none
    check(v, "hello the", 0, "hello|\u0120the");
    check(v, "hellohe", 0, "hello|he");
    check(v, "aaaaa", 0, "aaaaa");
    check(v, "aaaaaaa", 0, "aaaa|aa|a"); // the pairs first, from the left
    check(v, "aaa", 0, "aa|a");
    check(v, "   x", 0, "\u0120\u0120|\u0120|x");
    check(v, "\u00e4!", 0, "\u00c3\u00a4|!");
    check(v, "1212", 0, "12|12");
    vocab_close(v);
}

static void special_tokens(void **state)
{
    (void)state;
    struct vocab *v = open_small(true);
    check(v, "<s>", 0, "\u2581|<0x3C>|s|<0x3E>");
    check(v, "hello</s>the", VOCAB_SPECIAL, "\u2581hello|</s>|\u2581the");
    check(v, "<|end|>", VOCAB_SPECIAL, "<|end|>");
    check(v, "<|end|><|end|><|end|>", VOCAB_SPECIAL, "<|end|><|end|>|<|end|>"); // the longest
    check(v, "<|end|><|end", VOCAB_SPECIAL, "<|end|>|\u2581|<0x3C>|<0x7C>|e|n|<0x64>");
    check(v, "<<tool>", 0, "\u2581|<0x3C>|<tool>"); // user-defined ones need no flag
    check(v, "<<tool>", VOCAB_SPECIAL, "\u2581|<0x3C>|<tool>");
    vocab_close(v);
    v = open_small(false);
    check(v, "the<|im_end|>", 0, "t|he|<|||i|m|_|e|n|d|||>");
    check(v, "the<|im_end|><", VOCAB_SPECIAL, "t|he|<|im_end|><");
    check(v, "the<|im_end|>", VOCAB_SPECIAL, "t|he|<|im_end|>");
    check(v, "<|endoftext|><tool>", 0, "<|||e|n|d|o|f|t|e|x|t|||>|<tool>");
    vocab_close(v);
}

static void guards(void **state)
{
    (void)state;
    struct vocab *v = open_small(true);
    check(v, "<|end" VOCAB_GUARD "|>the</s>", VOCAB_SPECIAL,
          "\u2581|<0x3C>|<0x7C>|e|n|<0x64>|<0x7C>|<0x3E>|t|he|</s>");
    check(v, "<to" VOCAB_GUARD "ol>", VOCAB_SPECIAL, "\u2581|<0x3C>|t|o|o|l|<0x3E>");
    check(v, VOCAB_GUARD "hel" VOCAB_GUARD VOCAB_GUARD "lo" VOCAB_GUARD, VOCAB_SPECIAL,
          "\u2581hello"); // dropped before the text is merged
    check(v, VOCAB_GUARD, VOCAB_SPECIAL | VOCAB_BOS, "<s>");
    check(v, "<s>" VOCAB_GUARD "</s>", VOCAB_SPECIAL, "<s>|\u2581|<0x3C>|<0x2F>|s|<0x3E>");
    check(v, VOCAB_GUARD, 0, "\u2581|<0xEF>|<0xB7>|<0x90>"); // a character like any other
    vocab_close(v);
}

static void find_special(void **state)
{
    (void)state;
    struct vocab *v = open_small(true);
    size_t start, len;
    struct slice text = slice_of("a<|end|><|end|> <s<tool>x</s>");
    assert_true(vocab_find_special(v, text, 0, &start, &len));
    assert_int_equal(start, 1);
    assert_int_equal(len, 14);
    assert_true(vocab_find_special(v, text, 2, &start, &len));
    assert_int_equal(start, 8);
    assert_int_equal(len, 7);
    assert_true(vocab_find_special(v, text, 9, &start, &len));
    assert_int_equal(start, 25); // a user-defined token is text
    assert_int_equal(len, 4);
    assert_false(vocab_find_special(v, text, 26, &start, &len));
    assert_false(vocab_find_special(v, text, text.n, &start, &len));
    vocab_close(v);
}

static void roles_and_pieces(void **state)
{
    (void)state;
    struct small s;
    struct vocab *v;
    small_spm(&s);
    uint32_t im_end = small_add(&s, "<|im_end|>", TOKEN_CONTROL, 0);
    uint32_t plain = small_add(&s, "<|eot_id|>", TOKEN_NORMAL, -100);
    assert_int_equal(small_open(&s, &v, NULL), 0);
    assert_int_equal(vocab_size(v), s.n);
    assert_int_equal(vocab_bos(v), 1);
    assert_int_equal(vocab_eos(v), 2);
    assert_true(vocab_adds_bos(v));
    assert_true(vocab_is_end(v, 2) && vocab_is_end(v, im_end));
    assert_false(vocab_is_end(v, 1) || vocab_is_end(v, plain));
    assert_int_equal(vocab_kind(v, 3), TOKEN_BYTE);
    assert_true(slice_is(vocab_text(v, 3 + 'a'), "<0x61>"));
    assert_true(slice_is(vocab_piece(v, 3 + 'a', false), "a"));
    assert_int_equal(vocab_piece(v, 1, false).n, 0);
    assert_true(slice_is(vocab_piece(v, 1, true), "<s>"));
    assert_true(vocab_bytes(v) > s.n * 32);
    vocab_close(v);
    v = open_small(false);
    assert_false(vocab_adds_bos(v));
    assert_true(slice_is(vocab_piece(v, 0x20, false), " "));
    assert_true(slice_is(vocab_piece(v, 257 + 6, false), " the"));
    vocab_close(v);
}

/* A message of gpt-oss's form ends with what ends a turn of Phi's. */
static void a_message_is_no_turn(void **state)
{
    (void)state;
    struct small s;
    struct vocab *v;
    small_bpe(&s);
    uint32_t end = small_add(&s, "<|end|>", TOKEN_CONTROL, 0);
    uint32_t back = small_add(&s, "<|return|>", TOKEN_CONTROL, 0);
    assert_int_equal(small_open(&s, &v, NULL), 0);
    assert_true(vocab_is_end(v, end) && vocab_is_end(v, back));
    vocab_close(v);
    uint32_t call = small_add(&s, "<|call|>", TOKEN_CONTROL, 0);
    uint32_t start = small_add(&s, "<|start|>", TOKEN_CONTROL, 0);
    s.eos = back;
    assert_int_equal(small_open(&s, &v, NULL), 0);
    assert_true(vocab_is_end(v, back) && vocab_is_end(v, call));
    assert_false(vocab_is_end(v, end) || vocab_is_end(v, start));
    vocab_close(v);
}

static void too_small_and_not_utf8(void **state)
{
    (void)state;
    struct vocab *v = open_small(true);
    uint32_t ids[4] = {7, 7, 7, 7};
    size_t n;
    assert_int_equal(vocab_encode(v, "hello the in", 12, VOCAB_BOS, ids, 2, &n), REALM_E_TOO_SMALL);
    assert_int_equal(n, 5);
    assert_int_equal(ids[0], 1);
    assert_int_equal(ids[2], 7); // nothing beyond max
    assert_int_equal(vocab_encode(v, "hello the in", 12, VOCAB_BOS, NULL, 0, &n),
                     REALM_E_TOO_SMALL);
    assert_int_equal(n, 5);
    assert_int_equal(vocab_encode(v, "hi\xC3", 3, 0, ids, 4, &n), REALM_E_UTF8);
    assert_int_equal(vocab_encode(v, "\xED\xA0\x80", 3, 0, ids, 4, &n), REALM_E_UTF8);
    assert_int_equal(n, 0);
    assert_int_equal(vocab_encode(v, NULL, 0, 0, ids, 4, &n), 0);
    assert_int_equal(n, 0);
    assert_int_equal(vocab_encode(v, "a\0a", 3, 0, ids, 4, &n), 0); // NUL is text
    assert_int_equal(n, 3);
    vocab_close(v);
}

/* Random characters of many kinds. */
static size_t random_text(uint64_t seed, char *out, size_t max)
{
    static const uint32_t some[] = {' ',    ' ',    'a',    'h',     'e',      'l',    'l', 'o',
                                    't',    '1',    '2',    '\n',    '\t',     '\'',   's', 0xE4,
                                    0x3042, 0x85,   0x2581, 0x1F600, 0x10FFFD, 0x0301, '<', '>',
                                    0xA0,   0x180E, 0x2028, '\r',    0xFDD0,   0x7F,   '|', 0};
    size_t n = 0;
    for (uint32_t i = 0; n + 4 <= max; i++) {
        uint32_t r[4];
        rng_philox(seed, 0, i, r);
        if (r[0] % 64 == 0)
            break;
        uint8_t c[4];
        size_t len = utf8_encode(some[r[1] % ARRAY_LEN(some)], c);
        memcpy(out + n, c, len);
        n += len;
    }
    return n;
}

/* No text is lost: the pieces together are the text. */
static void text_comes_back(void **state)
{
    (void)state;
    static const char *const pres[] = {
        "default",        "gpt-2",        "starcoder", "llama-bpe", "stablelm2",
        "falcon",         "gpt-4o",       "tekken",    "kimi-k2",   "tiny_aya",
        "deepseek-coder", "deepseek-llm", "jais-2",    "minicpm5",  "youtu",
        "deepseek-v3",    "exaone-moe",   "laguna",    "bloom",     "viking",
        "seed-coder",     "bailingmoe",   NULL};
    for (size_t p = 0; p <= ARRAY_LEN(pres); p++) {
        static struct small s;
        struct vocab *v;
        if (p == ARRAY_LEN(pres)) {
            small_spm(&s);
        } else {
            small_bpe(&s);
            s.pre = pres[p];
        }
        assert_int_equal(small_open(&s, &v, NULL), 0);
        for (uint64_t seed = 0; seed < 400; seed++) {
            char text[300], back[3000];
            uint32_t ids[IDS_MAX];
            size_t n = random_text(seed, text, sizeof(text)), n_ids, back_n = s.spm && n ? 1 : 0;
            back[0] = ' ';
            assert_int_equal(vocab_encode(v, text, n, 0, ids, IDS_MAX, &n_ids), 0);
            assert_true(n_ids <= vocab_bound(v, n));
            assert_true(n_ids >= vocab_least(v, text, n, 0));
            struct detok d;
            detok_init(&d, v, false, false);
            size_t at = 0;
            for (size_t i = 0; i < n_ids; i++)
                at += detok_push(&d, ids[i], back + at);
            assert_int_equal(detok_end(&d, back + at), 0);
            // U+2581 and the space are one to SPM
            char want[3000];
            size_t want_n = back_n;
            want[0] = ' ';
            for (size_t i = 0; i < n;) {
                bool block = s.spm && n - i >= 3 && memcmp(text + i, "\u2581", 3) == 0;
                want[want_n++] = block ? ' ' : text[i];
                i += block ? 3 : 1;
            }
            if (at != want_n)
                fail_msg("%s, seed %d: %zu bytes of %zu", s.pre ? s.pre : "none", (int)seed, at,
                         want_n);
            assert_memory_equal(back, want, want_n);
        }
        vocab_close(v);
    }
}

static void least_ids(void **state)
{
    (void)state;
    struct vocab *v = open_small(false);
    char text[3000];
    uint32_t ids[IDS_MAX];
    size_t n;
    memset(text, 'z', sizeof(text));
    assert_true(vocab_least(v, text, sizeof(text), VOCAB_SPECIAL) >= 100);
    for (size_t i = 0; i < sizeof(text); i += 3)
        memcpy(text + i, VOCAB_GUARD, 3);
    assert_int_equal(vocab_encode(v, text, sizeof(text), VOCAB_SPECIAL, ids, IDS_MAX, &n), 0);
    assert_int_equal(n, 0); // guards leave no ids
    assert_int_equal(vocab_least(v, text, sizeof(text), VOCAB_SPECIAL), 0);
    assert_true(vocab_least(v, text, sizeof(text), 0) >= 100);
    vocab_close(v);
}

static double seconds_for(const struct vocab *v, const char *unit, size_t bytes, unsigned flags)
{
    size_t unit_n = strlen(unit), n = bytes / unit_n * unit_n, wanted;
    char *text = mem_alloc(n);
    assert_non_null(text);
    for (size_t i = 0; i < n; i += unit_n)
        memcpy(text + i, unit, unit_n);
    double best = 1e9;
    for (int i = 0; i < 2; i++) {
        double start = cpu_seconds();
        assert_int_equal(vocab_encode(v, text, n, flags, NULL, 0, &wanted), REALM_E_TOO_SMALL);
        double took = cpu_seconds() - start;
        best = took < best ? took : best;
    }
    mem_free(text);
    return best;
}

enum { GROWTH_MAX = 9 };

/* How many times as long it takes for 4 times the text: the least of some tries, since who else
 * uses the processor can make one of two times longer. */
static double growth(const struct vocab *v, const char *unit)
{
    double least = 1e9;
    for (int i = 0; i < 10 && least > GROWTH_MAX; i++) {
        double small = seconds_for(v, unit, 64 << 10, VOCAB_SPECIAL);
        double large = seconds_for(v, unit, 256 << 10, VOCAB_SPECIAL);
        least = large / small < least ? large / small : least;
    }
    return least;
}

/* A quadratic tokeniser would take 16 times as long. */
static void time_is_linear(void **state)
{
    (void)state;
    static const char *const units[] = {"a",  "\U0001F600", " ",     "\n",      " \n",
                                        "ab", "<|im_end|",  "hello", " hello1", "<tool>"};
    for (int spm = 0; spm < 2; spm++) {
        struct vocab *v = open_small(spm);
        for (size_t i = 0; i < ARRAY_LEN(units); i++) {
            double times = growth(v, units[i]);
            if (times > GROWTH_MAX)
                fail_msg("\"%s\": four times as much takes %g times as long", units[i], times);
        }
        vocab_close(v);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spm_text),
        cmocka_unit_test(bpe_text),
        cmocka_unit_test(special_tokens),
        cmocka_unit_test(guards),
        cmocka_unit_test(find_special),
        cmocka_unit_test(roles_and_pieces),
        cmocka_unit_test(a_message_is_no_turn),
        cmocka_unit_test(too_small_and_not_utf8),
        cmocka_unit_test(text_comes_back),
        cmocka_unit_test(least_ids),
        cmocka_unit_test(time_is_linear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
