/* wasm/generation.c - generations of a guest, by whichever call it asked for them. */
#include "wasm/generation.h"

#include <string.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"
#include "wasm/tenant.h"

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
    int status = chat_render(in->host->chat, m, messages, NULL, &in->wait, out, &in->last);
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

int32_t generation_start(struct instance *in, struct realm_model *m, const struct gen_source *from,
                         struct realm_request *r, struct realm_gen **out)
{
    struct chat_prompt rendered = {0};
    struct realm_model_info info;
    *out = NULL;
    realm_model_info(m, &info);
    if (!info.has_tokenizer)
        return call_fail(in, ABI_NO_TOKENIZER, "the model has no tokenizer");
    r->tenant = tenant_name(in->request->tenant);
    r->text = from->prompt;
    r->text_bytes = from->bytes;
    r->text_flags = REALM_TEXT_BOS;
    if (from->messages || in->request->messages) {
        int32_t code = render_source(in, m, from, &rendered);
        if (code)
            return code;
        r->text = rendered.text;
        r->text_bytes = rendered.bytes;
        r->text_flags = rendered.flags;
    } else if (from->bytes == 0) {
        return call_fail(in, ABI_EMPTY, "the prompt is empty");
    }
    int status = realm_gen_start(out, m, r, &in->last);
    mem_free(rendered.text);
    return status ? call_status(in, status) : 0;
}

int32_t generation_next(struct instance *in, struct realm_gen *g, struct realm_event *event)
{
    int status = realm_gen_next(g, event, &in->wait);
    if (!status && event->kind == REALM_EVENT_END && event->finish == REALM_FINISH_ERROR)
        status = event->status;
    if (!status)
        return 0;
    err_set(&in->last, status, "the generation ended: %s", realm_status_name(status));
    return status == REALM_E_ARG ? ABI_FAILED : call_status(in, status);
}

void generation_end(struct instance *in, struct realm_gen *g)
{
    struct realm_event event;
    realm_gen_cancel(g);
    while (realm_gen_next(g, &event, NULL) == 0) {
        if (event.kind != REALM_EVENT_END)
            continue;
        in->prompt_tokens += event.usage.prompt_tokens;
        in->completion_tokens += event.usage.completion_tokens;
        break;
    }
    realm_gen_close(g);
}

int32_t generation_whole(struct instance *in, struct realm_model *m, const struct gen_source *from,
                         struct realm_request *r, struct buf *text, struct realm_event *end)
{
    struct realm_gen *g;
    int32_t code = generation_start(in, m, from, r, &g);
    if (code)
        return code;
    do {
        code = generation_next(in, g, end);
        if (!code && buf_add(text, end->text, end->text_bytes))
            code = call_fail(in, ABI_LIMIT, "the text is over %zu bytes", text->max);
    } while (!code && end->kind != REALM_EVENT_END);
    generation_end(in, g);
    /* The texts that it points to are gone. */
    end->text = NULL;
    end->text_bytes = 0;
    return code;
}

void generations_init(struct instance *in)
{
    for (size_t i = 0; i < HANDLES_MAX; i++)
        buf_init(&in->handles[i].pending, GUEST_OUTPUT_BYTES_MAX);
}

void generations_close(struct instance *in)
{
    for (size_t i = 0; i < HANDLES_MAX; i++) {
        if (in->handles[i].gen)
            generation_end(in, in->handles[i].gen);
        in->handles[i].gen = NULL;
        buf_free(&in->handles[i].pending);
    }
}
