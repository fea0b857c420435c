#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "api/query.h"
#include "base/compiler.h"

static void values(void **state)
{
    static const struct {
        const char *query, *name, *value; /* NULL: it is not there, or is refused */
        int found;
    } rows[] = {
        {"", "a", NULL, 0},
        {"a=1", "a", "1", 1},
        {"ab=1&a=2", "a", "2", 1},
        {"a=1&a=2", "a", "1", 1},
        {"a", "a", "", 1},
        {"a=&b=2", "a", "", 1},
        {"b=x%2Fy+z", "b", "x/y z", 1},
        {"a=%c3%a9", "a", "\xc3\xa9", 1},
        {"a=%", "a", NULL, -1},
        {"a=%2", "a", NULL, -1},
        {"a=%zz", "a", NULL, -1},
        {"a=%00", "a", NULL, -1},
        {"a=%0a", "a", NULL, -1},
        {"a=%ff", "a", NULL, -1},
        {"a=12345678", "a", NULL, -1},
    };
    char out[8];
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(query_get(rows[i].query, rows[i].name, out, sizeof(out)), rows[i].found);
        if (rows[i].value)
            assert_string_equal(out, rows[i].value);
    }
}

/* Every day of four centuries, against the C library. */
static void days(void **state)
{
    int64_t seconds;
    (void)state;
    for (int64_t day = 0; day < 4 * 36525; day++) {
        time_t t = (time_t)(day * 86400);
        struct tm tm;
        char text[32];
        assert_non_null(gmtime_r(&t, &tm));
        assert_true(strftime(text, sizeof(text), "%Y-%m-%d", &tm) > 0);
        assert_int_equal(query_time(text, &seconds), 0);
        assert_int_equal(seconds, day * 86400);
    }
}

static void times(void **state)
{
    static const char *const wrong[] = {
        "",
        "x",
        "-1",
        "1.5",
        "2026-02-29",
        "2026-13-01",
        "2026-00-01",
        "2026-01-00",
        "2026-1-1",
        "2026-01-011",
        "1969-12-31",
        "1000000000000",
        "2026-01-01 ",
        " 2026-01-01",
        "2026-01-01T",
        "2026-01-01T00:00:00",
        "2026-01-01T24:00:00Z",
        "2026-01-01T00:60:00Z",
        "2026-01-01T00:00:60Z",
        "2026-01-01T00:00:00Zx",
        "12a",
        "+1",
    };
    int64_t seconds;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        if (!query_time(wrong[i], &seconds))
            fail_msg("'%s' is taken for a time", wrong[i]);
    assert_int_equal(query_time("0", &seconds), 0);
    assert_int_equal(seconds, 0);
    assert_int_equal(query_time("999999999999", &seconds), 0);
    assert_true(seconds == 999999999999);
    assert_int_equal(query_time("2000-02-29T23:59:59Z", &seconds), 0);
    assert_int_equal(seconds, 951868799);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values),
        cmocka_unit_test(days),
        cmocka_unit_test(times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
