/* A request that is cancelled, or whose deadline passes, ends with the step that
 * runs: in the queue, while its prompt is read, and while it answers.
 *
 * Steps are counted, and times taken, which are printed: medians, for a thread may be paused
 * between its wish and the engine's knowing it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "util.h"

enum {
    TRIES_MAX = 100,
    LONG_TOKENS = 900, /* of a prompt that takes its time */
    /* The one that ran when the wait was over, and one that had begun before it was told. */
    STEPS_MAX = 2,
};

static const uint64_t MEDIAN_NS_MAX = 5000000000; /* steps tell more */

static struct world world;
static char long_prompt[8192];

/* Of a request that is to end early, as its `cancelled` callback sees it. */
enum stage { QUEUED, READING, ANSWERING };

struct watch {
    enum stage stage;
    bool only_look;    /* for a deadline to end it */
    struct gate *gate; /* what holds the engine until the stage is reached; or NULL */
    struct realm_stats before;
    bool reached;
    uint64_t at_ns, at_steps; /* when it was */
};

static bool reached(const struct watch *w, const struct realm_stats *s)
{
    switch (w->stage) {
    case QUEUED:
        return s->waiting > 0;
    case READING:
        return s->prompt_rows > w->before.prompt_rows && s->decode_rows == w->before.decode_rows;
    case ANSWERING:
        break;
    }
    return s->decode_rows >= w->before.decode_rows + 5;
}

static bool look(void *ctx)
{
    struct watch *w = ctx;
    const struct realm_stats s = world_stats(&world);
    if (!w->reached && reached(w, &s)) {
        w->reached = true;
        w->at_ns = now_ns();
        w->at_steps = s.steps;
        if (w->gate)
            gate_let_go(w->gate);
    }
    return w->reached && !w->only_look;
}

/* Tries that came to their stage, how long each took to end after it, and how many steps. */
struct ends {
    uint64_t ns[TRIES_MAX], steps[TRIES_MAX];
    unsigned n;
};

static void expect_prompt_ends(struct ends *e, const char *what)
{
    assert_in_range(e->n, 1, TRIES_MAX);
    sort_ns(e->ns, e->n);
    print_message("# %s: over after %.1f ms (median of %u), %.1f at most\n", what,
                  (double)e->ns[e->n / 2] / 1e6, e->n, (double)e->ns[e->n - 1] / 1e6);
    assert_true(e->ns[e->n / 2] <= MEDIAN_NS_MAX);
    sort_ns(e->steps, e->n);
    assert_in_range(e->steps[e->n / 2], 0, STEPS_MAX);
}

/* A request that would go on for very long. */
static int ask_watched(struct watch *w, const char *prompt, uint64_t deadline_ns)
{
    struct realm_sampling sampling;
    struct reply reply;
    realm_sampling_init(&sampling, REALM_DOOR_GUEST);
    sampling.max_tokens = 1024;
    struct wasm_request request = request_of(world.tenants[0], world.model, prompt);
    request.sampling = &sampling;
    request.cancelled = look;
    request.ctx = w;
    request.deadline_ns = deadline_ns;
    w->before = world_stats(&world);
    ask(world.guest, &request, &reply);
    reply_free(&reply);
    return reply.status;
}

static void cancel_at(enum stage stage, const char *prompt, struct gate *gate, struct ends *e)
{
    struct watch w = {.stage = stage, .gate = gate};
    const int status = ask_watched(&w, prompt, 0);
    const uint64_t ns = now_ns();
    const struct realm_stats s = world_stats(&world);
    if (!w.reached)
        return; // not seen while it was at that stage
    assert_int_equal(status, REALM_E_CANCELLED);
    if (stage != QUEUED) {
        e->steps[e->n] = s.steps - w.at_steps;
        assert_int_equal(s.kv_pages, 0);
        assert_int_equal(s.running, 0);
    }
    assert_int_equal(s.waiting, 0);
    e->ns[e->n++] = ns - w.at_ns;
}

static int deadline_at(enum stage stage, const char *prompt, uint64_t in_ns, struct ends *e)
{
    struct watch w = {.stage = stage, .only_look = true};
    const uint64_t deadline = now_ns() + in_ns;
    const int status = ask_watched(&w, prompt, deadline);
    const uint64_t ns = now_ns();
    assert_true(status == REALM_E_DEADLINE || status == 0);
    assert_true(ns >= deadline || status == 0);
    const struct realm_stats s = world_stats(&world);
    assert_int_equal(s.waiting, 0);
    if (stage != QUEUED) {
        assert_int_equal(s.kv_pages, 0);
        assert_int_equal(s.running, 0);
    }
    /* A thread that the machine let sleep all along finds a whole answer. */
    if (w.reached && status)
        e->ns[e->n++] = ns - deadline;
    return status;
}

static void an_answer_is_cancelled(void **state)
{
    struct ends e = {0};
    (void)state;
    for (unsigned i = 0; i < scaled(TRIES_MAX); i++)
        cancel_at(ANSWERING, "Once upon a time", NULL, &e);
    expect_prompt_ends(&e, "cancelled while answering");
}

static void the_reading_of_a_prompt_is_cancelled(void **state)
{
    struct ends e = {0};
    (void)state;
    for (unsigned i = 0; i < scaled(TRIES_MAX); i++)
        cancel_at(READING, long_prompt, NULL, &e);
    /* cmocka's own skip reads as a failure to TAP. */
    if (!e.n) {
        print_message("# prompts are read faster than anyone looks: not tried\n");
        return;
    }
    expect_prompt_ends(&e, "cancelled while reading");
}

/* Where it lies depends on the machine: before the answer's first tokens or behind its last, it
 * is moved. */
static void a_deadline_ends_an_answer(void **state)
{
    const unsigned wanted = scaled(TRIES_MAX) / 2;
    struct ends e = {0};
    uint64_t in_ns = 30000000;
    (void)state;
    for (unsigned i = 0; e.n < wanted && i < 100 * wanted; i++) {
        const unsigned n = e.n;
        const int status = deadline_at(ANSWERING, "Once upon a time", in_ns, &e);
        if (e.n == n)
            in_ns = status ? in_ns * 2 : in_ns / 2 + 1;
    }
    assert_int_equal(e.n, wanted);
    expect_prompt_ends(&e, "deadline while answering");
}

static void a_deadline_that_has_passed_starts_nothing(void **state)
{
    (void)state;
    const struct realm_stats before = world_stats(&world);
    struct watch w = {.stage = ANSWERING, .only_look = true};
    assert_int_equal(ask_watched(&w, long_prompt, 1), REALM_E_DEADLINE);
    const struct realm_stats after = world_stats(&world);
    assert_in_range(after.steps - before.steps, 0, STEPS_MAX);
    assert_int_equal(after.kv_pages, 0);
}

/* ---- the queue: an engine with room for one long prompt ---- */

/* A generation that holds the room until it is closed; gate: NULL, or what holds the engine at its
 * first token. */
static struct realm_gen *start_long(struct realm_model *m, struct gate *gate)
{
    struct realm_request request;
    struct realm_gen *g;
    struct realm_event e;
    struct realm_error err = {0};
    realm_request_init(&request, REALM_DOOR_OPENAI);
    request.text = long_prompt;
    request.text_bytes = strlen(long_prompt);
    request.text_flags = REALM_TEXT_BOS;
    request.ignore_end = true;
    if (gate)
        gate_hold(&request, gate);
    if (realm_gen_start(&g, m, &request, &err))
        fail_msg("%s", err.message);
    assert_int_equal(realm_gen_next(g, &e, NULL), 0);
    assert_int_equal(e.kind, REALM_EVENT_TOKEN);
    return g;
}

/* Bytes of keys and values that the whole context takes. */
static uint64_t context_kv_bytes(void)
{
    struct realm_model_info info;
    struct realm_gen *g = start_long(world.model, NULL);
    const struct realm_stats s = world_stats(&world);
    realm_gen_close(g);
    realm_model_info(world.model, &info);
    assert_true(s.kv_bytes > 0);
    return s.kv_bytes * info.context_tokens / LONG_TOKENS * 5 / 4;
}

static void the_queue_is_left(void **state)
{
    struct ends cancels = {0}, deadlines = {0};
    const struct world roomy = world;
    const struct realm_options options = {.kv_bytes_max = context_kv_bytes()};
    (void)state;
    world_open(&world, &options, NULL, roomy.endless);
    world_people(&world, "default", 1);
    for (unsigned i = 0; i < scaled(TRIES_MAX); i++) {
        struct gate gate = {0};
        struct realm_gen *g = start_long(world.model, &gate);
        cancel_at(QUEUED, long_prompt, &gate, &cancels);
        realm_gen_close(g);
        g = start_long(world.model, NULL);
        deadline_at(QUEUED, long_prompt, 10000000, &deadlines);
        realm_gen_close(g);
    }
    world_close(&world);
    world = roomy;
    expect_prompt_ends(&cancels, "cancelled in the queue");
    if (!deadlines.n) {
        print_message("# the engine was through before a deadline: not tried\n");
        return;
    }
    expect_prompt_ends(&deadlines, "deadline in the queue");
}

static void make_long_prompt(void)
{
    static const char piece[] = "There was a little dog who went to the river. ";
    uint32_t ids[1024];
    size_t n = 0, bytes = 0;
    while (n < LONG_TOKENS) {
        assert_true(bytes + sizeof(piece) < sizeof(long_prompt));
        memcpy(long_prompt + bytes, piece, sizeof(piece));
        bytes += sizeof(piece) - 1;
        assert_int_equal(realm_tokenize(world.model, long_prompt, bytes, REALM_TEXT_BOS, ids,
                                        ARRAY_LEN(ids), &n),
                         0);
    }
}

static int open_all(void **state)
{
    const struct realm_options options = {.step_ms = 1};
    *state = &world;
    world_open_endless(&world, &options, NULL);
    world_people(&world, "default", 1);
    make_long_prompt();
    return 0;
}

int e2e_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_is_cancelled),
        cmocka_unit_test(the_reading_of_a_prompt_is_cancelled),
        cmocka_unit_test(a_deadline_ends_an_answer),
        cmocka_unit_test(a_deadline_that_has_passed_starts_nothing),
        cmocka_unit_test(the_queue_is_left),
    };
    return cmocka_run_group_tests(tests, open_all, world_teardown);
}
