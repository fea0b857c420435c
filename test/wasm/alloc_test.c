/* W04: allocators of guests that do not do what one is for: the host trusts nothing of
 * what they answer, and looks at the memory anew after each. */
#include <stdlib.h>
#include <string.h>

#include "util.h"

static int setup(void **state)
{
    const struct wasm_limits limits = {.own_ms = 200, .memory_bytes = 4 << 20};
    *state = rig_open(&limits);
    return 0;
}

#define ALLOC(name, body) "(func (export \"" name "\") (param $n i32) (result i32) " body ")"
/* Answers the prompt's first bytes. */
#define FIRST_BYTES "(i32.load (local.get $p))"
#define ONCE 0x65636e4f // "Once"

struct allocator {
    const char *extra;
    int status;
    const char *sentence; /* of what it ends with */
    const char *body;     /* of generate; its answer is `answer` */
    int32_t answer;
};

static const struct allocator allocators[] = {
    /* New pages each time, so that the memory may move under the host. */
    {ALLOC("alloc", "(i32.shl (memory.grow (i32.const 8)) (i32.const 16))"), 0, "", FIRST_BYTES,
     ONCE},
    {ALLOC("malloc", "(i32.sub (i32.shl (memory.size) (i32.const 16)) (i32.const 64))"), 0, "",
     "(i32.gt_u (local.get $p) (i32.const 100000))", 1},
    /* The same place for prompt and options: the guest's own loss. */
    {ALLOC("alloc", "(i32.const 1024)"), 0, "", "(i32.eq (local.get $p) (local.get $o))", 1},
    {ALLOC("alloc", "(i32.const 1)"), 0, "", "(local.get $p)", 1},
    /* A host call in the middle of the host's own. */
    {"(data (i32.const 100) \"Once\")" ALLOC(
         "alloc", "(drop (call $generate (i32.const 0) (i32.const 100) (i32.const 4)"
                  " (i32.const 0) (i32.const 4096) (i32.const 2))) (i32.const 2048)"),
     0, "", "(local.get $p)", 2048},
    {"(data (i32.const 100) \"{}\")" ALLOC(
         "alloc", "(drop (call $stream_token (i32.const 100) (local.get $n)))"
                  " (drop (call $generate_start (i32.const 100) (i32.const 2)))"
                  " (i32.const 2048)"),
     0, "", "(local.get $p)", 2048},
    /* A place that depends on the alignment that it is asked for. */
    {"(func (export \"__wbindgen_malloc\") (param i32 i32) (result i32)"
     " (i32.add (local.get 1) (i32.const 2040)))",
     0, "", "(local.get $p)", 2048},
    {ALLOC("alloc", "(i32.const 0)"), REALM_E_GUEST, "no room", NULL, 0},
    {ALLOC("alloc", "(i32.const -1)"), REALM_E_GUEST, "out of bounds", NULL, 0},
    {ALLOC("alloc", "(i32.const 0x20000)"), REALM_E_GUEST, "out of bounds", NULL, 0},
    {ALLOC("alloc", "(i32.const 0x1fffd)"), REALM_E_GUEST, "out of bounds", NULL, 0},
    {ALLOC("alloc", "(i32.const 0x80000000)"), REALM_E_GUEST, "out of bounds", NULL, 0},
    {ALLOC("alloc", "(unreachable)"), REALM_E_GUEST, "unreachable", NULL, 0},
    {ALLOC("alloc", "(loop $l (br $l)) (unreachable)"), REALM_E_LIMIT, "200 ms", NULL, 0},
    {"(func $f (export \"alloc\") (param i32) (result i32) (call $f (local.get 0)))", REALM_E_LIMIT,
     "stack", NULL, 0},
    {ALLOC("alloc", "(loop $l (br_if $l (i32.ge_s (memory.grow (i32.const 1)) (i32.const 0))))"
                    " (i32.shl (memory.size) (i32.const 16))"),
     REALM_E_GUEST, "out of bounds", NULL, 0},
    {ALLOC("alloc", "(loop $l (drop (call $last_error (i32.const 0) (i32.const 0))) (br $l))"
                    " (unreachable)"),
     REALM_E_LIMIT, "", NULL, 0},
};

static void check(struct rig *rig, const struct allocator *a, size_t i)
{
    struct wasm_request r = request_of(rig, "Once");
    struct outcome out = {0};
    struct wasm_guest *g;
    char *text = guest_text(a->extra, a->body ? a->body : "(i32.const 0)");
    if (guest_from_text(rig->host, text, &g, &out.err))
        fail_msg("%zu: %s", i, out.err.message);
    run_guest(g, &r, &out);
    if (out.status != a->status || (out.status && !strstr(out.err.message, a->sentence)))
        fail_msg("%zu: %d, %s", i, out.status, out.err.message);
    if (!out.status && (int32_t)strtoul(out.result.text, NULL, 16) != a->answer)
        fail_msg("%zu: %s", i, out.result.text);
    outcome_free(&out);
    wasm_guest_close(g);
    free(text);
}

static void test_allocators(void **state)
{
    struct realm_stats stats;
    struct rig *rig = *state;
    for (size_t i = 0; i < sizeof(allocators) / sizeof(allocators[0]); i++)
        check(rig, &allocators[i], i);
    realm_stats(rig->engine, &stats);
    assert_int_equal(stats.running + stats.waiting, 0);
    assert_int_equal(stats.kv_pages, 0);
}

/* What has another type is no allocator: the host takes pages of its own. */
static void test_no_allocators(void **state)
{
    static const char *const extras[] = {
        "(func (export \"alloc\") (param i64) (result i32) (unreachable))",
        "(func (export \"alloc\") (param i32 i32) (result i32) (unreachable))",
        "(func (export \"alloc\") (param i32) (result i32 i32) (unreachable))",
        "(func (export \"malloc\") (param i32) (unreachable))",
        "(func (export \"__wbindgen_malloc\") (param i32) (result i32) (unreachable))",
        "(global (export \"alloc\") i32 (i32.const 1024))",
        "(table (export \"malloc\") 1 funcref)",
    };
    const struct allocator none = {.body = FIRST_BYTES, .answer = ONCE, .sentence = ""};
    for (size_t i = 0; i < sizeof(extras) / sizeof(extras[0]); i++) {
        struct allocator a = none;
        a.extra = extras[i];
        check(*state, &a, i);
    }
}

int wasm_tests(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_allocators),
                                       cmocka_unit_test(test_no_allocators)};
    return cmocka_run_group_tests(tests, setup, rig_teardown);
}
