/* The store with models that are a few bytes of heap: its own rules are what is
 * tested here, so loading is slow, fails or stalls as a test asks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/thread.h"
#include "store/store.h"

static const uint64_t PATIENCE_NS = 30000000000; /* half of what room is waited for */

struct world {
    struct store *store;
    struct clock clock;
    atomic_uint_fast64_t now_ns;
    atomic_int plans, loads, unloads, aborted;
    atomic_bool fail, hold; /* loads fail; loads wait until let go or not wanted */
};

static uint64_t fake_now(void *ctx)
{
    return atomic_load(&((struct world *)ctx)->now_ns);
}

/* A model's name is its size in bytes and a label: "100a". */
static int plan(void *ctx, const char *name, void **out, uint64_t *bytes, struct realm_error *err)
{
    struct world *w = ctx;
    atomic_fetch_add(&w->plans, 1);
    if (strcmp(name, "missing") == 0)
        return err_set(err, REALM_E_NOT_FOUND, "missing is not there");
    *bytes = strtoull(name, NULL, 10);
    *out = mem_strdup(name);
    return *out ? 0 : err_nomem(err, "plan");
}

static int load(void *ctx, void *p, bool (*go_on)(void *arg), void *arg, void **model,
                struct realm_error *err)
{
    struct world *w = ctx;
    while (atomic_load(&w->hold))
        if (!go_on(arg)) {
            atomic_fetch_add(&w->aborted, 1);
            return err_set(err, REALM_E_CANCELLED, "not wanted");
        }
    if (atomic_load(&w->fail))
        return err_set(err, REALM_E_FORMAT, "damaged");
    *model = mem_strdup(p);
    if (!*model)
        return err_nomem(err, "model");
    atomic_fetch_add(&w->loads, 1);
    return 0;
}

static void discard(void *ctx, void *p)
{
    (void)ctx;
    mem_free(p);
}

static void unload(void *ctx, void *model)
{
    atomic_fetch_add(&((struct world *)ctx)->unloads, 1);
    mem_free(model);
}

static struct world *world_open(uint64_t bytes_max, uint32_t idle_ms, uint32_t load_wait_ms)
{
    struct world *w = mem_zalloc(sizeof(*w));
    assert_non_null(w);
    w->clock = (struct clock){fake_now, w};
    const struct store_limits limits = {bytes_max, idle_ms, load_wait_ms};
    const struct store_ops ops = {plan, load, discard, unload, w};
    assert_int_equal(store_open(&w->store, &limits, &ops, &w->clock), 0);
    return w;
}

static void world_close(struct world *w)
{
    store_close(w->store);
    assert_int_equal(atomic_load(&w->loads), atomic_load(&w->unloads));
    mem_free(w);
}

static struct store_lease *lease(struct world *w, const char *name)
{
    struct store_lease *l;
    struct realm_error err;
    assert_int_equal(store_lease_open(&l, w->store, name, NULL, &err), 0);
    assert_string_equal(store_lease_model(l), name);
    return l;
}

static void touch(struct world *w, const char *name)
{
    store_lease_close(lease(w, name));
}

static struct store_stats stats(struct world *w)
{
    struct store_stats s;
    store_stats(w->store, &s);
    return s;
}

static void one_load_serves_many(void **state)
{
    (void)state;
    struct world *w = world_open(1000, 0, 0);
    for (int i = 0; i < 100; i++)
        touch(w, "100a");
    struct store_stats s = stats(w);
    assert_int_equal(s.loads, 1);
    assert_int_equal(s.misses, 1);
    assert_int_equal(s.hits, 99);
    assert_int_equal(s.bytes, 100);
    assert_int_equal(s.leases, 0);
    world_close(w);
}

static void least_recently_used_goes_first(void **state)
{
    (void)state;
    struct world *w = world_open(300, 0, 0);
    touch(w, "100a");
    touch(w, "100b");
    touch(w, "100c");
    touch(w, "100a");
    touch(w, "100d"); /* evicts b */
    assert_int_equal(stats(w).evictions, 1);
    touch(w, "100a");
    touch(w, "100c");
    assert_int_equal(stats(w).loads, 4);
    touch(w, "100b");
    assert_int_equal(stats(w).loads, 5);
    assert_int_equal(stats(w).bytes_peak, 300);
    world_close(w);
}

static void too_large_evicts_nothing(void **state)
{
    (void)state;
    struct world *w = world_open(300, 0, 0);
    struct store_lease *l;
    struct realm_error err;
    touch(w, "300a");
    assert_int_equal(store_lease_open(&l, w->store, "301b", NULL, &err), REALM_E_NO_ROOM);
    assert_null(l);
    assert_int_equal(stats(w).evictions, 0);
    touch(w, "300a");
    assert_int_equal(stats(w).loads, 1);
    world_close(w);
}

static void leased_and_kept_models_stay(void **state)
{
    (void)state;
    struct world *w = world_open(200, 0, 20);
    struct store_lease *a = lease(w, "100a"), *b = lease(w, "100b"), *l;
    struct realm_error err;
    assert_int_equal(store_lease_open(&l, w->store, "100c", NULL, &err), REALM_E_NO_ROOM);
    assert_non_null(strstr(err.message, "in use"));
    store_lease_keep(a, true);
    store_lease_close(a);
    assert_int_equal(store_lease_open(&l, w->store, "100c", NULL, &err), REALM_E_NO_ROOM);
    assert_non_null(strstr(err.message, "in use")); /* b is, and that would do */
    assert_int_equal(store_lease_open(&l, w->store, "101d", NULL, &err), REALM_E_NO_ROOM);
    assert_non_null(strstr(err.message, "pinned"));
    store_lease_close(b);
    touch(w, "100c"); /* in the place of b */
    touch(w, "100a");
    assert_int_equal(stats(w).loads, 3);
    world_close(w);
}

struct opener {
    struct world *w;
    struct thread thread;
    const char *name;
    struct realm_wait wait;
    int status;
    struct realm_error err;
};

static void open_and_close(void *arg)
{
    struct opener *o = arg;
    struct store_lease *l;
    o->status = store_lease_open(&l, o->w->store, o->name, &o->wait, &o->err);
    store_lease_close(l);
}

static void start(struct opener *o, struct world *w, const char *name)
{
    o->w = w;
    o->name = name;
    assert_int_equal(thread_start(&o->thread, "opener", 0, open_and_close, o), 0);
}

static void await_misses(struct world *w, uint64_t n)
{
    while (stats(w).misses < n)
        ;
}

static void sixty_four_share_one_load_and_one_failure(void **state)
{
    (void)state;
    struct world *w = world_open(1000, 0, 0);
    for (int fails = 0; fails < 2; fails++) {
        static struct opener o[64];
        memset(o, 0, sizeof(o));
        atomic_store(&w->hold, true);
        atomic_store(&w->fail, fails);
        uint64_t before = stats(w).misses;
        for (int i = 0; i < 64; i++)
            start(&o[i], w, fails ? "10x" : "10y");
        await_misses(w, before + 64);
        atomic_store(&w->hold, false);
        for (int i = 0; i < 64; i++) {
            thread_join(&o[i].thread);
            assert_int_equal(o[i].status, fails ? REALM_E_FORMAT : 0);
            if (fails)
                assert_string_equal(o[i].err.message, "damaged");
        }
    }
    assert_int_equal(stats(w).loads, 1);
    assert_int_equal(stats(w).loads_failed, 1);
    atomic_store(&w->fail, false);
    touch(w, "10x"); /* a failure is not remembered */
    assert_int_equal(atomic_load(&w->plans), 3);
    world_close(w);
}

static bool yes(void *ctx)
{
    return atomic_load((atomic_bool *)ctx);
}

static void a_load_nobody_waits_for_is_given_up(void **state)
{
    (void)state;
    struct world *w = world_open(1000, 0, 0);
    atomic_bool cancel = false;
    struct opener a = {.wait = {.cancelled = yes, .ctx = &cancel}};
    struct opener b = {.wait = {.deadline_ns = clock_ns(clock_system()) + 30000000}};
    atomic_store(&w->hold, true);
    start(&a, w, "10a");
    await_misses(w, 1);
    start(&b, w, "10a");
    thread_join(&b.thread);
    assert_int_equal(b.status, REALM_E_DEADLINE);
    assert_int_equal(atomic_load(&w->aborted), 0); /* a still waits */
    atomic_store(&cancel, true);
    thread_join(&a.thread);
    assert_int_equal(a.status, REALM_E_CANCELLED);
    while (stats(w).loading)
        ;
    assert_int_equal(atomic_load(&w->aborted), 1);
    assert_int_equal(stats(w).bytes, 0);
    assert_int_equal(stats(w).loads_failed, 0);
    world_close(w);
}

static void clear_takes_the_idle_now_and_the_leased_later(void **state)
{
    (void)state;
    struct world *w = world_open(1000, 0, 0);
    struct store_lease *a = lease(w, "100a"), *again;
    touch(w, "50b");
    assert_int_equal(store_clear(w->store), 50);
    assert_int_equal(stats(w).bytes, 100);
    assert_int_equal(store_lease_share(&again, a), 0);
    store_lease_close(a);
    assert_int_equal(stats(w).bytes, 100);
    store_lease_close(again);
    assert_int_equal(stats(w).bytes, 0);
    touch(w, "100a");
    assert_int_equal(stats(w).loads, 3);
    world_close(w);
}

static void clear_leaves_what_is_kept(void **state)
{
    (void)state;
    struct world *w = world_open(1000, 0, 0);
    struct store_lease *a = lease(w, "100a");
    store_lease_keep(a, true);
    for (int on_lease = 1; on_lease >= 0; on_lease--) {
        assert_int_equal(store_clear(w->store), 0);
        if (on_lease)
            store_lease_close(a);
        assert_int_equal(stats(w).bytes, 100);
    }
    assert_int_equal(stats(w).evictions, 0);
    a = lease(w, "100a");
    store_lease_keep(a, false);
    store_lease_close(a);
    assert_int_equal(store_clear(w->store), 100);
    world_close(w);
}

static void forgotten_models_go_with_their_lease(void **state)
{
    (void)state;
    struct world *w = world_open(1000, 0, 0);
    struct store_lease *a = lease(w, "100a");
    store_lease_forget(a);
    store_lease_close(a);
    assert_int_equal(stats(w).models, 0);
    assert_int_equal(stats(w).bytes, 0);
    world_close(w);
}

static struct realm_model_status status_of(struct world *w, const char *name)
{
    struct realm_model_status s;
    store_status(w->store, name, &s);
    return s;
}

static void what_is_loaded_is_found(void **state)
{
    (void)state;
    struct world *w = world_open(1000, 0, 0);
    struct store_lease *l, *again;
    struct realm_error err;
    assert_int_equal(store_lease_find(&l, w->store, "100a", &err), REALM_E_NOT_FOUND);
    assert_null(l);
    assert_int_equal(status_of(w, "100a").state, REALM_MODEL_ABSENT);
    assert_int_equal(atomic_load(&w->plans), 0);

    struct opener o = {0};
    atomic_store(&w->hold, true);
    start(&o, w, "100a");
    while (status_of(w, "100a").bytes == 0)
        ;
    assert_int_equal(status_of(w, "100a").state, REALM_MODEL_LOADING);
    assert_int_equal(store_lease_find(&l, w->store, "100a", &err), REALM_E_NOT_FOUND);
    assert_int_equal(store_evict(w->store, "100a"), REALM_E_NOT_FOUND);
    atomic_store(&w->hold, false);
    thread_join(&o.thread);
    assert_int_equal(o.status, 0);

    assert_int_equal(store_lease_find(&l, w->store, "100a", &err), 0);
    assert_string_equal(store_lease_model(l), "100a");
    again = lease(w, "100a");
    store_lease_keep(l, true);
    struct realm_model_status s = status_of(w, "100a");
    assert_int_equal(s.state, REALM_MODEL_LOADED);
    assert_int_equal(s.leases, 2);
    assert_int_equal(s.bytes, 100);
    assert_true(s.pinned);
    store_lease_close(l);
    store_lease_close(again);
    assert_int_equal(status_of(w, "100a").leases, 0);
    assert_int_equal(stats(w).loads, 1);
    assert_int_equal(stats(w).hits, 2);
    world_close(w);
}

static void a_lease_that_is_found_keeps_its_model(void **state)
{
    (void)state;
    struct world *w = world_open(200, 0, 0);
    struct store_lease *l;
    touch(w, "100a");
    touch(w, "100b");
    assert_int_equal(store_lease_find(&l, w->store, "100a", NULL), 0);
    touch(w, "100c"); /* evicts b, though a is older */
    assert_int_equal(status_of(w, "100a").state, REALM_MODEL_LOADED);
    assert_int_equal(status_of(w, "100b").state, REALM_MODEL_ABSENT);
    store_lease_close(l);
    mem_fail_at(1, 0);
    int status = store_lease_find(&l, w->store, "100a", NULL);
    mem_fail_at(0, 0);
    assert_int_equal(status, REALM_E_NOMEM);
    assert_null(l);
    world_close(w);
}

static void an_evicted_model_goes_when_it_can(void **state)
{
    (void)state;
    struct world *w = world_open(1000, 0, 0);
    struct store_lease *a = lease(w, "100a");
    store_lease_keep(a, true);
    store_lease_close(a);
    assert_int_equal(store_evict(w->store, "100a"), 0); /* idle and kept: at once */
    assert_int_equal(stats(w).bytes, 0);
    assert_int_equal(store_evict(w->store, "100a"), REALM_E_NOT_FOUND);

    a = lease(w, "100a");
    assert_int_equal(store_evict(w->store, "100a"), 0);
    assert_int_equal(stats(w).bytes, 100);
    assert_int_equal(status_of(w, "100a").state, REALM_MODEL_ABSENT);
    touch(w, "100a"); /* another one */
    assert_int_equal(stats(w).loads, 3);
    assert_int_equal(stats(w).bytes, 200);
    store_lease_close(a);
    assert_int_equal(stats(w).bytes, 100);
    assert_int_equal(stats(w).evictions, 2);
    world_close(w);
}

static _Thread_local bool this_is_the_test;
static atomic_bool unloaded_here;

static void unload_and_look(void *ctx, void *model)
{
    if (this_is_the_test)
        atomic_store(&unloaded_here, true);
    unload(ctx, model);
}

/* Dropped with their last lease, models are unloaded by the loader, also when there is
 * room wanted and when the store closes. */
static void who_drops_a_lease_does_not_unload(void **state)
{
    (void)state;
    struct world w = {.plans = 0};
    w.clock = (struct clock){fake_now, &w};
    const struct store_limits limits = {200, 0, 60000};
    const struct store_ops ops = {plan, load, discard, unload_and_look, &w};
    this_is_the_test = true;
    assert_int_equal(store_open(&w.store, &limits, &ops, &w.clock), 0);
    for (int round = 0; round < 30; round++) {
        struct store_lease *a = lease(&w, "200a");
        assert_int_equal(store_evict(w.store, "200a"), 0);
        store_lease_drop(a);
    }
    touch(&w, "200a"); /* had to wait for the last one's room */
    assert_int_equal(stats(&w).loads, 31);
    assert_int_equal(stats(&w).bytes_peak, 200);
    struct store_lease *a = lease(&w, "200a");
    assert_int_equal(store_evict(w.store, "200a"), 0);
    store_lease_drop(a);
    store_lease_drop(NULL);
    store_close(w.store);
    this_is_the_test = false;
    assert_false(atomic_load(&unloaded_here));
    assert_int_equal(atomic_load(&w.unloads), 31);
}

static void idle_models_time_out(void **state)
{
    (void)state;
    struct world *w = world_open(1000, 500, 0);
    touch(w, "100a");
    atomic_store(&w->now_ns, 300 * 1000000ull);
    touch(w, "100b");
    assert_int_equal(stats(w).models, 2);
    atomic_store(&w->now_ns, 600 * 1000000ull);
    touch(w, "100b"); /* wakes the loader; a is 600 ms old */
    while (stats(w).bytes == 200)
        ;
    assert_int_equal(stats(w).bytes, 100);
    assert_int_equal(stats(w).evictions, 1);
    world_close(w);
}

static void room_that_nobody_wants_any_more_keeps_nobody_waiting(void **state)
{
    (void)state;
    struct world *w = world_open(200, 0, 60000);
    struct store_lease *a = lease(w, "100a");
    struct opener b = {.wait = {.deadline_ns = clock_ns(clock_system()) + 50000000}};
    start(&b, w, "150b"); /* waits for the room of a */
    await_misses(w, 2);
    struct opener c = {.wait = {.deadline_ns = clock_ns(clock_system()) + PATIENCE_NS}};
    start(&c, w, "100c");
    thread_join(&b.thread);
    assert_int_equal(b.status, REALM_E_DEADLINE);
    thread_join(&c.thread);
    assert_int_equal(c.status, 0);
    store_lease_close(a);
    world_close(w);
}

static void waiting_for_room_lets_others_load(void **state)
{
    (void)state;
    struct world *w = world_open(200, 0, 60000);
    struct store_lease *a = lease(w, "100a"), *c;
    struct opener b = {0};
    struct realm_error err;
    start(&b, w, "150b"); /* waits for the room of a */
    await_misses(w, 2);
    const struct realm_wait wait = {.deadline_ns = clock_ns(clock_system()) + PATIENCE_NS};
    assert_int_equal(store_lease_open(&c, w->store, "missing", &wait, &err), REALM_E_NOT_FOUND);
    assert_int_equal(store_lease_open(&c, w->store, "100c", &wait, &err), 0);
    store_lease_close(c);
    store_lease_close(a);
    thread_join(&b.thread);
    assert_int_equal(b.status, 0);
    assert_int_equal(stats(w).bytes_peak, 200);
    world_close(w);
}

static void nothing_is_evicted_where_it_would_not_be_enough(void **state)
{
    (void)state;
    struct world *w = world_open(300, 0, 20);
    struct store_lease *a = lease(w, "200a"), *l;
    struct realm_error err;
    touch(w, "50b");
    assert_int_equal(store_lease_open(&l, w->store, "150c", NULL, &err), REALM_E_NO_ROOM);
    assert_int_equal(stats(w).evictions, 0);
    store_lease_close(a);
    touch(w, "150c"); /* in the place of a or b */
    assert_in_range(stats(w).evictions, 1, 2);
    world_close(w);
}

static void every_failed_allocation_is_an_error(void **state)
{
    (void)state;
    for (uint64_t n = 1; n < 6; n++) {
        struct world *w = world_open(1000, 0, 0);
        struct store_lease *l;
        struct realm_error err;
        touch(w, "1z"); /* the loader thread is up */
        store_clear(w->store);
        uint64_t before = mem_live();
        mem_fail_at(n, 0);
        int status = store_lease_open(&l, w->store, "100a", NULL, &err);
        mem_fail_at(0, 0);
        if (status) {
            assert_int_equal(status, REALM_E_NOMEM);
            while (stats(w).loading)
                ;
            assert_int_equal(mem_live(), before);
        }
        assert_true(status || n >= 5);
        store_lease_close(l);
        touch(w, "100a");
        world_close(w);
    }
}

static void evict_and_load_by_many_keep_the_budget(void **state)
{
    (void)state;
    struct world *w = world_open(250, 0, 60000);
    static struct opener o[90];
    static const char *const names[] = {"100a", "100b", "100c"};
    memset(o, 0, sizeof(o));
    for (int i = 0; i < 90; i++)
        start(&o[i], w, names[i % 3]);
    for (int i = 0; i < 90; i++) {
        thread_join(&o[i].thread);
        assert_int_equal(o[i].status, 0);
    }
    assert_in_range(stats(w).bytes_peak, 100, 250);
    assert_int_equal(stats(w).leases, 0);
    world_close(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_load_serves_many),
        cmocka_unit_test(least_recently_used_goes_first),
        cmocka_unit_test(too_large_evicts_nothing),
        cmocka_unit_test(leased_and_kept_models_stay),
        cmocka_unit_test(sixty_four_share_one_load_and_one_failure),
        cmocka_unit_test(a_load_nobody_waits_for_is_given_up),
        cmocka_unit_test(clear_takes_the_idle_now_and_the_leased_later),
        cmocka_unit_test(clear_leaves_what_is_kept),
        cmocka_unit_test(forgotten_models_go_with_their_lease),
        cmocka_unit_test(what_is_loaded_is_found),
        cmocka_unit_test(a_lease_that_is_found_keeps_its_model),
        cmocka_unit_test(an_evicted_model_goes_when_it_can),
        cmocka_unit_test(who_drops_a_lease_does_not_unload),
        cmocka_unit_test(idle_models_time_out),
        cmocka_unit_test(room_that_nobody_wants_any_more_keeps_nobody_waiting),
        cmocka_unit_test(waiting_for_room_lets_others_load),
        cmocka_unit_test(nothing_is_evicted_where_it_would_not_be_enough),
        cmocka_unit_test(every_failed_allocation_is_an_error),
        cmocka_unit_test(evict_and_load_by_many_keep_the_budget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
