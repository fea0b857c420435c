/* What a caller who keeps accounts needs: prompts refused once they are counted, and answers that
 * end where a budget does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "util.h"

struct door {
    uint32_t max, asked;
};

static int admit(void *ctx, uint32_t prompt_tokens)
{
    struct door *door = ctx;
    door->asked = prompt_tokens;
    return prompt_tokens > door->max ? REALM_E_LIMIT : 0;
}

static void who_asks_may_be_refused(void **state)
{
    (void)state;
    struct realm *r = open_engine(NULL);
    struct realm_model *m = open_tiny(r);
    struct door door = {.max = 1};
    struct realm_request request = request_for("The capital of France is", 4);
    struct realm_gen *g;
    request.admit = admit;
    request.admit_ctx = &door;
    assert_int_equal(realm_gen_start(&g, m, &request, NULL), REALM_E_LIMIT);
    assert_null(g);
    assert_int_equal(realm_gen_check(m, &request, NULL), REALM_E_LIMIT);
    door.max = door.asked;
    assert_int_equal(realm_gen_check(m, &request, NULL), 0);
    request.text = NULL; // an empty prompt
    assert_int_equal(realm_gen_check(m, &request, NULL), REALM_E_ARG);
    request.text = "The capital of France is";
    assert_int_equal(realm_gen_start(&g, m, &request, NULL), 0);
    assert_int_equal(realm_gen_prompt_tokens(g), door.asked);
    realm_gen_close(g);
    realm_model_close(m);
    realm_close(r);
}

/* How many tokens come when, after the at-th, so many are allowed; and the end's status. */
static uint32_t drawn(struct realm_model *m, struct realm_request request, uint32_t at,
                      uint32_t allow, int *status)
{
    struct realm_event event = {0};
    struct gate gate = {.calls = at};
    struct realm_gen *g;
    uint32_t n = 0;
    gate_hold(&request, &gate);
    assert_int_equal(realm_gen_start(&g, m, &request, NULL), 0);
    while (realm_gen_next(g, &event, NULL) == 0 && event.kind == REALM_EVENT_TOKEN) {
        if (++n != at)
            continue;
        realm_gen_allow(g, allow);
        gate_let_go(&gate);
    }
    *status = event.status;
    assert_int_equal(event.usage.completion_tokens, n);
    realm_gen_close(g);
    return n;
}

static void what_is_allowed_ends_it(void **state)
{
    (void)state;
    struct realm *r = open_engine(NULL);
    struct realm_model *m = open_tiny(r);
    struct realm_request request = request_for("Once upon a time", 200);
    int status;
    request.ignore_end = true;
    assert_int_equal(drawn(m, request, 1, 150, &status), 150);
    assert_int_equal(status, REALM_E_LIMIT);
    assert_in_range(drawn(m, request, 5, 1, &status), 5, 6); // it was past that
    assert_int_equal(status, REALM_E_LIMIT);
    assert_int_equal(drawn(m, request, 1, UINT32_MAX, &status), 200);
    assert_int_equal(status, 0);
    realm_model_close(m);
    realm_close(r);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_asks_may_be_refused),
        cmocka_unit_test(what_is_allowed_ends_it),
    };
    tiny_path = argc > 1 ? argv[1] : NULL;
    return cmocka_run_group_tests_name("engine/limit", tests, NULL, NULL);
}
