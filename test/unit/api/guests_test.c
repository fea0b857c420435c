/* The registry of programs and sandboxes, over the real compiler. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <wasmtime.h>

#include "api/guests.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/thread.h"
#include "helper/helper.h"

enum { THREADS = 12 };

static const uint64_t BAD = 1000000, SHORT = 2000000; /* versions from these on */

static wasm_byte_vec_t module;
static struct wasm_host *host;
static struct guests *guests;
static atomic_uint reads;
static atomic_bool shut; /* modules are not read on */
static atomic_uint_fast64_t now;

static uint64_t tell(void *ctx)
{
    (void)ctx;
    return atomic_load(&now);
}

static const struct clock hand_clock = {.now_ns = tell};

static int read_module(void *ctx, uint64_t version, struct buf *wasm, struct realm_error *err)
{
    (void)ctx;
    (void)err;
    atomic_fetch_add(&reads, 1);
    while (atomic_load(&shut))
        usleep(1000);
    if (version >= SHORT)
        return REALM_E_NOMEM;
    return version >= BAD ? buf_add(wasm, "no module", 9) : buf_add(wasm, module.data, module.size);
}

static int setup(void **state)
{
    static const char text[] = "(module (memory (export \"memory\") 1) (func (export \"generate\")"
                               " (param i32 i32 i32 i32) (result i32) (i32.const 64)))";
    const struct wasm_host_options options = {0};
    const struct guests_options registry = {.module = read_module, .clock = &hand_clock};
    struct guests_options with_host = registry;
    (void)state;
    assert_null(wasmtime_wat2wasm(text, strlen(text), &module));
    assert_int_equal(wasm_host_open(&host, &options, NULL), 0);
    with_host.host = host;
    assert_int_equal(guests_open(&guests, &with_host), 0);
    atomic_store(&now, 1);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    guests_close(guests);
    wasm_host_close(host);
    wasm_byte_vec_delete(&module);
    return 0;
}

static bool yes(void *ctx)
{
    (void)ctx;
    return true;
}

struct taker {
    struct thread thread;
    uint64_t version;
    bool gives_up;
    int status;
    struct realm_error err;
    struct guest_lease lease;
};

static void take(void *arg)
{
    struct taker *t = arg;
    const struct realm_wait wait = {.cancelled = t->gives_up ? yes : NULL};
    t->status = guests_take(guests, "somebody", t->version, &wait, &t->lease, &t->err);
}

/* All of them wait for one preparation, which begins to read when all are there. */
static void take_at_once(struct taker *takers, uint64_t version)
{
    atomic_store(&shut, true);
    for (int i = 0; i < THREADS; i++) {
        takers[i] = (struct taker){.version = version};
        assert_int_equal(thread_start(&takers[i].thread, "taker", 0, take, &takers[i]), 0);
    }
    usleep(50000);
    atomic_store(&shut, false);
    for (int i = 0; i < THREADS; i++)
        thread_join(&takers[i].thread);
}

static void many_wait_for_one_compilation(void **state)
{
    struct taker takers[THREADS];
    struct wasm_stats stats;
    struct guests_stats kept;
    (void)state;
    atomic_store(&reads, 0);
    take_at_once(takers, 7);
    assert_int_equal(atomic_load(&reads), 1);
    wasm_stats(host, &stats);
    assert_int_equal(stats.compiled, 1);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(takers[i].status, 0);
        assert_ptr_equal(takers[i].lease.guest, takers[0].lease.guest);
        assert_ptr_equal(takers[i].lease.tenant, takers[0].lease.tenant);
    }
    guests_stats(guests, &kept);
    assert_int_equal(kept.idle, 0);
    for (int i = 0; i < THREADS; i++)
        guests_give(guests, &takers[i].lease);
    guests_stats(guests, &kept);
    assert_int_equal(kept.programs, 1);
    assert_int_equal(kept.idle, 1);
    assert_true(kept.code_bytes > module.size);
    assert_int_equal(kept.sandboxes, 1);
}

static void a_failure_is_told_to_all_and_kept_for_a_while(void **state)
{
    struct taker takers[THREADS], again = {.version = BAD};
    (void)state;
    atomic_store(&reads, 0);
    take_at_once(takers, BAD);
    assert_int_equal(atomic_load(&reads), 1);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(takers[i].status, REALM_E_GUEST);
        assert_non_null(strstr(takers[i].err.message, "no WebAssembly module"));
        assert_null(takers[i].lease.guest);
    }
    take(&again);
    assert_int_equal(again.status, REALM_E_GUEST);
    assert_int_equal(atomic_load(&reads), 1);
    atomic_fetch_add(&now, GUESTS_RETRY_MS * 1000000ull + 1);
    take(&again);
    assert_int_equal(again.status, REALM_E_GUEST);
    assert_int_equal(atomic_load(&reads), 2);
}

static void what_was_short_is_tried_again_at_once(void **state)
{
    struct taker t = {.version = SHORT};
    (void)state;
    atomic_store(&reads, 0);
    for (unsigned i = 1; i <= 2; i++) {
        take(&t);
        assert_int_equal(t.status, REALM_E_NOMEM);
        assert_int_equal(atomic_load(&reads), i);
    }
}

static void who_waits_can_leave(void **state)
{
    struct taker first = {.version = 8}, second = {.version = 8, .gives_up = true};
    (void)state;
    atomic_store(&shut, true);
    atomic_store(&reads, 0);
    assert_int_equal(thread_start(&first.thread, "taker", 0, take, &first), 0);
    while (atomic_load(&reads) == 0) // who came first prepares it
        usleep(1000);
    take(&second);
    assert_int_equal(second.status, REALM_E_CANCELLED);
    atomic_store(&shut, false);
    thread_join(&first.thread);
    assert_int_equal(first.status, 0);
    guests_give(guests, &first.lease);
}

static void take_and_give(uint64_t version)
{
    struct taker t = {.version = version};
    take(&t);
    assert_int_equal(t.status, 0);
    guests_give(guests, &t.lease);
}

static void those_used_last_stay(void **state)
{
    struct guests_stats kept;
    (void)state;
    for (uint64_t i = 0; i < GUESTS_IDLE_MAX; i++)
        take_and_give(100 + i);
    take_and_give(100); // young again
    take_and_give(100 + GUESTS_IDLE_MAX);
    guests_stats(guests, &kept);
    assert_int_equal(kept.idle, GUESTS_IDLE_MAX);
    assert_int_equal(kept.programs, GUESTS_IDLE_MAX);
    atomic_store(&reads, 0);
    take_and_give(100);
    take_and_give(100 + GUESTS_IDLE_MAX);
    assert_int_equal(atomic_load(&reads), 0);
    take_and_give(101);
    assert_int_equal(atomic_load(&reads), 1);
}

static void sandboxes_are_each_tenants_own(void **state)
{
    struct guest_lease a, b;
    struct guests_stats kept;
    (void)state;
    assert_int_equal(guests_take(guests, "a", 7, NULL, &a, NULL), 0);
    assert_int_equal(guests_take(guests, "b", 7, NULL, &b, NULL), 0);
    assert_ptr_equal(a.guest, b.guest);
    assert_ptr_not_equal(a.tenant, b.tenant);
    guests_give(guests, &a);
    guests_stats(guests, &kept);
    const uint32_t before = kept.sandboxes;
    atomic_fetch_add(&now, GUESTS_TENANT_IDLE_MS * 1000000ull);
    assert_int_equal(guests_take(guests, "c", 7, NULL, &a, NULL), 0);
    guests_stats(guests, &kept);
    assert_true(before > 2);
    assert_int_equal(kept.sandboxes, 2); // b's, in use, and c's
    guests_give(guests, &a);
    guests_give(guests, &b);
    json_t *log = guests_log(guests, "a");
    assert_int_equal(json_array_size(json_object_get(log, "lines")), 0);
    assert_true(json_is_array(json_object_get(log, "lines")));
    assert_int_equal(json_integer_value(json_object_get(log, "requests")), 0);
    json_decref(log);
}

static void there_may_be_one_for_all(void **state)
{
    struct guest_lease lease;
    struct realm_error err;
    struct wasm_guest *common;
    struct guests *with_common;
    (void)state;
    assert_int_equal(guests_take(guests, "a", 0, NULL, &lease, &err), REALM_E_GUEST);
    assert_int_equal(wasm_guest_open(&common, host, module.data, module.size, NULL), 0);
    const struct guests_options options = {
        .host = host, .common = common, .module = read_module, .clock = &hand_clock};
    assert_int_equal(guests_open(&with_common, &options), 0);
    assert_int_equal(guests_take(with_common, "a", 0, NULL, &lease, &err), 0);
    assert_ptr_equal(lease.guest, common);
    guests_give(with_common, &lease);
    guests_close(with_common);
    wasm_guest_close(common);
}

/* No allocation that fails leaves anything behind, or a program that nobody can have. */
static void memory_may_be_short(void **state)
{
    (void)state;
    struct guest_lease lease;
    for (uint64_t n = 1; n < 40; n++) {
        mem_fail_at(n, 0);
        int status = guests_take(guests, "short", 5000 + n, NULL, &lease, NULL);
        mem_fail_at(0, 0);
        if (!status)
            guests_give(guests, &lease);
        assert_int_equal(guests_take(guests, "short", 5000 + n, NULL, &lease, NULL), 0);
        guests_give(guests, &lease);
    }
}

int main(int argc, char **argv)
{
    const struct helper_work work = {.fn = {[HELPER_COMPILE] = wasm_compile_work},
                                     .cpu_s = {[HELPER_COMPILE] = HELPER_COMPILE_CPU_S}};
    if (argc == 2 && strcmp(argv[1], "helper") == 0)
        return helper_serve(HELPER_FD, &work);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_wait_for_one_compilation),
        cmocka_unit_test(a_failure_is_told_to_all_and_kept_for_a_while),
        cmocka_unit_test(what_was_short_is_tried_again_at_once),
        cmocka_unit_test(who_waits_can_leave),
        cmocka_unit_test(those_used_last_stay),
        cmocka_unit_test(sandboxes_are_each_tenants_own),
        cmocka_unit_test(there_may_be_one_for_all),
        cmocka_unit_test(memory_may_be_short),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
