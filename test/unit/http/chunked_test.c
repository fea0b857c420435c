/* Chunked bodies, whole and byte by byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/ckd.h"
#include "base/mem.h"
#include "http/chunked.h"

enum { BODY_MAX = 64 };

struct result {
    int whole;
    struct http_fault fault;
    size_t used;
    struct buf body;
};

static void decode(struct slice text, size_t step, struct result *r)
{
    struct chunked d = {0};
    *r = (struct result){0};
    buf_init(&r->body, BODY_MAX);
    while (r->used < text.n && r->whole == 0) {
        size_t used, n = min_size(step, text.n - r->used);
        r->whole =
            chunked_take(&d, (struct slice){text.p + r->used, n}, &r->body, &used, &r->fault);
        if (r->whole < 0)
            break;
        assert_true(used == n || r->whole == 1);
        r->used += used;
    }
}

static const size_t steps[] = {SIZE_MAX / 2, 1, 3};

#define TEXT(s)                             \
    {                                       \
        (const uint8_t *)(s), sizeof(s) - 1 \
    }

static void accepted(void **state)
{
    (void)state;
    static const struct {
        struct slice text;
        const char *body;
    } rows[] = {
        {TEXT("0\r\n\r\n"), ""},
        {TEXT("5\r\nhello\r\n0\r\n\r\n"), "hello"},
        {TEXT("2\r\nhe\r\n3\r\nllo\r\n000\r\n\r\n"), "hello"},
        {TEXT("a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n"), "01234567890123456789"},
        {TEXT("00000000000000a\r\n0\r\n\r\n78901\r\n0\r\n\r\n"), "0\r\n\r\n78901"},
        {TEXT("5;a\r\nhello\r\n0;b=\"c\"\r\n\r\n"), "hello"},
        {TEXT("5;a=\xe2\x9c\x85\tb\r\nhello\r\n0\r\n\r\n"), "hello"},
        {TEXT("0\r\nA: b\r\nContent-Length: 7\r\nC:\r\n\r\n"), ""},
        {TEXT("0\r\nA:\tb \xff\r\n\r\n"), ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        for (size_t k = 0; k < ARRAY_LEN(steps); k++) {
            char with_more[256];
            struct result r;
            memcpy(with_more, rows[i].text.p, rows[i].text.n);
            memcpy(with_more + rows[i].text.n, "0\r\n", 3);
            decode((struct slice){(const uint8_t *)with_more, rows[i].text.n + 3}, steps[k], &r);
            assert_int_equal(r.whole, 1);
            assert_int_equal(r.used, rows[i].text.n);
            assert_int_equal(r.body.n, strlen(rows[i].body));
            if (r.body.n)
                assert_memory_equal(r.body.p, rows[i].body, r.body.n);
            buf_free(&r.body);
        }
}

static void refused_as(struct slice text, int status, const char *code)
{
    for (size_t k = 0; k < ARRAY_LEN(steps); k++) {
        struct result r;
        decode(text, steps[k], &r);
        if (r.whole != -1 || r.fault.status != status || strcmp(r.fault.code, code) != 0)
            fail_msg("%.60s, step %zu: got %d, %d %s", text.p, steps[k], r.whole, r.fault.status,
                     r.fault.code ? r.fault.code : "");
        assert_true(r.body.n <= BODY_MAX);
        buf_free(&r.body);
    }
}

static void malformed(void **state)
{
    (void)state;
    static const struct slice rows[] = {
        TEXT("\r\n"),
        TEXT("x\r\n"),
        TEXT(" 5\r\n"),
        TEXT("5 \r\n"),
        TEXT("5 ;a\r\n"),
        TEXT("+5\r\n"),
        TEXT("-1\r\n"),
        TEXT("0x5\r\n"),
        TEXT("5h\r\n"),
        TEXT("5,\r\n"),
        TEXT("5\t\r\n"),
        TEXT("5\0\r\n"),
        TEXT(";a\r\n"),
        TEXT("5\n"),
        TEXT("5\r\r\n"),
        TEXT("5\rx"),
        TEXT("10000000000000000\r\n"),     // 2^64
        TEXT("10000000000000005\r\n"),     // 2^64 + 5
        TEXT("ffffffffffffffff\r\n"),      // 2^64 - 1
        TEXT("0000000000000005\r\nhello"), // 16 digits
        TEXT("1;ext=\n"),
        TEXT("1;ext=\0\r\n"),
        TEXT("1;ext=\x7f\r\n"),
        TEXT("1;ext\r\r\n"),
        TEXT("5\r\nhello\n"),
        TEXT("5\r\nhello\n0\r\n"),
        TEXT("5\r\nhello0\r\n\r\n"),
        TEXT("5\r\nhellox"),
        TEXT("5\r\nhello\r0"),
        TEXT("4\r\nhello\r\n"),
        TEXT("5\r\nhello\r\n\r\n"),
        TEXT("5\r\nhello\r\n\n"),
        TEXT("0\r\n\n"),
        TEXT("0\r\n\rx"),
        TEXT("0\r\nGET / HTTP/1.1\r\n"), // the last CRLF is missing: no field
        TEXT("0\r\nA: b\n"),
        TEXT("0\r\nA: b\rc"),
        TEXT("0\r\n A: b\r\n"),
        TEXT("0\r\nA: b\r\n\tc\r\n"),
        TEXT("0\r\n: b\r\n"),
        TEXT("0\r\nA\r\n"),
        TEXT("0\r\nA: \0\r\n"),
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        refused_as(rows[i], 400, "bad_chunk");
}

static void too_large(void **state)
{
    (void)state;
    /* At the size, before the bytes come. */
    static const struct slice
        size = TEXT("41\r\n"),
        second = TEXT("3f\r\n"
                      "012345678901234567890123456789012345678901234567890123456789012\r\n2\r\n");
    refused_as(size, 413, "body_too_large");
    refused_as(second, 413, "body_too_large");
    static const struct slice most = TEXT("fffffffffffffff\r\n");
    refused_as(most, 413, "body_too_large");
}

/* A text of `head`, then `unit` again and again, which is endless for a decoder that has no
 * limit. */
static void endless(const char *head, const char *unit, int status)
{
    struct buf b;
    buf_init(&b, 2 * MiB);
    assert_int_equal(buf_addf(&b, "%s", head), 0);
    while (b.n < 1 * MiB)
        assert_int_equal(buf_add(&b, unit, strlen(unit)), 0);
    refused_as(buf_slice(&b), status, status == 413 ? "body_too_large" : "bad_chunk");
    buf_free(&b);
}

static void bounded(void **state)
{
    (void)state;
    endless("0\r\n", "A: b\r\n", 400);
    endless("0\r\nA: ", "b", 400);
    endless("5;", "x", 400);
    endless("", "0", 400);
    endless("", "1\r\nx\r\n", 413);
    endless("", "1;a=bcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz\r\nx\r\n", 400);
}

static void no_memory(void **state)
{
    (void)state;
    static const struct slice text = TEXT("5\r\nhello\r\n0\r\n\r\n");
    struct result r;
    mem_fail_at(1, 0);
    decode(text, 1000, &r);
    mem_fail_at(0, 0);
    assert_int_equal(r.whole, -1);
    assert_int_equal(r.fault.status, 0);
    buf_free(&r.body);
}

/* A body that ends too early wants more, wherever it does. */
static void cut_short(void **state)
{
    (void)state;
    static const char text[] = "5;a=b\r\nhello\r\n1\r\n!\r\n0\r\nA: b\r\n\r\n";
    for (size_t n = 0; n < sizeof(text) - 1; n++)
        for (size_t k = 0; k < ARRAY_LEN(steps); k++) {
            struct result r;
            decode((struct slice){(const uint8_t *)text, n}, steps[k], &r);
            assert_int_equal(r.whole, 0);
            assert_int_equal(r.used, n);
            buf_free(&r.body);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepted), cmocka_unit_test(malformed), cmocka_unit_test(too_large),
        cmocka_unit_test(bounded),  cmocka_unit_test(no_memory), cmocka_unit_test(cut_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
