#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/rng.h"
#include "realm/status.h"
#include "sample/stop.h"

/* Pushes text in the given pieces; returns what came out, flushed unless hit. */
static void push_all(struct stop *s, const char *const *pieces, size_t n, struct buf *out,
                     bool *hit)
{
    *hit = false;
    for (size_t i = 0; i < n && !*hit; i++)
        assert_int_equal(stop_push(s, pieces[i], strlen(pieces[i]), out, hit), 0);
    if (!*hit)
        assert_int_equal(stop_flush(s, out), 0);
}

static void expect(const char *const *stops, size_t n_stops, const char *const *pieces, size_t n,
                   const char *want, bool want_hit)
{
    struct stop s;
    struct buf out;
    bool hit;
    buf_init(&out, 1 << 20);
    assert_int_equal(stop_init(&s, stops, n_stops), 0);
    push_all(&s, pieces, n, &out, &hit);
    assert_int_equal(hit, want_hit);
    if (hit) // what was cut off is the text that it says
        assert_true(s.which < n_stops);
    assert_string_equal(buf_cstr(&out), want);
    buf_free(&out);
    stop_free(&s);
}

static void cuts_before_the_stop_string(void **state)
{
    (void)state;
    expect((const char *[]){"END"}, 1, (const char *[]){"one END two"}, 1, "one ", true);
    expect((const char *[]){"END"}, 1, (const char *[]){"one E", "N", "D two"}, 3, "one ", true);
    expect((const char *[]){"END"}, 1, (const char *[]){"one E", "N", "E", "N"}, 4, "one ENEN",
           false);
    expect((const char *[]){"aab"}, 1, (const char *[]){"a", "a", "a", "a", "b", "c"}, 6, "aa",
           true);
    expect(NULL, 0, (const char *[]){"any", "thing"}, 2, "anything", false);
}

static void the_first_to_end_wins_and_the_longest_there(void **state)
{
    (void)state;
    const char *stops[] = {"abcd", "bc", "xbc"};
    expect(stops, 3, (const char *[]){"zabcd"}, 1, "za", true);
    expect(stops, 3, (const char *[]){"za", "b", "c", "d"}, 4, "za", true);
    expect(stops, 3, (const char *[]){"zxbc"}, 1, "z", true);
}

static void holds_nothing_that_is_certain(void **state)
{
    (void)state;
    struct stop s;
    struct buf out;
    bool hit;
    buf_init(&out, 100);
    assert_int_equal(stop_init(&s, (const char *[]){"\n\nUser:"}, 1), 0);
    assert_int_equal(stop_push(&s, "hello\n", 6, &out, &hit), 0);
    assert_string_equal(buf_cstr(&out), "hello");
    assert_int_equal(stop_push(&s, "x", 1, &out, &hit), 0);
    assert_string_equal(buf_cstr(&out), "hello\nx");
    buf_free(&out);
    stop_free(&s);
}

/* Where the text is cut by definition: each end in turn, longest stop first. */
static size_t reference(const char *text, const char *const *stops, size_t n, bool *hit)
{
    for (size_t end = 1; end <= strlen(text); end++) {
        size_t longest = 0;
        for (size_t i = 0; i < n; i++) {
            size_t len = strlen(stops[i]);
            const char *at = len <= end ? strstr(text + end - len, stops[i]) : NULL;
            if (at == text + end - len && len > longest)
                longest = len;
        }
        if (longest) {
            *hit = true;
            return end - longest;
        }
    }
    *hit = false;
    return strlen(text);
}

static void random_cuts_do_not_matter(void **state)
{
    (void)state;
    uint64_t draws = 0;
    size_t hits = 0;
    for (unsigned round = 0; round < 3000; round++) {
        char stops_text[3][8], text[41];
        const char *stops[3];
        for (unsigned i = 0; i < 3; i++) {
            size_t n = 1 + (size_t)(rng_unit(1, 0, draws++) * 6);
            for (size_t j = 0; j < n; j++)
                stops_text[i][j] = (char)('a' + (int)(rng_unit(1, 0, draws++) * 3));
            stops_text[i][n] = '\0';
            stops[i] = stops_text[i];
        }
        for (size_t i = 0; i < 40; i++)
            text[i] = (char)('a' + (int)(rng_unit(1, 0, draws++) * 4));
        text[40] = '\0';
        bool want_hit, hit = false;
        size_t want = reference(text, stops, 3, &want_hit);
        struct stop s;
        struct buf out;
        buf_init(&out, 100);
        assert_int_equal(stop_init(&s, stops, 3), 0);
        for (size_t at = 0; at < 40 && !hit;) {
            size_t n = 1 + (size_t)(rng_unit(1, 0, draws++) * 5);
            n = n > 40 - at ? 40 - at : n;
            assert_int_equal(stop_push(&s, text + at, n, &out, &hit), 0);
            at += n;
            assert_true(out.n <= want);
        }
        if (!hit)
            assert_int_equal(stop_flush(&s, &out), 0);
        hits += hit;
        assert_int_equal(hit, want_hit);
        assert_int_equal(out.n, want);
        assert_memory_equal(out.p ? (const char *)out.p : "", text, out.n);
        buf_free(&out);
        stop_free(&s);
    }
    assert_in_range(hits, 1000, 2999);
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    uint64_t before = mem_live();
    int status = REALM_E_NOMEM;
    for (uint64_t n = 1; status; n++) {
        struct stop s;
        struct buf out;
        bool hit;
        buf_init(&out, 100);
        mem_fail_at(n, 0);
        status = stop_init(&s, (const char *[]){"one", "two"}, 2);
        if (!status)
            status = stop_push(&s, "a text on", 9, &out, &hit);
        mem_fail_at(0, 0);
        assert_true(status == 0 || status == REALM_E_NOMEM);
        stop_free(&s);
        buf_free(&out);
        assert_int_equal(mem_live(), before);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cuts_before_the_stop_string),
        cmocka_unit_test(the_first_to_end_wins_and_the_longest_there),
        cmocka_unit_test(holds_nothing_that_is_certain),
        cmocka_unit_test(random_cuts_do_not_matter),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
