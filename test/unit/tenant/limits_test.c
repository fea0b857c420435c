/* Limits under clocks that the test turns, and under threads that race. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/thread.h"
#include "tenant/limits.h"
#include "util.h"

static const uint64_t S_NS = 1000000000;

static struct tenant_grant *try_admit(struct world *w, const struct tenant_pass *pass,
                                      struct tenant_refusal *why)
{
    static atomic_uint n;
    char id[32];
    struct tenant_grant *g;
    snprintf(id, sizeof(id), "req_%u", atomic_fetch_add(&n, 1));
    const struct tenant_request request = {id, "chat"};
    return tenants_admit(&g, w->t, pass, &request, why) ? NULL : g;
}

static void test_requests_per_minute(void **state)
{
    (void)state;
    struct world *w = world_new();
    struct tenant_refusal why;
    struct tenant_rates rates;
    world_open(w);
    make_tenant(w, "{'id':'default','limits':{'requests_per_min':3}}");
    struct tenant_pass pass = pass_of(w, NULL);
    for (int i = 0; i < 3; i++)
        assert_int_equal(settle(try_admit(w, &pass, &why), TENANT_OK, 1, 1), 0);
    tenant_rates(&pass, &rates);
    assert_true(rates.requests_limit == 3 && rates.requests_left == 0);
    assert_in_range(rates.requests_reset_ms, 60000, 60001);
    assert_null(try_admit(w, &pass, &why));
    assert_int_equal(why.limit, TENANT_REQUESTS);
    assert_in_range(why.retry_ms, 20000, 20001);
    atomic_fetch_add(&w->now_ns, 19 * S_NS);
    assert_null(try_admit(w, &pass, &why));
    atomic_fetch_add(&w->now_ns, 1 * S_NS);
    struct tenant_grant *g = try_admit(w, &pass, &why);
    assert_non_null(g);
    assert_null(try_admit(w, &pass, &why));
    /* One that was refused without a token costs nothing. */
    assert_int_equal(settle(g, TENANT_REFUSED, 0, 0), 0);
    g = try_admit(w, &pass, &why);
    assert_int_equal(settle(g, TENANT_OK, 0, 0), 0);
    tenant_pass_drop(&pass);
    world_free(w);
}

static void test_tokens_per_minute(void **state)
{
    (void)state;
    struct world *w = world_new();
    struct tenant_refusal why;
    world_open(w);
    make_tenant(w, "{'id':'default','limits':{'tokens_per_min':600}}");
    struct tenant_pass pass = pass_of(w, NULL);
    struct tenant_grant *g = try_admit(w, &pass, &why), *h = try_admit(w, &pass, &why);
    assert_int_equal(tenant_reserve(g, 601, 601, &why), -1);
    assert_int_equal(why.retry_ms, 0);
    assert_int_equal(tenant_reserve(g, 500, 500, &why), 0);
    assert_int_equal(tenant_reserve(g, 400, 400, &why), 0); /* never shrinks */
    assert_int_equal(tenant_reserve(h, 101, 101, &why), -1);
    assert_int_equal(why.limit, TENANT_TOKENS);
    assert_in_range(why.retry_ms, 100, 101);
    assert_int_equal(settle(g, TENANT_OK, 50, 50), 0); /* 400 come back */
    assert_int_equal(tenant_reserve(h, 500, 500, &why), 0);
    /* It grows into what is owed; who comes next waits for that. */
    assert_int_equal(tenant_reserve(h, 600, 0, &why), 0);
    assert_int_equal(settle(h, TENANT_OK, 600, 0), 0);
    assert_null(try_admit(w, &pass, &why));
    assert_int_equal(why.limit, TENANT_TOKENS);
    assert_in_range(why.retry_ms, 10100, 10101); /* 100 and 1, at 10 a second */
    tenant_pass_drop(&pass);
    world_free(w);
}

/* An answer that grew to ten minutes' worth is paid for in ten minutes, whoever looks or not. */
static void test_what_is_owed_comes_back_unseen(void **state)
{
    (void)state;
    struct counters c = {0};
    const struct spec s = {.weight = 1, .tokens_per_min = 600};
    struct taken taken;
    struct tenant_refusal why;
    struct limits_now at = {1, WALL_S};
    assert_int_equal(limits_admit(&c, &s, at, &taken, &why), 0);
    assert_int_equal(limits_reserve(&c, &s, at, &taken, 6000, 0, &why), 0);
    assert_true(why.left == UINT64_MAX); // there is no budget
    limits_settle(&c, &s, at, &taken, 6000, false);
    at.us += 540 * (S_NS / 1000);
    assert_int_equal(limits_admit(&c, &s, at, &taken, &why), -1);
    assert_in_range(why.retry_ms, 100, 101);
    at.us += 30 * (S_NS / 1000);
    assert_int_equal(limits_admit(&c, &s, at, &taken, &why), 0);
    assert_int_equal(limits_reserve(&c, &s, at, &taken, 301, 301, &why), -1);
    assert_int_equal(why.left, 300);
    at.us = UINT64_MAX;
    assert_int_equal(limits_reserve(&c, &s, at, &taken, 600, 600, &why), 0);
}

/* The rate must have room for a prompt and what an answer begins with, and what there is left does
 * not break it off. */
static void test_the_rest_of_an_answer_is_owed(void **state)
{
    (void)state;
    struct counters c = {0};
    const struct spec s = {.weight = 1, .tokens_per_min = 600, .budget_tokens = 1000};
    struct taken first = {0}, next = {0};
    struct tenant_refusal why;
    struct limits_now at = {1, WALL_S};
    assert_int_equal(limits_admit(&c, &s, at, &first, &why), 0);
    assert_int_equal(limits_reserve(&c, &s, at, &first, 500, 500, &why), 0);
    assert_int_equal(why.left, 500);
    assert_int_equal(limits_admit(&c, &s, at, &next, &why), 0);
    assert_int_equal(limits_reserve(&c, &s, at, &next, 400, 101, &why), -1);
    assert_int_equal(why.limit, TENANT_TOKENS);
    assert_int_equal(limits_reserve(&c, &s, at, &next, 501, 100, &why), -1);
    assert_int_equal(why.limit, TENANT_BUDGET);
    assert_int_equal(why.left, 500);
    assert_int_equal(limits_reserve(&c, &s, at, &next, 400, 100, &why), 0);
    limits_settle(&c, &s, at, &next, 400, false);
    assert_int_equal(limits_admit(&c, &s, at, &next, &why), -1);
    assert_in_range(why.retry_ms, 30100, 30101); /* 300 and 1, at 10 a second */
}

/* A07: a wall clock that jumps gives nothing away. */
static void test_budget_and_the_wall_clock(void **state)
{
    (void)state;
    struct world *w = world_new();
    struct tenant_refusal why;
    world_open(w);
    make_tenant(w, "{'id':'default','limits':{'budget_tokens':100,'budget_window':'hour'}}");
    struct tenant_pass pass = pass_of(w, NULL);
    struct tenant_grant *g = try_admit(w, &pass, &why);
    assert_int_equal(tenant_reserve(g, 101, 101, &why), -1);
    assert_int_equal(why.limit, TENANT_BUDGET);
    assert_int_equal(why.retry_ms, 3600 * 1000);
    assert_int_equal(why.left, 100);
    assert_int_equal(tenant_reserve(g, 101, 101, &why), -1);
    struct tenants_stats stats;
    tenants_stats(w->t, &stats);
    assert_int_equal(stats.refused[TENANT_BUDGET], 1); /* of requests, not of tries */
    assert_int_equal(tenant_reserve(g, 100, 100, &why), 0);
    assert_null(try_admit(w, &pass, &why));
    assert_int_equal(settle(g, TENANT_OK, 60, 40), 0);
    assert_null(try_admit(w, &pass, &why));
    tenant_pass_drop(&pass);
    world_close(w); /* it survives that */
    world_open(w);
    pass = pass_of(w, NULL);
    assert_null(try_admit(w, &pass, &why));
    atomic_fetch_sub(&w->wall_s, 3600); /* and a clock that goes back */
    assert_null(try_admit(w, &pass, &why));
    atomic_store(&w->wall_s, WALL_S + 86400); /* a day on is another window */
    g = try_admit(w, &pass, &why);
    assert_non_null(g);
    assert_int_equal(tenant_reserve(g, 100, 100, &why), 0);
    atomic_store(&w->wall_s, WALL_S + 2 * 86400);
    struct tenant_grant *h = try_admit(w, &pass, &why);
    assert_int_equal(settle(g, TENANT_OK, 100, 0), 0); /* counts where it began */
    assert_int_equal(tenant_reserve(h, 100, 100, &why), 0);
    assert_int_equal(settle(h, TENANT_CANCELLED, 0, 0), 0);
    tenant_pass_drop(&pass);
    world_free(w);
}

/* It began two hours ago: what the hours since then have is not its to take or to give back. */
static void test_a_request_outlives_its_window(void **state)
{
    (void)state;
    struct counters c = {0};
    const struct spec s = {.weight = 1, .budget_tokens = 100, .budget_window = BUDGET_HOUR};
    struct taken old, next, last;
    struct tenant_refusal why;
    struct limits_now at = {1, WALL_S};
    assert_int_equal(limits_admit(&c, &s, at, &old, &why), 0);
    assert_int_equal(limits_reserve(&c, &s, at, &old, 80, 80, &why), 0);
    at.wall_s += 3600;
    assert_int_equal(limits_admit(&c, &s, at, &next, &why), 0);
    assert_int_equal(limits_reserve(&c, &s, at, &next, 60, 60, &why), 0);
    at.wall_s += 3600;
    assert_int_equal(limits_admit(&c, &s, at, &last, &why), 0);
    assert_int_equal(limits_reserve(&c, &s, at, &old, 90, 0, &why), 0);
    limits_settle(&c, &s, at, &old, 90, false);
    assert_int_equal(limits_reserve(&c, &s, at, &next, 101, 0, &why), -1);
    assert_int_equal(why.left, 40);
    assert_int_equal(limits_reserve(&c, &s, at, &next, 100, 0, &why), 0);
    assert_int_equal(limits_reserve(&c, &s, at, &last, 100, 100, &why), 0);
    limits_settle(&c, &s, at, &next, 100, false);
    limits_settle(&c, &s, at, &last, 100, false);
    assert_true(c.windows[BUDGET_HOUR][1].used == 100 && c.windows[BUDGET_HOUR][0].used == 100);
    assert_true(c.windows[BUDGET_DAY][0].used == 290 && c.running == 0);
}

/* A07: a clock that is a day ahead for a while gives nothing away, and takes nothing. */
static void test_a_clock_comes_back(void **state)
{
    (void)state;
    struct counters c = {0};
    const struct spec s = {.weight = 1, .budget_tokens = 100, .budget_window = BUDGET_DAY};
    struct taken taken;
    struct tenant_refusal why;
    const struct limits_now today = {1, WALL_S}, ahead = {1, WALL_S + 86400};
    const struct limits_now *times[] = {&today, &ahead, &today, &ahead};
    static const int left[] = {100, 100, 40, 70};
    static const int used[] = {60, 30, 10, 10};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(limits_admit(&c, &s, *times[i], &taken, &why), 0);
        assert_int_equal(limits_reserve(&c, &s, *times[i], &taken, 101, 0, &why), -1);
        assert_int_equal(why.left, left[i]);
        limits_settle(&c, &s, *times[i], &taken, (uint64_t)used[i], false);
    }
    assert_int_equal(limits_admit(&c, &s, today, &taken, &why), 0);
    assert_int_equal(limits_reserve(&c, &s, today, &taken, 30, 30, &why), 0);
    limits_settle(&c, &s, today, &taken, 30, false);
    assert_int_equal(limits_admit(&c, &s, today, &taken, &why), -1);
}

/* A07: windows of UTC. */
static void test_windows(void **state)
{
    (void)state;
    assert_int_equal(limits_window_start(BUDGET_HOUR, 1767268800 + 3599), 1767268800);
    assert_int_equal(limits_window_start(BUDGET_DAY, 1767268800), 1767225600);
    assert_int_equal(limits_window_start(BUDGET_MONTH, 1767268800 + 30 * 86400), 1767225600);
    assert_int_equal(limits_window_start(BUDGET_MONTH, 1709210096), 1706745600); /* 29 February */
    assert_int_equal(limits_window_start(BUDGET_DAY, -1), -86400);
}

/* A07: counts end at their greatest value. */
static void test_counts_saturate(void **state)
{
    (void)state;
    struct counters c = {0};
    struct spec s = {.weight = 1, .tokens_per_min = 5};
    struct taken taken;
    struct tenant_refusal why;
    const struct limits_now at = {100000000, WALL_S};
    assert_int_equal(limits_admit(&c, &s, at, &taken, &why), 0);
    limits_settle(&c, &s, at, &taken, UINT64_MAX, false);
    s.budget_tokens = INT64_MAX;
    s.tokens_per_min = 0;
    assert_int_equal(limits_admit(&c, &s, at, &taken, &why), -1);
    assert_int_equal(why.limit, TENANT_BUDGET);
    s.budget_tokens = 0;
    assert_int_equal(limits_admit(&c, &s, at, &taken, &why), 0);
    assert_int_equal(limits_reserve(&c, &s, at, &taken, UINT64_MAX, UINT64_MAX, &why), 0);
    limits_settle(&c, &s, at, &taken, UINT64_MAX, false);
    assert_true(c.windows[BUDGET_DAY][0].used == UINT64_MAX);
    assert_true(c.windows[BUDGET_DAY][0].reserved == 0 && c.running == 0);
}

/* ---- a hundred at once ---- */

enum { RACERS = 100 };

struct racer {
    struct thread thread;
    struct world *w;
    const struct tenant_pass *pass;
    struct tenant_grant *g;
    pthread_barrier_t *start;
};

static void race(void *arg)
{
    struct racer *r = arg;
    struct tenant_refusal why;
    (void)pthread_barrier_wait(r->start);
    r->g = try_admit(r->w, r->pass, &why);
    if (r->g && tenant_reserve(r->g, 20, 20, &why)) {
        assert_int_equal(settle(r->g, TENANT_REFUSED, 0, 0), 0);
        r->g = NULL;
    }
}

static void race_for(const char *limits)
{
    static struct racer racers[RACERS];
    struct world *w = world_new();
    pthread_barrier_t start;
    char body[160];
    int in = 0;
    assert_int_equal(pthread_barrier_init(&start, NULL, RACERS), 0);
    world_open(w);
    snprintf(body, sizeof(body), "{'id':'default','limits':%s}", limits);
    make_tenant(w, body);
    struct tenant_pass pass = pass_of(w, NULL);
    for (int i = 0; i < RACERS; i++) {
        racers[i] = (struct racer){.w = w, .pass = &pass, .start = &start};
        assert_int_equal(thread_start(&racers[i].thread, "racer", 0, race, &racers[i]), 0);
    }
    for (int i = 0; i < RACERS; i++) {
        thread_join(&racers[i].thread);
        in += racers[i].g != NULL;
    }
    (void)pthread_barrier_destroy(&start);
    assert_int_equal(in, 5);
    for (int i = 0; i < RACERS; i++)
        if (racers[i].g)
            assert_int_equal(settle(racers[i].g, TENANT_OK, 10, 10), 0);
    assert_int_equal(usage(w, "default", "prompt_tokens"), 50);
    tenant_pass_drop(&pass);
    world_free(w);
}

/* A05: a hundred at once, and room for five. */
static void test_of_a_hundred_five_come_in(void **state)
{
    (void)state;
    race_for("{'budget_tokens':100}");
    race_for("{'tokens_per_min':100}");
    race_for("{'requests_per_min':5}");
    race_for("{'parallel':5}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests_per_minute),
        cmocka_unit_test(test_tokens_per_minute),
        cmocka_unit_test(test_what_is_owed_comes_back_unseen),
        cmocka_unit_test(test_the_rest_of_an_answer_is_owed),
        cmocka_unit_test(test_budget_and_the_wall_clock),
        cmocka_unit_test(test_a_request_outlives_its_window),
        cmocka_unit_test(test_a_clock_comes_back),
        cmocka_unit_test(test_windows),
        cmocka_unit_test(test_counts_saturate),
        cmocka_unit_test(test_of_a_hundred_five_come_in),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
