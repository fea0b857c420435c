/* Many requests at once: in one guest, in several, with one that is stopped. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "util.h"

enum { THREADS = 8, ROUNDS = 12 };

static int setup(void **state)
{
    static const struct wasm_limits limits = {.own_ms = 200};
    *state = rig_open(&limits);
    return 0;
}

struct worker {
    pthread_t thread;
    struct rig *rig;
    struct wasm_guest *good, *endless;
    const char *wanted;
    bool stopped; /* this one runs the endless guest */
    int wrong;
};

static void *work(void *arg)
{
    struct worker *w = arg;
    struct wasm_request r = request_of(w->rig, "Once upon a time");
    for (int i = 0; i < ROUNDS; i++) {
        struct wasm_result result;
        struct realm_error err;
        int status = wasm_run(w->stopped ? w->endless : w->good, &r, &result, &err);
        if (w->stopped ? status != REALM_E_LIMIT : status || strcmp(result.text, w->wanted) != 0)
            w->wrong++;
        mem_free(result.text);
    }
    return NULL;
}

static void test_many(void **state)
{
    struct rig *rig = *state;
    struct worker workers[THREADS];
    struct wasm_request r = request_of(rig, "Once upon a time");
    struct wasm_guest *good, *endless;
    struct wasm_stats stats;
    struct outcome out = {0};
    static const char answering[] =
        "(module (import \"env\" \"realm_host_generate\" (func $g (param i32 i32 i32 i32 i32 i32)"
        " (result i32))) (memory (export \"memory\") 2) (func (export \"generate\")"
        " (param i32 i32 i32 i32) (result i32) (drop (call $g (local.get 2) (local.get 0)"
        " (local.get 1) (local.get 3) (i32.const 64) (i32.const 60000))) (i32.const 64)))";
    static const char running[] = "(module (memory (export \"memory\") 1) (func (export"
                                  " \"generate\") (param i32 i32 i32 i32) (result i32)"
                                  " (loop $l (br $l)) (unreachable)))";
    assert_int_equal(guest_from_text(rig->host, answering, &good, &out.err), 0);
    assert_int_equal(guest_from_text(rig->host, running, &endless, &out.err), 0);
    char *wanted = direct_answer(rig, &r);
    run_guest(good, &r, &out); // from here on the engine's signal handlers are in place
    assert_int_equal(out.status, 0);
    assert_string_equal(out.result.text, wanted);
    outcome_free(&out);
    for (int i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){
            .rig = rig, .good = good, .endless = endless, .wanted = wanted, .stopped = i == 0};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(workers[i].thread, NULL);
        assert_int_equal(workers[i].wrong, 0);
    }
    wasm_stats(rig->host, &stats);
    assert_int_equal(stats.requests, 1 + THREADS * ROUNDS);
    assert_int_equal(stats.limited, ROUNDS);
    assert_int_equal(stats.running, 0);
    wasm_guest_close(good);
    wasm_guest_close(endless);
    free(wanted);
}

static void *prepare(void *arg)
{
    struct worker *w = arg;
    struct wasm_guest *g;
    struct realm_error err;
    char text[256];
    size_t n;
    for (int i = 0; i < 3; i++) {
        snprintf(text, sizeof(text),
                 "(module (memory (export \"memory\") 1) (func (export \"generate\")"
                 " (param i32 i32 i32 i32) (result i32) (i32.const %d)))",
                 i + 64);
        uint8_t *wasm = text_to_wasm(text, &n);
        if (wasm_guest_open(&g, w->rig->host, wasm, n, &err))
            w->wrong++;
        wasm_guest_close(g);
        free(wasm);
    }
    return NULL;
}

static void test_prepared_at_once(void **state)
{
    struct worker workers[THREADS];
    for (int i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){.rig = *state};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, prepare, &workers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(workers[i].thread, NULL);
        assert_int_equal(workers[i].wrong, 0);
    }
}

/* Names and stored models of one tenant from many threads. */
static void *name_models(void *arg)
{
    struct worker *w = arg;
    struct wasm_request r = request_of(w->rig, "x");
    for (int i = 0; i < ROUNDS; i++) {
        struct wasm_result result;
        struct realm_error err;
        if (wasm_run(w->good, &r, &result, &err) || result.bytes == 0)
            w->wrong++;
        mem_free(result.text);
    }
    return NULL;
}

static void test_tenant(void **state)
{
    struct rig *rig = *state;
    struct worker workers[THREADS];
    struct outcome out = {0};
    struct wasm_guest *g;
    char *text = guest_text("(data (i32.const 256) \"tiny-q8_0\")",
                            "(local.set $h (call $load_by_name (i32.const 256) (i32.const 9)))"
                            "(drop (call $get_model_info (local.get $h) (i32.const 128)"
                            " (i32.const 136)))"
                            "(call $remove_model (local.get $h))");
    assert_int_equal(guest_from_text(rig->host, text, &g, &out.err), 0);
    free(text);
    for (int i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){.rig = rig, .good = g};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, name_models, &workers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(workers[i].thread, NULL);
        assert_int_equal(workers[i].wrong, 0);
    }
    wasm_guest_close(g);
    struct realm_stats stats;
    realm_stats(rig->engine, &stats);
    assert_int_equal(stats.leases, 1);
}

int wasm_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_prepared_at_once),
        cmocka_unit_test(test_tenant),
    };
    return cmocka_run_group_tests(tests, setup, rig_teardown);
}
