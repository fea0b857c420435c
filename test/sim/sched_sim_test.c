/* The scheduler with random tenants, thousands of times, and the shares that they get. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/limits.h"
#include "base/mem.h"
#include "sched_sim.h"

#ifdef REALM_TEST_SANITIZED
enum { SEEDS = 500 };
#else
enum { SEEDS = 10000 };
#endif

static struct pool *pool;

static struct sim *begin(uint64_t seed)
{
    static struct sim sim;
    sim = (struct sim){.seed = seed, .random = seed, .pool = pool};
    return &sim;
}

/* Tenants of all kinds: quiet and loud ones, long prompts and long answers. */
static void choose_tenants(struct sim *s)
{
    static const uint32_t weights[] = {1, 1, 1, 2, 4, 7};
    s->n_tenants = 1 + (unsigned)sim_below(s, SIM_TENANTS);
    bool limits = sim_below(s, 4) == 0;
    for (unsigned i = 0; i < s->n_tenants; i++) {
        struct sim_tenant *t = &s->tenants[i];
        t->weight = weights[sim_below(s, 6)];
        t->prompt_max = 1 + (uint32_t)sim_below(s, sim_below(s, 3) ? 60 : 300);
        t->answer_max = 1 + (uint32_t)sim_below(s, sim_below(s, 3) ? 40 : SIM_ANSWER_MAX);
        t->open_max = 1 + (uint32_t)sim_below(s, sim_below(s, 3) ? 6 : 30);
        t->busy = sim_below(s, 2) ? 1 : 0.05;
        if (limits && sim_below(s, 2))
            t->kv_bytes_max = 4096 * (1 + sim_below(s, s->pages));
    }
    if (sim_below(s, 50) == 0)
        s->tenants[0].open_max = 256;
}

static void choose(struct sim *s)
{
    static const uint32_t places[] = {0, 2, 3, 5, 9, 20};
    s->n_models = 1 + (sim_below(s, 3) == 0);
    s->models[0] = fake_model(1, 1000);
    s->models[1] = fake_model(8, 3000); // twice as large a page
    s->pages = 12 + sim_below(s, sim_below(s, 2) ? 20 : 120);
    s->running_max = places[sim_below(s, 6)];
    s->step_ns = 1000 * (1 + sim_below(s, 20000));
    s->row_ns = sim_below(s, 20) ? 1000 * sim_below(s, 2000) : 100000000;
    s->faults = sim_below(s, 4) ? 0 : 0.0005;
    s->cancels = sim_below(s, 2) ? 0 : 0.01;
    s->logprobs = sim_below(s, 4) == 0;
    s->cache_off = sim_below(s, 4) == 0;
    choose_tenants(s);
}

static void run_seed(uint64_t seed, double *unfair_max)
{
    struct sim *s = begin(seed);
    choose(s);
    sim_open(s);
    uint64_t turns = 20 + sim_below(s, 250);
    for (uint64_t i = 0; i < turns; i++)
        (void)sim_turn(s, true);
    sim_close(s);
    *unfair_max = fmax(*unfair_max, s->unfair_max);
}

static void all_holds_after_each_turn(void **state)
{
    (void)state;
    const char *one = getenv("SEED"), *many = getenv("SEEDS");
    uint64_t first = one ? strtoull(one, NULL, 10) : 1;
    uint64_t n = many ? strtoull(many, NULL, 10) : one ? 1 : SEEDS;
    double unfair_max = 0;
    for (uint64_t i = 0; i < n; i++)
        run_seed(first + i, &unfair_max);
    print_message("# %llu seeds; leads changed by up to %.2f of their bound\n",
                  (unsigned long long)n, unfair_max);
}

/* Three that want more than there is, on different machines. */
static void service_goes_by_weight(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct sim *s = begin(seed);
        s->n_models = 1 + seed % 2;
        s->models[0] = fake_model(1, 1000);
        s->models[1] = fake_model(8, 3000);
        s->pages = 40 + sim_below(s, 160);
        s->running_max = seed % 3 ? 0 : 7 + (uint32_t)sim_below(s, 10);
        s->step_ns = 5000000;
        s->row_ns = 100000 * sim_below(s, 10);
        s->n_tenants = 3;
        for (unsigned i = 0; i < 3; i++)
            s->tenants[i] = (struct sim_tenant){.weight = 1u << i,
                                                .prompt_max = 1 + (uint32_t)sim_below(s, 120),
                                                .answer_max = 1 + (uint32_t)sim_below(s, 120),
                                                .open_max = 60,
                                                .busy = 1};
        sim_open(s);
        for (unsigned i = 0; i < 4000; i++)
            (void)sim_turn(s, true);
        double sum = 0;
        for (unsigned i = 0; i < 3; i++)
            sum += s->tenants[i].served;
        for (unsigned i = 0; i < 3; i++) {
            double part = s->tenants[i].served / sum * 7 / s->tenants[i].weight;
            SIM_CHECK(s, fabs(part - 1) < 0.05, "t%u had %.3f of its share", i, part);
        }
        sim_close(s);
    }
}

/* One model, one tenant of each weight that is given; steps of 5 ms and 0.5 ms a row. */
static struct sim *begin_plain(uint64_t pages, uint32_t w0, uint32_t w1)
{
    struct sim *s = begin(1);
    s->cache_off = true;
    s->n_models = 1;
    s->models[0] = fake_model(1, 1000);
    s->pages = pages;
    s->step_ns = 5000000;
    s->row_ns = 500000;
    s->n_tenants = 2;
    s->tenants[0].weight = w0;
    s->tenants[1].weight = w1;
    sim_open(s);
    return s;
}

/* Turns until the tenant's one generation has its first token. */
static uint64_t first_token_ns(struct sim *s, unsigned tenant)
{
    uint64_t start = s->now_ns;
    for (;;) {
        bool answered = true;
        for (size_t i = 0; i < s->gens_end; i++)
            if (s->gens[i].gen && s->gens[i].tenant == tenant && !s->gens[i].first_ns)
                answered = false;
        if (answered)
            return s->now_ns - start;
        (void)sim_turn(s, false);
    }
}

static double rows_of_a_turn(struct sim *s)
{
    double before = s->tenants[0].served;
    (void)sim_turn(s, false);
    return (s->tenants[0].served - before) / 1000;
}

/* A long step for prompts alone becomes a short one; what it gives up is computed later. */
static void a_long_step_gives_way_to_who_comes(void **state)
{
    (void)state;
    struct sim *s = begin_plain(4000, 1, 1);
    s->row_ns = 10 * s->row_ns;
    assert_true(sim_start(s, 0, 2000, 20));
    for (unsigned i = 0; i < 20; i++)
        (void)sim_turn(s, false);
    assert_true(rows_of_a_turn(s) == 64);
    s->comes = true;
    assert_true(rows_of_a_turn(s) == 8);
    assert_true(s->tenants[1].served == 0);
    (void)sim_turn(s, false);
    assert_true(s->tenants[1].served > 0);
    sim_close(s);
}

/* I10: beside twenty prompts of 2000 tokens, a prompt of 200 takes what it would on a machine of
 * half the speed. */
static void a_quiet_tenant_is_not_kept_waiting(void **state)
{
    (void)state;
    uint64_t alone, beside;
    struct sim *s = begin_plain(4000, 1, 1);
    assert_true(sim_start(s, 1, 200, 20));
    alone = first_token_ns(s, 1);
    sim_close(s);
    s = begin_plain(4000, 1, 1);
    for (unsigned i = 0; i < 20; i++)
        assert_true(sim_start(s, 0, 2000, 20));
    for (unsigned i = 0; i < 5; i++)
        (void)sim_turn(s, false);
    assert_true(sim_start(s, 1, 200, 20));
    beside = first_token_ns(s, 1);
    assert_in_range(beside, alone, 2 * alone);
    sim_close(s);
}

static void pages_are_taken_back_for_one_that_has_few(void **state)
{
    (void)state;
    struct sim *s = begin_plain(40, 1, 1);
    struct sched_stats stats;
    for (unsigned i = 0; i < 10; i++)
        assert_true(sim_start(s, 0, 60, 300));
    for (unsigned i = 0; i < 100; i++)
        (void)sim_turn(s, false);
    sched_stats(s->sched, &stats);
    uint64_t before = stats.preempted;
    assert_true(stats.kv_pages > 30);
    assert_true(sim_start(s, 1, 60, 30));
    (void)sim_turn(s, false);
    sched_stats(s->sched, &stats);
    assert_true(stats.preempted > before);
    assert_int_equal(stats.running + stats.waiting, 11);
    for (size_t i = 0; i < s->gens_end; i++)
        if (s->gens[i].tenant == 1)
            assert_int_equal(s->gens[i].gen->state, GEN_RUNNING);
    sim_close(s);
}

/* It could not use it: its tenant holds all the pages that it may. */
static void no_place_is_taken_for_one_that_is_capped(void **state)
{
    (void)state;
    struct sim *s = begin_plain(200, 1, 4);
    struct sched_stats stats;
    s->sched->places_max = 3;
    s->tenants[1].kv_bytes_max = 1;
    for (unsigned i = 0; i < 7; i++)
        assert_true(sim_start(s, i < 2, 10, 100));
    for (unsigned i = 0; i < 50; i++)
        (void)sim_turn(s, false);
    sched_stats(s->sched, &stats);
    assert_int_equal(stats.running, 3);
    assert_int_equal(stats.preempted, 0);
    sim_close(s);
}

/* One that had nothing to do while another worked is not owed for that time. */
static void a_pause_saves_nothing_up(void **state)
{
    (void)state;
    struct sim *s = begin_plain(40, 1, 1);
    s->tenants[0] = (struct sim_tenant){
        .weight = 1, .prompt_max = 50, .answer_max = 50, .open_max = 30, .busy = 1};
    s->tenants[1] = s->tenants[0];
    s->tenants[1].busy = 0;
    for (unsigned i = 0; i < 500; i++)
        (void)sim_turn(s, true);
    s->tenants[1].busy = 1;
    double first = s->tenants[0].served;
    for (unsigned i = 0; i < 1000; i++)
        (void)sim_turn(s, true);
    double ratio = s->tenants[1].served / (s->tenants[0].served - first);
    assert_true(ratio > 0.9 && ratio < 1.1);
    sim_close(s);
}

/* Nor does one that worked alone owe anything for it: nobody waited. */
static void what_was_had_alone_is_not_owed(void **state)
{
    (void)state;
    struct sim *s = begin_plain(4000, 1, 1);
    for (unsigned i = 0; i < 10; i++)
        assert_true(sim_start(s, 0, 2000, 40));
    while (sim_turn(s, false))
        ;
    const double before = s->tenants[0].served;
    for (unsigned i = 0; i < 5; i++) {
        assert_true(sim_start(s, 1, 2000, 40));
        assert_true(sim_start(s, 0, 2000, 40));
    }
    while (s->tenants[1].served < 4000 * 1000)
        (void)sim_turn(s, false);
    double ratio = (s->tenants[0].served - before) / s->tenants[1].served;
    SIM_CHECK(s, ratio > 0.9 && ratio < 1.1, "%.2f of what the other one had", ratio);
    sim_close(s);
}

static double least_counter(const struct sim *s)
{
    double least = INFINITY;
    const struct list *busy = &s->sched->shares.busy;
    for (const struct list *i = busy->next; i != busy; i = i->next)
        least = fmin(least, CONTAINER_OF(i, struct account, link)->counter);
    return least;
}

/* Many come beside one that waits for places, or beside one that has its own: all in one turn, or
 * each in its own.  None is further behind than a credit. */
static void a_credit_is_not_on_top_of_anothers(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < 4; kind++) {
        bool waits = kind & 1, together = kind & 2;
        struct sim *s = begin_plain(4000, 1, 1);
        s->n_tenants = SIM_TENANTS;
        for (unsigned i = 0; i < SIM_TENANTS; i++)
            s->tenants[i].weight = 1;
        for (unsigned i = 0; i < (waits ? 20 : 1); i++)
            assert_true(sim_start(s, 0, 2000, 20));
        s->sched->places_max = waits ? 1 : 20;
        while (s->tenants[0].served < 1000 * 1000)
            (void)sim_turn(s, false);
        const double least = s->tenants[0].served - 128 * 1000;
        for (unsigned i = 1; i < SIM_TENANTS; i++) {
            assert_true(sim_start(s, i, 2000, 20));
            if (together && i + 1 < SIM_TENANTS)
                continue;
            (void)sim_turn(s, false);
            SIM_CHECK(s, least_counter(s) >= least, "kind %u, t%u: %g tokens more than a credit",
                      kind, i, (least - least_counter(s)) / 1000);
        }
        sim_close(s);
    }
}

/* One who comes while nobody else is there is not ahead by it of those who were there before. */
static void a_credit_is_for_who_comes_beside_others(void **state)
{
    (void)state;
    struct sim *s = begin_plain(4000, 1, 1);
    s->row_ns = 10 * s->row_ns; // a few in a step
    for (int i = 0; i < 2; i++) {
        assert_true(sim_start(s, 0, 100, 20));
        while (sim_turn(s, false))
            ;
    }
    assert_true(sim_start(s, 1, 2000, 20));
    while (s->tenants[1].served < 300 * 1000)
        assert_true(sim_turn(s, false));
    double before = s->tenants[0].served, others = s->tenants[1].served;
    assert_true(sim_start(s, 0, 100, 20));
    for (;;) {
        assert_true(sim_turn(s, false));
        if (s->tenants[0].served >= before + 100 * 1000)
            break; // the end of its prompt shares a step
        assert_true(s->tenants[1].served == others);
    }
    sim_close(s);
}

/* Nor does anybody compute again for one who is behind by a credit alone: here it has a long
 * answer, which is over half of its due of three places, and asks short questions beside it. */
static void a_credit_takes_no_places(void **state)
{
    (void)state;
    struct sim *s = begin_plain(4000, 1, 1);
    s->sched->places_max = 3;
    s->tenants[0] = (struct sim_tenant){
        .weight = 1, .prompt_max = 20, .answer_max = 40, .open_max = 20, .busy = 1};
    for (unsigned i = 0; i < 3000; i++) {
        if (i % 300 == 0)
            assert_true(sim_start(s, 1, 20, 250));
        if (i % 12 == 0)
            assert_true(sim_start(s, 1, 5, 5));
        (void)sim_turn(s, true);
    }
    SIM_CHECK(s, s->rows < s->tokens + s->tokens / 10, "%llu rows for %llu tokens",
              (unsigned long long)s->rows, (unsigned long long)s->tokens);
    sim_close(s);
}

/* One at a time. */
static void priorities_are_a_tenants_own(void **state)
{
    (void)state;
    struct sim *s = begin_plain(100, 1, 1);
    const struct realm_wait at_once = {.deadline_ns = 1};
    struct sched_gen *gens[4];
    static const int32_t priorities[4] = {0, -1, 1, 1};
    static const unsigned order[4] = {2, 3, 0, 1};
    uint32_t ids[4] = {1, 2, 3, 4};
    struct realm_event e;
    s->sched->places_max = 1;
    for (unsigned i = 0; i < 4; i++) {
        struct realm_request r = {
            .priority = priorities[i],
            .sampling = {.max_tokens = 5, .top_p = 1, .repetition_penalty = 1}};
        assert_int_equal(sched_gen_open(&gens[i], s->runs[0], ids, 4, 0, &r, 1, NULL), 0);
    }
    for (unsigned i = 0; i < 4; i++) {
        do {
            (void)sched_turn(s->sched);
            for (unsigned j = i + 1; j < 4; j++)
                assert_int_equal(gens[order[j]]->n_tokens, 4);
        } while (!gens[order[i]]->done);
        assert_int_equal(sched_gen_next(gens[order[i]], &e, &at_once), 0);
        sched_gen_close(gens[order[i]]);
    }
    s->started = s->ended = 4;
    sim_close(s);
}

static void who_waits_for_too_long_is_refused(void **state)
{
    (void)state;
    struct sim *s = begin_plain(100, 1, 1);
    s->sched->places_max = 1;
    s->row_ns = 1000000000;
    assert_true(sim_start(s, 0, 10, 80)); // takes longer than one may wait
    (void)sim_turn(s, false);
    assert_true(sim_start(s, 0, 10, 80));
    uint64_t start = s->now_ns;
    while (s->gens_end == 2)
        (void)sim_turn(s, false);
    assert_in_range(s->now_ns - start, QUEUE_MS_MAX * 1000000ull,
                    QUEUE_MS_MAX * 1000000ull + 3 * s->row_ns);
    sim_close(s);
}

static void idle_tenants_are_forgotten(void **state)
{
    (void)state;
    struct sim *s = begin_plain(100, 1, 1);
    const struct realm_wait at_once = {.deadline_ns = 1};
    struct realm_event e;
    uint64_t before = mem_live();
    for (unsigned i = 0; i < 3 * TENANTS_IDLE_MAX; i++) {
        struct sched_gen *g;
        char name[TENANT_NAME_MAX + 1];
        uint32_t id = 1;
        snprintf(name, sizeof(name), "tenant-%u", i);
        struct realm_request r = {.tenant = name, .prompt_only = true};
        assert_int_equal(sched_gen_open(&g, s->runs[0], &id, 1, 0, &r, 1, NULL), 0);
        while (sched_turn(s->sched))
            ;
        assert_int_equal(sched_gen_next(g, &e, &at_once), 0);
        assert_int_equal(e.status, 0);
        sched_gen_close(g);
    }
    struct realm_tenant_stats one;
    assert_int_equal(sched_tenant_stats(s->sched, &one, 1), TENANTS_IDLE_MAX);
    assert_in_range(mem_live() - before, TENANTS_IDLE_MAX, TENANTS_IDLE_MAX + 8);
    s->started = s->tokens = 3 * TENANTS_IDLE_MAX;
    s->ended = s->started;
    sim_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_holds_after_each_turn),
        cmocka_unit_test(service_goes_by_weight),
        cmocka_unit_test(a_long_step_gives_way_to_who_comes),
        cmocka_unit_test(a_quiet_tenant_is_not_kept_waiting),
        cmocka_unit_test(pages_are_taken_back_for_one_that_has_few),
        cmocka_unit_test(no_place_is_taken_for_one_that_is_capped),
        cmocka_unit_test(a_pause_saves_nothing_up),
        cmocka_unit_test(what_was_had_alone_is_not_owed),
        cmocka_unit_test(a_credit_is_not_on_top_of_anothers),
        cmocka_unit_test(a_credit_is_for_who_comes_beside_others),
        cmocka_unit_test(a_credit_takes_no_places),
        cmocka_unit_test(priorities_are_a_tenants_own),
        cmocka_unit_test(who_waits_for_too_long_is_refused),
        cmocka_unit_test(idle_tenants_are_forgotten),
    };
    if (pool_open(&pool, 1))
        return 2;
    int failed = cmocka_run_group_tests_name("sim/sched", tests, NULL, NULL);
    pool_close(pool);
    return failed;
}
