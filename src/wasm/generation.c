/* wasm/generation.c - generations of a guest, by whichever call it asked for them. */
#include "wasm/generation.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"
#include "wasm/tenant.h"

enum {
    SLICE_TOKENS = 256,        /* of an answer, reserved at once */
    TAKEN_BYTES_MAX = 1 << 20, /* of a generation that its guest does not read */
    TELL_NS = 1000000000
};

static bool is_user(const json_t *message)
{
    const char *role = json_string_value(json_object_get(message, "role"));
    return role && strcmp(role, "user") == 0;
}

/* The last user message with other content, or a new one. */
static json_t *user_message(const json_t *old, const char *prompt, size_t bytes)
{
    json_t *message = old ? json_copy((json_t *)old) : json_object();
    if (!message || json_object_set_new(message, "role", json_string("user")) ||
        json_object_set_new(message, "content", json_stringn_nocheck(prompt, bytes))) {
        json_decref(message);
        return NULL;
    }
    return message;
}

/* The conversation with the prompt in the place of its last user message. */
static json_t *with_prompt(const json_t *messages, const char *prompt, size_t bytes)
{
    size_t at = json_array_size(messages);
    while (at > 0 && !is_user(json_array_get(messages, at - 1)))
        at--;
    json_t *copy = json_copy((json_t *)messages);
    json_t *message = user_message(at ? json_array_get(messages, at - 1) : NULL, prompt, bytes);
    /* Both take over the message, also when they fail. */
    int failed =
        at ? json_array_set_new(copy, at - 1, message) : json_array_append_new(copy, message);
    if (failed) {
        json_decref(copy);
        return NULL;
    }
    return copy;
}

static int32_t render(struct instance *in, const struct realm_model *m, const json_t *messages,
                      struct chat_prompt *out)
{
    const struct chat_request request = {
        .messages = messages,
        .tenant = tenant_name(in->request->tenant),
        .wait = &in->wait,
    };
    int status = chat_render(in->host->chat, m, &request, out, &in->last);
    if (status == REALM_E_ARG)
        return ABI_FAILED; // the template refuses it, which is no argument of this call's
    return status ? call_status(in, status) : 0;
}

static int32_t render_source(struct instance *in, const struct realm_model *m,
                             const struct gen_source *from, struct chat_prompt *out)
{
    if (from->messages)
        return render(in, m, from->messages, out);
    json_t *talk = with_prompt(in->request->messages, from->prompt, from->bytes);
    if (!talk)
        return call_fail(in, ABI_FAILED, "out of memory");
    int32_t code = render(in, m, talk, out);
    json_decref(talk);
    return code;
}

/* ---- reserving ---- */

/* Has so many tokens reserved for g, in place of those that are; growth: it has begun. */
static int hold(struct instance *in, struct generation *g, uint32_t prompt, uint32_t answer,
                bool growth)
{
    const struct wasm_request *r = in->request;
    const uint64_t held = in->held - g->prompt - g->reserved + prompt + answer;
    const uint64_t all = held + in->prompt_tokens + in->completion_tokens;
    if (r->reserve && all > in->granted) {
        int status = r->reserve(r->ctx, all, growth, &in->refusal);
        if (status)
            return status;
        in->granted = all;
    }
    in->held = held;
    g->use->open_prompts += prompt - g->prompt;
    g->prompt = prompt;
    g->reserved = answer;
    return 0;
}

static void let_go(struct instance *in, struct generation *g)
{
    in->held -= g->prompt + (uint64_t)g->reserved;
    g->use->open_prompts -= g->prompt;
    g->use->open_drawn -= g->drawn;
    *g = (struct generation){0};
}

struct starting {
    struct instance *in;
    struct generation *g;
    bool refused;
};

static int on_prompt(void *ctx, uint32_t prompt_tokens)
{
    struct starting *s = ctx;
    uint32_t answer = s->g->most < SLICE_TOKENS ? s->g->most : SLICE_TOKENS;
    int status = hold(s->in, s->g, prompt_tokens, answer, false);
    s->refused = status != 0;
    return status;
}

/* Once half of the last slice is drawn the next is asked for; without it the generation ends
 * where the last one does. */
static void count_token(struct instance *in, struct generation *g)
{
    g->drawn++;
    g->use->open_drawn++;
    if (!in->request->reserve || g->capped || g->reserved >= g->most ||
        g->drawn + SLICE_TOKENS / 2 <= g->reserved)
        return;
    const uint32_t left = g->most - g->reserved, more = left < SLICE_TOKENS ? left : SLICE_TOKENS;
    if (hold(in, g, g->prompt, g->reserved + more, true) == 0)
        return;
    g->capped = true;
    realm_gen_allow(g->gen, g->reserved);
}

static int32_t refused(struct instance *in)
{
    in->last = in->refusal;
    return ABI_LIMIT;
}

/* ---- starting ---- */

/* Where what is had of that model is counted; NULL: it is one too many. */
static struct use *use_of(struct instance *in, const char *id)
{
    size_t i = 0;
    while (i < in->n_uses && strcmp(in->uses[i].over.model, id) != 0)
        i++;
    if (i == REQUEST_MODELS_MAX)
        return NULL;
    if (i == in->n_uses)
        snprintf(in->uses[in->n_uses++].over.model, sizeof(in->uses[i].over.model), "%s", id);
    return &in->uses[i];
}

static int32_t queue(struct instance *in, const struct lease *m, struct realm_request *r,
                     struct generation *g)
{
    struct use *use = use_of(in, m->id);
    if (!use)
        return call_fail(in, ABI_LIMIT, "one request can use %d models", REQUEST_MODELS_MAX);
    const struct wasm_request *for_whom = in->request;
    struct starting starting = {in, g, false};
    r->tenant = tenant_name(for_whom->tenant);
    r->weight = for_whom->weight;
    r->kv_bytes_max = for_whom->kv_bytes_max;
    r->priority = for_whom->priority;
    r->admit = on_prompt;
    r->admit_ctx = &starting;
    const uint32_t cap = for_whom->max_tokens;
    if (cap && (r->sampling.max_tokens == 0 || r->sampling.max_tokens > cap))
        r->sampling.max_tokens = cap;
    *g = (struct generation){.use = use,
                             .most = r->sampling.max_tokens ? r->sampling.max_tokens : UINT32_MAX};
    int status = realm_gen_start(&g->gen, m->model, r, &in->last);
    if (!status)
        return 0;
    let_go(in, g);
    return starting.refused ? refused(in) : call_status(in, status);
}

int32_t generation_start(struct instance *in, const struct lease *m, const struct gen_source *from,
                         struct realm_request *r, struct generation *g)
{
    struct chat_prompt rendered = {0};
    struct realm_model_info info;
    g->gen = NULL;
    realm_model_info(m->model, &info);
    if (!info.has_tokenizer)
        return call_fail(in, ABI_NO_TOKENIZER, "the model has no tokenizer");
    r->text = from->prompt;
    r->text_bytes = from->bytes;
    r->text_flags = REALM_TEXT_BOS;
    if (from->messages || in->request->messages) {
        int32_t code = render_source(in, m->model, from, &rendered);
        if (code)
            return code;
        r->text = rendered.text;
        r->text_bytes = rendered.bytes;
        r->text_flags = rendered.flags;
    } else if (from->bytes == 0) {
        return call_fail(in, ABI_EMPTY, "the prompt is empty");
    }
    int32_t code = queue(in, m, r, g);
    mem_free(rendered.text);
    return code;
}

/* ---- taking ---- */

int32_t generation_next(struct instance *in, struct generation *g, struct realm_event *event)
{
    g->waited_for = true;
    int status = realm_gen_next(g->gen, event, &in->wait);
    g->waited_for = false;
    if (!status && event->kind == REALM_EVENT_TOKEN)
        count_token(in, g);
    if (!status && event->kind == REALM_EVENT_END && event->finish == REALM_FINISH_ERROR)
        status = event->status;
    if (!status)
        return 0;
    if (status == REALM_E_LIMIT && g->capped)
        return refused(in);
    err_set(&in->last, status, "the generation ended: %s", realm_status_name(status));
    return status == REALM_E_ARG ? ABI_FAILED : call_status(in, status);
}

static void count_over(struct instance *in, struct wasm_use *over, const struct realm_usage *u)
{
    over->prompt_tokens += u->prompt_tokens;
    over->cached_tokens += u->cached_tokens;
    over->completion_tokens += u->completion_tokens;
    in->prompt_tokens += u->prompt_tokens;
    in->cached_tokens += u->cached_tokens;
    in->completion_tokens += u->completion_tokens;
}

void generation_end(struct instance *in, struct generation *g)
{
    const struct realm_wait wait = instance_rest(in);
    struct realm_event event;
    realm_gen_cancel(g->gen);
    while (realm_gen_next(g->gen, &event, &wait) == 0) {
        if (event.kind != REALM_EVENT_END)
            continue;
        count_over(in, &g->use->over, &event.usage);
        break;
    }
    realm_gen_close(g->gen);
    let_go(in, g);
}

int32_t generation_whole(struct instance *in, const struct lease *m, const struct gen_source *from,
                         struct realm_request *r, struct buf *text, struct realm_event *end)
{
    struct generation g = {0};
    int32_t code = generation_start(in, m, from, r, &g);
    if (code)
        return code;
    do {
        code = generation_next(in, &g, end);
        if (!code && buf_add(text, end->text, end->text_bytes))
            code = call_fail(in, ABI_LIMIT, "the text is over %zu bytes", text->max);
    } while (!code && end->kind != REALM_EVENT_END);
    generation_end(in, &g);
    /* The texts that it points to are gone. */
    end->text = NULL;
    end->text_bytes = 0;
    return code;
}

/* ---- handles ---- */

/* The end is left for who reads on: it is given again. */
static void take(struct instance *in, struct handle *h)
{
    static const struct realm_wait now = {.deadline_ns = 1};
    struct realm_event event;
    while (h->pending.n < TAKEN_BYTES_MAX && !h->over &&
           realm_gen_next(h->g.gen, &event, &now) == 0 && event.kind != REALM_EVENT_END) {
        count_token(in, &h->g);
        if (buf_add(&h->pending, event.text, event.text_bytes)) {
            h->failed = ABI_FAILED;
            h->over = true;
        }
    }
}

void generations_used(const struct instance *in, struct wasm_use *out)
{
    for (size_t i = 0; i < in->n_uses; i++) {
        const struct use *u = &in->uses[i];
        out[i] = u->over;
        out[i].prompt_tokens += u->open_prompts;
        out[i].completion_tokens += u->open_drawn;
    }
}

static void tell(struct instance *in)
{
    struct wasm_use uses[REQUEST_MODELS_MAX];
    const struct wasm_request *r = in->request;
    const uint64_t now = clock_ns(clock_system());
    if (!r->used || now - in->told_ns < TELL_NS)
        return;
    in->told_ns = now;
    generations_used(in, uses);
    r->used(r->ctx, uses, in->n_uses);
}

void generations_take(struct instance *in)
{
    tell(in);
    if (!in->request->reserve)
        return;
    for (size_t i = 0; i < HANDLES_MAX; i++) {
        struct handle *h = &in->handles[i];
        if (h->g.gen && !h->g.waited_for && !h->g.capped)
            take(in, h);
    }
}

void generations_init(struct instance *in)
{
    const char *id = in->request->model_id;
    snprintf(in->uses[0].over.model, sizeof(in->uses[0].over.model), "%s", id ? id : "");
    in->n_uses = 1;
    for (size_t i = 0; i < HANDLES_MAX; i++)
        buf_init(&in->handles[i].pending, GUEST_OUTPUT_BYTES_MAX);
}

void generations_close(struct instance *in)
{
    for (size_t i = 0; i < HANDLES_MAX; i++) {
        if (in->handles[i].g.gen)
            generation_end(in, &in->handles[i].g);
        buf_free(&in->handles[i].pending);
    }
}
