/* api/ask_common.c - members that mean the same at several doors. */
#include <stdio.h>
#include <string.h>

#include "api/ask_impl.h"
#include "base/mem.h"
#include "chat/chat.h"

/* No NUL: the text goes on as a C string. */
static bool is_plain(const json_t *value)
{
    const char *text = json_string_value(value);
    return text && strlen(text) == json_string_length(value);
}

/* "" names no model, as clients that do not care send it. */
int ask_read_model(struct ask *a, const struct ask_member *m, const json_t *value,
                   struct api_error *e)
{
    if (!is_plain(value) || json_string_length(value) > MODEL_NAME_MAX)
        return api_bad(e, m->name, NULL, "%s must be a name of at most %d bytes without NUL",
                       m->name, MODEL_NAME_MAX);
    a->model = json_string_length(value) ? json_string_value(value) : NULL;
    return 0;
}

/* A tool's answer belongs to a call. */
static int check_tool_ids(const json_t *messages, struct api_error *e)
{
    size_t i;
    json_t *message;
    char place[48];
    json_array_foreach(messages, i, message)
    {
        const char *role = json_string_value(json_object_get(message, "role"));
        if (!role || strcmp(role, "tool") != 0 ||
            json_is_string(json_object_get(message, "tool_call_id")))
            continue;
        snprintf(place, sizeof(place), "messages[%zu].tool_call_id", i);
        return api_bad(e, place, NULL, "%s must be a string", place);
    }
    return 0;
}

int ask_read_messages(struct ask *a, const struct ask_member *m, const json_t *value,
                      struct api_error *e)
{
    struct realm_error err;
    int status = chat_check(value, &err);
    if (status)
        return api_from_status(e, status, &err);
    a->messages = value;
    (void)m;
    return check_tool_ids(value, e);
}

/* ---------------------------------------------------------------- prompts -- */

static struct ask_prompt *last_prompt(struct ask *a)
{
    return &a->prompts[a->n_prompts++];
}

int ask_add_text(struct ask *a, const json_t *value)
{
    struct ask_prompt *p = last_prompt(a);
    *p = (struct ask_prompt){.text = json_string_value(value), .bytes = json_string_length(value)};
    return 0;
}

int ask_add_ids(struct ask *a, const json_t *value, const char *place, struct api_error *e)
{
    size_t n = json_array_size(value), i;
    json_t *id;
    struct ask_prompt *p = last_prompt(a);
    *p = (struct ask_prompt){.ids = mem_array(n, sizeof(*p->ids)), .n_ids = n};
    if (!p->ids)
        return ask_nomem(e);
    json_array_foreach(value, i, id)
    {
        json_int_t number = json_integer_value(id);
        if (!json_is_integer(id) || number < 0 || number >= MODEL_VOCAB_MAX)
            return api_bad(e, place, NULL, "%s: ids are whole numbers from 0 to %d", place,
                           MODEL_VOCAB_MAX - 1);
        p->ids[i] = (uint32_t)number;
    }
    return 0;
}

static int add_input(struct ask *a, const char *name, size_t at, const json_t *value,
                     struct api_error *e)
{
    char place[48];
    snprintf(place, sizeof(place), "%s[%zu]", name, at);
    if (json_is_string(value))
        return ask_add_text(a, value);
    if (json_is_array(value) && json_array_size(value))
        return ask_add_ids(a, value, place, e);
    return api_bad(e, place, NULL, "%s must be a string or an array of ids", place);
}

int ask_read_inputs(struct ask *a, const char *name, const json_t *value, size_t max,
                    struct api_error *e)
{
    size_t n = json_is_array(value) ? json_array_size(value) : 1, i;
    json_t *item;
    bool one = !json_is_array(value) || json_is_number(json_array_get(value, 0));
    if (!one && (n == 0 || n > max))
        return api_bad(e, name, NULL, "%s must be an array of 1 to %zu items, and has %zu", name,
                       max, n);
    a->prompts = mem_zarray(one ? 1 : n, sizeof(*a->prompts));
    if (!a->prompts)
        return ask_nomem(e);
    if (one)
        return json_is_string(value) ? ask_add_text(a, value) : ask_add_ids(a, value, name, e);
    json_array_foreach(value, i, item)
    {
        if (add_input(a, name, i, item, e))
            return -1;
    }
    return 0;
}

int ask_read_prompt(struct ask *a, const struct ask_member *m, const json_t *value,
                    struct api_error *e)
{
    return ask_read_inputs(a, m->name, value, CHOICES_MAX, e);
}

int ask_check_choices(const struct ask *a, const char *param, struct api_error *e)
{
    if (a->n * a->n_prompts <= CHOICES_MAX)
        return 0;
    return api_bad(e, param, NULL,
                   "%s times the number of prompts must be from 1 to %d, and is %zu", param,
                   CHOICES_MAX, a->n * a->n_prompts);
}

/* ------------------------------------------------------ how it is answered -- */

static int add_stop(struct ask *a, const char *name, const json_t *value, struct api_error *e)
{
    size_t n = json_string_length(value);
    if (!is_plain(value) || n == 0 || n > STOP_BYTES_MAX || a->n_stop == STOP_MAX)
        return api_bad(e, name, NULL,
                       "%s must be a string of 1 to %d bytes without NUL, or an array of up to %d",
                       name, STOP_BYTES_MAX, STOP_MAX);
    a->stop[a->n_stop++] = json_string_value(value);
    return 0;
}

int ask_read_stop(struct ask *a, const struct ask_member *m, const json_t *value,
                  struct api_error *e)
{
    size_t i;
    json_t *item;
    if (!json_is_array(value))
        return add_stop(a, m->name, value, e);
    json_array_foreach(value, i, item)
    {
        if (add_stop(a, m->name, item, e))
            return -1;
    }
    return 0;
}

/* llama-server's name for max_tokens, where OpenAI's calls have it, too; -1: no limit. */
int ask_read_n_predict(struct ask *a, const struct ask_member *m, const json_t *value,
                       struct api_error *e)
{
    json_int_t n = json_integer_value(value);
    if (!json_is_integer(value) || n == 0 || n < -1 || n > UINT32_MAX)
        return api_bad(e, m->name, NULL, "%s must be -1 or a whole number from 1 to %u", m->name,
                       UINT32_MAX);
    uint32_t most = n > 0 ? (uint32_t)n : 0, other = a->sampling.max_tokens;
    if (a->prompt_only || (other && other != most))
        return api_bad(e, m->name, NULL, "%s and max_tokens must not differ", m->name);
    a->sampling.max_tokens = most;
    return 0;
}

/* -1 is how clients of llama-server and vLLM ask for a fresh one. */
int ask_read_seed(struct ask *a, const struct ask_member *m, const json_t *value,
                  struct api_error *e)
{
    (void)m, (void)e;
    if (json_integer_value(value) == -1)
        return 0;
    a->sampling.has_seed = true;
    a->sampling.seed = (uint64_t)json_integer_value(value);
    return 0;
}

int ask_read_priority(struct ask *a, const struct ask_member *m, const json_t *value,
                      struct api_error *e)
{
    json_int_t n = json_integer_value(value);
    if (n < -PRIORITY_MAX || n > PRIORITY_MAX)
        return api_bad(e, m->name, NULL, "%s must be from %d up to %d", m->name, -PRIORITY_MAX,
                       PRIORITY_MAX);
    a->priority = (int32_t)n;
    return 0;
}

static int bad_bias(const struct ask_member *m, struct api_error *e)
{
    return api_bad(e, m->name, NULL,
                   "%s must give at most %d ids, from 0 to %d, numbers from -100 to 100", m->name,
                   LOGIT_BIAS_MAX, MODEL_VOCAB_MAX - 1);
}

static int add_bias(struct ask *a, const struct ask_member *m, json_int_t id, const json_t *value,
                    struct api_error *e)
{
    /* llama-server's word for never. */
    double bias = json_is_false(value) ? -100 : json_number_value(value);
    bool fits = json_is_false(value) || json_is_number(value);
    if (!fits || bias < -100 || bias > 100 || id < 0 || id >= MODEL_VOCAB_MAX)
        return bad_bias(m, e);
    a->bias[a->n_bias++] = (struct realm_logit_bias){(uint32_t)id, (float)bias};
    return 0;
}

/* -1: no id.  Digits alone, so that it is the id that the client meant. */
static json_int_t read_id(const char *text)
{
    json_int_t id = 0;
    size_t n = strlen(text);
    if (n == 0 || n > 9 || strspn(text, "0123456789") != n)
        return -1;
    for (; *text; text++)
        id = id * 10 + (*text - '0');
    return id;
}

static int add_biases(struct ask *a, const struct ask_member *m, json_t *value, struct api_error *e)
{
    const char *key;
    size_t i;
    json_t *item;
    json_object_foreach(value, key, item)
    {
        if (add_bias(a, m, read_id(key), item, e))
            return -1;
    }
    json_array_foreach(value, i, item)
    {
        const json_t *id = json_array_get(item, 0), *bias = json_array_get(item, 1);
        if (json_array_size(item) != 2)
            return bad_bias(m, e);
        if (add_bias(a, m, json_is_integer(id) ? json_integer_value(id) : -1, bias, e))
            return -1;
    }
    return 0;
}

/* OpenAI's {"id": bias}, or llama-server's [[id, bias]]. */
int ask_read_bias(struct ask *a, const struct ask_member *m, const json_t *value,
                  struct api_error *e)
{
    size_t n = json_is_array(value) ? json_array_size(value) : json_object_size(value);
    if (n > LOGIT_BIAS_MAX || json_is_true(value))
        return bad_bias(m, e);
    if (n == 0)
        return 0;
    a->bias = mem_array(n, sizeof(*a->bias));
    return a->bias ? add_biases(a, m, (json_t *)value, e) : ask_nomem(e);
}

int ask_nested_flag(const json_t *value, const char *key, const char *place, bool *out,
                    struct api_error *e)
{
    const json_t *flag = json_object_get(value, key);
    if (!flag || json_is_null(flag))
        return 0;
    if (!json_is_boolean(flag))
        return api_bad(e, place, NULL, "%s must be true or false", place);
    *out = json_is_true(flag);
    return 0;
}

int ask_read_stream_options(struct ask *a, const struct ask_member *m, const json_t *value,
                            struct api_error *e)
{
    (void)m;
    if (ask_nested_flag(value, "include_usage", "stream_options.include_usage", &a->include_usage,
                        e))
        return -1;
    return ask_nested_flag(value, "include_obfuscation", "stream_options.include_obfuscation",
                           &a->include_obfuscation, e);
}

int ask_read_response_format(struct ask *a, const struct ask_member *m, const json_t *value,
                             struct api_error *e)
{
    const char *type = json_string_value(json_object_get(value, "type"));
    (void)a;
    if (!type)
        return api_bad(e, "response_format.type", NULL, "response_format.type must be a string");
    if (strcmp(type, "text") == 0)
        return 0;
    return ask_refuse(e, m->name, "response_format: this server supports no type but text");
}

/* ---------------------------------------------------- the template's variables -- */

int ask_set_variable(struct ask *a, const char *name, json_t *value, struct api_error *e)
{
    if (!a->variables)
        a->variables = json_object();
    return json_object_set_new(a->variables, name, value) ? ask_nomem(e) : 0;
}

/* A template is a program, and only the model's own is run. */
int ask_read_template(struct ask *a, const struct ask_member *m, const json_t *value,
                      struct api_error *e)
{
    (void)a, (void)value;
    return api_bad(e, m->name, "not_allowed", "%s: a request may not bring a template of its own",
                   m->name);
}

/* What every template is given; add_generation_prompt is always true. */
static bool is_ours(const char *variable, const json_t *value)
{
    static const char *const ours[] = {"messages", "bos_token", "eos_token"};
    for (size_t i = 0; i < ARRAY_LEN(ours); i++)
        if (strcmp(variable, ours[i]) == 0)
            return true;
    return strcmp(variable, "add_generation_prompt") == 0 && !json_is_true(value);
}

int ask_read_variables(struct ask *a, const struct ask_member *m, const json_t *value,
                       struct api_error *e)
{
    const char *key;
    json_t *item;
    char place[64];
    json_object_foreach((json_t *)value, key, item)
    {
        snprintf(place, sizeof(place), "%s.%s", m->name, key);
        if (is_ours(key, item))
            return ask_refuse(e, place, "%s is not a request's to set", place);
        if (ask_set_variable(a, key, json_incref(item), e))
            return -1;
    }
    return 0;
}

int ask_read_thinking(struct ask *a, const struct ask_member *m, const json_t *value,
                      struct api_error *e)
{
    return ask_set_variable(a, m->name, json_boolean(json_is_true(value)), e);
}

/* Templates that know of no effort know at least of thinking or not. */
int ask_read_effort(struct ask *a, const struct ask_member *m, const json_t *value,
                    struct api_error *e)
{
    static const char *const levels[] = {"none", "minimal", "low", "medium",
                                         "high", "xhigh",   "max"};
    bool known = false;
    for (size_t i = 0; i < ARRAY_LEN(levels); i++)
        known = known || strcmp(json_string_value(value), levels[i]) == 0;
    if (!known)
        return api_bad(e, m->name, NULL,
                       "%s must be none, minimal, low, medium, high, xhigh or max", m->name);
    if (strcmp(json_string_value(value), "none") == 0 &&
        ask_set_variable(a, "enable_thinking", json_false(), e))
        return -1;
    return ask_set_variable(a, "reasoning_effort", json_incref((json_t *)value), e);
}
