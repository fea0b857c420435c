/* Hundreds of guests that wait for tokens at once, on the server's workers: they cost memory,
 * little of it, and each gets what it gets alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "api/workers.h"
#include "base/limits.h"
#include "base/mem.h"
#include "util.h"

enum { GUESTS = 300, TENANTS = 30, TOKENS = 64, KINDS = 6 };

#ifdef REALM_TEST_SANITIZED
enum { RSS_BYTES_MAX = 16 << 20 };
#else
enum { RSS_BYTES_MAX = 1 << 20 };
#endif

static const char *const prompts[KINDS] = {"Once upon a time",  "One day", "Tom and Ella",
                                           "The sun was warm.", "A dog",   "There was a bird"};

static struct world world;
static struct reply alone[KINDS];
static atomic_uint started, finished, wrong;

struct one {
    struct work work;
    unsigned index;
};

/* All set out together: the last to come lets all go on. */
static int reserve(void *ctx, uint64_t tokens, bool growth, struct realm_error *err)
{
    (void)tokens;
    (void)growth;
    (void)err;
    if (!ctx)
        return 0;
    atomic_fetch_add(&started, 1);
    while (atomic_load(&started) < GUESTS)
        usleep(2000);
    return 0;
}

static void ask_one(unsigned index, void *ctx, struct reply *out)
{
    struct realm_sampling sampling;
    realm_sampling_init(&sampling, REALM_DOOR_GUEST);
    sampling.max_tokens = TOKENS;
    sampling.temperature = 0;
    struct wasm_request request =
        request_of(world.tenants[index % TENANTS], world.model, prompts[index % KINDS]);
    request.sampling = &sampling;
    request.reserve = reserve;
    request.ctx = ctx;
    ask(world.guest, &request, out);
}

static void run_one(struct work *w)
{
    const struct one *o = CONTAINER_OF(w, struct one, work);
    const struct reply *want = &alone[o->index % KINDS];
    struct reply got;
    ask_one(o->index, w, &got);
    if (got.status || got.result.bytes != want->result.bytes ||
        memcmp(got.result.text, want->result.text, got.result.bytes) != 0)
        atomic_fetch_add(&wrong, 1);
    atomic_fetch_add(&finished, 1);
    reply_free(&got);
}

/* The most memory that they have while all wait in the engine, which is held until then. */
static uint64_t watch(struct held *held, uint32_t *most)
{
    uint64_t peak = 0;
    const uint64_t end = now_ns() + 300000000000;
    *most = 0;
    while (atomic_load(&finished) < GUESTS) {
        const struct realm_stats s = world_stats(&world);
        const uint32_t waiting = s.running + s.waiting;
        *most = waiting > *most ? waiting : *most;
        uint64_t rss = resident_bytes() - s.kv_bytes;
        peak = rss > peak ? rss : peak;
        if (held->gen && (waiting > GUESTS || now_ns() > end))
            world_let_go(held);
        usleep(2000);
    }
    return peak;
}

static void all_of_them_answer(void **state)
{
    static struct one ones[GUESTS];
    struct workers *workers;
    struct work_line *line;
    uint32_t most;
    (void)state;
    for (unsigned i = 0; i < KINDS; i++) {
        ask_one(i, NULL, &alone[i]);
        if (alone[i].status)
            fail_msg("%s", alone[i].err.message);
    }
    struct held held;
    world_hold(&held, &world);
    const uint64_t before = resident_bytes() - world_stats(&world).kv_bytes;
    assert_int_equal(
        workers_open(&workers, &(struct workers_options){.name = "realm-guest",
                                                         .threads_max = API_GUEST_WORKERS_MAX}),
        0);
    assert_int_equal(workers_line_open(&line), 0);
    for (unsigned i = 0; i < GUESTS; i++) {
        ones[i] = (struct one){.work = {.run = run_one}, .index = i};
        workers_run(workers, line, &ones[i].work);
    }
    const uint64_t peak = watch(&held, &most);
    workers_close(workers);
    workers_line_close(NULL, line);
    assert_int_equal(atomic_load(&wrong), 0);
    print_message("# %d guests waited at once: %.0f KiB each besides keys and values\n", GUESTS,
                  (double)(peak - before) / GUESTS / 1024);
    assert_int_equal(most, GUESTS + 1);
    assert_true(peak - before < (uint64_t)GUESTS * RSS_BYTES_MAX);
    for (unsigned i = 0; i < KINDS; i++)
        reply_free(&alone[i]);
}

static int open_all(void **state)
{
    /* Each keeps its turn until all have come. */
    static const struct wasm_limits limits = {.computing = GUESTS};
    *state = &world;
    world_open_endless(&world, NULL, &limits);
    world_people(&world, "default", TENANTS);
    return 0;
}

int e2e_tests(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(all_of_them_answer)};
    return cmocka_run_group_tests(tests, open_all, world_teardown);
}
