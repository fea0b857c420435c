#include "chat/chat.h"

#include <string.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"

struct chat {
    struct helper *helper;
};

int chat_open(struct chat **out, const char *helper_exe)
{
    *out = NULL;
    struct chat *c = mem_zalloc(sizeof(*c));
    if (!c)
        return REALM_E_NOMEM;
    int status = helper_open(&c->helper, helper_exe);
    if (status) {
        mem_free(c);
        return status;
    }
    *out = c;
    return 0;
}

void chat_close(struct chat *c)
{
    if (!c)
        return;
    helper_close(c->helper);
    mem_free(c);
}

static bool known_role(const char *role)
{
    static const char *const roles[] = {"system", "developer", "user", "assistant", "tool"};
    for (size_t i = 0; i < ARRAY_LEN(roles); i++)
        if (strcmp(role, roles[i]) == 0)
            return true;
    return false;
}

static int check_parts(const json_t *parts, size_t at, struct realm_error *err)
{
    size_t i;
    json_t *part;
    json_array_foreach(parts, i, part)
    {
        const char *type = json_string_value(json_object_get(part, "type"));
        if (!type || strcmp(type, "text") != 0)
            return err_set(err, REALM_E_ARG,
                           "messages[%zu].content[%zu].type must be \"text\": this server reads "
                           "no images or sounds",
                           at, i);
        if (!json_is_string(json_object_get(part, "text")))
            return err_set(err, REALM_E_ARG, "messages[%zu].content[%zu].text must be a string", at,
                           i);
    }
    return 0;
}

static int check_message(const json_t *message, size_t at, struct realm_error *err)
{
    if (!json_is_object(message))
        return err_set(err, REALM_E_ARG, "messages[%zu] must be an object", at);
    const char *role = json_string_value(json_object_get(message, "role"));
    if (!role || !known_role(role))
        return err_set(err, REALM_E_ARG,
                       "messages[%zu].role must be system, developer, user, assistant or tool", at);
    const json_t *content = json_object_get(message, "content");
    if (json_is_string(content))
        return 0;
    if (json_is_array(content))
        return check_parts(content, at, err);
    if ((!content || json_is_null(content)) && json_object_get(message, "tool_calls"))
        return 0;
    return err_set(err, REALM_E_ARG,
                   "messages[%zu].content must be a string or an array of text parts", at);
}

int chat_check(const json_t *messages, struct realm_error *err)
{
    size_t n = json_array_size(messages), i;
    json_t *message;
    if (n == 0)
        return err_set(err, REALM_E_ARG, "messages must be an array of at least one message");
    if (n > MESSAGES_MAX)
        return err_set(err, REALM_E_ARG, "messages has %zu items, the limit is %d", n,
                       MESSAGES_MAX);
    json_array_foreach(messages, i, message)
    {
        int status = check_message(message, i, err);
        if (status)
            return status;
    }
    return 0;
}

/* A copy in which no control token is spelled; NULL when memory is short. */
static char *guarded_text(const struct realm_model *m, const char *text, size_t n, size_t *wanted)
{
    (void)realm_guard(m, text, n, NULL, 0, wanted);
    char *copy = mem_alloc(*wanted);
    if (!copy || realm_guard(m, text, n, copy, *wanted, wanted) == 0)
        return copy;
    mem_free(copy);
    return NULL;
}

static json_t *guarded_string(const struct realm_model *m, const json_t *text)
{
    size_t n;
    char *copy = guarded_text(m, json_string_value(text), json_string_length(text), &n);
    json_t *result = copy ? json_stringn_nocheck(copy, n) : NULL;
    mem_free(copy);
    return result;
}

static json_t *guarded(const struct realm_model *m, const json_t *value);

static json_t *guarded_array(const struct realm_model *m, const json_t *value)
{
    json_t *copy = json_array(), *item;
    size_t i;
    json_array_foreach(value, i, item)
    {
        if (json_array_append_new(copy, guarded(m, item)))
            goto failed;
    }
    return copy;

failed:
    json_decref(copy);
    return NULL;
}

/* Templates print keys, too: those of a tool's arguments are somebody's text. */
static json_t *guarded_object(const struct realm_model *m, json_t *value)
{
    json_t *copy = json_object(), *item;
    const char *key;
    size_t n;
    json_object_foreach(value, key, item)
    {
        char *shown = guarded_text(m, key, strlen(key), &n);
        int failed = !shown || json_object_setn_new_nocheck(copy, shown, n, guarded(m, item));
        mem_free(shown);
        if (failed)
            goto failed;
    }
    return copy;

failed:
    json_decref(copy);
    return NULL;
}

/* A copy in which no string or key spells a control token; NULL when memory is short. */
static json_t *guarded(const struct realm_model *m, const json_t *value)
{
    if (json_is_string(value))
        return guarded_string(m, value);
    if (json_is_array(value))
        return guarded_array(m, value);
    if (json_is_object(value))
        return guarded_object(m, (json_t *)value);
    return json_deep_copy(value);
}

/* Whether value has more than left levels of arrays and objects; asked before
 * anything else walks down. */
static bool deeper_than(const json_t *value, int left)
{
    size_t i;
    json_t *item;
    const char *key;
    if (!json_is_array(value) && !json_is_object(value))
        return false;
    if (left == 0)
        return true;
    json_array_foreach(value, i, item)
    {
        if (deeper_than(item, left - 1))
            return true;
    }
    json_object_foreach((json_t *)value, key, item)
    {
        if (deeper_than(item, left - 1))
            return true;
    }
    return false;
}

/* Templates commonly take content for a string: text parts become one. */
static int join_parts(json_t *message)
{
    const json_t *parts = json_object_get(message, "content");
    if (!json_is_array(parts))
        return 0;
    struct buf text;
    buf_init(&text, PROMPT_BYTES_MAX);
    size_t i;
    json_t *part;
    int status = 0;
    json_array_foreach(parts, i, part)
    {
        const json_t *piece = json_object_get(part, "text");
        if (!status && i)
            status = buf_addch(&text, '\n');
        if (!status)
            status = buf_add(&text, json_string_value(piece), json_string_length(piece));
    }
    if (!status &&
        json_object_set_new(message, "content",
                            json_stringn_nocheck(text.n ? (const char *)text.p : "", text.n)))
        status = REALM_E_NOMEM;
    buf_free(&text);
    return status;
}

/* "developer" is OpenAI's newer word for the system, and to a template that does not know it a
 * message like none: it would be left out without a word. */
static int call_it_system(json_t *message)
{
    const char *role = json_string_value(json_object_get(message, "role"));
    if (!role || strcmp(role, "developer") != 0)
        return 0;
    return json_object_set_new(message, "role", json_string("system")) ? REALM_E_NOMEM : 0;
}

/* The template's variables as JSON text that the caller frees with free(). */
static char *context(const struct realm_model *m, const json_t *messages, const json_t *extra,
                     const struct realm_model_info *info)
{
    json_t *object = extra ? guarded(m, extra) : json_object();
    json_t *talk = guarded(m, messages), *message;
    size_t i;
    char *text = NULL;
    bool has_developers = strstr(info->chat_template, "developer") != NULL;
    json_array_foreach(talk, i, message)
    {
        if (join_parts(message) || (!has_developers && call_it_system(message)))
            goto out;
    }
    if (json_object_set(object, "messages", talk) ||
        json_object_set_new(object, "add_generation_prompt", json_true()) ||
        json_object_set_new(object, "bos_token", json_string(info->bos_text)) ||
        json_object_set_new(object, "eos_token", json_string(info->eos_text)))
        goto out;
    text = json_dumps(object, JSON_COMPACT);

out:
    json_decref(talk);
    json_decref(object);
    return text;
}

/* BOS comes once: from the template's text, or else from the tokenizer. */
static unsigned prompt_flags(const struct realm_model_info *info, const struct buf *text)
{
    size_t n = strlen(info->bos_text);
    bool has_bos = n && text->n >= n && memcmp(text->p, info->bos_text, n) == 0;
    return REALM_TEXT_SPECIAL | (has_bos ? 0 : REALM_TEXT_BOS);
}

int chat_render(struct chat *c, const struct realm_model *m, const struct chat_request *request,
                struct chat_prompt *out, struct realm_error *err)
{
    struct realm_model_info info;
    *out = (struct chat_prompt){0};
    realm_model_info(m, &info);
    if (!info.has_tokenizer)
        return err_set(err, REALM_E_UNSUPPORTED, "the model has no tokenizer");
    if (!info.chat_template)
        return err_set(err, REALM_E_UNSUPPORTED, "the model has no chat template");
    if (deeper_than(request->messages, JSON_DEPTH_MAX) ||
        deeper_than(request->extra, JSON_DEPTH_MAX))
        return err_set(err, REALM_E_ARG, "the conversation is nested more than %d levels deep",
                       JSON_DEPTH_MAX);
    char *json = context(m, request->messages, request->extra, &info);
    if (!json)
        return err_nomem(err, "the conversation");
    struct buf text;
    buf_init(&text, PROMPT_BYTES_MAX);
    const struct slice parts[] = {slice_of(info.chat_template), slice_of(json)};
    const struct helper_task task = {
        .op = HELPER_RENDER,
        .parts = parts,
        .n_parts = ARRAY_LEN(parts),
        .timeout_ms = HELPER_RENDER_MS_MAX,
        .who = request->tenant,
        .wait = request->wait,
    };
    int status = helper_call(c->helper, &task, &text, err);
    free(json);
    if (status) {
        buf_free(&text);
        return status;
    }
    out->flags = prompt_flags(&info, &text);
    out->text = (char *)text.p;
    out->bytes = text.n;
    return 0;
}
