/* Guests that take too much, trap, or are not waited for any more. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "util.h"

enum {
    OWN_MS = 100,
    SLACK_MS = 20000, /* of a machine that lets the thread sleep that looks at guests */
};

static const struct wasm_limits limits = {
    .memory_bytes = 4 << 20, .output_bytes = 1000, .own_ms = OWN_MS, .host_calls = 500};

static int setup(void **state)
{
    *state = rig_open(&limits);
    return 0;
}

/* Runs a module and expects it to end so; the processor time that it took. */
static uint64_t expect_text(struct rig *rig, const char *text, int status, const char *sentence)
{
    struct wasm_request r = request_of(rig, "Once");
    struct wasm_guest *g;
    struct outcome out = {0};
    if (guest_from_text(rig->host, text, &g, &out.err))
        fail_msg("%s", out.err.message);
    run_guest(g, &r, &out);
    if (out.status != status || !strstr(out.err.message, sentence))
        fail_msg("%d: %s", out.status, out.status ? out.err.message : out.result.text);
    assert_null(out.result.text);
    wasm_guest_close(g);
    return out.result.own_ns / 1000000;
}

static uint64_t expect(struct rig *rig, const char *extra, const char *body, int status,
                       const char *sentence)
{
    char *text = guest_text(extra, body);
    const uint64_t own_ms = expect_text(rig, text, status, sentence);
    free(text);
    return own_ms;
}

#define HEAD "(module (memory (export \"memory\") 2)"
#define GENERATE "(func (export \"generate\") (param i32 i32 i32 i32) (result i32) "

/* W06: loops, at the start of a module too. */
static void test_own_time(void **state)
{
    static const struct {
        const char *extra, *body;
    } cases[] = {
        {"", "(loop $l (br $l)) (unreachable)"},
        {"(func $s (loop $l (br $l))) (start $s)", "(i32.const 1)"},
        {"(func (export \"_initialize\") (loop $l (br $l)))", "(i32.const 1)"},
        {"(func (export \"alloc\") (param i32) (result i32) (loop $l (br $l)) (unreachable))",
         "(i32.const 1)"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_in_range(expect(*state, cases[i].extra, cases[i].body, REALM_E_LIMIT, "100 ms"),
                        OWN_MS, OWN_MS + SLACK_MS);
}

/* The time that generations take is not the guest's own. */
static void test_waits_are_free(void **state)
{
    struct rig *rig = *state;
    struct wasm_request r = request_of(rig, "Once upon a time");
    struct outcome out;
    uint64_t start = now_ms();
    for (int i = 1; now_ms() - start < 2 * OWN_MS; i *= 2) {
        char body[512];
        snprintf(body, sizeof(body),
                 "(loop $l (local.set $c (call $generate (i32.const 0) (local.get $p)"
                 " (local.get $n) (local.get $o) (i32.const 4096) (i32.const 8192)))"
                 "(local.set $i (i32.add (local.get $i) (i32.const 1)))"
                 "(br_if $l (i32.lt_u (local.get $i) (i32.const %d)))) (local.get $c)",
                 i < 400 ? i : 400);
        start = now_ms();
        assert_true(code_of(rig, &r, "", body, &out) > 0);
        assert_true(out.result.own_ns < OWN_MS * 1000000ull);
        if (i > 4096)
            return; // a model too fast to tell
    }
}

/* W06: a loop of cheap host calls. */
static void test_host_calls(void **state)
{
    expect(*state, "",
           "(loop $l (drop (call $last_error (i32.const 0) (i32.const 0))) (br $l))"
           "(unreachable)",
           REALM_E_LIMIT, "500 host calls");
    struct rig *rig = *state;
    struct wasm_request r = request_of(rig, "x");
    struct outcome out;
    assert_int_equal(code_of(rig, &r, "",
                             "(loop $l (drop (call $last_error (i32.const 0) (i32.const 0)))"
                             "(local.set $i (i32.add (local.get $i) (i32.const 1)))"
                             "(br_if $l (i32.lt_u (local.get $i) (i32.const 500)))) (i32.const 7)",
                             &out),
                     7);
    assert_int_equal(out.result.host_calls, 500);
}

/* W06: recursion without end. */
static void test_stack(void **state)
{
    expect(*state,
           "(func $f (param i32) (result i32) (i32.add (i32.const 1)"
           " (call $f (i32.add (local.get 0) (i32.const 1)))))",
           "(call $f (i32.const 0))", REALM_E_LIMIT, "stack");
}

/* W07: memory and tables beyond their limit. */
static void test_memory(void **state)
{
    struct rig *rig = *state;
    struct wasm_request r = request_of(rig, "x");
    struct outcome out;
    struct wasm_guest *g;
    struct realm_error err;
    /* 64 pages are allowed, two were there, two came for prompt and options. */
    assert_int_equal(code_of(rig, &r, "", "(memory.grow (i32.const 60))", &out), 4);
    assert_int_equal(code_of(rig, &r, "", "(memory.grow (i32.const 61))", &out), -1);
    assert_int_equal(code_of(rig, &r, "", "(memory.grow (i32.const 0x7fffffff))", &out), -1);
    assert_int_equal(code_of(rig, &r, "(table $t 1 funcref)",
                             "(table.grow $t (ref.null func) (i32.const 20000))", &out),
                     -1);
    expect_text(rig, "(module (memory (export \"memory\") 64) " GENERATE "(i32.const 8)))",
                REALM_E_LIMIT, "no room");
    assert_int_equal(guest_from_text(rig->host,
                                     "(module (memory (export \"memory\") 65) " GENERATE
                                     "(i32.const 8)))",
                                     &g, &err),
                     REALM_E_GUEST);
    assert_non_null(strstr(err.message, "65 pages"));
    assert_null(g);
}

/* W07: a tenant's guests have no more than they leave to others, whatever each of them may have. */
static void test_memory_of_all(void **state)
{
    const struct wasm_limits few = {.memory_bytes = 4 << 20, .all_bytes = 6 << 20};
    struct rig *rig = rig_open(&few);
    struct wasm_request r = request_of(rig, "x");
    struct wasm_stats stats;
    struct outcome out;
    void *opened = rig;
    (void)state;
    for (int i = 0; i < 3; i++) // what is over is given back
        assert_int_equal(code_of(rig, &r, "", "(memory.grow (i32.const 40))", &out), 4);
    for (int i = 0; i < 2; i++) {
        expect(rig, "",
               "(drop (memory.grow (i32.const 58)))"
               "(drop (call $last_error (i32.const 0) (i32.const 0))) (unreachable)",
               REALM_E_LIMIT, "all guests may have 6");
        expect(rig, "", "(drop (memory.grow (i32.const 58))) (loop $l (br $l)) (unreachable)",
               REALM_E_LIMIT, "all guests may have 6");
    }
    expect_text(rig, "(module (memory (export \"memory\") 60) " GENERATE "(i32.const 8)))",
                REALM_E_LIMIT, "all guests may have 6");
    wasm_stats(rig->host, &stats);
    assert_int_equal(stats.memory_bytes, 0);
    rig_teardown(&opened);
}

/* W11: text without end. */
static void test_output(void **state)
{
    expect(*state, "",
           "(loop $l (drop (call $stream_token (i32.const 4096) (i32.const 400)))"
           " (br $l)) (unreachable)",
           REALM_E_LIMIT, "1000 bytes");
    expect_text(*state,
                HEAD GENERATE "(memory.fill (i32.const 8) (i32.const 65) (i32.const 1001))"
                              " (i32.const 8)))",
                REALM_E_LIMIT, "1000 bytes");
}

/* W10: a trap ends its request alone. */
static void test_traps(void **state)
{
    struct rig *rig = *state;
    struct wasm_stats before, after;
    wasm_stats(rig->host, &before);
    expect(rig, "", "(unreachable)", REALM_E_GUEST, "unreachable");
    expect(rig, "", "(i32.load (i32.const -1))", REALM_E_GUEST, "out of bounds");
    expect(rig, "", "(i32.div_u (i32.const 1) (i32.const 0))", REALM_E_GUEST, "by zero");
    wasm_stats(rig->host, &after);
    assert_int_equal(after.trapped - before.trapped, 3);
    assert_int_equal(after.running, 0);
}

static void test_bad_answers(void **state)
{
    expect_text(*state, HEAD GENERATE "(i32.const 0)))", REALM_E_GUEST, "answers nothing");
    expect_text(*state, HEAD GENERATE "(i32.const -1)))", REALM_E_GUEST, "NUL");
    expect_text(*state, HEAD GENERATE "(i32.const 0x40000)))", REALM_E_GUEST, "NUL");
    expect_text(*state,
                HEAD "(func (export \"alloc\") (param i32) (result i32) (i32.const -2))" GENERATE
                     "(i32.const 8)))",
                REALM_E_GUEST, "out of bounds");
    expect_text(*state,
                HEAD "(func (export \"malloc\") (param i32) (result i32) (i32.const 0))" GENERATE
                     "(i32.const 8)))",
                REALM_E_GUEST, "malloc has no room");
    expect_text(*state,
                HEAD "(func (export \"handle\") (param i32 i32) (result i64)"
                     " (i64.const 0x0002fffe00000003)))",
                REALM_E_GUEST, "out of bounds");
    /* The sentence of the call that failed is passed on. */
    expect_text(*state,
                "(module (import \"env\" \"realm_remove_model\" (func $r (param i32) (result i32)))"
                "(memory (export \"memory\") 2)" GENERATE
                "(drop (call $r (i32.const 5))) (i32.const 0)))",
                REALM_E_GUEST, "no model 5");
}

static void test_answer_is_text(void **state)
{
    struct rig *rig = *state;
    struct wasm_request r = request_of(rig, "x");
    struct wasm_guest *g;
    struct outcome out = {0};
    assert_int_equal(guest_from_text(rig->host,
                                     HEAD "(data (i32.const 8) \"a\\ffb\\c3\\a9\\c3\\00\")" GENERATE
                                          "(i32.const 8)))",
                                     &g, &out.err),
                     0);
    run_guest(g, &r, &out);
    assert_int_equal(out.status, 0);
    assert_string_equal(out.result.text, "a\xEF\xBF\xBD"
                                         "b\xC3\xA9\xEF\xBF\xBD");
    assert_false(out.result.streamed);
    outcome_free(&out);
    wasm_guest_close(g);
}

struct caller {
    uint64_t gone_ms; /* 0: stays */
};

static bool gone(void *ctx)
{
    const struct caller *c = ctx;
    return c->gone_ms && now_ms() >= c->gone_ms;
}

/* Generates until a wait ends; the guest then answers the code, for nobody. */
#define GENERATE_ON                                                                      \
    "(loop $l (local.set $c (call $generate (i32.const 0) (local.get $p) (local.get $n)" \
    " (local.get $o) (i32.const 4096) (i32.const 8192)))"                                \
    "(br_if $l (i32.gt_s (local.get $c) (i32.const 0)))) (local.get $c)"

/* A request that ends after so many ms, by its deadline or because its caller has gone. */
static struct outcome end_after(struct rig *rig, const char *body, bool deadline, uint64_t ms)
{
    struct wasm_request r = request_of(rig, "Once upon a time");
    struct realm_sampling s = *r.sampling;
    struct outcome out = {0};
    struct caller caller = {0};
    struct wasm_guest *g;
    s.max_tokens = 900;
    r.sampling = &s;
    char *text = guest_text("", body);
    assert_int_equal(guest_from_text(rig->host, text, &g, &out.err), 0);
    uint64_t start = now_ms();
    if (deadline)
        r.deadline_ns = clock_ns(clock_system()) + ms * 1000000;
    else
        caller.gone_ms = start + ms;
    r.cancelled = gone;
    r.ctx = &caller;
    run_guest(g, &r, &out);
    if (out.status != (deadline ? REALM_E_DEADLINE : REALM_E_CANCELLED))
        fail_msg("%d %s", out.status, out.err.message);
    assert_in_range(now_ms() - start, ms, ms + SLACK_MS);
    wasm_guest_close(g);
    free(text);
    return out;
}

/* W10: whose caller is gone, or too late, in a loop and in a generation. */
static void test_not_waited_for(void **state)
{
    struct rig *rig = rig_open(NULL);
    void *opened = rig;
    struct realm_stats stats;
    (void)state;
    for (int deadline = 0; deadline < 2; deadline++) {
        (void)end_after(rig, "(loop $l (br $l)) (unreachable)", deadline, 60);
        /* What was computed is counted, once the machine has come so far. */
        uint32_t computed = 0;
        for (uint64_t ms = 60; computed == 0 && ms < 10000; ms *= 2)
            computed = end_after(rig, GENERATE_ON, deadline, ms).result.prompt_tokens;
        assert_true(computed > 0);
    }
    realm_stats(rig->engine, &stats);
    assert_int_equal(stats.running + stats.waiting, 0);
    rig_teardown(&opened);
}

/* A deadline that is over before anything began. */
static void test_too_late(void **state)
{
    struct rig *rig = *state;
    struct wasm_request r = request_of(rig, "x");
    struct wasm_guest *g;
    struct outcome out = {0};
    r.deadline_ns = 1;
    assert_int_equal(guest_from_text(rig->host, HEAD GENERATE "(i32.const 8)))", &g, &out.err), 0);
    run_guest(g, &r, &out);
    assert_int_equal(out.status, REALM_E_DEADLINE);
    wasm_guest_close(g);
}

/* W10: generations that a guest leaves open, by its end or by a trap, are ended. */
static void test_left_open(void **state)
{
    struct rig *rig = *state;
    struct wasm_request r = request_of(rig, "{\"prompt\":\"Once\",\"temperature\":0}");
    struct outcome out = {0};
    struct wasm_guest *g;
    char *text = guest_text("", "(drop (call $generate_start (local.get $p) (local.get $n)))"
                                "(drop (call $generate_start (local.get $p) (local.get $n)))"
                                "(unreachable)");
    assert_int_equal(guest_from_text(rig->host, text, &g, &out.err), 0);
    run_guest(g, &r, &out);
    assert_int_equal(out.status, REALM_E_GUEST);
    struct realm_stats stats;
    realm_stats(rig->engine, &stats);
    assert_int_equal(stats.running + stats.waiting, 0);
    assert_int_equal(stats.leases, 1);
    wasm_guest_close(g);
    free(text);
}

int wasm_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_own_time),       cmocka_unit_test(test_waits_are_free),
        cmocka_unit_test(test_host_calls),     cmocka_unit_test(test_stack),
        cmocka_unit_test(test_memory),         cmocka_unit_test(test_output),
        cmocka_unit_test(test_traps),          cmocka_unit_test(test_bad_answers),
        cmocka_unit_test(test_answer_is_text), cmocka_unit_test(test_not_waited_for),
        cmocka_unit_test(test_too_late),       cmocka_unit_test(test_left_open),
        cmocka_unit_test(test_memory_of_all),
    };
    return cmocka_run_group_tests(tests, setup, rig_teardown);
}
