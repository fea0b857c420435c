/* SentencePiece's map of characters: one that is put together here, and damaged ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/rng.h"
#include "text/charsmap.h"

enum { BLOCK_UNITS = 256, NODES = 12, UNITS = BLOCK_UNITS * (NODES + 1) };

/* The children of node i lie in a block of their own. */
struct made {
    uint32_t n_bytes; /* as the file has it */
    uint32_t units[UNITS];
    char texts[64];
};

static void set_unit(struct made *m, uint32_t at, uint32_t byte, uint32_t block, bool value)
{
    m->units[at] = byte | (uint32_t)value << 8 | (at ^ block * BLOCK_UNITS) << 10;
}

/* a: "b"; ab: "" ; abc: "xyz w"; A with ring below: two spaces. */
static void make(struct made *m)
{
    static const char texts[] = "b\0\0xyz w\0  ";
    *m = (struct made){.n_bytes = sizeof(m->units)};
    memcpy(m->texts, texts, sizeof(texts));
    set_unit(m, 0, 0, 1, false);
    set_unit(m, BLOCK_UNITS ^ 'a', 'a', 2, true);
    m->units[2 * BLOCK_UNITS] = 1u << 31 | 0;
    set_unit(m, 2 * BLOCK_UNITS ^ 'b', 'b', 3, true);
    m->units[3 * BLOCK_UNITS] = 1u << 31 | 2;
    set_unit(m, 3 * BLOCK_UNITS ^ 'c', 'c', 4, true);
    m->units[4 * BLOCK_UNITS] = 1u << 31 | 3;
    set_unit(m, BLOCK_UNITS ^ 0xC3, 0xC3, 5, false);
    set_unit(m, 5 * BLOCK_UNITS ^ 0x85, 0x85, 6, true);
    m->units[6 * BLOCK_UNITS] = 1u << 31 | 9;
}

static struct slice bytes_of(const struct made *m)
{
    return (struct slice){(const uint8_t *)m, sizeof(*m)};
}

static void check(const struct charsmap *m, const char *text, const char *want, size_t want_n)
{
    struct slice out = {0};
    size_t n;
    bool found = charsmap_get(m, slice_of(text), &out, &n);
    assert_int_equal(found, want != NULL);
    if (want) {
        assert_true(slice_is(out, want));
        assert_int_equal(n, want_n);
    }
}

static void finds_the_longest(void **state)
{
    (void)state;
    static struct made made;
    struct charsmap m;
    make(&made);
    assert_int_equal(charsmap_init(&m, bytes_of(&made), NULL), 0);
    check(&m, "a", "b", 1);
    check(&m, "ax", "b", 1);
    check(&m, "abx", "", 2);
    check(&m, "abcabc", "xyz w", 3);
    check(&m, "\u00c5", "  ", 2);
    check(&m, "\u00c4", NULL, 0);
    check(&m, "x", NULL, 0);
    check(&m, "", NULL, 0);
    assert_int_equal(m.growth, 3); // two spaces are six bytes of two
    assert_true(charsmap_bytes(&m) > sizeof(made.units));
    charsmap_free(&m);
    assert_int_equal(mem_live(), 0);
}

static void refused(const struct made *made, size_t n, const char *words)
{
    struct charsmap m;
    struct realm_error err = {0};
    struct slice file = bytes_of(made);
    file.n = n;
    assert_int_equal(charsmap_init(&m, file, &err), REALM_E_FORMAT);
    if (!strstr(err.message, words))
        fail_msg("\"%s\", want \"%s\"", err.message, words);
    assert_int_equal(mem_live(), 0);
}

/* A chain: byte 1 leads from node to node, and after `depth` of them to a value that is
 * not UTF-8. */
static void make_chain(struct made *m, uint32_t depth)
{
    *m = (struct made){.n_bytes = sizeof(m->units), .texts = "\xFF"};
    m->units[0] = 2u << 10;
    for (uint32_t i = 1; i <= depth; i++) {
        uint32_t at = 2 * i + 1, children = 2 * i + 2;
        m->units[at] = 1 | (i == depth) << 8 | (at ^ children) << 10;
    }
    m->units[2 * depth + 2] = 1u << 31 | 0;
}

/* What is never looked for is not looked at either: a long chain would take minutes to load. */
static void long_keys(void **state)
{
    (void)state;
    static struct made made;
    static char text[CHARSMAP_KEY_MAX + 3];
    struct charsmap m;
    make_chain(&made, CHARSMAP_KEY_MAX);
    refused(&made, sizeof(made), "not UTF-8");
    make_chain(&made, CHARSMAP_KEY_MAX + 1);
    assert_int_equal(charsmap_init(&m, bytes_of(&made), NULL), 0);
    memset(text, 1, sizeof(text) - 1);
    check(&m, text, NULL, 0);
    charsmap_free(&m);
}

static void damaged(void **state)
{
    (void)state;
    static struct made made;
    make(&made);
    refused(&made, 3, "not whole");
    refused(&made, sizeof(made.units), "not whole");
    refused(&made, sizeof(made.units) + 4, "does not end");
    made.n_bytes--;
    refused(&made, sizeof(made), "not whole");
    made.n_bytes = 0;
    refused(&made, sizeof(made), "not whole");
    make(&made);
    made.texts[sizeof(made.texts) - 1] = 'x';
    refused(&made, sizeof(made), "does not end");
    make(&made);
    made.units[2 * BLOCK_UNITS] = 1u << 31 | sizeof(made.texts);
    refused(&made, sizeof(made), "beyond its end");
    make(&made);
    made.texts[0] = (char)0xFF;
    refused(&made, sizeof(made), "not UTF-8");
    make(&made);
    memset(made.texts, 0x20, 12);
    refused(&made, sizeof(made), "times as many");
}

/* Any bytes: loops among the units, too, end. */
static void any_units(void **state)
{
    (void)state;
    static struct made made;
    static char text[4096];
    for (uint32_t seed = 0; seed < 300; seed++) {
        struct charsmap m;
        make(&made);
        for (uint32_t i = 0; i < UNITS; i += 2) {
            uint32_t r[4];
            rng_philox(seed, 1, i, r);
            if (r[0] % 3 == 0) // a unit that is reached, leading anywhere near
                set_unit(&made, i, i & 255, r[1] % (NODES + 1), r[2] % 2);
            text[i] = (char)(r[3] & 0x7F);
        }
        if (charsmap_init(&m, bytes_of(&made), NULL))
            continue;
        for (size_t at = 0; at < sizeof(text); at++) {
            struct slice out, rest = {(const uint8_t *)text + at, sizeof(text) - at};
            size_t n;
            if (charsmap_get(&m, rest, &out, &n))
                assert_true(n > 0 && n <= CHARSMAP_KEY_MAX && out.n < sizeof(made.texts));
        }
        charsmap_free(&m);
    }
    assert_int_equal(mem_live(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_the_longest),
        cmocka_unit_test(long_keys),
        cmocka_unit_test(damaged),
        cmocka_unit_test(any_units),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
