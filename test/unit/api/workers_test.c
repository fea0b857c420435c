#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "api/workers.h"
#include "base/compiler.h"
#include "base/mem.h"
#include "base/thread.h"
#include "realm/status.h"

/* Work that waits until as many are at it as are wanted. */
struct meeting {
    struct mutex lock;
    struct cond all;
    unsigned here, wanted;
};

struct guest {
    struct work work;
    struct meeting *meeting;
};

static void meet(struct work *w)
{
    struct meeting *m = ((struct guest *)w)->meeting;
    mutex_lock(&m->lock);
    if (++m->here == m->wanted)
        cond_broadcast(&m->all);
    while (m->here < m->wanted)
        cond_wait(&m->all, &m->lock);
    mutex_unlock(&m->lock);
}

static void all_that_wait_run_at_once(void **state)
{
    (void)state;
    enum { GUESTS = 24 };
    struct meeting m = {.wanted = GUESTS};
    struct guest guests[GUESTS];
    struct work_line *line;
    struct workers *w;
    uint64_t before = mem_live();
    assert_int_equal(mutex_init(&m.lock), 0);
    assert_int_equal(cond_init(&m.all), 0);
    assert_int_equal(
        workers_open(&w, &(struct workers_options){.name = "worker", .threads_max = 2 * GUESTS}),
        0);
    assert_int_equal(workers_line_open(&line), 0);
    for (int i = 0; i < GUESTS; i++) {
        guests[i] = (struct guest){{.run = meet}, &m};
        workers_run(w, line, &guests[i].work);
    }
    workers_close(w); // hangs if one of them had to wait for another
    workers_line_close(NULL, line);
    assert_int_equal(m.here, GUESTS);
    cond_destroy(&m.all);
    mutex_destroy(&m.lock);
    assert_int_equal(mem_live(), before);
}

struct count {
    struct work work;
    atomic_uint *done;
};

static void note(struct work *w)
{
    atomic_fetch_add(((struct count *)w)->done, 1);
}

static void more_work_than_threads(void **state)
{
    (void)state;
    enum { ITEMS = 2000 };
    static struct count items[ITEMS];
    atomic_uint done = 0;
    struct work_line *lines[7];
    struct workers *w;
    assert_int_equal(
        workers_open(&w, &(struct workers_options){.name = "worker", .threads_max = 3}), 0);
    for (int i = 0; i < 7; i++)
        assert_int_equal(workers_line_open(&lines[i]), 0);
    for (int i = 0; i < ITEMS; i++) {
        items[i] = (struct count){{.run = note}, &done};
        workers_run(w, lines[i * i % 7], &items[i].work);
    }
    workers_close(w);
    assert_int_equal(atomic_load(&done), ITEMS);
    for (int i = 0; i < 7; i++)
        workers_line_close(NULL, lines[i]);
}

/* Work that tells that it began, and goes on when it is let. */
struct gate {
    struct mutex lock;
    struct cond changed;
    unsigned begun, open; /* so many may go on */
    char order[64];       /* whose work began */
};

struct held {
    struct work work;
    struct gate *gate;
    char who;
};

static void hold(struct work *w)
{
    struct held *h = CONTAINER_OF(w, struct held, work);
    struct gate *g = h->gate;
    mutex_lock(&g->lock);
    g->order[g->begun++] = h->who;
    cond_broadcast(&g->changed);
    while (g->open == 0)
        cond_wait(&g->changed, &g->lock);
    g->open--;
    cond_broadcast(&g->changed);
    mutex_unlock(&g->lock);
}

static void gate_open(struct gate *g, unsigned n)
{
    mutex_lock(&g->lock);
    g->open += n;
    cond_broadcast(&g->changed);
    mutex_unlock(&g->lock);
}

static void await_begun(struct gate *g, unsigned n)
{
    mutex_lock(&g->lock);
    while (g->begun < n)
        cond_wait(&g->changed, &g->lock);
    assert_int_equal(g->begun, n);
    mutex_unlock(&g->lock);
}

static struct gate gate_new(void)
{
    struct gate g = {0};
    assert_int_equal(mutex_init(&g.lock), 0);
    assert_int_equal(cond_init(&g.changed), 0);
    return g;
}

static void gate_free(struct gate *g)
{
    cond_destroy(&g->changed);
    mutex_destroy(&g->lock);
}

/* Of one thread: a's hundred things keep b waiting for one of them. */
static void lines_are_served_in_turn(void **state)
{
    (void)state;
    struct gate g = gate_new();
    struct held held[8];
    struct work_line *a, *b;
    struct workers *w;
    assert_int_equal(
        workers_open(&w, &(struct workers_options){.name = "worker", .threads_max = 1}), 0);
    assert_int_equal(workers_line_open(&a), 0);
    assert_int_equal(workers_line_open(&b), 0);
    for (int i = 0; i < 8; i++) {
        held[i] = (struct held){{.run = hold}, &g, i < 6 ? 'a' : 'b'};
        workers_run(w, i < 6 ? a : b, &held[i].work);
        if (i == 0)
            await_begun(&g, 1);
    }
    gate_open(&g, 8);
    workers_close(w);
    assert_string_equal(g.order, "aababaaa");
    workers_line_close(NULL, a);
    workers_line_close(NULL, b);
    gate_free(&g);
}

/* A line alone has half of the threads, and what is left comes to those who come. */
static void no_line_has_all_threads(void **state)
{
    (void)state;
    struct gate g = gate_new();
    struct held held[40];
    struct work_line *a, *b;
    struct workers *w;
    assert_int_equal(
        workers_open(&w, &(struct workers_options){.name = "worker", .threads_max = 8}), 0);
    assert_int_equal(workers_line_open(&a), 0);
    assert_int_equal(workers_line_open(&b), 0);
    for (int i = 0; i < 40; i++) {
        held[i] = (struct held){{.run = hold}, &g, i < 20 ? 'a' : 'b'};
        workers_run(w, i < 20 ? a : b, &held[i].work);
        if (i == 19)
            await_begun(&g, 4);
    }
    await_begun(&g, 6);
    assert_string_equal(g.order, "aaaabb");
    gate_open(&g, 40);
    workers_close(w); // what waited is done, too
    assert_int_equal(g.begun, 40);
    workers_line_close(NULL, a);
    workers_line_close(NULL, b);
    gate_free(&g);
}

/* Whose tenant left while its last work was at its end. */
static void a_line_may_be_closed_while_it_is_at_work(void **state)
{
    (void)state;
    struct gate g = gate_new();
    struct held held = {{.run = hold}, &g, 'a'};
    struct work_line *line;
    struct workers *w;
    uint64_t before = mem_live();
    assert_int_equal(
        workers_open(&w, &(struct workers_options){.name = "worker", .threads_max = 2}), 0);
    assert_int_equal(workers_line_open(&line), 0);
    workers_run(w, line, &held.work);
    await_begun(&g, 1);
    workers_line_close(w, line);
    gate_open(&g, 1);
    workers_close(w);
    assert_int_equal(mem_live(), before);
    gate_free(&g);
}

static void no_memory_for_another_thread(void **state)
{
    (void)state;
    enum { ITEMS = 50 };
    static struct count items[ITEMS];
    atomic_uint done = 0;
    struct work_line *line;
    struct workers *w;
    assert_int_equal(
        workers_open(&w, &(struct workers_options){.name = "worker", .threads_max = 8}), 0);
    assert_int_equal(workers_line_open(&line), 0);
    mem_fail_at(1, 1);
    for (int i = 0; i < ITEMS; i++) {
        items[i] = (struct count){{.run = note}, &done};
        workers_run(w, line, &items[i].work);
    }
    mem_fail_at(0, 0);
    workers_close(w);
    workers_line_close(NULL, line);
    assert_int_equal(atomic_load(&done), ITEMS);
    mem_fail_at(1, 0);
    assert_true(workers_open(&w, &(struct workers_options){.name = "worker", .threads_max = 8}) <
                0);
    mem_fail_at(1, 0);
    assert_int_equal(workers_line_open(&line), REALM_E_NOMEM);
    mem_fail_at(0, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_that_wait_run_at_once),
        cmocka_unit_test(more_work_than_threads),
        cmocka_unit_test(lines_are_served_in_turn),
        cmocka_unit_test(no_line_has_all_threads),
        cmocka_unit_test(a_line_may_be_closed_while_it_is_at_work),
        cmocka_unit_test(no_memory_for_another_thread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
