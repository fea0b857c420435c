#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "pool/pool.h"
#include "realm/status.h"

enum { ITEMS_MAX = 700, AWAKE_NS_MAX = 300000, ASLEEP_NS_MAX = 1000000 };

struct tally {
    unsigned char hits[ITEMS_MAX]; /* plain memory: a second owner is a race that TSan sees */
    uint64_t by_worker[8][8];      /* a cache line each */
    size_t n;
    unsigned threads;
    const struct tally *before; /* results of the last phase must be visible to all */
};

static void count(void *ctx, size_t item, unsigned worker)
{
    struct tally *t = ctx;
    if (item >= t->n || worker >= t->threads)
        return; // shows as a missing hit
    if (t->before && item < t->before->n && t->before->hits[item] != 1)
        return;
    t->hits[item]++;
    t->by_worker[worker][0]++;
}

static void each_item_runs_once(void **state)
{
    (void)state;
    static struct tally tallies[2];
    for (unsigned threads = 1; threads <= 5; threads++) {
        struct pool *p;
        assert_int_equal(pool_open(&p, threads), 0);
        assert_int_equal(pool_threads(p), threads);
        tallies[1].n = 0;
        for (size_t round = 0; round < 3000; round++) {
            struct tally *t = &tallies[round % 2];
            uint32_t r[4];
            rng_philox(threads, 0, round, r);
            memset(t, 0, sizeof(*t));
            t->n = round % 7 == 0 ? r[0] % ITEMS_MAX : r[0] % 9;
            t->threads = threads;
            t->before = round ? &tallies[(round + 1) % 2] : NULL;
            pool_run(p, count, t, t->n);
            uint64_t total = 0;
            for (unsigned w = 0; w < threads; w++)
                total += t->by_worker[w][0];
            assert_int_equal(total, t->n);
            for (size_t i = 0; i < t->n; i++)
                assert_int_equal(t->hits[i], 1);
        }
        pool_close(p);
    }
}

static void nap(void *ctx, size_t item, unsigned worker)
{
    (void)ctx;
    (void)item;
    (void)worker;
    nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
}

/* Both sides must find each other again after they slept. */
static void sleepers_wake(void **state)
{
    (void)state;
    struct pool *p;
    assert_int_equal(pool_open(&p, 3), 0);
    for (int i = 0; i < 20; i++) {
        nap(NULL, 0, 0);           // the workers fall asleep
        pool_run(p, nap, NULL, 4); // the caller does
    }
    pool_close(p);
}

static uint64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* What of the processors a tenth of a second costs. */
static uint64_t idle_ns(void)
{
    uint64_t before = cpu_ns();
    nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    return cpu_ns() - before;
}

/* The least of some times: a worker may come late to its sleep on a busy machine. */
static void an_idle_team_costs_nothing(void **state)
{
    (void)state;
    struct pool *p;
    uint64_t least = UINT64_MAX;
    assert_int_equal(pool_open(&p, 8), 0);
    pool_run(p, nap, NULL, 8);
    for (int i = 0; i < 50 && least > 10000000; i++) {
        uint64_t ns = idle_ns();
        least = ns < least ? ns : least;
    }
    assert_in_range(least, 0, 10000000);
    pool_close(p);
}

/* As many threads in one phase as it has items. */
static void meet(void *ctx, size_t item, unsigned worker)
{
    atomic_uint *there = ctx;
    (void)item;
    (void)worker;
    const unsigned all = atomic_fetch_add(there, 1) / 2 * 2 + 2;
    while (atomic_load(there) < all)
        sched_yield();
}

static uint64_t meeting_ns(struct pool *p, int phases)
{
    atomic_uint there = 0;
    const uint64_t start = clock_ns(clock_system());
    for (int i = 0; i < phases; i++)
        pool_run(p, meet, &there, 2);
    return (clock_ns(clock_system()) - start) / (uint64_t)phases;
}

/* Microseconds, where the team is awake, and no millisecond where it sleeps: the least of many
 * times, and of more for half a minute, for others use the machine, too. */
static void a_phase_costs_microseconds(void **state)
{
    (void)state;
    uint64_t awake = UINT64_MAX, asleep = UINT64_MAX;
    struct pool *p;
    assert_int_equal(pool_open(&p, 2), 0);
    const uint64_t end = clock_ns(clock_system()) + 30000000000;
    for (int i = 0; i < 40 || ((awake > AWAKE_NS_MAX || asleep > ASLEEP_NS_MAX) &&
                               clock_ns(clock_system()) < end);
         i++) {
        nap(NULL, 0, 0);
        uint64_t first = meeting_ns(p, 1), others = meeting_ns(p, 20);
        asleep = first < asleep ? first : asleep;
        awake = others < awake ? others : awake;
    }
    print_message("# a phase of two threads: %.1f us, of sleepers %.1f us\n", (double)awake * 1e-3,
                  (double)asleep * 1e-3);
    assert_in_range(awake, 0, AWAKE_NS_MAX);
    assert_in_range(asleep, 0, ASLEEP_NS_MAX);
    pool_close(p);
}

static void failing_allocations_leave_nothing(void **state)
{
    (void)state;
    uint64_t live = mem_live();
    for (uint64_t n = 1;; n++) {
        struct pool *p;
        mem_fail_at(n, 0);
        int rc = pool_open(&p, 4);
        mem_fail_at(0, 0);
        if (!rc) {
            pool_close(p);
            assert_true(n > 1);
            break;
        }
        assert_int_equal(rc, REALM_E_NOMEM);
        assert_null(p);
        assert_int_equal(mem_live(), live);
    }
    assert_int_equal(mem_live(), live);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_item_runs_once),
        cmocka_unit_test(sleepers_wake),
        cmocka_unit_test(an_idle_team_costs_nothing),
        cmocka_unit_test(a_phase_costs_microseconds),
        cmocka_unit_test(failing_allocations_leave_nothing),
    };
    return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
