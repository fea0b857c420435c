/* A guest's memory as the host touches it, and GenOptions in it, over a plain buffer. */
#include <setjmp.h> // cmocka.h wants these four before it
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "base/compiler.h"
#include "wasm/gen_options.h"
#include "wasm/guest_slice.h"
#include "wasm/guest_text.h"

enum { SIZE = 1000 };

static uint8_t bytes[SIZE];
static const struct guest_memory memory = {bytes, SIZE};

static void test_bounds(void **state)
{
    (void)state;
    static const struct {
        uint32_t at;
        uint64_t n;
        bool has;
    } cases[] = {
        {0, 0, true},
        {0, SIZE, true},
        {0, SIZE + 1, false},
        {SIZE, 0, true},
        {SIZE + 1, 0, true}, // nothing is touched
        {UINT32_MAX, 0, true},
        {SIZE, 1, false},
        {SIZE - 1, 1, true},
        {SIZE - 1, 2, false},
        {UINT32_MAX, 1, false},
        {UINT32_MAX, UINT32_MAX, false},
        {0x80000000u, 0x80000000u, false},
        {1, UINT64_MAX, false},
        {SIZE, UINT64_MAX, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(guest_has(&memory, cases[i].at, cases[i].n), cases[i].has);
    const struct guest_memory none = {0};
    assert_true(guest_has(&none, 0, 0));
    assert_false(guest_has(&none, 0, 1));
}

static void test_copies(void **state)
{
    (void)state;
    uint8_t here[8] = {1, 2, 3, 4, 5, 6, 7, 8}, back[8] = {0};
    assert_true(guest_copy_out(&memory, SIZE - 8, here, 8));
    assert_true(guest_copy_in(&memory, SIZE - 8, back, 8));
    assert_memory_equal(here, back, 8);
    memset(back, 9, 8);
    assert_false(guest_copy_in(&memory, SIZE - 7, back, 8));
    assert_int_equal(back[0], 9);
    assert_false(guest_copy_out(&memory, SIZE - 7, back, 8));
    assert_int_equal(bytes[SIZE - 7], 2);
    assert_true(guest_copy_in(&memory, UINT32_MAX, back, 0));
}

static void test_strlen(void **state)
{
    (void)state;
    size_t n = 99;
    memset(bytes, 'a', SIZE);
    assert_false(guest_strlen(&memory, 0, SIZE_MAX, &n));
    bytes[SIZE - 1] = 0;
    assert_true(guest_strlen(&memory, 0, SIZE_MAX, &n));
    assert_int_equal(n, SIZE - 1);
    assert_true(guest_strlen(&memory, SIZE - 1, SIZE_MAX, &n));
    assert_int_equal(n, 0);
    assert_false(guest_strlen(&memory, SIZE, SIZE_MAX, &n));
    assert_false(guest_strlen(&memory, UINT32_MAX, SIZE_MAX, &n));
    assert_false(guest_strlen(&memory, 0, SIZE - 1, &n)); // the NUL is one further
}

/* The bytes of the table in docs/guest-abi.md, written by hand. */
static const uint8_t good[GEN_OPTIONS_BYTES] = {
    0x40, 0, 0, 0,    0, 0, 0, 0x3f, 0, 0,    0x40, 0x3f, 10, 0, 0, 0, // 64, 0.5, 0.75, 10
    0,    0, 0, 0x40, 7, 0, 0, 0,    2, 0xff, 0xff, 0xff, 0,  1, 0, 0, // 2.0, 7, two ids at 256
};

static void put(size_t at, const void *data, size_t n)
{
    memset(bytes, 0, SIZE);
    memcpy(bytes + at, data, n);
}

static void test_options(void **state)
{
    (void)state;
    struct gen_wish wish;
    struct realm_error err;
    const uint32_t ids[] = {5, 99};
    put(33, good, sizeof(good)); // not aligned
    memcpy(bytes + 256, ids, sizeof(ids));
    assert_int_equal(gen_options_read(&memory, 33, 100, &wish, &err), 0);
    assert_int_equal(wish.sampling.max_tokens, 64);
    assert_true(wish.sampling.temperature == 0.5f && wish.sampling.top_p == 0.75f);
    assert_int_equal(wish.sampling.top_k, 10);
    assert_true(wish.sampling.repetition_penalty == 2.0f);
    assert_true(wish.sampling.has_seed);
    assert_int_equal(wish.sampling.seed, 7);
    assert_int_equal(wish.n_stop_ids, 2);
    assert_int_equal(wish.stop_ids[1], 99);
    assert_int_equal(gen_options_read(&memory, 33, 99, &wish, &err), REALM_E_ARG);
    assert_non_null(strstr(err.message, "stop token 1"));
}

static void test_default_options(void **state)
{
    (void)state;
    struct gen_wish wish;
    struct realm_error err;
    assert_int_equal(gen_options_read(&memory, 0, 100, &wish, &err), 0);
    assert_int_equal(wish.sampling.max_tokens, 512);
    assert_true(wish.sampling.temperature == 0.7f && wish.sampling.top_p == 0.9f);
    assert_int_equal(wish.sampling.top_k, 40);
    assert_true(wish.sampling.repetition_penalty == 1.1f);
    assert_false(wish.sampling.has_seed);
}

static void test_bad_options(void **state)
{
    (void)state;
    static const struct {
        size_t at;
        uint32_t value;
        const char *name;
    } cases[] = {
        {0, 0, "max_tokens"},
        {4, 0x7fc00000, "temperature"}, // NaN
        {4, 0x7f800000, "temperature"}, // infinity
        {4, 0xbf800000, "temperature"}, // -1
        {4, 0x42ca0000, "temperature"}, // 101
        {8, 0, "top_p"},
        {8, 0x3f800001, "top_p"},
        {12, 0x80000000, "top_k"},
        {16, 0, "repetition_penalty"},
        {16, 0x7fc00000, "repetition_penalty"},
        {28, 0xfffffff8, "stop_tokens_ptr"},
        {28, SIZE - 7, "stop_tokens_ptr"},
    };
    struct gen_wish wish;
    struct realm_error err;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        put(64, good, sizeof(good));
        memcpy(bytes + 64 + cases[i].at, &cases[i].value, 4);
        assert_int_equal(gen_options_read(&memory, 64, 100, &wish, &err), REALM_E_ARG);
        assert_non_null(strstr(err.message, cases[i].name));
    }
    assert_int_equal(gen_options_read(&memory, SIZE - 31, 100, &wish, &err), REALM_E_ARG);
    assert_int_equal(gen_options_read(&memory, UINT32_MAX, 100, &wish, &err), REALM_E_ARG);
}

static void test_written_options(void **state)
{
    (void)state;
    struct realm_sampling s;
    struct gen_wish wish;
    struct realm_error err;
    uint8_t out[GEN_OPTIONS_BYTES];
    realm_sampling_init(&s, REALM_DOOR_CLI);
    s.max_tokens = 64;
    s.temperature = 0.5f;
    s.top_p = 0.75f;
    s.top_k = 10;
    s.repetition_penalty = 2;
    s.has_seed = true;
    s.seed = 7;
    gen_options_write(&s, out);
    assert_memory_equal(out, good, 24);
    assert_int_equal(out[24], 0);
    s.max_tokens = 0; // the rest of the context
    gen_options_write(&s, out);
    put(64, out, sizeof(out));
    assert_int_equal(gen_options_read(&memory, 64, 100, &wish, &err), 0);
    assert_int_equal(wish.sampling.max_tokens, UINT32_MAX);
}

static void test_text(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"", ""},
        {"abc \xE2\x82\xAC", "abc \xE2\x82\xAC"},
        {"a\xFFz", "a\xEF\xBF\xBDz"},
        {"\xE2\x82", "\xEF\xBF\xBD"},
        {"\xE2\x82z", "\xEF\xBF\xBDz"},
        {"\xED\xA0\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},
        {"\xC0\xAF", "\xEF\xBF\xBD\xEF\xBF\xBD"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf out;
        buf_init(&out, 100);
        assert_int_equal(guest_text_add(&out, cases[i].in, strlen(cases[i].in)), 0);
        assert_int_equal(out.n, strlen(cases[i].out));
        if (out.n)
            assert_memory_equal(out.p, cases[i].out, out.n);
        buf_free(&out);
    }
    struct buf small;
    buf_init(&small, 4);
    assert_int_equal(guest_text_add(&small, "a\xFF\xFF", 3), REALM_E_LIMIT);
    assert_int_equal(small.n, 0);
    buf_free(&small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bounds),          cmocka_unit_test(test_copies),
        cmocka_unit_test(test_strlen),          cmocka_unit_test(test_options),
        cmocka_unit_test(test_default_options), cmocka_unit_test(test_bad_options),
        cmocka_unit_test(test_written_options), cmocka_unit_test(test_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
