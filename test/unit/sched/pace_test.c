#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/limits.h"
#include "sched/pace.h"

static const uint64_t MS = 1000000;

/* A machine whose step takes base + rows * row. */
static uint64_t step_ns(size_t rows, uint64_t base, uint64_t row)
{
    return base + rows * row;
}

static size_t settled(uint64_t base, uint64_t row, uint64_t budget)
{
    struct pace p = {0};
    for (unsigned i = 0; i < 100; i++) {
        size_t rows = pace_rows(&p, budget);
        pace_note(&p, rows, step_ns(rows, base, row));
    }
    return pace_rows(&p, budget);
}

static void knows_nothing_at_first(void **state)
{
    (void)state;
    struct pace p = {0};
    assert_int_equal(pace_rows(&p, 50 * MS), 8);
    assert_int_equal(pace_rows(&p, 0), 8);
}

static void settles_below_the_budget(void **state)
{
    (void)state;
    /* 50 ms hold 40 rows of 1 ms after 10 ms that every step takes. */
    size_t rows = settled(10 * MS, MS, 50 * MS);
    assert_in_range(rows, 30, 40);
    assert_int_equal(settled(0, MS, 50 * MS), 50);
    assert_int_equal(settled(0, MS / 100, 50 * MS), BATCH_ROWS_MAX);
    assert_int_equal(settled(0, 500 * MS, 50 * MS), 1);
    assert_in_range(settled(49 * MS, MS / 2, 50 * MS), 1, 2);
}

static void answers_of_one_row_do_not_spoil_it(void **state)
{
    (void)state;
    struct pace p = {0};
    for (unsigned i = 0; i < 100; i++)
        pace_note(&p, 1, 20 * MS); // memory alone
    for (unsigned i = 0; i < 20; i++) {
        size_t rows = pace_rows(&p, 50 * MS);
        pace_note(&p, rows, 20 * MS + rows * MS / 10);
    }
    assert_in_range(pace_rows(&p, 50 * MS), 200, 300);
    for (unsigned i = 0; i < 100; i++)
        pace_note(&p, 1, 20 * MS);
    assert_in_range(pace_rows(&p, 50 * MS), 200, 300);
}

static void follows_a_machine_that_slows_down(void **state)
{
    (void)state;
    struct pace p = {0};
    size_t rows = 0;
    for (unsigned i = 0; i < 200; i++) {
        rows = pace_rows(&p, 50 * MS);
        pace_note(&p, rows, rows * (i < 100 ? MS : 4 * MS));
    }
    assert_in_range(rows, 10, 14);
}

/* A process that was stopped for half a minute, or swapped out. */
static void recovers_from_a_step_that_took_for_ever(void **state)
{
    (void)state;
    struct pace p = {0};
    pace_note(&p, 1, step_ns(1, 10 * MS, MS / 10));
    for (unsigned i = 0; i < 100; i++)
        pace_note(&p, pace_rows(&p, 50 * MS), step_ns(pace_rows(&p, 50 * MS), 10 * MS, MS / 10));
    size_t before = pace_rows(&p, 50 * MS);
    assert_in_range(before, 300, 400);
    pace_note(&p, before, 30000 * MS);
    pace_note(&p, 1, 30000 * MS);
    assert_true(pace_ns(&p, 1) < 100 * MS); // else prompts may take that long
    for (unsigned i = 0; i < 300; i++)
        pace_note(&p, pace_rows(&p, 50 * MS), step_ns(pace_rows(&p, 50 * MS), 10 * MS, MS / 10));
    assert_in_range(pace_rows(&p, 50 * MS), 300, 400);
}

/* Trying again what was slow must not become a habit. */
static void what_stays_slow_is_tried_seldom(void **state)
{
    (void)state;
    struct pace p = {0};
    unsigned over = 0;
    for (unsigned i = 0; i < 1000; i++) {
        size_t rows = pace_rows(&p, 50 * MS);
        uint64_t ns = step_ns(rows, 0, rows < 64 ? MS / 2 : MS);
        over += ns > 60 * MS;
        pace_note(&p, rows, ns);
    }
    assert_in_range(over, 1, 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_nothing_at_first),
        cmocka_unit_test(settles_below_the_budget),
        cmocka_unit_test(answers_of_one_row_do_not_spoil_it),
        cmocka_unit_test(follows_a_machine_that_slows_down),
        cmocka_unit_test(recovers_from_a_step_that_took_for_ever),
        cmocka_unit_test(what_stays_slow_is_tried_seldom),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
