/* wasm/run.c - one request through a guest, from the prompt to its answer. */
#include <stdlib.h>
#include <string.h>

#include "base/ckd.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"
#include "wasm/gen_options.h"
#include "wasm/guest_text.h"
#include "wasm/instance.h"
#include "wasm/json.h"
#include "wasm/tenant.h"

static const uint64_t PAGE_BYTES = 64 * KiB;

/* Whole pages at the end of the memory, for a guest without an allocator. */
static int grow(struct instance *in, uint32_t bytes, uint32_t *at, struct realm_error *err)
{
    uint64_t before;
    wasmtime_error_t *e = wasmtime_memory_grow(in->context, &in->memory,
                                               (bytes + PAGE_BYTES - 1) / PAGE_BYTES, &before);
    if (e) {
        wasmtime_error_delete(e);
        return err_set(err, REALM_E_LIMIT, "the guest's memory has no room for the request");
    }
    *at = cast_u32(before * PAGE_BYTES);
    return 0;
}

/* The block has exactly these bytes: a guest may take it over and free it so. */
static int allocate(struct instance *in, uint32_t bytes, uint32_t *at, struct realm_error *err)
{
    enum { ALIGN = 8 };
    const struct wasm_guest *g = in->guest;
    if (g->alloc == GUEST_ALLOC_GROW)
        return grow(in, bytes, at, err);
    wasmtime_val_raw_t v[2] = {{.i32 = (int32_t)bytes}, {.i32 = ALIGN}};
    size_t n = g->alloc == GUEST_ALLOC_LEN_ALIGN ? 2 : 1;
    int status = instance_call(in, g->alloc_name, v, n, err);
    if (status)
        return status;
    *at = (uint32_t)v[0].i32;
    if (*at == 0)
        return err_set(err, REALM_E_GUEST, "the guest's %s has no room for %u bytes", g->alloc_name,
                       bytes);
    return 0;
}

/* Puts bytes where the guest has room for them. */
static int place(struct instance *in, const void *data, size_t n, uint32_t *at,
                 struct realm_error *err)
{
    if (n >= in->host->limits.memory_bytes)
        return err_set(err, REALM_E_LIMIT, "the request is larger than a guest's memory");
    int status = allocate(in, n ? cast_u32(n) : 1, at, err);
    if (status)
        return status;
    const struct guest_memory m = instance_memory(in);
    if (!guest_copy_out(&m, *at, data, n))
        return err_set(err, REALM_E_GUEST, "the guest's %s gave a place out of bounds",
                       in->guest->alloc_name ? in->guest->alloc_name : "memory");
    return 0;
}

/* The guest's answer as whole UTF-8. */
static int take(struct instance *in, uint32_t at, size_t n, struct wasm_result *out,
                struct realm_error *err)
{
    const uint64_t max = in->host->limits.output_bytes;
    const struct guest_memory m = instance_memory(in);
    struct buf text;
    if (!guest_has(&m, at, n))
        return err_set(err, REALM_E_GUEST, "the guest's answer is out of bounds");
    if (n > max)
        return err_set(err, REALM_E_LIMIT, "the guest's output is over %llu bytes",
                       (unsigned long long)max);
    /* A byte that is none of UTF-8 becomes three. */
    buf_init(&text, 3 * (size_t)max + 1);
    int status = n ? guest_text_add(&text, m.base + at, n) : 0;
    if (status || !buf_cstr(&text)) {
        buf_free(&text);
        return err_nomem(err, "the guest's answer");
    }
    out->text = (char *)text.p;
    out->bytes = text.n;
    return 0;
}

static int place_options(struct instance *in, uint32_t *at, struct realm_error *err)
{
    uint8_t options[GEN_OPTIONS_BYTES];
    *at = 0;
    if (!in->request->sampling)
        return 0;
    gen_options_write(in->request->sampling, options);
    return place(in, options, sizeof(options), at, err);
}

/* The content of a message, parts joined as the template's renderer joins them. */
static int add_content(const json_t *message, struct buf *out)
{
    const json_t *content = json_object_get(message, "content"), *part;
    size_t i;
    int status = 0;
    if (json_is_string(content))
        return buf_add(out, json_string_value(content), json_string_length(content));
    json_array_foreach(content, i, part)
    {
        const json_t *text = json_object_get(part, "text");
        if (!status && i)
            status = buf_addch(out, '\n');
        if (!status)
            status = buf_add(out, json_string_value(text), json_string_length(text));
    }
    return status;
}

/* The prompt, or the last user message. */
static int add_prompt(const struct wasm_request *r, struct buf *out)
{
    if (!r->messages)
        return buf_add(out, r->prompt, r->prompt_bytes);
    for (size_t i = json_array_size(r->messages); i > 0; i--) {
        const json_t *message = json_array_get(r->messages, i - 1);
        const char *role = json_string_value(json_object_get(message, "role"));
        if (role && strcmp(role, "user") == 0)
            return add_content(message, out);
    }
    return 0;
}

static int place_prompt(struct instance *in, uint32_t *at, size_t *n, struct realm_error *err)
{
    struct buf prompt;
    buf_init(&prompt, PROMPT_BYTES_MAX);
    int status = add_prompt(in->request, &prompt);
    if (status)
        err_set(err, status, "the prompt is over %d bytes, or memory is short", PROMPT_BYTES_MAX);
    else
        status = place(in, prompt.p, prompt.n, at, err);
    *n = prompt.n;
    buf_free(&prompt);
    return status;
}

/* Only the call that made the guest give up tells why. */
static int gave_up(const struct instance *in, const char *export, struct wasm_result *out,
                   struct realm_error *err)
{
    out->refused = in->refusal.status != 0;
    if (!in->last.status)
        return err_set(err, REALM_E_GUEST, "the guest's %s answers nothing", export);
    return err_set(err, REALM_E_GUEST, "the guest's %s failed: %s", export, in->last.message);
}

static int run_generate(struct instance *in, struct wasm_result *out, struct realm_error *err)
{
    uint32_t prompt, options;
    size_t prompt_n, n;
    int status = place_prompt(in, &prompt, &prompt_n, err);
    if (!status)
        status = place_options(in, &options, err);
    if (status)
        return status;
    wasmtime_val_raw_t v[4] = {{.i32 = (int32_t)prompt},
                               {.i32 = (int32_t)prompt_n},
                               {.i32 = 0},
                               {.i32 = (int32_t)options}};
    status = instance_call(in, "generate", v, ARRAY_LEN(v), err);
    if (status)
        return status;
    uint32_t at = (uint32_t)v[0].i32;
    if (at == 0)
        return gave_up(in, "generate", out, err);
    const struct guest_memory m = instance_memory(in);
    if (!guest_strlen(&m, at, SIZE_MAX, &n))
        return err_set(err, REALM_E_GUEST, "the guest's answer ends with no NUL in its memory");
    return take(in, at, n, out, err);
}

static int place_body(struct instance *in, uint32_t *at, size_t *n, struct realm_error *err)
{
    const struct wasm_request *r = in->request;
    json_t *made =
        r->body ? NULL : json_wish_write(r->messages, r->prompt, r->prompt_bytes, r->sampling);
    char *text = json_dumps(r->body ? r->body : made, JSON_COMPACT);
    json_decref(made);
    if (!text)
        return err_nomem(err, "the request's JSON");
    *n = strlen(text);
    int status = place(in, text, *n, at, err);
    free(text);
    return status;
}

static int run_handle(struct instance *in, struct wasm_result *out, struct realm_error *err)
{
    uint32_t at;
    size_t n = 0;
    int status = place_body(in, &at, &n, err);
    if (status)
        return status;
    wasmtime_val_raw_t v[2] = {{.i32 = (int32_t)at}, {.i32 = (int32_t)n}};
    status = instance_call(in, "handle", v, ARRAY_LEN(v), err);
    if (status)
        return status;
    uint64_t answer = (uint64_t)v[0].i64;
    if (answer == 0)
        return gave_up(in, "handle", out, err);
    out->handled = true;
    return take(in, (uint32_t)(answer >> 32), (uint32_t)answer, out, err);
}

static int run(struct instance *in, struct wasm_result *out, struct realm_error *err)
{
    wasmtime_val_raw_t none;
    int status = in->guest->initializes ? instance_call(in, "_initialize", &none, 0, err) : 0;
    if (status)
        return status;
    status = in->guest->handles ? run_handle(in, out, err) : run_generate(in, out, err);
    /* Whatever the guest made of it: nobody waits for this answer any more. */
    if (in->over && status != REALM_E_NOMEM)
        status = err_set(err, in->over, "%s", realm_status_name(in->over));
    return status;
}

/* A guest's author has no other way to learn how it ended. */
static void log_failure(struct wasm_tenant *t, int status, const struct realm_error *err)
{
    if (status == REALM_E_GUEST || status == REALM_E_LIMIT)
        tenant_log(t, LINE_HOST, err->message, strlen(err->message));
}

static void count(struct wasm_host *h, int status)
{
    atomic_fetch_add(&h->requests, 1);
    if (status == REALM_E_GUEST)
        atomic_fetch_add(&h->trapped, 1);
    if (status == REALM_E_LIMIT)
        atomic_fetch_add(&h->limited, 1);
    atomic_fetch_sub(&h->running, 1);
}

int wasm_run(struct wasm_guest *g, const struct wasm_request *request, struct wasm_result *out,
             struct realm_error *err)
{
    struct instance in;
    struct realm_error unread;
    err = err ? err : &unread;
    *out = (struct wasm_result){0};
    tenant_enter(request->tenant);
    atomic_fetch_add(&g->host->running, 1);
    ticker_enter(&g->host->ticker);
    int status = instance_open(&in, g, request, err);
    if (!status)
        status = run(&in, out, err);
    instance_close(&in);
    ticker_leave(&g->host->ticker);
    if (status) {
        mem_free(out->text);
        out->text = NULL;
        out->bytes = 0;
    }
    out->streamed = in.streamed;
    out->prompt_tokens = in.prompt_tokens;
    out->cached_tokens = in.cached_tokens;
    out->completion_tokens = in.completion_tokens;
    out->n_uses = in.n_uses;
    generations_used(&in, out->uses);
    out->host_calls = in.host_calls;
    out->own_ns = instance_own_ns(&in);
    log_failure(request->tenant, status, err);
    tenant_leave(request->tenant, status, out->own_ns);
    count(g->host, status);
    return status;
}
