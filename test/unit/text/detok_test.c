/* The streaming detokeniser: whatever bytes the tokens bring, only whole
 * characters come out.  A vocabulary of bytes brings any. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "base/utf8.h"
#include "make.h"
#include "text/detok.h"

enum { FIRST_BYTE = 3 };

static struct vocab *vocab;

static int open_vocab(void **state)
{
    (void)state;
    static struct small s;
    small_spm(&s);
    return small_open(&s, &vocab, NULL);
}

static int close_vocab(void **state)
{
    (void)state;
    vocab_close(vocab);
    return 0;
}

static uint32_t id_of(const char *text)
{
    for (uint32_t id = 0; id < vocab_size(vocab); id++) {
        if (slice_is(vocab_text(vocab, id), text))
            return id;
    }
    fail_msg("no token %s", text);
    return 0;
}

/* Pushes each byte as its token; every part that comes out is whole. */
static size_t stream(const char *bytes, size_t n, char *out)
{
    struct detok d;
    size_t at = 0;
    detok_init(&d, vocab, false, false);
    for (size_t i = 0; i < n; i++) {
        uint32_t id = FIRST_BYTE + (uint8_t)bytes[i];
        size_t bound = detok_bound(&d, id), got = detok_push(&d, id, out + at);
        assert_true(got <= bound);
        assert_true(utf8_valid(out + at, got));
        assert_true(d.tail_n <= 3);
        at += got;
    }
    size_t got = detok_end(&d, out + at);
    assert_true(utf8_valid(out + at, got) && got <= 3);
    return at + got;
}

#define BAD "\xEF\xBF\xBD"

static void bytes_become_characters(void **state)
{
    (void)state;
    // the right sides are what the Unicode standard recommends (chapter 3, table 3-8 and after)
    static const struct {
        const char *bytes, *want;
    } cases[] = {
        {"\xF0\x9F\x98\x80", "\xF0\x9F\x98\x80"},
        {"a\xF0\x9F\x98\x80z", "a\xF0\x9F\x98\x80z"},
        {"\xE2\x9C\x85\x85", "\xE2\x9C\x85" BAD},
        {"\xC0\x80", BAD BAD},
        {"\xED\xA0\x80", BAD BAD BAD},
        {"\xF0\x9F\x98", BAD},
        {"\xF0\x9F\x98x", BAD "x"},
        {"\xF0\x9F\xF0\x9F\x98\x80", BAD "\xF0\x9F\x98\x80"},
        {"\xF4\x90\x80\x80", BAD BAD BAD BAD},
        {"\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41", BAD BAD BAD BAD "A"},
        {"\xFF\xFE", BAD BAD},
        {"", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char out[64];
        size_t n = stream(cases[i].bytes, strlen(cases[i].bytes), out);
        assert_int_equal(n, strlen(cases[i].want));
        assert_memory_equal(out, cases[i].want, n);
    }
}

static void any_bytes_give_whole_characters(void **state)
{
    (void)state;
    static const uint8_t some[] = {'a',  0x80, 0x85, 0xA0, 0xBF, 0xC0, 0xC3, 0xE0,
                                   0xE2, 0xED, 0xF0, 0xF4, 0xF5, 0xFF, 0x90, 0x8F};
    for (uint32_t seed = 0; seed < 3000; seed++) {
        char bytes[32], out[128];
        for (uint32_t i = 0; i < sizeof(bytes); i++) {
            uint32_t r[4];
            rng_philox(seed, 1, i, r);
            bytes[i] = (char)some[r[0] % sizeof(some)];
        }
        size_t n = stream(bytes, sizeof(bytes), out);
        assert_true(utf8_valid(out, n));
        // characters of one byte are never swallowed
        size_t letters = 0, kept = 0;
        for (size_t i = 0; i < sizeof(bytes); i++)
            letters += bytes[i] == 'a';
        for (size_t i = 0; i < n; i++)
            kept += out[i] == 'a';
        assert_int_equal(kept, letters);
    }
}

static void first_space_belongs_to_the_encoding(void **state)
{
    (void)state;
    struct detok d;
    char out[64];
    detok_init(&d, vocab, true, false);
    assert_int_equal(detok_push(&d, id_of("<s>"), out), 0);
    assert_int_equal(detok_push(&d, id_of("\u2581hello"), out), 5);
    assert_memory_equal(out, "hello", 5);
    assert_int_equal(detok_push(&d, id_of("\u2581hello"), out), 6);
    assert_memory_equal(out, " hello", 6);
    detok_init(&d, vocab, false, false);
    assert_int_equal(detok_push(&d, id_of("\u2581hello"), out), 6);
    detok_init(&d, vocab, true, false);
    assert_int_equal(detok_push(&d, id_of("hello"), out), 5);
    assert_int_equal(detok_push(&d, id_of("\u2581hello"), out), 6);
    detok_init(&d, vocab, true, false);
    assert_int_equal(detok_push(&d, id_of("\u2581\u2581"), out), 1);
    detok_init(&d, vocab, true, false);
    assert_int_equal(detok_push(&d, id_of("\u2581"), out), 0);
    assert_int_equal(detok_push(&d, id_of("\u2581"), out), 1);
}

static void control_tokens_show_when_asked(void **state)
{
    (void)state;
    struct detok d;
    char out[64];
    uint32_t first = FIRST_BYTE + 0xC3, second = FIRST_BYTE + 0xA4;
    detok_init(&d, vocab, false, false);
    assert_int_equal(detok_push(&d, first, out), 0);
    assert_int_equal(detok_push(&d, id_of("</s>"), out), 0);
    assert_int_equal(detok_push(&d, second, out), 2); // as if it were not there
    assert_memory_equal(out, "\u00e4", 2);
    detok_init(&d, vocab, false, true);
    assert_int_equal(detok_push(&d, id_of("</s>"), out), 4);
    assert_memory_equal(out, "</s>", 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_become_characters),
        cmocka_unit_test(any_bytes_give_whole_characters),
        cmocka_unit_test(first_space_belongs_to_the_encoding),
        cmocka_unit_test(control_tokens_show_when_asked),
    };
    return cmocka_run_group_tests(tests, open_vocab, close_vocab);
}
