/* Many threads at once, and every allocation made to fail in turn. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "util.h"

enum { THREADS = 64, ROUNDS = 12, KINDS = 8 };

static struct realm_request kind_of(unsigned kind)
{
    static const char *const prompts[KINDS] = {"The capital of France is",
                                               "Once upon a time",
                                               "2 + 3 =",
                                               "Tom and Ella",
                                               "What is the capital of Japan?",
                                               "A",
                                               "The sun was warm. Lily said:",
                                               "One day a boat"};
    struct realm_request request = request_for(prompts[kind], 10 + 4 * kind);
    request.sampling.temperature = 0.8f;
    request.sampling.has_seed = true;
    request.sampling.seed = kind;
    request.logprobs = kind % 2;
    return request;
}

struct hammer {
    struct realm *realm;
    const struct answer *want;
    unsigned thread;
    atomic_uint *wrong;
};

static bool same(const struct answer *a, const struct answer *b)
{
    return a->status == 0 && a->n == b->n && strcmp(a->text, b->text) == 0 &&
           memcmp(a->tokens, b->tokens, a->n * sizeof(*a->tokens)) == 0;
}

/* Reads some events under a deadline that may be over, and goes away. */
static void walk_away(struct realm_gen *g, uint64_t ns)
{
    struct realm_event e;
    struct realm_wait wait = {.deadline_ns = clock_ns(clock_system()) + ns};
    for (unsigned i = 0; i < 5 && realm_gen_next(g, &e, &wait) == 0; i++)
        ;
    if (ns % 2)
        realm_gen_cancel(g);
    realm_gen_close(g);
}

static void *hammer(void *arg)
{
    struct hammer *h = arg;
    struct answer *got = malloc(sizeof(*got));
    for (unsigned round = 0; round < ROUNDS; round++) {
        double u = rng_unit(9, h->thread, round);
        unsigned kind = (unsigned)(u * 1000) % KINDS;
        struct realm_request request = kind_of(kind);
        struct realm_model *m;
        struct realm_gen *g;
        if (realm_model_open(&m, h->realm, tiny_path, NULL, NULL) ||
            realm_gen_start(&g, m, &request, NULL)) {
            atomic_fetch_add(h->wrong, 1);
            continue;
        }
        realm_model_close(m);
        if (u < 0.3) {
            walk_away(g, (uint64_t)(u * 1e7));
            continue;
        }
        if (u > 0.98)
            realm_clear(h->realm);
        read_answer(g, got);
        if (!same(got, &h->want[kind]))
            atomic_fetch_add(h->wrong, 1);
    }
    free(got);
    return NULL;
}

static void many_threads_get_their_own_answers(void **state)
{
    (void)state;
    static struct answer want[KINDS];
    static struct hammer hammers[THREADS];
    pthread_t threads[THREADS];
    atomic_uint wrong = 0;
    /* 24 pages: so few that generations are preempted all the time. */
    struct realm *r = open_engine(&(struct realm_options){.kv_bytes_max = 24 * 40960});
    struct realm_model *m = open_tiny(r);
    for (unsigned i = 0; i < KINDS; i++) {
        struct realm_request request = kind_of(i);
        ask(m, &request, &want[i]);
        assert_int_equal(want[i].n, 10 + 4 * i);
    }
    realm_model_close(m);
    for (unsigned i = 0; i < THREADS; i++) {
        hammers[i] = (struct hammer){r, want, i, &wrong};
        assert_int_equal(pthread_create(&threads[i], NULL, hammer, &hammers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(wrong, 0);
    struct realm_stats s = stats_of(r);
    assert_int_equal(s.running + s.waiting, 0);
    assert_int_equal(s.kv_pages, 0);
    assert_int_equal(s.leases, 0);
    assert_int_equal(s.started, s.finished + s.cancelled);
    assert_int_equal(s.failed, 0);
    realm_close(r);
}

/* Has an embedding made; its status. */
static int embed(struct realm_model *m)
{
    struct realm_request request = request_for("Once upon a time", 0);
    struct realm_gen *g;
    struct realm_event e;
    request.prompt_only = true;
    request.pooling = REALM_POOL_MEAN;
    int status = realm_gen_start(&g, m, &request, NULL);
    if (status)
        return status;
    status = realm_gen_next(g, &e, NULL);
    if (!status) {
        assert_int_equal(e.kind, REALM_EVENT_END);
        assert_true((e.embedding == NULL) == (e.status != 0));
        status = e.status;
    }
    realm_gen_close(g);
    return status;
}

/* Loads the model and has an answer from it; the status of what failed first. */
static int whole_path(struct realm *r)
{
    static struct answer a;
    struct realm_model *m;
    struct realm_error err;
    int status = realm_model_open(&m, r, tiny_path, NULL, &err);
    if (status) {
        assert_int_equal(err.status, status);
        return status;
    }
    realm_model_close(m);
    status = realm_model_find(&m, r, tiny_path, &err);
    if (status) {
        assert_int_equal(err.status, status);
        return status;
    }
    struct realm_request request = kind_of(1);
    request.top_logprobs = 3;
    request.stop = (const char *const[]){"never said", "nor this"};
    request.n_stop = 2;
    request.prompt_logprobs = true;
    request.logit_bias = (const struct realm_logit_bias[]){{300, -1}, {301, 1}};
    request.n_logit_bias = 2;
    ask(m, &request, &a);
    status = a.status;
    if (!status)
        status = embed(m);
    if (!status) {
        float logprobs[4];
        struct realm_logprob next[2];
        status = realm_score(m, a.tokens, 4, logprobs, next, 2, NULL, NULL);
    }
    realm_model_close(m);
    realm_clear(r);
    return status;
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    for (int for_good = 0; for_good < 2; for_good++) {
        struct realm *r = open_engine(&(struct realm_options){.threads = 1});
        assert_int_equal(whole_path(r), 0);
        uint64_t before = mem_live();
        unsigned failures = 0, successes = 0;
        /* Some failures are got over; this many in a row are the end. */
        for (uint64_t n = 1; successes < 20; n++) {
            mem_fail_at(n, for_good);
            int status = whole_path(r);
            mem_fail_at(0, 0);
            realm_clear(r);
            struct realm_stats s = stats_of(r);
            assert_int_equal(s.models + s.leases + s.running + s.waiting, 0);
            assert_int_equal(s.kv_pages + s.kv_bytes + s.bytes, 0);
            assert_int_equal(s.allocations, before);
            if (status)
                assert_int_equal(status, REALM_E_NOMEM);
            failures += status != 0;
            successes = status ? 0 : successes + 1;
        }
        assert_true(failures > 50);
        assert_int_equal(whole_path(r), 0);
        realm_close(r);
    }
}

static void opening_may_fail(void **state)
{
    (void)state;
    uint64_t before = mem_live();
    int status = REALM_E_NOMEM;
    for (uint64_t n = 1; status; n++) {
        struct realm *r;
        mem_fail_at(n, 0);
        status = realm_open(&r, &(struct realm_options){.threads = 2}, NULL);
        mem_fail_at(0, 0);
        assert_true(status == 0 || (status == REALM_E_NOMEM && r == NULL));
        realm_close(r);
        assert_int_equal(mem_live(), before);
    }
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return 2;
    tiny_path = argv[1];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_threads_get_their_own_answers),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(opening_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
