/* wasm/call_chat.c - realm_chat, and generations that a guest reads piece by piece. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ckd.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/utf8.h"
#include "wasm/generation.h"
#include "wasm/imports.h"
#include "wasm/json.h"
#include "wasm/tenant.h"

/* A completion's request as it came from the guest. */
struct ask {
    json_t *json; /* owns what wish points to */
    struct json_wish wish;
    struct lease model;
};

static void ask_free(struct ask *k)
{
    realm_model_close(k->model.model);
    json_decref(k->json);
}

/* The model of "model": an id, a name, or without one (or under the name that the
 * caller's own request has) the current one. */
static int32_t ask_model(struct instance *in, struct ask *k)
{
    const json_t *model = json_object_get(k->json, "model");
    const json_t *current = in->request->body ? json_object_get(in->request->body, "model") : NULL;
    if (json_is_integer(model)) {
        const json_int_t id = json_integer_value(model);
        const bool known = id >= 0 && id <= INT32_MAX; // what is out of range nobody has
        return call_model(in, known ? (uint32_t)id : UINT32_MAX, &k->model);
    }
    if (!model || json_is_null(model) || (current && json_equal(model, current)))
        return call_model(in, 0, &k->model);
    const char *name = json_string_value(model);
    if (!name)
        return call_fail(in, ABI_ARGUMENT, "model must be a name or an id");
    int status = strlen(name) != json_string_length(model)
                     ? err_set(&in->last, REALM_E_NOT_FOUND, "no model's name contains a NUL")
                     : tenant_open_name(in->request, name, &in->wait, &k->model, &in->last);
    return status ? call_load_status(in, status) : 0;
}

/* Reads the request at [at, at + n).  0, or a code and nothing to free. */
static int32_t ask_read(struct instance *in, uint32_t at, uint32_t n, struct ask *k)
{
    char *text;
    *k = (struct ask){0};
    int32_t code = call_text(in, at, n, PROMPT_BYTES_MAX, ABI_ARGUMENT, &text);
    if (code)
        return code;
    if (json_read(text, n, &k->json, &in->last) || json_wish_read(k->json, &k->wish, &in->last))
        code = ABI_ARGUMENT;
    mem_free(text);
    if (!code)
        code = ask_model(in, k);
    if (code)
        ask_free(k);
    return code;
}

static void ask_request(const struct ask *k, struct gen_source *from, struct realm_request *r)
{
    realm_request_init(r, REALM_DOOR_OPENAI);
    r->sampling = k->wish.sampling;
    r->stop = k->wish.stop;
    r->n_stop = k->wish.n_stop;
    *from = (struct gen_source){
        .messages = k->wish.messages,
        .prompt = k->wish.prompt,
        .bytes = k->wish.prompt_bytes,
    };
}

static json_t *usage_json(const struct realm_usage *u)
{
    return json_pack("{s:I,s:I,s:I}", "prompt_tokens", (json_int_t)u->prompt_tokens,
                     "completion_tokens", (json_int_t)u->completion_tokens, "total_tokens",
                     (json_int_t)u->prompt_tokens + (json_int_t)u->completion_tokens);
}

/* The answer's JSON, freed with free(); NULL when memory is short. */
static char *answer_json(const struct ask *k, const struct buf *text, const struct realm_event *end)
{
    struct realm_model_info info;
    uint64_t random;
    char id[32];
    realm_model_info(k->model.model, &info);
    if (rng_system(&random, sizeof(random)))
        return NULL;
    snprintf(id, sizeof(id), "chatcmpl-%016llx", (unsigned long long)random);
    const char *model = json_string_value(json_object_get(k->json, "model"));
    json_t *answer = json_pack(
        "{s:s,s:s,s:I,s:s,s:[{s:i,s:{s:s,s:s%},s:n,s:s}],s:o}", "id", id, "object",
        "chat.completion", "created", (json_int_t)clock_wall_s(), "model",
        model ? model : info.name, "choices", "index", 0, "message", "role", "assistant", "content",
        text->n ? (const char *)text->p : "", text->n, "logprobs", "finish_reason",
        end->finish == REALM_FINISH_LENGTH ? "length" : "stop", "usage", usage_json(&end->usage));
    char *json = json_dumps(answer, JSON_COMPACT);
    json_decref(answer);
    return json;
}

int32_t call_chat(struct instance *in, const uint32_t *a)
{
    const uint32_t at = a[0], n = a[1], out = a[2], out_max = a[3];
    struct ask k;
    struct gen_source from;
    struct realm_request r;
    struct realm_event end;
    struct buf text;
    int32_t code = ask_read(in, at, n, &k);
    if (code)
        return code;
    buf_init(&text, GUEST_OUTPUT_BYTES_MAX);
    ask_request(&k, &from, &r);
    if (!from.messages)
        code = call_fail(in, ABI_ARGUMENT, "messages are needed");
    if (!code)
        code = call_check_out(in, out, out_max);
    if (!code)
        code = generation_whole(in, &k.model, &from, &r, &text, &end);
    if (!code) {
        char *json = answer_json(&k, &text, &end);
        code = json ? call_write(in, out, out_max, json, strlen(json))
                    : call_fail(in, ABI_FAILED, "out of memory");
        free(json);
    }
    buf_free(&text);
    ask_free(&k);
    return code;
}

/* A handle is its number and the generation of that number, so that one which
 * was ended is not mistaken for the next. */
static struct handle *find_handle(struct instance *in, uint32_t handle)
{
    struct handle *h = &in->handles[handle % HANDLES_MAX];
    return h->g.gen && handle / HANDLES_MAX == h->generation ? h : NULL;
}

static int32_t no_handle(struct instance *in, uint32_t handle)
{
    return call_fail(in, ABI_ARGUMENT, "%d is no generation of this request", (int32_t)handle);
}

static struct handle *free_handle(struct instance *in)
{
    for (size_t i = 0; i < HANDLES_MAX; i++)
        if (!in->handles[i].g.gen)
            return &in->handles[i];
    return NULL;
}

int32_t call_generate_start(struct instance *in, const uint32_t *a)
{
    const uint32_t at = a[0], n = a[1];
    struct ask k;
    struct gen_source from;
    struct realm_request r;
    struct handle *h = free_handle(in);
    if (!h)
        return call_fail(in, ABI_LIMIT, "%d generations are open already", HANDLES_MAX);
    int32_t code = ask_read(in, at, n, &k);
    if (code)
        return code;
    ask_request(&k, &from, &r);
    code = generation_start(in, &k.model, &from, &r, &h->g);
    ask_free(&k);
    if (code)
        return code;
    buf_clear(&h->pending);
    h->over = false;
    h->failed = 0;
    h->generation++;
    return cast_i32((int64_t)h->generation * HANDLES_MAX + (h - in->handles));
}

/* Waits until there is text, or the end. */
static void fill_handle(struct instance *in, struct handle *h)
{
    struct realm_event event;
    while (!h->over && h->pending.n == 0) {
        h->failed = generation_next(in, &h->g, &event);
        if (!h->failed && buf_add(&h->pending, event.text, event.text_bytes))
            h->failed = call_fail(in, ABI_FAILED, "out of memory");
        h->over = h->failed || event.kind == REALM_EVENT_END;
    }
}

int32_t call_generate_next(struct instance *in, const uint32_t *a)
{
    const uint32_t out = a[1], out_max = a[2];
    struct handle *h = find_handle(in, a[0]);
    if (!h)
        return no_handle(in, a[0]);
    int32_t code = call_check_out(in, out, out_max);
    if (code)
        return code;
    fill_handle(in, h);
    if (h->pending.n == 0)
        return h->failed;
    size_t n = utf8_whole(h->pending.p, min_size(h->pending.n, out_max));
    uint32_t cp;
    if (n == 0)
        return call_fail(in, ABI_TOO_SMALL, "the next character needs %d bytes, there are %u",
                         utf8_decode(h->pending.p, h->pending.n, &cp), out_max);
    code = call_write(in, out, out_max, h->pending.p, n);
    memmove(h->pending.p, h->pending.p + n, h->pending.n - n);
    h->pending.n -= n;
    return code;
}

int32_t call_generate_end(struct instance *in, const uint32_t *a)
{
    struct handle *h = find_handle(in, a[0]);
    if (!h)
        return no_handle(in, a[0]);
    generation_end(in, &h->g);
    return 0;
}
