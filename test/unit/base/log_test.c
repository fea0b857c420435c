/* base/log: what reaches stderr, read back through a pipe and, for JSON, by jansson. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include <fcntl.h>
#include <math.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/log.h"

static int ends[2], saved;
static char got[2 * LOG_LINE_MAX];

/* From here to listened() stderr is a pipe. */
static void listen_in(void)
{
    assert_int_equal(pipe2(ends, O_NONBLOCK), 0);
    saved = dup(STDERR_FILENO);
    dup2(ends[1], STDERR_FILENO);
}

static const char *listened(void)
{
    dup2(saved, STDERR_FILENO);
    close(saved);
    ssize_t n = read(ends[0], got, sizeof(got) - 1);
    got[n > 0 ? n : 0] = '\0';
    close(ends[0]);
    close(ends[1]);
    return got;
}

static json_t *listened_json(void)
{
    const char *text = listened();
    json_error_t why;
    json_t *object = json_loads(text, JSON_REJECT_DUPLICATES, &why);
    if (!object)
        fail_msg("%s: %s", why.text, text);
    assert_true(strlen(text) <= LOG_LINE_MAX);
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
    return object;
}

static const char *member(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

static int reset(void **state)
{
    (void)state;
    log_set_level(LOG_WARN);
    log_set_format(LOG_TEXT);
    return 0;
}

static void levels_are_kept(void **state)
{
    (void)state;
    log_set_level(LOG_INFO);
    listen_in();
    log_line(LOG_DEBUG, "not this");
    log_event(LOG_DEBUG, "nor_this", NULL, 0);
    assert_string_equal(listened(), "");
    listen_in();
    log_line(LOG_INFO, "a\nb\x1b");
    const char *text = listened();
    assert_non_null(strstr(text, "Z info a\\x0ab\\x1b\n"));
}

static void an_event_is_a_line_of_named_values(void **state)
{
    (void)state;
    const struct log_field fields[] = {
        {"method", "GET", 0},       {"path", "/v1/models", 0}, {"odd", "a b=\"\n", 0},
        {"empty", "", 0},           {"ms", NULL, 3.25},        {"tokens", NULL, 12345678901.0},
        {"nan", NULL, (double)NAN},
    };
    listen_in();
    log_event(LOG_WARN, "request", fields, 7);
    assert_non_null(strstr(listened(), "Z warn request method=GET path=/v1/models "
                                       "odd=\"a b=\\\"\\u000a\" empty=\"\" ms=3.25 "
                                       "tokens=12345678901 nan=null\n"));
    log_set_format(LOG_JSON);
    listen_in();
    log_event(LOG_WARN, "request", fields, 7);
    json_t *line = listened_json();
    assert_string_equal(member(line, "level"), "warn");
    assert_string_equal(member(line, "event"), "request");
    assert_string_equal(member(line, "odd"), "a b=\"\n");
    assert_string_equal(member(line, "empty"), "");
    assert_true(json_real_value(json_object_get(line, "ms")) == 3.25);
    assert_int_equal(json_integer_value(json_object_get(line, "tokens")), 12345678901);
    assert_true(json_is_null(json_object_get(line, "nan")));
    assert_int_equal(strlen(member(line, "time")), strlen("2026-01-01T00:00:00.000Z"));
    json_decref(line);
}

static void json_is_whole_whatever_the_bytes(void **state)
{
    (void)state;
    log_set_format(LOG_JSON);
    char odd[256 + 8];
    for (int first = 1; first < 256; first++) {
        snprintf(odd, sizeof(odd), "%c\"\\%c%c\xF0\x9F", first, 256 - first, first);
        const struct log_field field = {"odd", odd, 0};
        listen_in();
        log_event(LOG_ERROR, "x", &field, 1);
        json_decref(listened_json());
        listen_in();
        log_line(LOG_ERROR, "%s", odd);
        json_t *line = listened_json();
        assert_non_null(member(line, "message"));
        json_decref(line);
    }
}

/* A text of every length around the ceiling, of characters of every width. */
static void json_is_whole_where_it_is_cut(void **state)
{
    (void)state;
    static const char *const pieces[] = {"x", "\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x98\x80", "\n"};
    static char text[LOG_LINE_MAX + 200];
    log_set_format(LOG_JSON);
    for (size_t i = 0; i < 5; i++) {
        size_t width = strlen(pieces[i]);
        for (size_t n = LOG_LINE_MAX / (i == 4 ? 6 : 1) - 140; n < sizeof(text) - 8; n += 1) {
            for (size_t at = 0; at < n; at += width)
                memcpy(text + at, pieces[i], width + 1);
            const struct log_field fields[] = {{"a", text, 0}, {"b", "second", 0}, {"c", NULL, 7}};
            listen_in();
            log_event(LOG_ERROR, "x", fields, 3);
            json_t *line = listened_json();
            assert_non_null(member(line, "a"));
            json_decref(line);
            listen_in();
            log_line(LOG_ERROR, "%s", text);
            json_decref(listened_json());
            if (i == 4 && n > LOG_LINE_MAX / 6 + 20)
                break;
        }
    }
}

static void lines_that_nobody_takes_are_counted(void **state)
{
    (void)state;
    uint64_t before = log_dropped();
    listen_in();
    for (int i = 0; i < 5000; i++)
        log_line(LOG_ERROR, "%0100d", i);
    listened();
    /* A pipe holds 64 KiB. */
    assert_true(log_dropped() - before > 4000);
    before = log_dropped();
    saved = dup(STDERR_FILENO);
    close(STDERR_FILENO);
    log_line(LOG_ERROR, "to nobody");
    dup2(saved, STDERR_FILENO);
    close(saved);
    assert_int_equal(log_dropped() - before, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(levels_are_kept, reset),
        cmocka_unit_test_setup(an_event_is_a_line_of_named_values, reset),
        cmocka_unit_test_setup(json_is_whole_whatever_the_bytes, reset),
        cmocka_unit_test_setup(json_is_whole_where_it_is_cut, reset),
        cmocka_unit_test_setup(lines_that_nobody_takes_are_counted, reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
