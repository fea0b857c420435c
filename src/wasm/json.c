/* wasm/json.c - JSON that a guest wrote. */
#include "wasm/json.h"

#include <string.h>

#include "base/err.h"
#include "base/limits.h"
#include "chat/chat.h"

static int read_number(const json_t *request, const char *key, const char *name,
                       struct realm_sampling *s, struct realm_error *err)
{
    const json_t *value = json_object_get(request, key);
    if (!value || json_is_null(value))
        return 0;
    if (!json_is_number(value))
        return err_set(err, REALM_E_ARG, "%s must be a number", key);
    int status = realm_sampling_set(s, name, json_number_value(value), err);
    /* A double cannot hold every seed. */
    if (!status && strcmp(name, "seed") == 0 && json_is_integer(value))
        s->seed = (uint64_t)json_integer_value(value);
    return status;
}

static int read_sampling(const json_t *request, struct realm_sampling *s, struct realm_error *err)
{
    size_t n;
    const struct realm_param *params = realm_params(&n);
    realm_sampling_init(s, REALM_DOOR_OPENAI);
    int status = 0;
    for (size_t i = 0; !status && i < n; i++)
        status = read_number(request, params[i].name, params[i].name, s, err);
    if (!status)
        status = read_number(request, "max_completion_tokens", "max_tokens", s, err);
    return status;
}

static int add_stop(const json_t *value, struct json_wish *out, struct realm_error *err)
{
    const char *text = json_string_value(value);
    size_t n = json_string_length(value);
    if (!text || n == 0 || n > STOP_BYTES_MAX || strlen(text) != n || out->n_stop == JSON_STOP_MAX)
        return err_set(err, REALM_E_ARG,
                       "stop must be a string of 1 to %d bytes, or an array of up to %d",
                       STOP_BYTES_MAX, JSON_STOP_MAX);
    out->stop[out->n_stop++] = text;
    return 0;
}

static int read_stop(const json_t *request, struct json_wish *out, struct realm_error *err)
{
    const json_t *stop = json_object_get(request, "stop"), *item;
    size_t i;
    int status = 0;
    if (!stop || json_is_null(stop))
        return 0;
    if (!json_is_array(stop))
        return add_stop(stop, out, err);
    json_array_foreach(stop, i, item)
    {
        if (!status)
            status = add_stop(item, out, err);
    }
    return status;
}

int json_wish_read(const json_t *request, struct json_wish *out, struct realm_error *err)
{
    const json_t *prompt = json_object_get(request, "prompt"), *n = json_object_get(request, "n");
    *out = (struct json_wish){.messages = json_object_get(request, "messages")};
    int status = out->messages ? chat_check(out->messages, err) : 0;
    if (status)
        return status;
    if (!out->messages && !json_is_string(prompt))
        return err_set(err, REALM_E_ARG, "the request needs messages, or a prompt as a string");
    if (n && !json_is_null(n) && json_integer_value(n) != 1)
        return err_set(err, REALM_E_ARG, "n must be 1");
    out->prompt = out->messages ? NULL : json_string_value(prompt);
    out->prompt_bytes = out->messages ? 0 : json_string_length(prompt);
    status = read_sampling(request, &out->sampling, err);
    return status ? status : read_stop(request, out, err);
}

static json_t *number(const struct realm_sampling *s, const struct realm_param *p)
{
    const void *field = (const char *)s + p->offset;
    switch (p->type) {
    case REALM_PARAM_U32:
        return json_integer(*(const uint32_t *)field);
    case REALM_PARAM_F32:
        return json_real((double)*(const float *)field);
    case REALM_PARAM_U64:
        break;
    }
    return json_integer((json_int_t)(*(const uint64_t *)field & INT64_MAX));
}

/* What stands for "none given" has no number of its own. */
static bool is_given(const struct realm_sampling *s, const char *name)
{
    if (strcmp(name, "seed") == 0)
        return s->has_seed;
    return strcmp(name, "max_tokens") != 0 || s->max_tokens;
}

json_t *json_wish_write(const json_t *messages, const char *prompt, size_t bytes,
                        const struct realm_sampling *sampling)
{
    size_t n = 0;
    const struct realm_param *params = realm_params(&n);
    json_t *request = json_object();
    int failed = messages
                     ? json_object_set(request, "messages", (json_t *)messages)
                     : json_object_set_new(request, "prompt", json_stringn_nocheck(prompt, bytes));
    for (size_t i = 0; sampling && !failed && i < n; i++)
        if (is_given(sampling, params[i].name))
            failed = json_object_set_new(request, params[i].name, number(sampling, &params[i]));
    if (!failed)
        return request;
    json_decref(request);
    return NULL;
}
