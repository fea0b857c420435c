/* The table of parameters: ranges at their very bounds, and the doors' defaults. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "realm/realm.h"

static int set(const char *name, double value)
{
    struct realm_sampling s;
    struct realm_error err = {0};
    realm_sampling_init(&s, REALM_DOOR_OPENAI);
    int status = realm_sampling_set(&s, name, value, &err);
    if (status) {
        assert_int_equal(err.status, status);
        assert_int_equal(strncmp(err.message, name, strlen(name)), 0);
    }
    /* Whatever set lets in, the check lets pass. */
    assert_int_equal(realm_sampling_check(&s, NULL), 0);
    return status;
}

static void ranges_end_where_they_say(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        double value;
        bool ok;
    } cases[] = {
        {"max_tokens", 0, false},
        {"max_tokens", 1, true},
        {"max_tokens", 4294967295.0, true},
        {"max_tokens", 4294967296.0, false},
        {"max_tokens", 1.5, false},
        {"max_tokens", -1, false},
        {"temperature", 0, true},
        {"temperature", 100, true},
        {"temperature", 100.1, false},
        {"temperature", -0.001, false},
        {"top_p", 0, false},
        {"top_p", 1e-60, false}, // 0 as a float
        {"top_p", 1e-30, true},
        {"top_p", 1, true},
        {"top_p", 1.001, false},
        {"top_k", 0, true},
        {"top_k", 2147483647, true},
        {"top_k", 2147483648.0, false},
        {"top_k", 0.5, false},
        {"min_p", 0, true},
        {"min_p", 0.99, true},
        {"min_p", 1, false},
        {"min_p", 0.9999999999, false}, // 1 as a float
        {"repetition_penalty", 0, false},
        {"repetition_penalty", 10, true},
        {"repetition_penalty", 10.01, false},
        {"presence_penalty", -2, true},
        {"presence_penalty", -2.01, false},
        {"frequency_penalty", 2, true},
        {"frequency_penalty", 2.01, false},
        {"seed", 0, true},
        {"seed", 9007199254740992.0, true},
        {"seed", 18446744073709549568.0, true},
        {"seed", 18446744073709551616.0, false},
        {"seed", -1, false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(set(cases[i].name, cases[i].value), cases[i].ok ? 0 : REALM_E_ARG);
}

static void every_parameter_refuses_what_is_no_number(void **state)
{
    (void)state;
    size_t n;
    const struct realm_param *params = realm_params(&n);
    assert_int_equal(n, 9);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(set(params[i].name, NAN), REALM_E_ARG);
        assert_int_equal(set(params[i].name, INFINITY), REALM_E_ARG);
        assert_int_equal(set(params[i].name, -INFINITY), REALM_E_ARG);
        assert_int_equal(set(params[i].name, -1e300), REALM_E_ARG);
        assert_int_equal(set(params[i].name, 1e300), REALM_E_ARG);
        assert_true(strlen(params[i].help) > 0);
    }
    assert_int_equal(realm_sampling_set(&(struct realm_sampling){0}, "top", 1, NULL), REALM_E_ARG);
}

static void a_value_lands_in_its_field(void **state)
{
    (void)state;
    struct realm_sampling s;
    realm_sampling_init(&s, REALM_DOOR_GUEST);
    assert_false(s.has_seed);
    assert_int_equal(realm_sampling_set(&s, "seed", 0, NULL), 0);
    assert_true(s.has_seed && s.seed == 0);
    assert_int_equal(realm_sampling_set(&s, "top_k", 7, NULL), 0);
    assert_int_equal(s.top_k, 7);
    assert_int_equal(realm_sampling_set(&s, "min_p", 0.25, NULL), 0);
    assert_true(s.min_p == 0.25f);
    assert_int_equal(realm_sampling_set(&s, "top_k", -7, NULL), REALM_E_ARG);
    assert_int_equal(s.top_k, 7);
}

static void doors_have_their_defaults(void **state)
{
    (void)state;
    static const struct realm_sampling want[REALM_DOORS] = {
        [REALM_DOOR_GUEST] = {512, 0.7f, 0.9f, 0, 40, 1.1f, 0, 0, false, 0},
        [REALM_DOOR_WEBSOCKET] = {100, 0.7f, 0.9f, 0, 0, 1, 0, 0, false, 0},
        [REALM_DOOR_OPENAI] = {0, 1, 1, 0, 0, 1, 0, 0, false, 0},
        [REALM_DOOR_CLI] = {0, 0.7f, 0.9f, 0, 40, 1.1f, 0, 0, false, 0},
    };
    for (int door = 0; door < REALM_DOORS; door++) {
        struct realm_sampling s;
        realm_sampling_init(&s, (enum realm_door)door);
        assert_int_equal(realm_sampling_check(&s, NULL), 0);
        assert_memory_equal(&s, &want[door], sizeof(s));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_end_where_they_say),
        cmocka_unit_test(every_parameter_refuses_what_is_no_number),
        cmocka_unit_test(a_value_lands_in_its_field),
        cmocka_unit_test(doors_have_their_defaults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
