/* A race that is there on purpose: two guests' host calls count in a variable that
 * nothing guards.  ThreadSanitizer must report it (race.sh), although the calls
 * come out of a library that it does not know. */
#include "../wasm/util.h"

#include <sched.h>
#include <stdatomic.h>

#include "base/thread.h"

enum { CALLS = 1000 };

static int planted;
static atomic_uint inside; /* racers in their first call or past it */

static bool count_unguarded(void *ctx, const char *text, size_t bytes)
{
    bool *first = ctx;
    (void)text;
    (void)bytes;
    if (*first)
        atomic_fetch_add(&inside, 1);
    *first = false;
    while (atomic_load(&inside) < 2)
        sched_yield();
    planted++;
    return true;
}

struct racer {
    struct thread thread;
    struct wasm_guest *guest;
    struct wasm_request request;
    struct wasm_result result;
    bool first;
    int status;
};

static void race(void *arg)
{
    struct racer *r = arg;
    r->status = wasm_run(r->guest, &r->request, &r->result, NULL);
}

static void a_race_in_a_host_call(void **state)
{
    static const char streams[] =
        "(module (import \"env\" \"realm_stream_token\" (func $s (param i32 i32) (result i32)))"
        " (memory (export \"memory\") 2) (func (export \"generate\")"
        " (param i32 i32 i32 i32) (result i32) (local i32) (loop $l"
        " (drop (call $s (local.get 0) (i32.const 1)))"
        " (br_if $l (i32.lt_u (local.tee 4 (i32.add (local.get 4) (i32.const 1)))"
        " (i32.const 1000)))) (i32.const 64)))";
    struct rig *rig = *state;
    struct racer racers[2];
    struct realm_error err;
    struct wasm_guest *guest;
    assert_int_equal(guest_from_text(rig->host, streams, &guest, &err), 0);
    for (size_t i = 0; i < 2; i++) {
        racers[i] = (struct racer){.guest = guest, .request = request_of(rig, "a")};
        racers[i].first = true;
        racers[i].request.on_text = count_unguarded;
        racers[i].request.ctx = &racers[i].first;
        assert_int_equal(
            thread_start(&racers[i].thread, "racer", WASM_THREAD_STACK_BYTES, race, &racers[i]), 0);
    }
    for (size_t i = 0; i < 2; i++) {
        thread_join(&racers[i].thread);
        assert_int_equal(racers[i].status, 0);
        assert_int_equal(racers[i].result.host_calls, CALLS);
    }
    assert_in_range(planted, 1, 2 * CALLS);
    wasm_guest_close(guest);
}

static int setup(void **state)
{
    *state = rig_open(NULL);
    return 0;
}

static int teardown(void **state)
{
    rig_close(*state);
    return 0;
}

int wasm_tests(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_race_in_a_host_call)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
