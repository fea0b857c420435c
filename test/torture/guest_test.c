/* A request with a guest, from the opening of its sandbox to the end, and a
 * rendered conversation, with each allocation in turn made to fail. */
#include "../wasm/util.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "footprint.h"

/* Calls most of what the host offers; a refusal is the trap of this guest. */
static const char busy[] =
    "(func $must (param i32) (if (i32.lt_s (local.get 0) (i32.const 0)) (then unreachable)))";
static const char busy_body[] =
    "(call $must (call $encode_tokens (i32.const 0) (local.get $p) (local.get $n)"
    " (i32.const 4096) (i32.const 64)))"
    "(call $must (call $get_model_info (i32.const 0) (i32.const 8192) (i32.const 1024)))"
    "(call $must (call $get_model_metadata (i32.const 0) (i32.const 8192) (i32.const 4096)))"
    "(call $must (call $generate (i32.const 0) (local.get $p) (local.get $n) (local.get $o)"
    " (i32.const 16384) (i32.const 4096)))"
    "(call $must (call $stream_token (local.get $p) (local.get $n)))"
    "(i32.const 7)";

struct life {
    struct rig *rig; /* the engine and the model; its own sandbox is not used */
    const uint8_t *wasm;
    size_t wasm_n;
    const char *cache_dir; /* NULL: the guest is compiled each time */
    const json_t *messages;
    char text[64]; /* what the guest answered in a healthy life; "": not known */
};

static int run(struct life *life, struct wasm_guest *g, struct wasm_tenant *t)
{
    struct wasm_request request = request_of(life->rig, "Once upon a time");
    struct outcome *out = calloc(1, sizeof(*out));
    assert_non_null(out);
    request.tenant = t;
    run_guest(g, &request, out);
    int status = out->status;
    if (status) {
        assert_int_equal(out->err.status, status);
        assert_true(out->err.message[0]);
    } else {
        assert_in_range(out->result.bytes, 1, sizeof(life->text) - 1);
        if (life->text[0])
            assert_memory_equal(out->result.text, life->text, out->result.bytes);
        memcpy(life->text, out->result.text, out->result.bytes);
    }
    outcome_free(out);
    free(out);
    return status;
}

static int in_host(struct life *life, struct wasm_host *h)
{
    struct wasm_guest *g;
    struct wasm_tenant *t;
    int status = wasm_guest_open(&g, h, life->wasm, life->wasm_n, NULL);
    if (status)
        return status;
    status = wasm_tenant_open(&t, h, life->rig->engine, "somebody", 0);
    if (!status) {
        status = run(life, g, t);
        wasm_tenant_close(t);
    }
    wasm_guest_close(g);
    return status;
}

static int live(void *ctx)
{
    struct life *life = ctx;
    struct chat *chat;
    struct wasm_host *h;
    int status = chat_open(&chat, NULL);
    if (status)
        return status;
    struct wasm_host_options options = {.cache_dir = life->cache_dir, .chat = chat};
    status = wasm_host_open(&h, &options, NULL);
    if (!status) {
        status = in_host(life, h);
        wasm_host_close(h);
    }
    chat_close(chat);
    return status;
}

static int render(void *ctx)
{
    struct life *life = ctx;
    struct chat *chat;
    struct chat_prompt prompt;
    int status = chat_open(&chat, NULL);
    if (status)
        return status;
    const struct chat_request request = {.messages = life->messages};
    status = chat_render(chat, life->rig->model, &request, &prompt, NULL);
    if (!status) {
        assert_true(prompt.bytes > 0);
        mem_free(prompt.text);
    }
    chat_close(chat);
    return status;
}

static void torture_life(struct life *life)
{
    char *text = guest_text(busy, busy_body);
    life->wasm = text_to_wasm(text, &life->wasm_n);
    free(text);
    assert_int_equal(live(life), 0);
    for (int for_good = 0; for_good < 2; for_good++) {
        assert_true(torture(live, life, for_good, REALM_E_GUEST) > 30);
        assert_int_equal(live(life), 0);
    }
    free((void *)life->wasm);
}

static void a_request_with_a_cached_guest(void **state)
{
    char folder[] = "/tmp/realm-torture-XXXXXX", command[64];
    assert_non_null(mkdtemp(folder));
    torture_life(&(struct life){.rig = *state, .cache_dir = folder});
    snprintf(command, sizeof(command), "rm -r %s", folder);
    assert_int_equal(system(command), 0);
}

static void a_request_with_a_guest_to_compile(void **state)
{
    torture_life(&(struct life){.rig = *state});
}

static void a_conversation(void **state)
{
    json_t *messages = json_pack("[{ss,ss},{ss,ss}]", "role", "system", "content", "Be brief.",
                                 "role", "user", "content", "What is <s>two and two?");
    struct life life = {.rig = *state, .messages = messages};
    assert_int_equal(render(&life), 0);
    for (int for_good = 0; for_good < 2; for_good++) {
        assert_true(torture(render, &life, for_good, 0) > 3);
        assert_int_equal(render(&life), 0);
    }
    json_decref(messages);
}

static int setup(void **state)
{
    *state = rig_open(NULL);
    return 0;
}

static int teardown(void **state)
{
    rig_close(*state);
    return 0;
}

int wasm_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_with_a_cached_guest),
        cmocka_unit_test(a_request_with_a_guest_to_compile),
        cmocka_unit_test(a_conversation),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
