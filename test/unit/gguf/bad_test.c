/* Models that must be refused: built here byte by byte, each with the words that
 * its refusal must hold, so that none is refused for another's reason. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <time.h>

#include "base/buf.h"
#include "base/ckd.h"
#include "base/compiler.h"
#include "base/mem.h"
#include "gguf/gguf.h"

static unsigned refused;

/* ---- building ---- */

static struct buf model;

static void raw(const void *p, size_t n)
{
    assert_int_equal(buf_add(&model, p, n), 0);
}

static void u32(uint32_t v)
{
    raw(&v, sizeof(v));
}

static void u64(uint64_t v)
{
    raw(&v, sizeof(v));
}

static void bytes(const char *text, size_t n)
{
    u64(n);
    raw(text, n);
}

static void str(const char *text)
{
    bytes(text, strlen(text));
}

static void head(uint64_t tensors, uint64_t values)
{
    buf_clear(&model);
    raw("GGUF", 4);
    u32(3);
    u64(tensors);
    u64(values);
}

static void key(const char *name, uint32_t type)
{
    str(name);
    u32(type);
}

static void tensor(const char *name, uint32_t n_dims, const uint64_t *dims, uint32_t type,
                   uint64_t offset)
{
    str(name);
    u32(n_dims);
    for (uint32_t i = 0; i < n_dims && i < 8; i++)
        u64(dims[i]);
    u32(type);
    u64(offset);
}

static void pad_and_data(size_t n)
{
    while (model.n % 32)
        raw("", 1);
    for (size_t i = 0; i < n; i++)
        raw("", 1);
}

/* ---- judging ---- */

/* Some hundred times what a model takes; what grows with the square of something takes more. */
enum { MS_MAX = 1000 };

/* Processor time, so that a busy machine does not count. */
static uint64_t cpu_ms(void)
{
    return (uint64_t)clock() * 1000 / CLOCKS_PER_SEC;
}

static void must_refuse_as(const void *data, size_t n, uint64_t file_size, const char *needle)
{
    struct gguf *g = (struct gguf *)&g;
    struct realm_error err = {0};
    uint64_t live = mem_live(), start = cpu_ms();
    int status = gguf_parse(&g, data, n, file_size, &err);
    uint64_t took = cpu_ms() - start;
    assert_null(g);
    assert_true(status == REALM_E_FORMAT || status == REALM_E_LIMIT);
    assert_int_equal(err.status, status);
    if (!strstr(err.message, needle))
        fail_msg("\"%s\" does not say \"%s\"", err.message, needle);
    bool is_ours = n && memcmp(data, "GGUF", min_size(n, 4)) == 0;
    if (is_ours && !strstr(err.message, "offset"))
        fail_msg("\"%s\" names no offset", err.message);
    assert_true(took < MS_MAX);
    assert_int_equal(mem_live(), live);
    refused++;
}

static void must_refuse(const char *needle)
{
    /* A block of the exact size, so that a sanitizer sees a read past its end. */
    uint8_t *exact = mem_alloc(model.n);
    assert_non_null(exact);
    memcpy(exact, model.p, model.n);
    must_refuse_as(exact, model.n, model.n, needle);
    mem_free(exact);
}

static void must_accept(void)
{
    struct gguf *g;
    struct realm_error err = {0};
    int status = gguf_parse(&g, model.p, model.n, model.n, &err);
    if (status)
        fail_msg("%s", err.message);
    gguf_close(g);
}

/* ---- the rows ---- */

static void counts(void **state)
{
    (void)state;
    static const uint64_t many[] = {3,          4,          1000,       65537,
                                    1ull << 31, 1ull << 32, 1ull << 40, (1ull << 60) + 1,
                                    1ull << 62, INT64_MAX,  1ull << 63, UINT64_MAX - 1,
                                    UINT64_MAX};
    for (size_t i = 0; i < ARRAY_LEN(many); i++) {
        for (int of_tensors = 0; of_tensors < 2; of_tensors++) {
            head(of_tensors ? many[i] : 0, of_tensors ? 1 : many[i]);
            key("a", GGUF_U8);
            raw("\1", 1);
            key("b", GGUF_U32);
            u32(1);
            must_refuse("claims");
        }
    }
    /* Counts that the file could hold, but that no model has. */
    for (int of_tensors = 0; of_tensors < 2; of_tensors++) {
        head(of_tensors ? 65537 : 0, of_tensors ? 0 : 65537);
        must_refuse_as(model.p, model.n, 1ull << 40, "the limit is 65536");
    }
}

static const uint64_t lengths[] = {200,       1ull << 31, 1ull << 32,     1ull << 62,
                                   INT64_MAX, 1ull << 63, UINT64_MAX - 7, UINT64_MAX};

static void lengths_of_text(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        head(0, 1);
        u64(lengths[i]);
        raw("keyandmore", 10);
        must_refuse("key 1 of 1 at offset 24");
        head(0, 1);
        key("text", GGUF_STRING);
        u64(lengths[i]);
        raw("valueandmore", 12);
        must_refuse("key \"text\" at offset 24");
        head(0, 1);
        key("texts", GGUF_ARRAY);
        u32(GGUF_STRING);
        u64(2);
        str("one");
        u64(lengths[i]);
        raw("valueandmore", 12);
        must_refuse("key \"texts\" at offset 24");
        head(1, 0);
        u64(lengths[i]);
        for (int j = 0; j < 10; j++)
            raw("nameandmore", 11);
        must_refuse("tensor 1 of 1 at offset 24");
    }
    head(0, 1);
    key("text", GGUF_STRING);
    u64((16 << 20) + 1);
    must_refuse_as(model.p, model.n, 1ull << 40, "the limit is 16777216");
}

static void names(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t n;
        const char *needle;
    } bad[] = {
        {"", 0, "empty"},
        {"\0abc", 4, "NUL"},
        {"ab\0c", 4, "NUL"},
        {"abc\0", 4, "NUL"},
        {"\x80", 1, "not UTF-8"},
        {"a\xff", 2, "not UTF-8"},
        {"\xc0\xaf", 2, "not UTF-8"},
        {"\xed\xa0\x80", 3, "not UTF-8"},
        {"\xf5\x80\x80\x80", 4, "not UTF-8"},
        {"ab\xe4\xb8", 4, "not UTF-8"},
    };
    static char long_name[65536];
    memset(long_name, 'x', sizeof(long_name));
    static const uint64_t dims[] = {8};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        head(0, 1);
        bytes(bad[i].text, bad[i].n);
        u32(GGUF_U32);
        u32(1);
        must_refuse(bad[i].needle);
        head(1, 0);
        bytes(bad[i].text, bad[i].n);
        u32(1);
        u64(dims[0]);
        u32(0);
        u64(0);
        pad_and_data(32);
        must_refuse(bad[i].needle);
    }
    head(0, 1);
    bytes(long_name, 65536);
    u32(GGUF_U8);
    raw("", 1);
    must_refuse("65535");
    head(0, 1);
    bytes(long_name, 65535);
    u32(GGUF_U8);
    raw("", 1);
    must_accept();
    head(1, 0);
    bytes(long_name, 65536);
    u32(1);
    u64(8);
    u32(0);
    u64(0);
    pad_and_data(32);
    must_refuse("65535");
}

static void types(void **state)
{
    (void)state;
    static const uint32_t unknown[] = {13, 14, 255, 256, 1u << 31, UINT32_MAX};
    for (size_t i = 0; i < ARRAY_LEN(unknown); i++) {
        head(0, 1);
        key("k", unknown[i]);
        u64(0);
        must_refuse("unknown type");
        head(0, 1);
        key("k", GGUF_ARRAY);
        u32(unknown[i]);
        u64(0);
        must_refuse("unknown item type");
    }
    head(0, 1);
    key("deep", GGUF_ARRAY);
    for (int i = 0; i < 10000; i++) {
        u32(GGUF_ARRAY);
        u64(1);
    }
    must_refuse("key \"deep\" at offset 24: arrays of arrays");
}

static void array_counts(void **state)
{
    (void)state;
    static const uint64_t many[] = {65, 1ull << 30, 1ull << 61, 1ull << 62, 1ull << 63, UINT64_MAX};
    for (uint32_t type = 0; type < GGUF_TYPES; type++) {
        if (type == GGUF_ARRAY)
            continue;
        for (size_t i = 0; i < ARRAY_LEN(many); i++) {
            head(0, 1);
            key("items", GGUF_ARRAY);
            u32(type);
            u64(many[i]);
            for (int j = 0; j < 8; j++)
                u64(0);
            must_refuse("cut short or damaged: key \"items\" at offset 24 claims");
        }
    }
    head(0, 1);
    key("items", GGUF_ARRAY);
    u32(GGUF_U8);
    u64((16 << 20) + 1);
    must_refuse_as(model.p, model.n, 1ull << 40, "the limit is 16777216");
}

static void bools(void **state)
{
    (void)state;
    for (unsigned v = 2; v < 256; v += 63) {
        uint8_t three[3] = {0, 1, (uint8_t)v};
        head(0, 1);
        key("flag", GGUF_BOOL);
        raw(three + 2, 1);
        must_refuse("key \"flag\" at offset 24: a bool");
        head(0, 1);
        key("flags", GGUF_ARRAY);
        u32(GGUF_BOOL);
        u64(3);
        raw(three, 3);
        must_refuse("key \"flags\" at offset 24: a bool");
    }
}

static void alignments(void **state)
{
    (void)state;
    static const uint32_t bad[] = {0, 1, 2, 3, 4, 7, 24, 33, 48, 0x80000001, UINT32_MAX};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        head(0, 1);
        key("general.alignment", GGUF_U32);
        u32(bad[i]);
        must_refuse("power of two");
    }
    static const uint32_t good[] = {8, 16, 32, 64, 4096, 1u << 31};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        head(0, 1);
        key("general.alignment", GGUF_U32);
        u32(good[i]);
        must_accept();
    }
    for (uint32_t type = 0; type < GGUF_TYPES; type++) {
        if (type == GGUF_U32)
            continue;
        head(0, 1);
        key("general.alignment", type);
        u32(type == GGUF_STRING || type == GGUF_BOOL ? 0 : 32);
        u64(0);
        u64(0);
        must_refuse(type == GGUF_ARRAY ? "unknown item type" : "want u32");
    }
}

static void duplicates(void **state)
{
    (void)state;
    static const uint64_t dims[] = {8};
    head(0, 3);
    for (int i = 0; i < 3; i++) {
        key(i == 1 ? "other" : "same", GGUF_U8);
        raw("", 1);
    }
    must_refuse("key \"same\" at offset 59: the name occurs twice");
    head(2, 0);
    tensor("same", 1, dims, 0, 0);
    tensor("same", 1, dims, 0, 32);
    pad_and_data(64);
    must_refuse("tensor \"same\" at offset 60: the name occurs twice");
}

static void one_tensor(uint32_t n_dims, const uint64_t *dims, uint32_t type, uint64_t offset,
                       size_t data)
{
    head(1, 0);
    tensor("w", n_dims, dims, type, offset);
    pad_and_data(data);
}

static void dimensions(void **state)
{
    (void)state;
    static const uint64_t ones[8] = {32, 1, 1, 1, 1, 1, 1, 1};
    static const uint32_t wrong_n[] = {0, 5, 8, 1u << 31, UINT32_MAX};
    for (size_t i = 0; i < ARRAY_LEN(wrong_n); i++) {
        one_tensor(wrong_n[i], ones, 0, 0, 128);
        must_refuse("tensor \"w\" at offset 24: has");
    }
    for (uint32_t n = 1; n <= 4; n++) {
        for (uint32_t zero = 0; zero < n; zero++) {
            uint64_t dims[4] = {32, 1, 1, 1};
            dims[zero] = 0;
            one_tensor(n, dims, 0, 0, 128);
            must_refuse("is 0");
        }
    }
    static const uint64_t huge[][4] = {
        {1ull << 63, 1, 1, 1},          {1ull << 32, 1ull << 31, 1, 1},
        {1ull << 32, 1ull << 32, 1, 1}, {1ull << 32, 1ull << 32, 1ull << 32, 1ull << 32},
        {UINT64_MAX, 1, 1, 1},          {UINT64_MAX, UINT64_MAX, 1, 1},
        {3, 0x5555555555555556, 1, 1},  {1ull << 16, 1ull << 16, 1ull << 16, 1ull << 16},
        {1, 1, 1, (uint64_t)1 << 63},
    };
    for (size_t i = 0; i < ARRAY_LEN(huge); i++) {
        one_tensor(4, huge[i], 0, 0, 128);
        must_refuse("product of its dimensions overflows");
    }
    /* The items can be counted, their bytes cannot. */
    static const uint64_t wide[][4] = {{1ull << 62, 1, 1, 1}, {1ull << 31, 1ull << 31, 1, 1}};
    for (size_t i = 0; i < ARRAY_LEN(wide); i++) {
        one_tensor(4, wide[i], 0, 0, 128);
        must_refuse("size in bytes overflows");
    }
}

static void places(void **state)
{
    (void)state;
    static const uint64_t eight[] = {8}, most[] = {INT64_MAX}, odd[] = {33}, odd_k[] = {128};
    /* n bytes = 2^64 - 2 (f16): the end or its padding wraps. */
    one_tensor(1, most, 1, 0, 32);
    must_refuse("its end in the file overflows");
    static const uint64_t near[] = {(1ull << 62) - 16};
    one_tensor(1, near, 0, 0, 32); // 2^64 - 64 bytes from offset 64 on
    must_refuse("its end in the file overflows");
    static const uint64_t nearer[] = {(1ull << 62) - 17};
    one_tensor(1, nearer, 0, 0, 32); // ends at 2^64 - 4, which cannot be padded
    must_refuse("its end in the file overflows");
    static const uint32_t unknown[] = {4, 5, 31, 32, 33, 36, 37, 38, 42, 1000, UINT32_MAX};
    for (size_t i = 0; i < ARRAY_LEN(unknown); i++) {
        one_tensor(1, eight, unknown[i], 0, 128);
        must_refuse("unknown tensor type");
    }
    one_tensor(1, odd, 8, 0, 128);
    must_refuse("rows of 33 items are no whole blocks of 32 (Q8_0)");
    one_tensor(1, odd_k, 12, 0, 128);
    must_refuse("rows of 128 items are no whole blocks of 256 (Q4_K)");
    static const uint64_t askew[] = {1, 4, 16, 31, 33, UINT64_MAX};
    for (size_t i = 0; i < ARRAY_LEN(askew); i++) {
        one_tensor(1, eight, 0, askew[i], 256);
        must_refuse("is no multiple of 32");
    }
    static const uint64_t far[] = {32, 64, 1ull << 31, 1ull << 32, 1ull << 62, 1ull << 63};
    for (size_t i = 0; i < ARRAY_LEN(far); i++) {
        one_tensor(1, eight, 0, far[i], 32);
        must_refuse("the file is cut short or damaged: it ends at offset 96, and tensor \"w\" at");
    }
    one_tensor(1, eight, 0, UINT64_MAX - 31, 32);
    must_refuse("overflows");
    one_tensor(1, eight, 0, 0, 31);
    must_refuse("the file is cut short or damaged: it ends at offset 95, and tensor \"w\" at 96");
    one_tensor(1, eight, 0, 0, 32);
    must_accept();
}

static void overlaps(void **state)
{
    (void)state;
    static const uint64_t eight[] = {8}, many[] = {24};
    static const uint64_t at[][3] = {{0, 0, 64}, {0, 32, 32}, {32, 32, 0}, {64, 0, 64}};
    for (size_t i = 0; i < ARRAY_LEN(at); i++) {
        head(3, 0);
        tensor("a", 1, eight, 0, at[i][0]);
        tensor("b", 1, eight, 0, at[i][1]);
        tensor("c", 1, eight, 0, at[i][2]);
        pad_and_data(128);
        must_refuse("overlaps that of tensor");
    }
    for (uint64_t inside = 0; inside < 96; inside += 32) {
        head(2, 0);
        tensor("small", 1, eight, 0, inside);
        tensor("large", 1, many, 0, 0);
        pad_and_data(128);
        must_refuse("overlaps that of tensor");
    }
    head(3, 0);
    tensor("a", 1, eight, 0, 64);
    tensor("b", 1, eight, 0, 0);
    tensor("c", 1, eight, 0, 32);
    pad_and_data(96);
    must_accept();
}

static void heads(void **state)
{
    (void)state;
    static const uint32_t versions[] = {0,          1,          4,          5,         256,
                                        0x01000000, 0x02000000, 0x03000000, UINT32_MAX};
    static const char *const needles[] = {"unknown",    "too old",    "unknown",
                                          "unknown",    "unknown",    "big endian",
                                          "big endian", "big endian", "unknown"};
    for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
        head(0, 0);
        memcpy(model.p + 4, &versions[i], 4);
        must_refuse(needles[i]);
    }
    static const char *const magics[] = {"GGUf", "ggla", "ggml", "FUGG", "\177ELF", "PK\3\4"};
    for (size_t i = 0; i < ARRAY_LEN(magics); i++) {
        head(0, 0);
        memcpy(model.p, magics[i], 4);
        must_refuse("does not begin with GGUF");
    }
    head(0, 0);
    must_accept();
    must_refuse_as(model.p, 0, 0, "the file is empty");
    for (size_t n = 1; n < 24; n++) {
        char needle[64];
        snprintf(needle, sizeof(needle),
                 "cut short or damaged: it ends at offset %zu, within the file's", n);
        must_refuse_as(model.p, n, n, needle);
    }
    must_refuse_as("hi", 2, 2, "does not begin with GGUF");
}

/* Many tiny records: no pair of them is compared. */
static void large_headers_are_quick(void **state)
{
    (void)state;
    enum { KEYS = 10000 };
    head(0, KEYS);
    for (int i = 0; i < KEYS; i++) {
        char name[16];
        snprintf(name, sizeof(name), "k%d", i);
        key(name, GGUF_U8);
        raw("", 1);
    }
    uint64_t start = cpu_ms();
    must_accept();
    uint64_t took = cpu_ms() - start;
    print_message("# %d keys in %llu ms\n", KEYS, (unsigned long long)took);
    assert_true(took < MS_MAX); // also under a sanitizer
    model.p[model.n - 6] = '0'; // the last key takes the name of another
    must_refuse("occurs twice");
}

static void there_were_many(void **state)
{
    (void)state;
    print_message("# %u bad models refused\n", refused);
    assert_true(refused >= 150);
}

int main(void)
{
    buf_init(&model, 16 << 20);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts),
        cmocka_unit_test(lengths_of_text),
        cmocka_unit_test(names),
        cmocka_unit_test(types),
        cmocka_unit_test(array_counts),
        cmocka_unit_test(bools),
        cmocka_unit_test(alignments),
        cmocka_unit_test(duplicates),
        cmocka_unit_test(dimensions),
        cmocka_unit_test(places),
        cmocka_unit_test(overlaps),
        cmocka_unit_test(heads),
        cmocka_unit_test(large_headers_are_quick),
        cmocka_unit_test(there_were_many),
    };
    int failed = cmocka_run_group_tests_name("gguf/bad", tests, NULL, NULL);
    buf_free(&model);
    return failed;
}
