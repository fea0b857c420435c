#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "api/reason.h"

/* Pushes text in pieces of `step` bytes. */
static void split(const char *text, bool on, bool thinking, size_t step, const char *want_answer,
                  const char *want_reasoning)
{
    struct reason r;
    struct buf answer, reasoning;
    buf_init(&answer, 4096);
    buf_init(&reasoning, 4096);
    reason_init(&r, on, thinking);
    for (size_t at = 0, n = strlen(text); at < n; at += step) {
        size_t more = n - at < step ? n - at : step;
        assert_int_equal(reason_push(&r, text + at, more, &answer, &reasoning), 0);
    }
    assert_int_equal(reason_end(&r, &answer, &reasoning), 0);
    assert_string_equal(buf_cstr(&answer), want_answer);
    assert_string_equal(buf_cstr(&reasoning), want_reasoning);
    buf_free(&answer);
    buf_free(&reasoning);
}

struct row {
    const char *text;
    bool on, thinking;
    const char *answer, *reasoning;
};

static const struct row rows[] = {
    {"Paris.", true, false, "Paris.", ""},
    {"<think>Let me see.</think>\n\nParis.", true, false, "Paris.", "Let me see."},
    {"\n <think>\nLet me see.\n</think>Paris.", true, false, "Paris.", "Let me see.\n"},
    {"Let me see.</think>\nParis.", true, true, "Paris.", "Let me see."},
    {"cut off <", true, true, "", "cut off <"},
    {"cut off </thin", true, true, "", "cut off </thin"},
    {"a < b </b> </think>c", true, true, "c", "a < b </b> "},
    {"<<</think>x", true, true, "x", "<<"},
    {"<thin air>", true, false, "<thin air>", ""},
    {"  two", true, false, "  two", ""},
    {"x <think>y</think>", true, false, "x <think>y</think>", ""},
    {"<think>y</think>z", false, false, "<think>y</think>z", ""},
    {"<think></think>\xE2\x9C\x85", true, false, "\xE2\x9C\x85", ""},
    {"<think>\xE2\x9C\x85</think>", true, false, "", "\xE2\x9C\x85"},
    {"", true, true, "", ""},
    {"   ", true, false, "   ", ""},
    {"                                                                          <think>a</think>b",
     true, false,
     "                                                                          <think>a</think>b",
     ""},
};

static void every_cut_gives_the_same(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        for (size_t step = 1; step < 12; step++)
            split(rows[i].text, rows[i].on, rows[i].thinking, step, rows[i].answer,
                  rows[i].reasoning);
}

static void prompts_and_templates(void **state)
{
    (void)state;
    assert_true(reason_open("<|im_start|>assistant\n<think>\n", 30));
    assert_false(reason_open("<think>\n\n</think>\n\n", 19));
    assert_false(reason_open("", 0));
    assert_true(reason_known("{{ '</think>' }}"));
    assert_false(reason_known("{{ messages }}"));
    assert_false(reason_known(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_cut_gives_the_same),
        cmocka_unit_test(prompts_and_templates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
