/* The model is read once: its file goes away, and a thousand requests of guests
 * are answered all the same, until the cache is cleared. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "util.h"

struct place {
    char dir[256], model[300], away[300];
    struct world world;
    struct wasm_guest *answer, *script;
    struct wasm_tenant *tenant;
};

static void place_open(struct place *p)
{
    make_dir(p->dir);
    snprintf(p->model, sizeof(p->model), "%s/model.gguf", p->dir);
    snprintf(p->away, sizeof(p->away), "%s/gone", p->dir);
    copy_tiny(p->model);
    const struct realm_options options = {.models_dir = p->dir};
    world_open(&p->world, &options, NULL, NULL);
    p->answer = world_guest(&p->world, "default");
    p->script = world_guest(&p->world, "script");
    p->tenant = world_tenant(&p->world, "acme");
}

static void place_close(struct place *p)
{
    wasm_tenant_close(p->tenant);
    wasm_guest_close(p->script);
    wasm_guest_close(p->answer);
    world_close(&p->world);
    remove_dir(p->dir);
}

/* One request of a caller who names the model's file each time. */
static void request_by_path(struct place *p)
{
    struct realm_sampling sampling;
    struct reply reply;
    realm_sampling_init(&sampling, REALM_DOOR_GUEST);
    sampling.max_tokens = 3;
    struct realm_model *m = world_model(&p->world, p->model);
    struct wasm_request request = request_of(p->tenant, m, "Once upon a time");
    request.sampling = &sampling;
    ask(p->answer, &request, &reply);
    if (reply.status)
        fail_msg("%s", reply.err.message);
    assert_in_range(reply.result.completion_tokens, 1, 3);
    reply_free(&reply);
    realm_model_close(m);
}

/* One request of a guest that names the model itself and gives it back; "" or
 * the sentence about why it could not. */
static void request_by_name(struct place *p, char *why, size_t max)
{
    struct script s;
    script_init(&s);
    script_add(&s, "s $0 model.gguf");
    script_add(&s, "c realm_host_load_model_by_name $0 10");
    script_add(&s, "v 0");
    script_add(&s, "s $64 Tom said");
    script_add(&s, "a $128 2");                        // max_tokens
    script_add(&s, "w $132 000000000000803f00000000"); // temperature 0, top_p 1, top_k 0
    script_add(&s, "w $144 0000803f000000000000000000000000");
    script_add(&s, "c realm_host_generate @0 $64 8 $128 $512 4096");
    script_add(&s, "e");
    script_add(&s, "c realm_remove_model @0");
    char *text = script_run(&s, p->script, p->tenant, NULL);
    script_free(&s);
    char *rest;
    long id = strtol(text, &rest, 10), n = strtol(rest, &rest, 10);
    snprintf(why, max, "%s", id > 0 && n > 0 ? "" : text);
    if (id <= 0)
        assert_true(id == -5 || id == -11);
    mem_free(text);
}

static void the_file_is_read_once(void **state)
{
    struct place p;
    char why[1024];
    const unsigned requests = scaled(1000);
    (void)state;
    place_open(&p);
    request_by_path(&p);
    struct realm_stats before = world_stats(&p.world);
    assert_int_equal(before.loads, 1);
    assert_int_equal(rename(p.model, p.away), 0);

    for (unsigned i = 0; i < requests; i++) {
        if (i % 4) {
            request_by_path(&p);
        } else {
            request_by_name(&p, why, sizeof(why));
            assert_string_equal(why, "");
        }
    }
    struct realm_stats after = world_stats(&p.world);
    assert_int_equal(after.loads, 1);
    assert_int_equal(after.misses, before.misses);
    assert_in_range(after.hits - before.hits, requests, 4 * requests);
    assert_int_equal(after.loads_failed, 0);
    assert_int_equal(after.finished - before.finished, requests);
    place_close(&p);
}

static void a_cleared_cache_wants_the_file(void **state)
{
    struct place p;
    char why[1024];
    struct realm_model *m;
    struct realm_error err = {0};
    (void)state;
    place_open(&p);
    request_by_path(&p);
    assert_int_equal(rename(p.model, p.away), 0);
    request_by_path(&p);

    assert_true(realm_clear(p.world.engine) > 0);
    assert_int_equal(world_stats(&p.world).models, 0);
    assert_int_equal(realm_model_open(&m, p.world.engine, p.model, NULL, &err), REALM_E_NOT_FOUND);
    assert_null(m);
    assert_non_null(strstr(err.message, "model.gguf"));
    request_by_name(&p, why, sizeof(why));
    assert_string_not_equal(why, "");

    /* And with the file back, it is read a second time. */
    assert_int_equal(rename(p.away, p.model), 0);
    request_by_path(&p);
    request_by_name(&p, why, sizeof(why));
    assert_string_equal(why, "");
    assert_int_equal(world_stats(&p.world).loads, 2);
    place_close(&p);
}

/* A file that was replaced is another model. */
static void a_replaced_file_is_read_again(void **state)
{
    struct place p;
    (void)state;
    place_open(&p);
    request_by_path(&p);
    copy_endless(p.away);
    assert_int_equal(rename(p.away, p.model), 0);
    request_by_path(&p);
    assert_int_equal(world_stats(&p.world).loads, 2);
    place_close(&p);
}

int e2e_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_file_is_read_once),
        cmocka_unit_test(a_cleared_cache_wants_the_file),
        cmocka_unit_test(a_replaced_file_is_read_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
