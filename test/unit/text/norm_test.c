/* Normalisation: forms of single texts as the Unicode standard has them, and bounds that
 * hold for every character. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "realm/status.h"
#include "text/norm.h"

static struct slice form(struct norm *n, enum norm_form f, const char *text)
{
    struct slice out;
    assert_int_equal(norm_text(n, f, slice_of(text), &out), 0);
    return out;
}

static void forms(void **state)
{
    (void)state;
    static const struct {
        const char *text, *nfc, *nfd;
    } cases[] = {
        {"", "", ""},
        {"plain", "plain", "plain"},
        {"\u00e9", "\u00e9", "e\u0301"},
        {"xe\u0301x", "x\u00e9x", "xe\u0301x"},
        {"\u0301e", "\u0301e", "\u0301e"},
        {"\u212b", "\u00c5", "A\u030a"},
        {"\u0958", "\u0915\u093c", "\u0915\u093c"},
        {"q\u0307\u0323", "q\u0323\u0307", "q\u0323\u0307"},
        {"s\u0323\u0307", "\u1e69", "s\u0323\u0307"},
        {"\u1100\u1161\u11a8", "\uac01", "\u1100\u1161\u11a8"},
        {"\uac00\u11a8", "\uac01", "\u1100\u1161\u11a8"},
        {"\u1161", "\u1161", "\u1161"},
        {"\u0439\u0438\u0306", "\u0439\u0439", "\u0438\u0306\u0438\u0306"},
        {"\u304b\u3099", "\u304c", "\u304b\u3099"},
        {"\ufb01\u00bd", "\ufb01\u00bd", "\ufb01\u00bd"}, // compatibility is another matter
        {"\u09c7\u09be", "\u09cb", "\u09c7\u09be"},
    };
    struct norm n;
    norm_init(&n);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_true(slice_is(form(&n, NORM_NFC, cases[i].text), cases[i].nfc));
        assert_true(slice_is(form(&n, NORM_NFD, cases[i].text), cases[i].nfd));
    }
    norm_free(&n);
    assert_int_equal(mem_live(), 0);
}

/* Each character alone and after a letter: what is said to stay does, nothing grows beyond
 * the bound, and a form is its own form. */
static void every_character(void **state)
{
    (void)state;
    struct norm n, again;
    norm_init(&n);
    norm_init(&again);
    for (uint32_t cp = 1; cp < 0x110000; cp++) {
        if (cp >= 0xD800 && cp < 0xE000)
            continue;
        // the mark makes the character go the long way
        uint8_t text[8];
        size_t len = utf8_encode(cp, text);
        memcpy(text + len, "\u0334", 3);
        text[len + 2] = 0;
        for (int f = NORM_NFC; f <= NORM_NFD; f++) {
            struct slice out, same;
            assert_int_equal(norm_text(&n, f, (struct slice){text, len}, &out), 0);
            assert_true(out.n <= NORM_GROWTH_MAX * len && len <= NORM_SHRINK_MAX * out.n);
            assert_int_equal(norm_text(&again, f, out, &same), 0);
            assert_true(slice_equal(out, same));
        }
    }
    norm_free(&n);
    norm_free(&again);
}

static void memory_fails(void **state)
{
    (void)state;
    static const char text[] = "e\u0301\u0323\u0301 \u212b";
    for (uint64_t at = 1, done = 0; !done; at++) {
        struct norm n;
        struct slice out;
        norm_init(&n);
        mem_fail_at(at, 0);
        int status = norm_text(&n, NORM_NFC, slice_of(text), &out);
        mem_fail_at(0, 0);
        assert_true(status == 0 || status == REALM_E_NOMEM);
        done = status == 0;
        norm_free(&n);
        assert_true(at < 100 && mem_live() == 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forms),
        cmocka_unit_test(every_character),
        cmocka_unit_test(memory_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
