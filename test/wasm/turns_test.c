/* Guests of several tenants that compute at one time, of which one may. */
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/thread.h"
#include "util.h"

enum { SPINNERS = 6, OWN_MS = 60000 };

#define MODULE "(module (memory (export \"memory\") 2)"
#define GENERATE "(func (export \"generate\") (param i32 i32 i32 i32) (result i32) "

static const char spins[] = MODULE GENERATE "(loop $l (br $l)) (unreachable)))";
static const char answers[] = MODULE "(data (i32.const 8) \"ok\\00\")" GENERATE "(i32.const 8)))";
/* As long as it is let. */
static const char draws[] =
    "(module (import \"env\" \"realm_host_generate\" (func $g (param i32 i32 i32 i32 i32 i32)"
    " (result i32))) (memory (export \"memory\") 2)" GENERATE
    "(loop $l (br_if $l (i32.gt_s (call $g (local.get 2) (local.get 0) (local.get 1) (local.get 3)"
    " (i32.const 64) (i32.const 60000)) (i32.const 0)))) (i32.const 64)))";

static struct wasm_guest *spinning, *answering, *drawing;
static struct wasm_tenant *crowd; /* whose guests spin; the rig's tenant is the other one */

static int setup(void **state)
{
    static const struct wasm_limits limits = {.own_ms = OWN_MS, .computing = 1};
    struct realm_error err;
    struct rig *rig = rig_open(&limits);
    *state = rig;
    assert_int_equal(guest_from_text(rig->host, spins, &spinning, &err), 0);
    assert_int_equal(guest_from_text(rig->host, answers, &answering, &err), 0);
    assert_int_equal(guest_from_text(rig->host, draws, &drawing, &err), 0);
    assert_int_equal(wasm_tenant_open(&crowd, rig->host, rig->engine, "crowd", 0), 0);
    return 0;
}

static int teardown(void **state)
{
    wasm_tenant_close(crowd);
    wasm_guest_close(spinning);
    wasm_guest_close(answering);
    wasm_guest_close(drawing);
    rig_close(*state);
    return 0;
}

static struct wasm_stats stats_of(const struct rig *rig)
{
    struct wasm_stats stats;
    wasm_stats(rig->host, &stats);
    return stats;
}

/* A request on a thread of its own, which its caller may leave. */
struct one {
    struct thread thread;
    struct wasm_guest *guest;
    struct wasm_request request;
    struct wasm_result result;
    atomic_bool gone;
    int status;
};

static bool is_gone(void *ctx)
{
    return atomic_load((atomic_bool *)ctx);
}

static void run_one(void *arg)
{
    struct one *o = arg;
    struct realm_error err;
    o->status = wasm_run(o->guest, &o->request, &o->result, &err);
}

static void start(struct one *o, struct rig *rig, struct wasm_guest *guest,
                  struct wasm_tenant *tenant, uint64_t in_ms)
{
    *o = (struct one){.guest = guest, .request = request_of(rig, "Once")};
    o->request.tenant = tenant;
    o->request.cancelled = is_gone;
    o->request.ctx = &o->gone;
    o->request.deadline_ns = in_ms ? clock_ns(clock_system()) + in_ms * 1000000 : 0;
    assert_int_equal(thread_start(&o->thread, "guest", WASM_THREAD_STACK_BYTES, run_one, o), 0);
}

static void end(struct one *o, int status)
{
    thread_join(&o->thread);
    assert_int_equal(o->status, status);
    mem_free(o->result.text);
}

/* All spin, one of them in its turn. */
static void start_crowd(struct one *spinners, struct rig *rig)
{
    for (int i = 0; i < SPINNERS; i++)
        start(&spinners[i], rig, spinning, crowd, 0);
    while (stats_of(rig).running < SPINNERS || stats_of(rig).computing < 1)
        usleep(1000);
}

static void end_crowd(struct one *spinners, const struct rig *rig)
{
    for (int i = 0; i < SPINNERS; i++)
        atomic_store(&spinners[i].gone, true);
    for (int i = 0; i < SPINNERS; i++)
        end(&spinners[i], REALM_E_CANCELLED);
    const struct wasm_stats stats = stats_of(rig);
    assert_int_equal(stats.running + stats.computing + stats.waiting, 0);
}

/* It need not wait until any of them is over, which none is. */
static void test_another_tenant_answers(void **state)
{
    struct rig *rig = *state;
    struct wasm_request r = request_of(rig, "Once");
    struct one spinners[SPINNERS];
    struct outcome out = {0};
    run_guest(answering, &r, &out); // from here on the engine's signal handlers are in place
    outcome_free(&out);
    start_crowd(spinners, rig);
    for (int i = 0; i < 20; i++) {
        run_guest(answering, &r, &out);
        assert_int_equal(out.status, 0);
        outcome_free(&out);
        const struct wasm_stats stats = stats_of(rig);
        assert_int_equal(stats.running, SPINNERS);
        assert_in_range(stats.computing, 0, 1);
    }
    end_crowd(spinners, rig);
}

/* How many computed in so many ms; what each waits is nobody's processor time. */
static int count_sharers(struct rig *rig, unsigned ms)
{
    struct one spinners[SPINNERS];
    const uint64_t start_ns = clock_ns(clock_system());
    uint64_t all_ns = 0;
    int n = 0;
    start_crowd(spinners, rig);
    usleep(ms * 1000);
    end_crowd(spinners, rig);
    const uint64_t took_ns = clock_ns(clock_system()) - start_ns;
    for (int i = 0; i < SPINNERS; i++) {
        n += spinners[i].result.own_ns > 1000000;
        all_ns += spinners[i].result.own_ns;
    }
    assert_true(all_ns < took_ns + took_ns / 2);
    return n;
}

/* They come round; on a machine that is busy, in more time. */
static void test_they_share(void **state)
{
    int n = 0;
    for (unsigned ms = 400; n < SPINNERS && ms < OWN_MS / 2; ms *= 2)
        n = count_sharers(*state, ms);
    assert_int_equal(n, SPINNERS);
}

static void test_who_waits_for_a_turn_ends(void **state)
{
    struct rig *rig = *state;
    struct one spinners[SPINNERS], late, left;
    start_crowd(spinners, rig);
    start(&late, rig, spinning, crowd, 50);
    start(&left, rig, spinning, rig->tenant, 0);
    end(&late, REALM_E_DEADLINE);
    atomic_store(&left.gone, true);
    end(&left, REALM_E_CANCELLED);
    assert_int_equal(stats_of(rig).running, SPINNERS);
    end_crowd(spinners, rig);
}

/* Its turn is another's meanwhile. */
static void test_who_waits_for_tokens_has_no_turn(void **state)
{
    struct rig *rig = *state;
    struct wasm_request r = request_of(rig, "Once");
    struct realm_stats stats;
    struct outcome out = {0};
    struct one drawer;
    start(&drawer, rig, drawing, crowd, 0);
    for (int i = 0; i < 20; i++) {
        do
            realm_stats(rig->engine, &stats);
        while (stats.running == 0);
        run_guest(answering, &r, &out);
        assert_int_equal(out.status, 0);
        outcome_free(&out);
    }
    assert_int_equal(stats_of(rig).running, 1);
    atomic_store(&drawer.gone, true);
    end(&drawer, REALM_E_CANCELLED);
}

int wasm_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_another_tenant_answers),
        cmocka_unit_test(test_they_share),
        cmocka_unit_test(test_who_waits_for_a_turn_ends),
        cmocka_unit_test(test_who_waits_for_tokens_has_no_turn),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
