/* 32 guests of 4 tenants at once: they share the steps of the engine, and each
 * gets bit for bit what it gets alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/ckd.h"
#include "base/mem.h"
#include "base/thread.h"
#include "util.h"

enum { GUESTS = 32, TENANTS = 4, ROUNDS = 6, TOKENS = 120 };

static struct world world;

/* Prompts of all lengths, options of all kinds. */
static const char *const prompts[] = {
    "Once upon a time",
    "One day",
    "The sun was warm. Lily said:",
    "2 + 3 =",
    "What is the capital of Japan?",
    "A",
    "Tom and Ella went to the river and",
    "There was a dog. There was a cat. There was a bird. There was a fish. The dog said"};

static struct realm_sampling sampling_of(unsigned kind)
{
    struct realm_sampling s;
    realm_sampling_init(&s, REALM_DOOR_GUEST);
    s.max_tokens = TOKENS - kind;
    s.temperature = kind % 3 ? 0.5f + 0.1f * (float)kind : 0;
    s.top_k = kind % 5 ? 40 : 0;
    s.has_seed = true;
    s.seed = kind + 1;
    return s;
}

/* Everything but the place and the number of its neighbours is that of kind. */
static void ask_kind(unsigned kind, struct reply *out)
{
    const struct realm_sampling sampling = sampling_of(kind);
    struct wasm_request request =
        request_of(world.tenants[kind % TENANTS], world.model, prompts[kind % ARRAY_LEN(prompts)]);
    request.sampling = &sampling;
    ask(world.guest, &request, out);
}

static struct reply alone[GUESTS];
static pthread_barrier_t barrier;
static atomic_uint wrong, failed;

static void check(unsigned kind)
{
    struct reply got;
    const struct reply *want = &alone[kind];
    ask_kind(kind, &got);
    if (got.status)
        atomic_fetch_add(&failed, 1);
    else if (got.result.bytes != want->result.bytes ||
             memcmp(got.result.text, want->result.text, got.result.bytes) != 0 ||
             got.result.completion_tokens != want->result.completion_tokens)
        atomic_fetch_add(&wrong, 1);
    reply_free(&got);
}

static void one_guest(void *arg)
{
    const unsigned self = *(const unsigned *)arg;
    for (unsigned round = 0; round < ROUNDS; round++) {
        pthread_barrier_wait(&barrier);
        check((self + 7 * round) % GUESTS);
        pthread_barrier_wait(&barrier);
    }
}

/* The engine goes on when all of a round are there. */
static void all_at_once(void)
{
    struct thread threads[GUESTS];
    unsigned selves[GUESTS];
    assert_int_equal(pthread_barrier_init(&barrier, NULL, GUESTS + 1), 0);
    for (unsigned i = 0; i < GUESTS; i++) {
        selves[i] = i;
        assert_int_equal(
            thread_start(&threads[i], "guest", WASM_THREAD_STACK_BYTES, one_guest, &selves[i]), 0);
    }
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct held held;
        world_hold(&held, &world);
        pthread_barrier_wait(&barrier);
        assert_true(world_await(&world, GUESTS));
        world_let_go(&held);
        pthread_barrier_wait(&barrier);
    }
    for (unsigned i = 0; i < GUESTS; i++)
        thread_join(&threads[i]);
    pthread_barrier_destroy(&barrier);
}

/* I06: through guests. */
static void each_gets_what_it_gets_alone(void **state)
{
    (void)state;
    for (unsigned i = 0; i < GUESTS; i++) {
        ask_kind(i, &alone[i]);
        if (alone[i].status)
            fail_msg("%u: %s", i, alone[i].err.message);
        assert_int_equal(alone[i].result.completion_tokens, TOKENS - i);
    }
    const struct realm_stats before = world_stats(&world);
    assert_int_equal(before.decode_batch_max, 1);

    all_at_once();

    const struct realm_stats after = world_stats(&world);
    assert_int_equal(atomic_load(&failed), 0);
    assert_int_equal(atomic_load(&wrong), 0);
    const uint64_t rows = after.decode_rows - before.decode_rows;
    const uint64_t steps = after.decode_steps - before.decode_steps;
    print_message("# mean decode batch %.1f, highest %u\n", (double)rows / (double)steps,
                  after.decode_batch_max);
    assert_true(rows >= 8 * steps);
    assert_in_range(after.decode_batch_max, 24, GUESTS);
    assert_int_equal(after.loads, 1);
    for (unsigned i = 0; i < GUESTS; i++)
        reply_free(&alone[i]);
}

static int open_all(void **state)
{
    *state = &world;
    world_open_endless(&world, NULL, NULL);
    world_people(&world, "default", TENANTS);
    return 0;
}

int e2e_tests(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_gets_what_it_gets_alone)};
    return cmocka_run_group_tests(tests, open_all, world_teardown);
}
