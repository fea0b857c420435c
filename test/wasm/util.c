#include "util.h"

#include <libgen.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wasmtime.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "helper/helper.h"

const char *tiny_path;
char **args;
int n_args;

/* cmocka puts its own handlers in for each test, in the way of the engine's, which
 * turn a guest's faults into traps. */
static const int fault_signals[] = {SIGSEGV, SIGILL, SIGFPE, SIGBUS};
static struct sigaction engine_handlers[ARRAY_LEN(fault_signals)];

static void keep_handlers(void)
{
    wasm_engine_delete(wasm_engine_new());
    for (size_t i = 0; i < ARRAY_LEN(fault_signals); i++)
        sigaction(fault_signals[i], NULL, &engine_handlers[i]);
}

static void restore_handlers(void)
{
    for (size_t i = 0; i < ARRAY_LEN(fault_signals); i++)
        sigaction(fault_signals[i], &engine_handlers[i], NULL);
}

int main(int argc, char **argv)
{
    const struct helper_work work = {
        .fn = {[HELPER_RENDER] = chat_render_work, [HELPER_COMPILE] = wasm_compile_work},
        .cpu_s = {[HELPER_RENDER] = HELPER_RENDER_CPU_S, [HELPER_COMPILE] = HELPER_COMPILE_CPU_S},
    };
    if (argc == 2 && strcmp(argv[1], "helper") == 0)
        return helper_serve(HELPER_FD, &work);
    if (argc < 2) {
        fprintf(stderr, "usage: %s MODEL\n", argv[0]);
        return 2;
    }
    tiny_path = argv[1];
    args = argv + 2;
    n_args = argc - 2;
    keep_handlers();
    return wasm_tests();
}

struct rig *rig_open(const struct wasm_limits *limits)
{
    struct realm_error err = {0};
    struct rig *rig = calloc(1, sizeof(*rig));
    char *path = strdup(tiny_path);
    struct wasm_host_options options = {0};
    assert_non_null(rig);
    assert_non_null(path);
    const struct realm_options engine = {
        .threads = 2,
        .cache_off = true, // what is kept for later would look like a leak
        .models_dir = dirname(path),
    };
    assert_int_equal(realm_open(&rig->engine, &engine, &err), 0);
    free(path);
    if (realm_model_open(&rig->model, rig->engine, tiny_path, NULL, &err))
        fail_msg("%s", err.message);
    assert_int_equal(chat_open(&rig->chat, NULL), 0);
    options.chat = rig->chat;
    if (limits)
        options.limits = *limits;
    assert_int_equal(wasm_host_open(&rig->host, &options, &err), 0);
    realm_sampling_init(&rig->sampling, REALM_DOOR_GUEST);
    rig->sampling.temperature = 0;
    rig->sampling.max_tokens = 12;
    assert_int_equal(wasm_tenant_open(&rig->tenant, rig->host, rig->engine, "tester", 0), 0);
    return rig;
}

void rig_close(struct rig *rig)
{
    wasm_tenant_close(rig->tenant);
    wasm_host_close(rig->host);
    chat_close(rig->chat);
    realm_model_close(rig->model);
    realm_close(rig->engine);
    free(rig);
}

int rig_setup(void **state)
{
    *state = rig_open(NULL);
    return 0;
}

int rig_teardown(void **state)
{
    rig_close(*state);
    return 0;
}

uint8_t *text_to_wasm(const char *text, size_t *n)
{
    wasm_byte_vec_t wasm;
    wasmtime_error_t *e = wasmtime_wat2wasm(text, strlen(text), &wasm);
    if (e) {
        wasm_name_t why;
        wasmtime_error_message(e, &why);
        fail_msg("%.*s", (int)why.size, why.data);
    }
    uint8_t *copy = malloc(wasm.size);
    assert_non_null(copy);
    memcpy(copy, wasm.data, wasm.size);
    *n = wasm.size;
    wasm_byte_vec_delete(&wasm);
    return copy;
}

int guest_from_text(struct wasm_host *h, const char *text, struct wasm_guest **out,
                    struct realm_error *err)
{
    size_t n;
    uint8_t *wasm = text_to_wasm(text, &n);
    int status = wasm_guest_open(out, h, wasm, n, err);
    free(wasm);
    return status;
}

static const char prelude[] =
    "(module\n"
    "(import \"env\" \"realm_host_generate\" (func $generate (param i32 i32 i32 i32 i32 i32)"
    " (result i32)))\n"
    "(import \"env\" \"realm_host_load_model_by_name\" (func $load_by_name (param i32 i32)"
    " (result i32)))\n"
    "(import \"env\" \"realm_store_model\" (func $store_model (param i32 i32 i32) (result i32)))\n"
    "(import \"env\" \"realm_remove_model\" (func $remove_model (param i32) (result i32)))\n"
    "(import \"env\" \"realm_get_model_info\" (func $get_model_info (param i32 i32 i32)"
    " (result i32)))\n"
    "(import \"env\" \"realm_get_model_metadata\" (func $get_model_metadata (param i32 i32 i32)"
    " (result i32)))\n"
    "(import \"env\" \"realm_encode_tokens\" (func $encode_tokens (param i32 i32 i32 i32 i32)"
    " (result i32)))\n"
    "(import \"env\" \"realm_decode_tokens\" (func $decode_tokens (param i32 i32 i32 i32 i32)"
    " (result i32)))\n"
    "(import \"env\" \"realm_stream_token\" (func $stream_token (param i32 i32) (result i32)))\n"
    "(import \"env\" \"realm_chat\" (func $chat (param i32 i32 i32 i32) (result i32)))\n"
    "(import \"env\" \"realm_generate_start\" (func $generate_start (param i32 i32)"
    " (result i32)))\n"
    "(import \"env\" \"realm_generate_next\" (func $generate_next (param i32 i32 i32)"
    " (result i32)))\n"
    "(import \"env\" \"realm_generate_end\" (func $generate_end (param i32) (result i32)))\n"
    "(import \"env\" \"realm_last_error\" (func $last_error (param i32 i32) (result i32)))\n"
    "(memory (export \"memory\") 2)\n";

static const char postlude[] =
    "(func $hex (param $v i32) (result i32) (local $i i32) (local $d i32)\n"
    "  (loop $next\n"
    "    (local.set $d (i32.and (i32.const 15) (i32.shr_u (local.get $v)\n"
    "      (i32.sub (i32.const 28) (i32.shl (local.get $i) (i32.const 2))))))\n"
    "    (i32.store8 offset=64 (local.get $i) (i32.add (local.get $d)\n"
    "      (select (i32.const 48) (i32.const 87) (i32.lt_u (local.get $d) (i32.const 10)))))\n"
    "    (local.set $i (i32.add (local.get $i) (i32.const 1)))\n"
    "    (br_if $next (i32.lt_u (local.get $i) (i32.const 8))))\n"
    "  (i32.store8 (i32.const 72) (i32.const 0)) (i32.const 64))\n"
    "(func (export \"generate\") (param $p i32) (param $n i32) (param $m i32) (param $o i32)\n"
    "  (result i32) (local $i i32) (local $h i32) (local $c i32) (call $hex\n";

char *guest_text(const char *extra, const char *body)
{
    struct buf text;
    buf_init(&text, 1 << 20);
    assert_int_equal(buf_addf(&text, "%s%s%s%s)))", prelude, extra, postlude, body), 0);
    assert_non_null(buf_cstr(&text));
    char *copy = strdup((const char *)text.p);
    buf_free(&text);
    return copy;
}

static bool gather(void *ctx, const char *text, size_t bytes)
{
    struct outcome *out = ctx;
    assert_true(bytes <= sizeof(out->streamed) - out->streamed_n);
    memcpy(out->streamed + out->streamed_n, text, bytes);
    out->streamed_n += bytes;
    return !out->deaf;
}

struct wasm_request request_of(struct rig *rig, const char *prompt)
{
    return (struct wasm_request){
        .tenant = rig->tenant,
        .model = rig->model,
        .prompt = prompt,
        .prompt_bytes = strlen(prompt),
        .sampling = &rig->sampling,
    };
}

void run_guest(struct wasm_guest *g, const struct wasm_request *request, struct outcome *out)
{
    struct wasm_request r = *request;
    bool deaf = out->deaf;
    *out = (struct outcome){.deaf = deaf};
    if (!r.on_text && !r.cancelled) {
        r.on_text = gather;
        r.ctx = out;
    }
    restore_handlers();
    out->status = wasm_run(g, &r, &out->result, &out->err);
}

void outcome_free(struct outcome *out)
{
    mem_free(out->result.text);
    out->result.text = NULL;
}

int32_t code_of(struct rig *rig, const struct wasm_request *request, const char *extra,
                const char *body, struct outcome *out)
{
    struct realm_error err;
    struct wasm_guest *g;
    char *text = guest_text(extra, body);
    if (guest_from_text(rig->host, text, &g, &err))
        fail_msg("%s", err.message);
    free(text);
    out->deaf = false;
    run_guest(g, request, out);
    wasm_guest_close(g);
    if (out->status)
        fail_msg("%s: %s", body, out->err.message);
    assert_int_equal(out->result.bytes, 8);
    int32_t code = (int32_t)strtoul(out->result.text, NULL, 16);
    outcome_free(out);
    return code;
}

uint64_t now_ms(void)
{
    return clock_ms(clock_system());
}

uint8_t *read_bytes(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    long size = ftell(f);
    assert_true(size >= 0);
    rewind(f);
    uint8_t *bytes = malloc((size_t)size + 1);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, (size_t)size, f), (size_t)size);
    fclose(f);
    *n = (size_t)size;
    return bytes;
}

char *direct_answer(struct rig *rig, const struct wasm_request *request)
{
    struct realm_request r;
    struct realm_gen *g;
    struct realm_event event;
    struct realm_error err;
    struct chat_prompt rendered = {0};
    char *text = calloc(1, 1 << 16);
    size_t n = 0;
    assert_non_null(text);
    realm_request_init(&r, REALM_DOOR_GUEST);
    r.sampling = *request->sampling;
    r.text = request->prompt;
    r.text_bytes = request->prompt_bytes;
    r.text_flags = REALM_TEXT_BOS;
    if (request->messages) {
        const struct chat_request render = {.messages = request->messages};
        assert_int_equal(chat_render(rig->chat, rig->model, &render, &rendered, &err), 0);
        r.text = rendered.text;
        r.text_bytes = rendered.bytes;
        r.text_flags = rendered.flags;
    }
    assert_int_equal(realm_gen_start(&g, rig->model, &r, &err), 0);
    do {
        assert_int_equal(realm_gen_next(g, &event, NULL), 0);
        memcpy(text + n, event.text, event.text_bytes);
        n += event.text_bytes;
    } while (event.kind == REALM_EVENT_TOKEN);
    assert_int_equal(event.status, 0);
    realm_gen_close(g);
    mem_free(rendered.text);
    return text;
}
