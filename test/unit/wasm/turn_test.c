/* Whose turn it is: guests are threads here, and time passes when the one that computes says so. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "wasm/turn.h"

enum { GUESTS_MAX = 64, ORDER_MAX = 4096 };

static const uint64_t MS = 1000000;

static atomic_uint_fast64_t now = 1;
static atomic_uint ticks; /* that were asked for */

static uint64_t tell(void *ctx)
{
    (void)ctx;
    return atomic_load(&now);
}

static void tick(void *ctx)
{
    (void)ctx;
    atomic_fetch_add(&ticks, 1);
}

static const struct clock hand_clock = {.now_ns = tell};

/* Those who computed, in that order, a letter for each slice. */
static char order[ORDER_MAX];
static size_t n_order;

struct guest {
    struct thread thread;
    struct turn turn;
    char name;
    unsigned slices, ms; /* of each */
    int status;
};

/* What a test has: turns, and two tenants. */
struct world {
    struct turns turns;
    struct turn_line a, b, others;
    struct turn first; /* the test's own turn, so that guests can gather */
    struct guest guests[GUESTS_MAX];
    unsigned n;
};

static void open_world(struct world *w, unsigned most)
{
    const struct turns_options options = {.most = most, .clock = &hand_clock, .tick = tick};
    memset(w, 0, sizeof(*w));
    memset(order, 0, sizeof(order));
    n_order = 0;
    atomic_store(&ticks, 0);
    assert_int_equal(turns_init(&w->turns, &options), 0);
    turn_line_init(&w->a);
    turn_line_init(&w->b);
    turn_line_init(&w->others);
    assert_int_equal(turn_init(&w->first, &w->turns, &w->others, 0), 0);
    assert_int_equal(turn_take(&w->first, NULL), 0);
}

static void compute(void *arg)
{
    struct guest *g = arg;
    g->status = turn_take(&g->turn, NULL);
    for (unsigned i = 0; i < g->slices && !g->status; i++) {
        order[n_order++] = g->name;
        atomic_fetch_add(&now, g->ms * MS);
        g->status = turn_tick(&g->turn, NULL);
    }
    turn_destroy(&g->turn);
}

static void wait_for(const atomic_uint *count, unsigned n)
{
    while (atomic_load(count) != n)
        usleep(100);
}

/* Starts a guest, and has it wait for its first turn. */
static struct guest *add(struct world *w, struct turn_line *line, uint32_t weight, char name,
                         unsigned slices, unsigned ms)
{
    struct guest *g = &w->guests[w->n++];
    *g = (struct guest){.name = name, .slices = slices, .ms = ms};
    assert_int_equal(turn_init(&g->turn, &w->turns, line, weight), 0);
    const unsigned waiting = atomic_load(&w->turns.waiting);
    assert_int_equal(thread_start(&g->thread, "guest", 0, compute, g), 0);
    wait_for(&w->turns.waiting, waiting + 1);
    return g;
}

/* Lets them go on, to their ends. */
static void finish(struct world *w)
{
    turn_give(&w->first);
    for (unsigned i = 0; i < w->n; i++) {
        thread_join(&w->guests[i].thread);
        assert_int_equal(w->guests[i].status, 0);
    }
    turn_destroy(&w->first);
    assert_int_equal(atomic_load(&w->turns.computing), 0);
    assert_int_equal(atomic_load(&w->turns.waiting), 0);
    assert_true(list_empty(&w->turns.lines));
    turns_destroy(&w->turns);
}

static unsigned count(const char *text, size_t n, char name)
{
    unsigned found = 0;
    for (size_t i = 0; i < n; i++)
        found += text[i] == name;
    return found;
}

static void who_is_alone_never_waits(void **state)
{
    static struct world w;
    (void)state;
    open_world(&w, 1);
    for (int i = 0; i < 100; i++) {
        atomic_fetch_add(&now, 10 * MS);
        assert_int_equal(turn_tick(&w.first, NULL), 0);
        turn_give(&w.first);
        turn_give(&w.first); // which it need not have
        assert_int_equal(turn_take(&w.first, NULL), 0);
        assert_int_equal(turn_take(&w.first, NULL), 0);
        assert_int_equal(atomic_load(&w.turns.computing), 1);
    }
    assert_int_equal(atomic_load(&ticks), 0);
    finish(&w);
}

static void inside_a_tenant_they_come_round(void **state)
{
    static struct world w;
    (void)state;
    open_world(&w, 1);
    for (char name = '1'; name <= '5'; name++)
        add(&w, &w.a, 0, name, 3, 10);
    finish(&w);
    assert_string_equal(order, "123451234512345");
}

/* Fifty of one tenant are before the one of another no more than one is. */
static void a_crowd_is_one_tenant(void **state)
{
    static struct world w;
    (void)state;
    open_world(&w, 1);
    for (int i = 0; i < 50; i++)
        add(&w, &w.a, 0, 'a', 4, 10);
    add(&w, &w.b, 0, 'b', 20, 10);
    finish(&w);
    assert_int_equal(n_order, 220);
    for (size_t n = 1; n <= 40; n++)
        assert_in_range(count(order, n, 'b'), (n - 1) / 2, (n + 1) / 2);
}

static void weights_are_shares(void **state)
{
    static struct world w;
    (void)state;
    open_world(&w, 1);
    for (int i = 0; i < 3; i++)
        add(&w, &w.a, 1, 'a', 40, 10);
    for (int i = 0; i < 3; i++)
        add(&w, &w.b, 3, 'b', 40, 10);
    finish(&w);
    for (size_t n = 8; n <= 120; n++)
        assert_in_range(count(order, n, 'b'), n * 3 / 4 - 3, n * 3 / 4 + 3);
}

/* Who computes little at a time waits neither for the end of a slice nor for those in line. */
static void what_is_brief_goes_before_what_is_long(void **state)
{
    static struct world w;
    (void)state;
    open_world(&w, 1);
    for (int i = 0; i < 3; i++)
        add(&w, &w.a, 0, 'a', 4, 10);
    for (int i = 0; i < 3; i++) {
        atomic_fetch_add(&now, 20 * MS);
        assert_int_equal(turn_tick(&w.first, NULL), 0);
    }
    assert_int_equal(atomic_load(&w.turns.waiting), 3);
    for (int i = 0; i < 3; i++) {
        const unsigned before = atomic_load(&ticks);
        const size_t n = n_order;
        atomic_fetch_add(&now, 2 * MS); // into a slice
        add(&w, &w.b, 0, 'b', 1, 0);
        wait_for(&ticks, before + 1);
        assert_int_equal(turn_tick(&w.first, NULL), 0);
        assert_int_equal(order[n], 'b');
    }
    finish(&w);
}

static void nobody_saves_up(void **state)
{
    static struct world w;
    (void)state;
    open_world(&w, 1);
    for (int i = 0; i < 1000; i++) {
        atomic_fetch_add(&now, 10 * MS);
        assert_int_equal(turn_tick(&w.first, NULL), 0);
    }
    add(&w, &w.a, 0, 'a', 10, 10);
    add(&w, &w.b, 0, 'b', 10, 10);
    assert_int_equal(turn_tick(&w.first, NULL), 0);
    assert_in_range(n_order, 2, 6); // a slice that was saved, and one each
    finish(&w);
}

/* Each is a tick behind who computes, not behind the one before: who came first goes first. */
static void who_come_together_are_level(void **state)
{
    static struct world w;
    static struct turn_line lines[5];
    (void)state;
    open_world(&w, 1);
    atomic_fetch_add(&now, 10000 * MS);
    assert_int_equal(turn_tick(&w.first, NULL), 0);
    for (int i = 0; i < 5; i++) {
        turn_line_init(&lines[i]);
        add(&w, &lines[i], 0, (char)('a' + i), 1, 10);
    }
    finish(&w);
    assert_string_equal(order, "abcde");
}

static void as_many_compute_as_may(void **state)
{
    static struct world w;
    (void)state;
    open_world(&w, 2);
    struct turn second, third;
    assert_int_equal(turn_init(&second, &w.turns, &w.a, 0), 0);
    assert_int_equal(turn_init(&third, &w.turns, &w.a, 0), 0);
    assert_int_equal(turn_take(&second, NULL), 0);
    const struct realm_wait soon = {.deadline_ns = clock_ns(clock_system()) + 20 * MS};
    assert_int_equal(turn_take(&third, &soon), REALM_E_DEADLINE);
    assert_int_equal(atomic_load(&w.turns.computing), 2);
    turn_give(&second);
    assert_int_equal(turn_take(&third, &soon), 0);
    turn_destroy(&second);
    turn_destroy(&third);
    finish(&w);
}

/* ---- giving up ---- */

static bool is_set(void *ctx)
{
    return atomic_load((atomic_bool *)ctx);
}

struct leaver {
    struct thread thread;
    struct turn turn;
    struct realm_wait wait;
    int status;
};

static void leave(void *arg)
{
    struct leaver *l = arg;
    do
        l->status = l->turn.held ? turn_tick(&l->turn, &l->wait) : turn_take(&l->turn, &l->wait);
    while (!l->status);
}

static void who_waits_can_leave(void **state)
{
    static struct world w;
    static struct leaver leavers[3];
    atomic_bool gone = false;
    (void)state;
    open_world(&w, 1);
    leavers[0].wait.deadline_ns = clock_ns(clock_system()) + 20 * MS;
    leavers[1].wait = (struct realm_wait){.cancelled = is_set, .ctx = &gone};
    leavers[2].wait = leavers[1].wait;
    for (int i = 0; i < 3; i++) {
        struct leaver *l = &leavers[i];
        assert_int_equal(turn_init(&l->turn, &w.turns, &w.a, 0), 0);
        assert_int_equal(thread_start(&l->thread, "leaver", 0, leave, l), 0);
    }
    thread_join(&leavers[0].thread);
    assert_int_equal(leavers[0].status, REALM_E_DEADLINE);
    wait_for(&w.turns.waiting, 2);
    atomic_store(&gone, true);
    for (int i = 1; i < 3; i++) {
        thread_join(&leavers[i].thread);
        assert_int_equal(leavers[i].status, REALM_E_CANCELLED);
    }
    assert_int_equal(atomic_load(&w.turns.waiting), 0);
    for (int i = 0; i < 3; i++) {
        assert_false(leavers[i].turn.held);
        turn_destroy(&leavers[i].turn);
    }
    finish(&w);
}

/* One that gave way and is not waited for any more has no turn. */
static void who_gave_way_can_leave(void **state)
{
    static struct world w;
    static struct leaver l;
    atomic_bool gone = false;
    (void)state;
    open_world(&w, 1);
    turn_give(&w.first);
    l.wait = (struct realm_wait){.cancelled = is_set, .ctx = &gone};
    assert_int_equal(turn_init(&l.turn, &w.turns, &w.a, 0), 0);
    assert_int_equal(turn_take(&l.turn, NULL), 0);
    atomic_fetch_add(&now, 10 * MS);
    assert_int_equal(thread_start(&l.thread, "leaver", 0, leave, &l), 0);
    assert_int_equal(turn_take(&w.first, NULL), 0);
    wait_for(&w.turns.waiting, 1);
    atomic_store(&gone, true);
    thread_join(&l.thread);
    assert_int_equal(l.status, REALM_E_CANCELLED);
    assert_false(l.turn.held);
    turn_destroy(&l.turn);
    finish(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_is_alone_never_waits),
        cmocka_unit_test(inside_a_tenant_they_come_round),
        cmocka_unit_test(a_crowd_is_one_tenant),
        cmocka_unit_test(weights_are_shares),
        cmocka_unit_test(what_is_brief_goes_before_what_is_long),
        cmocka_unit_test(nobody_saves_up),
        cmocka_unit_test(who_come_together_are_level),
        cmocka_unit_test(as_many_compute_as_may),
        cmocka_unit_test(who_waits_can_leave),
        cmocka_unit_test(who_gave_way_can_leave),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
