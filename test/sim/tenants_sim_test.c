/* The scheduler's simulation with tenants who pay: let in, reserved for and settled through the
 * real tenant layer, on the same virtual clock, with a ledger on a disk.
 *
 * The test keeps books of its own, in which all that was admitted stands, and compares after each
 * turn what the tenant layer counts, and at the end of a seed what the ledger says.  One database
 * serves many seeds.  SEED=n repeats one, SEEDS=n runs so many. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sched_sim.h"
#include "tenant_books.h"

#ifdef REALM_TEST_SANITIZED
enum { SEEDS = 100 };
#else
enum { SEEDS = 10000 };
#endif

enum { SEEDS_OF_A_DATABASE = 150 };

static struct pool *pool;

/* ----------------------------------------------------------------- choosing -- */

static void choose_tenants(struct sim *s)
{
    static const uint32_t weights[] = {1, 1, 2, 5};
    s->n_tenants = 1 + (unsigned)sim_below(s, SIM_TENANTS);
    for (unsigned i = 0; i < s->n_tenants; i++) {
        struct sim_tenant *t = &s->tenants[i];
        t->weight = weights[sim_below(s, 4)];
        t->prompt_max = 1 + (uint32_t)sim_below(s, sim_below(s, 3) ? 60 : 300);
        t->answer_max = 1 + (uint32_t)sim_below(s, sim_below(s, 3) ? 60 : 300);
        t->open_max = 1 + (uint32_t)sim_below(s, 12);
        t->busy = sim_below(s, 2) ? 1 : 0.05;
    }
}

static void choose(struct sim *s)
{
    static const uint32_t places[] = {0, 2, 5, 20};
    s->n_models = 1 + (sim_below(s, 3) == 0);
    s->models[0] = fake_model(1, 1000);
    s->models[1] = fake_model(8, 3000);
    s->pages = 12 + sim_below(s, sim_below(s, 2) ? 20 : 120); // few: generations are put back
    s->running_max = places[sim_below(s, 4)];
    s->step_ns = 1000 * (1 + sim_below(s, 20000));
    s->row_ns = 1000 * sim_below(s, 2000);
    s->faults = sim_below(s, 4) ? 0 : 0.0005;
    s->cancels = sim_below(s, 2) ? 0 : 0.01;
    s->logprobs = sim_below(s, 4) == 0;
    s->cache_off = sim_below(s, 4) == 0;
    choose_tenants(s);
}

/* ------------------------------------------------------------------ running -- */

static void run_seed(uint64_t seed, struct books *b, struct world *w)
{
    static struct sim sim;
    struct sim *s = &sim;
    *s = (struct sim){.seed = seed, .random = seed, .pool = pool};
    choose(s);
    sim_open(s);
    books_open(b, s, w);
    uint64_t turns = 20 + sim_below(s, 150);
    uint64_t killed = sim_below(s, 8) ? UINT64_MAX : sim_below(s, turns);
    uint64_t jumps = sim_below(s, 3) ? UINT64_MAX : sim_below(s, turns);
    for (uint64_t i = 0; i < turns; i++) {
        (void)sim_turn(s, true);
        if (i == killed)
            books_kill(b);
        if (i == jumps)
            books_jump(b);
    }
    sim_drain(s);
    books_close(b, sim_below(s, 8) == 0);
    sim_close(s);
}

static void all_is_paid_for_once(void **state)
{
    (void)state;
    static struct books books;
    const char *one = getenv("SEED"), *many = getenv("SEEDS");
    uint64_t first = one ? strtoull(one, NULL, 10) : 1;
    uint64_t n = many ? strtoull(many, NULL, 10) : one ? 1 : SEEDS;
    struct world *w = NULL;
    for (uint64_t i = 0; i < n; i++) {
        if (i % SEEDS_OF_A_DATABASE == 0) {
            if (w)
                world_free(w);
            w = world_new();
            world_open(w);
        }
        run_seed(first + i, &books, w);
    }
    if (w)
        world_free(w);
    const struct books_sum *sum = &books.sum;
    print_message("# %llu seeds: %llu requests, %llu tokens; refused: %llu for requests, %llu for "
                  "tokens, %llu at once, %llu for budgets\n",
                  (unsigned long long)n, (unsigned long long)sum->requests,
                  (unsigned long long)sum->tokens, (unsigned long long)sum->refused[0],
                  (unsigned long long)sum->refused[1], (unsigned long long)sum->refused[2],
                  (unsigned long long)sum->refused[3]);
    print_message("# %llu ended with their budget, %llu with the process; %llu windows went by\n",
                  (unsigned long long)sum->capped, (unsigned long long)sum->interrupted,
                  (unsigned long long)sum->windows);
    if (n < SEEDS)
        return;
    for (int i = 0; i < 4; i++)
        assert_true(sum->refused[i] > 0);
    assert_true(sum->capped > 0 && sum->interrupted > 0 && sum->windows > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_is_paid_for_once),
    };
    if (pool_open(&pool, 1))
        return 2;
    int failed = cmocka_run_group_tests_name("sim/tenants", tests, NULL, NULL);
    pool_close(pool);
    return failed;
}
