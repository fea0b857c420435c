#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "api/workers.h"
#include "base/mem.h"
#include "base/thread.h"

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
    struct workers *w;
    uint64_t before = mem_live();
    assert_int_equal(mutex_init(&m.lock), 0);
    assert_int_equal(cond_init(&m.all), 0);
    assert_int_equal(workers_open(&w, GUESTS), 0);
    for (int i = 0; i < GUESTS; i++) {
        guests[i] = (struct guest){{.run = meet}, &m};
        workers_run(w, &guests[i].work);
    }
    workers_close(w); // hangs if one of them had to wait for another
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
    struct workers *w;
    assert_int_equal(workers_open(&w, 3), 0);
    for (int i = 0; i < ITEMS; i++) {
        items[i] = (struct count){{.run = note}, &done};
        workers_run(w, &items[i].work);
    }
    workers_close(w);
    assert_int_equal(atomic_load(&done), ITEMS);
}

static void no_memory_for_another_thread(void **state)
{
    (void)state;
    enum { ITEMS = 50 };
    static struct count items[ITEMS];
    atomic_uint done = 0;
    struct workers *w;
    assert_int_equal(workers_open(&w, 8), 0);
    mem_fail_at(1, 1);
    for (int i = 0; i < ITEMS; i++) {
        items[i] = (struct count){{.run = note}, &done};
        workers_run(w, &items[i].work);
    }
    mem_fail_at(0, 0);
    workers_close(w);
    assert_int_equal(atomic_load(&done), ITEMS);
    mem_fail_at(1, 0);
    assert_true(workers_open(&w, 8) < 0);
    mem_fail_at(0, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_that_wait_run_at_once),
        cmocka_unit_test(more_work_than_threads),
        cmocka_unit_test(no_memory_for_another_thread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
