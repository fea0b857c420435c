#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/ckd.h"
#include "base/err.h"
#include "base/io.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/thread.h"
#include "base/utf8.h"

static void philox_matches_the_published_vectors(void **state)
{
    (void)state;
    /* From the kat_vectors file that the paper's authors publish. */
    uint32_t r[4];
    rng_philox(0, 0, 0, r);
    assert_int_equal(r[0], 0x6627e8d5);
    assert_int_equal(r[1], 0xe169c58d);
    assert_int_equal(r[2], 0xbc57ac4c);
    assert_int_equal(r[3], 0x9b00dbd8);
    rng_philox(0x299f31d0a4093822, 0x0370734413198a2e, 0x85a308d3243f6a88, r);
    assert_int_equal(r[0], 0xd16cfe09);
    assert_int_equal(r[1], 0x94fdcceb);
    assert_int_equal(r[2], 0x5001e420);
    assert_int_equal(r[3], 0x24126ea1);
}

static void siphash_matches_the_published_vector(void **state)
{
    (void)state;
    uint8_t key[16], text[15];
    for (size_t i = 0; i < sizeof(key); i++)
        key[i] = (uint8_t)i;
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (uint8_t)i;
    uint64_t k[2];
    memcpy(k, key, sizeof(k));
    assert_true(map_hash(k, text, sizeof(text)) == 0xa129ca6149be45e5u);
}

static void map_finds_what_was_put(void **state)
{
    (void)state;
    struct map m;
    static char keys[1000][8];
    assert_int_equal(map_init(&m, 4), 0);
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(keys[i], sizeof(keys[i]), "k%u", i);
        assert_int_equal(map_put(&m, slice_of(keys[i]), i), 0);
    }
    assert_int_equal(map_put(&m, slice_of("k7"), 1), 1);
    for (unsigned i = 0; i < 1000; i++) {
        uint32_t value = 0;
        assert_true(map_get(&m, slice_of(keys[i]), &value));
        assert_int_equal(value, i);
    }
    uint32_t value;
    assert_false(map_get(&m, slice_of("k1000"), &value));
    map_free(&m);
}

static void buffer_keeps_its_ceiling(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 10);
    assert_int_equal(buf_add(&b, "0123456789", 10), 0);
    assert_int_equal(buf_addch(&b, 'x'), REALM_E_LIMIT);
    assert_string_equal(buf_cstr(&b), "0123456789");
    buf_free(&b);
}

static void json_strings_are_escaped(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 1000);
    assert_int_equal(buf_add_json(&b, slice_of("a\"\\\n\x01\xE2\x80\xA8\xC3\xA9\xFF\xE2\x82")), 0);
    assert_string_equal(buf_cstr(&b),
                        "\"a\\\"\\\\\\n\\u0001\\u2028\xC3\xA9\xEF\xBF\xBD\xEF\xBF\xBD\"");
    buf_free(&b);
}

static void utf8_takes_what_the_standard_takes(void **state)
{
    (void)state;
    assert_true(utf8_valid("\xF0\x9F\x98\x80z", 5));
    assert_false(utf8_valid("\xC0\x80", 2));         /* overlong */
    assert_false(utf8_valid("\xED\xA0\x80", 3));     /* surrogate */
    assert_false(utf8_valid("\xF4\x90\x80\x80", 4)); /* above U+10FFFF */
    assert_int_equal(utf8_whole("ab\xF0\x9F\x98", 5), 2);
    assert_int_equal(utf8_whole("ab\xF0\x9F\x98\x80", 6), 6);
    assert_int_equal(utf8_whole("ab\x80", 3), 3);
    assert_int_equal(utf8_bad_run((const uint8_t *)"\xE2\x82"
                                                   "a",
                                  3),
                     2);
    for (uint32_t cp = 0; cp < 0x110000; cp++) {
        uint8_t bytes[4];
        uint32_t back;
        if (cp >= 0xD800 && cp < 0xE000)
            continue;
        size_t n = utf8_encode(cp, bytes);
        assert_int_equal(utf8_decode(bytes, n, &back), (int)n);
        assert_int_equal(back, cp);
    }
}

static void overflow_is_seen(void **state)
{
    (void)state;
    uint64_t out = 7;
    assert_false(ckd_add_u64(UINT64_MAX, 1, &out));
    assert_false(ckd_mul_u64(1ull << 33, 1ull << 33, &out));
    assert_false(ckd_align_u64(UINT64_MAX - 2, 32, &out));
    assert_true(ckd_align_u64(33, 32, &out));
    assert_int_equal(out, 64);
}

static void allocations_can_be_made_to_fail(void **state)
{
    (void)state;
    uint64_t before = mem_live();
    mem_fail_at(2, 0);
    void *a = mem_alloc(1), *b = mem_alloc(1), *c = mem_alloc(1);
    assert_non_null(a);
    assert_null(b);
    assert_non_null(c);
    mem_free(a);
    mem_free(c);
    assert_int_equal(mem_live(), before);
}

static void what_is_wiped_is_zero_or_nothing(void **state)
{
    (void)state;
    char secret[] = "secret";
    mem_wipe(NULL, 0);
    mem_wipe(secret, 3);
    assert_memory_equal(secret, "\0\0\0ret", sizeof(secret));
}

static void messages_end_at_a_whole_character(void **state)
{
    (void)state;
    struct realm_error err;
    char text[REALM_ERROR_MAX + 8];
    memset(text, 'a', sizeof(text));
    memcpy(text + REALM_ERROR_MAX - 3, "\xF0\x9F\x98\x80", 5);
    assert_int_equal(err_set(&err, REALM_E_IO, "%s", text), REALM_E_IO);
    assert_true(utf8_valid(err.message, strlen(err.message)));
    assert_string_equal(realm_status_name(err.status), "io_error");
    assert_string_equal(realm_status_name(-9999), "unknown");
}

static void messages_hold_no_control_characters(void **state)
{
    (void)state;
    struct realm_error err;
    err_set(&err, REALM_E_FORMAT, "tensor %s", "a\x1b[2J\nb\x7f\xC3\xA9");
    assert_string_equal(err.message, "tensor a?[2J?b?\xC3\xA9");
    err_prefix(&err, REALM_E_FORMAT, "%s", "x\ry");
    assert_string_equal(err.message, "x?y: tensor a?[2J?b?\xC3\xA9");
}

static void files_that_do_not_open_say_why(void **state)
{
    (void)state;
    struct realm_error err;
    uint8_t *p;
    size_t n;
    assert_int_equal(io_read_file(io_system(), "/nonexistent/x", 8, &p, &n, &err),
                     REALM_E_NOT_FOUND);
    assert_string_equal(err.message, "/nonexistent/x: no such file");
    assert_int_equal(io_read_file(io_system(), "/proc", 8, &p, &n, &err), REALM_E_IO);
    assert_string_equal(err.message, "/proc: a folder, not a file");
    assert_int_equal(io_read_file(io_system(), "/dev/null", 8, &p, &n, &err), REALM_E_IO);
    assert_string_equal(err.message, "/dev/null: not a regular file");
    assert_string_equal(io_why(EACCES), "this user is not allowed to read it"); // root always is
    assert_string_equal(io_why(EIO), "it cannot be opened");
}

/* Without it the second hundred lines would wait for a reader for ever. */
static void a_log_that_nobody_reads_blocks_nobody(void **state)
{
    (void)state;
    int ends[2], saved = dup(STDERR_FILENO);
    char line[LOG_LINE_MAX + 100];
    memset(line, 'x', sizeof(line));
    line[sizeof(line) - 1] = '\0';
    assert_int_equal(pipe(ends), 0);
    dup2(ends[1], STDERR_FILENO);
    alarm(20);
    for (int i = 0; i < 200; i++)
        log_line(LOG_ERROR, "%s", line);
    alarm(0);
    dup2(saved, STDERR_FILENO);
    close(saved);
    char read_back[LOG_LINE_MAX];
    assert_int_equal(read(ends[0], read_back, sizeof(read_back)), LOG_LINE_MAX);
    assert_non_null(memchr(read_back, '\n', sizeof(read_back)));
    close(ends[0]);
    close(ends[1]);
}

static void lower(void *arg)
{
    int *level = arg;
    thread_lower_priority();
    *level = getpriority(PRIO_PROCESS, 0);
}

static void only_the_thread_that_asks_is_lowered(void **state)
{
    (void)state;
    struct thread thread;
    const int before = getpriority(PRIO_PROCESS, 0);
    int level = before;
    assert_int_equal(thread_start(&thread, "low", 0, lower, &level), 0);
    thread_join(&thread);
    assert_true(level > before || before == 19);
    assert_int_equal(getpriority(PRIO_PROCESS, 0), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(philox_matches_the_published_vectors),
        cmocka_unit_test(siphash_matches_the_published_vector),
        cmocka_unit_test(map_finds_what_was_put),
        cmocka_unit_test(buffer_keeps_its_ceiling),
        cmocka_unit_test(json_strings_are_escaped),
        cmocka_unit_test(utf8_takes_what_the_standard_takes),
        cmocka_unit_test(overflow_is_seen),
        cmocka_unit_test(allocations_can_be_made_to_fail),
        cmocka_unit_test(what_is_wiped_is_zero_or_nothing),
        cmocka_unit_test(messages_end_at_a_whole_character),
        cmocka_unit_test(messages_hold_no_control_characters),
        cmocka_unit_test(files_that_do_not_open_say_why),
        cmocka_unit_test(a_log_that_nobody_reads_blocks_nobody),
        cmocka_unit_test(only_the_thread_that_asks_is_lowered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
