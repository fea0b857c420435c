/* Readers that are told, as an event loop is: notify, and closing while it runs. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/thread.h"
#include "util.h"

static const struct realm_wait no_wait = {.deadline_ns = 1};

/* What a loop keeps for each of its generations; freed by whoever closes it. */
struct told {
    struct mutex *lock; /* the loop's, which notify takes, too */
    struct cond *wake;
    bool pending; /* under lock */
    uint64_t calls;
    struct gate *gate; /* holds the engine after a notice; or NULL */
};

static void notify(void *ctx)
{
    struct told *t = ctx;
    mutex_lock(t->lock);
    t->pending = true;
    t->calls++;
    struct gate *gate = t->gate;
    cond_signal(t->wake);
    mutex_unlock(t->lock);
    if (gate)
        gate_notice(gate);
}

struct loop {
    struct mutex lock;
    struct cond wake;
};

static void loop_open(struct loop *l)
{
    assert_int_equal(mutex_init(&l->lock), 0);
    assert_int_equal(cond_init(&l->wake), 0);
}

static void loop_close(struct loop *l)
{
    cond_destroy(&l->wake);
    mutex_destroy(&l->lock);
}

static void tell(struct realm_request *request, struct loop *l, struct told *t)
{
    *t = (struct told){.lock = &l->lock, .wake = &l->wake};
    request->notify = notify;
    request->notify_ctx = t;
}

static bool take_pending(struct told *t)
{
    mutex_lock(t->lock);
    bool pending = t->pending;
    t->pending = false;
    mutex_unlock(t->lock);
    return pending;
}

/* Waits until one of n has been told; fails after a minute, so that a reader who is
 * never told is noticed. */
static void await(struct loop *l, struct told *t, size_t n)
{
    uint64_t until = clock_ns(clock_system()) + 60000000000u;
    mutex_lock(&l->lock);
    for (;;) {
        for (size_t i = 0; i < n; i++) {
            if (t[i].pending) {
                mutex_unlock(&l->lock);
                return;
            }
        }
        if (!cond_wait_until(&l->wake, &l->lock, until))
            fail_msg("nobody was told");
    }
}

/* Reads what is there; true when it was the end. */
static bool drain(struct realm_gen *g, struct answer *out)
{
    struct realm_event e;
    int status;
    while ((status = realm_gen_next(g, &e, &no_wait)) == 0) {
        memcpy(out->text + out->text_bytes, e.text, e.text_bytes);
        out->text_bytes += e.text_bytes;
        if (e.kind == REALM_EVENT_END) {
            out->status = e.status;
            out->finish = e.finish;
            return true;
        }
        assert_int_equal(e.index, out->n);
        out->logprobs[out->n] = e.logprob;
        out->tokens[out->n++] = e.token;
    }
    assert_int_equal(status, REALM_E_DEADLINE);
    return false;
}

/* One thread reads many answers and never waits for one of them. */
static void a_loop_reads_many(void **state)
{
    (void)state;
    enum { N = 12, TOKENS = 40 };
    static struct answer want, got[N];
    struct realm *r = open_engine(NULL);
    struct realm_model *m = open_tiny(r);
    struct realm_request request = request_for("Once upon a time", TOKENS);
    request.logprobs = true;
    ask(m, &request, &want);
    struct loop l;
    struct told told[N];
    struct realm_gen *gens[N];
    loop_open(&l);
    memset(got, 0, sizeof(got));
    for (size_t i = 0; i < N; i++) {
        tell(&request, &l, &told[i]);
        assert_int_equal(realm_gen_start(&gens[i], m, &request, NULL), 0);
    }
    for (size_t open = N; open;) {
        await(&l, told, N);
        for (size_t i = 0; i < N; i++) {
            if (!take_pending(&told[i]) || !gens[i] || !drain(gens[i], &got[i]))
                continue;
            realm_gen_close(gens[i]);
            /* One call for each of its tokens, and one for an end of its own at most. */
            assert_in_range(told[i].calls, TOKENS, TOKENS + 1);
            gens[i] = NULL;
            open--;
        }
    }
    for (size_t i = 0; i < N; i++)
        assert_same_answer(&want, &got[i]);
    loop_close(&l);
    realm_model_close(m);
    realm_close(r);
}

/* A generation of one token, at which the engine is held. */
static struct realm_gen *hold(struct realm_model *m, struct gate *gate)
{
    struct realm_request request = request_for("A", 1);
    struct realm_gen *g;
    gate_hold(&request, gate);
    assert_int_equal(realm_gen_start(&g, m, &request, NULL), 0);
    gate_await(gate);
    return g;
}

enum phase { QUEUED, READING, ANSWERING, PHASES };

/* Whatever it is doing, it is told of its end when it was cancelled. */
static void the_cancelled_are_told(void **state)
{
    (void)state;
    static struct answer got;
    static uint32_t ids[900];
    struct realm *r = open_engine(NULL);
    struct realm_model *m = open_tiny(r);
    for (size_t i = 0; i < 900; i++)
        ids[i] = 300 + (uint32_t)(i * 31 % 1000);
    struct loop l;
    loop_open(&l);
    for (enum phase phase = QUEUED; phase < PHASES; phase++) {
        struct realm_request request = request_for(phase == ANSWERING ? "A" : NULL, 100);
        struct told t;
        struct gate gate = {0}; // at its first token at the latest
        struct realm_gen *g, *before = phase == QUEUED ? hold(m, &gate) : NULL;
        request.ids = phase == ANSWERING ? NULL : ids;
        request.n_ids = 900;
        tell(&request, &l, &t);
        t.gate = before ? NULL : &gate;
        uint64_t rows = stats_of(r).prompt_rows;
        assert_int_equal(realm_gen_start(&g, m, &request, NULL), 0);
        while (phase == READING && stats_of(r).prompt_rows == rows)
            ;
        if (phase == ANSWERING)
            await(&l, &t, 1);
        realm_gen_cancel(g);
        uint64_t steps = stats_of(r).steps;
        gate_let_go(&gate);
        realm_gen_close(before);
        got = (struct answer){0};
        do {
            await(&l, &t, 1);
            take_pending(&t);
        } while (!drain(g, &got));
        assert_int_equal(got.status, REALM_E_CANCELLED);
        assert_int_equal(stats_of(r).kv_pages, 0);
        assert_true(stats_of(r).steps <= steps + 1); // the one that ran
        realm_gen_close(g);
    }
    loop_close(&l);
    realm_model_close(m);
    realm_close(r);
}

/* Many that wait, of some tenants, from one thread, ended at once. */
static void a_long_queue_is_cancelled_at_once(void **state)
{
    (void)state;
    enum { N = QUEUE_REQUESTS_MAX / 2, TENANTS = 8 };
    static struct realm_gen *gens[N];
    static struct told told[N];
    static struct answer got;
    static size_t drawn[N]; /* tokens read so far, of those that ran before they were cancelled */
    struct realm *r = open_engine(NULL);
    struct realm_model *m = open_tiny(r);
    struct realm_request request = request_for("Tom and Ella", ANSWER_MAX);
    struct gate gate = {0};
    struct loop l;
    char tenant[16];
    request.tenant = tenant;
    loop_open(&l);
    for (size_t i = 0; i < N; i++) {
        tell(&request, &l, &told[i]);
        told[i].gate = i ? NULL : &gate;
        snprintf(tenant, sizeof(tenant), "t%u", (unsigned)(i % TENANTS));
        assert_int_equal(realm_gen_start(&gens[i], m, &request, NULL), 0);
        gate_await(&gate); // the others stand in the queue
    }
    for (size_t i = 0; i < N; i++)
        realm_gen_cancel(gens[i]);
    uint64_t steps = stats_of(r).steps;
    gate_let_go(&gate);
    for (size_t left = N; left;) {
        await(&l, told, N);
        for (size_t i = 0; i < N; i++) {
            if (!take_pending(&told[i]) || !gens[i])
                continue;
            got = (struct answer){.n = drawn[i]};
            bool over = drain(gens[i], &got);
            drawn[i] = got.n;
            if (!over)
                continue;
            assert_int_equal(got.status, REALM_E_CANCELLED);
            realm_gen_close(gens[i]);
            gens[i] = NULL;
            left--;
        }
    }
    struct realm_stats s = stats_of(r);
    assert_true(s.steps <= steps + 1);
    assert_int_equal(s.running + s.waiting + s.kv_pages, 0);
    assert_int_equal(s.cancelled, N);
    loop_close(&l);
    realm_model_close(m);
    realm_close(r);
}

/* ---- closing from one thread while another tells ---- */

enum { CLOSERS = 4, ROUNDS = 60 };

struct closer {
    struct realm_model *model;
    unsigned thread;
};

/* Frees what notify looks at as soon as the generation is closed; a call that came
 * later would be a use after free, and one at the same time a race. */
static void *close_early(void *arg)
{
    const struct closer *c = arg;
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct loop l;
        struct told *t = malloc(sizeof(*t));
        struct realm_request request = request_for("A", 1 + round % 4);
        struct realm_gen *g;
        struct realm_event e;
        loop_open(&l);
        tell(&request, &l, t);
        if (realm_gen_start(&g, c->model, &request, NULL) == 0) {
            unsigned reads = (c->thread + round) % 5;
            for (unsigned i = 0; i < reads && realm_gen_next(g, &e, NULL) == 0; i++)
                ;
            if (round % 3 == 0)
                realm_gen_cancel(g);
            realm_gen_close(g);
        }
        memset(t, 0xff, sizeof(*t));
        free(t);
        loop_close(&l);
    }
    return NULL;
}

static void nobody_is_told_after_closing(void **state)
{
    (void)state;
    struct realm *r = open_engine(NULL);
    struct realm_model *m = open_tiny(r);
    struct closer closers[CLOSERS];
    pthread_t threads[CLOSERS];
    for (unsigned i = 0; i < CLOSERS; i++) {
        closers[i] = (struct closer){m, i};
        assert_int_equal(pthread_create(&threads[i], NULL, close_early, &closers[i]), 0);
    }
    for (unsigned i = 0; i < CLOSERS; i++)
        pthread_join(threads[i], NULL);
    struct realm_stats s = stats_of(r);
    assert_int_equal(s.started, CLOSERS * ROUNDS);
    assert_int_equal(s.running + s.waiting + s.kv_pages, 0);
    realm_model_close(m);
    realm_close(r);
}

struct slow {
    struct mutex lock;
    struct cond changed;
    bool entered, open; /* under lock */
    atomic_bool left;
};

/* Stays until it is let go, once the end is there to be read. */
static void notify_slowly(void *ctx)
{
    struct slow *s = ctx;
    mutex_lock(&s->lock);
    s->entered = true;
    cond_broadcast(&s->changed);
    while (!s->open)
        cond_wait(&s->changed, &s->lock);
    mutex_unlock(&s->lock);
    atomic_store(&s->left, true);
}

struct closing {
    struct realm_gen *gen;
    struct slow *slow;
    bool left_before;
};

static void *close_and_look(void *arg)
{
    struct closing *c = arg;
    realm_gen_close(c->gen);
    c->left_before = atomic_load(&c->slow->left);
    return NULL;
}

static void closing_waits_for_a_call_that_runs(void **state)
{
    (void)state;
    struct realm *r = open_engine(NULL);
    struct realm_model *m = open_tiny(r);
    struct slow s = {.entered = false};
    assert_int_equal(mutex_init(&s.lock), 0);
    assert_int_equal(cond_init(&s.changed), 0);
    struct realm_request request = request_for("A", 1);
    struct realm_event e;
    struct closing c = {.slow = &s};
    pthread_t thread;
    request.notify = notify_slowly;
    request.notify_ctx = &s;
    assert_int_equal(realm_gen_start(&c.gen, m, &request, NULL), 0);
    mutex_lock(&s.lock);
    while (!s.entered)
        cond_wait(&s.changed, &s.lock);
    mutex_unlock(&s.lock);
    /* Token and end are there while the call runs. */
    assert_int_equal(realm_gen_next(c.gen, &e, &no_wait), 0);
    assert_int_equal(e.kind, REALM_EVENT_TOKEN);
    assert_int_equal(realm_gen_next(c.gen, &e, &no_wait), 0);
    assert_int_equal(e.kind, REALM_EVENT_END);
    assert_int_equal(pthread_create(&thread, NULL, close_and_look, &c), 0);
    mutex_lock(&s.lock);
    s.open = true;
    cond_broadcast(&s.changed);
    mutex_unlock(&s.lock);
    pthread_join(thread, NULL);
    assert_true(c.left_before);
    cond_destroy(&s.changed);
    mutex_destroy(&s.lock);
    realm_model_close(m);
    realm_close(r);
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return 2;
    tiny_path = argv[1];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_loop_reads_many),
        cmocka_unit_test(the_cancelled_are_told),
        cmocka_unit_test(a_long_queue_is_cancelled_at_once),
        cmocka_unit_test(nobody_is_told_after_closing),
        cmocka_unit_test(closing_waits_for_a_call_that_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
