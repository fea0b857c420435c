/* The last lines of a tenant's guests: as many as there is room for, the newest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "wasm/lines.h"

static struct lines lines;

static int empty(void **state)
{
    (void)state;
    lines_free(&lines);
    lines = (struct lines){0};
    return 0;
}

static void expect(size_t at, const char *from, const char *text)
{
    json_t *log = lines_json(&lines);
    const json_t *line = json_array_get(json_object_get(log, "lines"), at);
    assert_string_equal(json_string_value(json_object_get(line, "from")), from);
    assert_string_equal(json_string_value(json_object_get(line, "text")), text);
    assert_int_equal(strlen(json_string_value(json_object_get(line, "at"))), 20);
    json_decref(log);
}

static void the_oldest_make_room(void **state)
{
    char text[16];
    (void)state;
    for (int i = 0; i < GUEST_LOG_LINES_MAX + 7; i++) {
        int n = snprintf(text, sizeof(text), "line %d", i);
        lines_add(&lines, i % 3, text, (size_t)n);
    }
    assert_int_equal(lines.n, GUEST_LOG_LINES_MAX);
    expect(0, "stderr", "line 7");
    expect(GUEST_LOG_LINES_MAX - 1, "host", "line 206");
}

static void bytes_are_bounded_too(void **state)
{
    static char text[GUEST_LOG_BYTES_MAX + 1];
    (void)state;
    memset(text, 'x', sizeof(text));
    for (int i = 0; i < 100; i++)
        lines_add(&lines, LINE_STDOUT, text, 3000);
    assert_int_equal(lines.n, GUEST_LOG_BYTES_MAX / 3000);
    assert_int_equal(lines.bytes, lines.n * 3000);
    lines_add(&lines, LINE_STDOUT, text, GUEST_LOG_BYTES_MAX);
    assert_int_equal(lines.n, 1);
    lines_add(&lines, LINE_STDOUT, text, GUEST_LOG_BYTES_MAX + 1);
    assert_int_equal(lines.n, 1);
    assert_int_equal(lines.dropped, 1);
}

/* W11: a log that is filled. */
static void too_many_in_a_second_are_counted(void **state)
{
    unsigned may = 0;
    (void)state;
    for (int i = 0; i < 250; i++)
        may += lines_may(&lines, LINE_STDOUT, 5000000000u + (uint64_t)i);
    assert_int_equal(may, 100);
    assert_int_equal(lines.dropped, 150);
    assert_true(lines_may(&lines, LINE_HOST, 5000000000u));
    assert_true(lines_may(&lines, LINE_STDOUT, 6000000000u));
}

static void memory_may_be_short(void **state)
{
    (void)state;
    const uint64_t before = mem_live();
    mem_fail_at(1, 1);
    lines_add(&lines, LINE_HOST, "lost", 4);
    mem_fail_at(0, 0);
    assert_int_equal(lines.n, 0);
    assert_int_equal(lines.dropped, 1);
    lines_add(&lines, LINE_HOST, "kept", 4);
    expect(0, "host", "kept");
    lines_free(&lines);
    assert_int_equal(mem_live(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_oldest_make_room, empty, empty),
        cmocka_unit_test_setup_teardown(bytes_are_bounded_too, empty, empty),
        cmocka_unit_test_setup_teardown(too_many_in_a_second_are_counted, empty, empty),
        cmocka_unit_test_setup_teardown(memory_may_be_short, empty, empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
