/* api/ask_messages.c - Anthropic's messages, translated to a conversation. */
#include <stdio.h>
#include <string.h>

#include "api/ask_impl.h"

enum { PLACE_MAX = 80 };

static bool says(const json_t *value, const char *word)
{
    return json_is_string(value) && strcmp(json_string_value(value), word) == 0;
}

/* A text block goes into parts; what a model thought, beside it. */
static int add_block(json_t *message, json_t *parts, const json_t *block, const char *place,
                     struct api_error *e)
{
    const json_t *type = json_object_get(block, "type"), *text = json_object_get(block, "text");
    bool spoken = json_is_string(json_object_get(message, "role")) &&
                  says(json_object_get(message, "role"), "assistant");
    char at[PLACE_MAX + 16];
    if (spoken && says(type, "redacted_thinking"))
        return 0;
    if (spoken && says(type, "thinking")) {
        json_t *thought = json_object_get(block, "thinking");
        if (json_is_string(thought))
            return json_object_set(message, "reasoning_content", thought) ? ask_nomem(e) : 0;
    }
    snprintf(at, sizeof(at), "%s.type", place);
    if (!json_is_string(type))
        return api_bad(e, at, NULL, "%s must be a string", at);
    if (!says(type, "text"))
        return ask_refuse(e, at, "%s: this server reads no blocks but those of text", at);
    snprintf(at, sizeof(at), "%s.text", place);
    if (!json_is_string(text))
        return api_bad(e, at, NULL, "%s must be a string", at);
    json_t *part = json_pack("{ss sO}", "type", "text", "text", text);
    return json_array_append_new(parts, part) ? ask_nomem(e) : 0;
}

/* Content of a message: a string as it is, or text blocks. */
static int set_content(json_t *message, const json_t *content, const char *place,
                       struct api_error *e)
{
    char at[PLACE_MAX];
    size_t i;
    json_t *block;
    if (json_is_string(content))
        return json_object_set(message, "content", (json_t *)content) ? ask_nomem(e) : 0;
    if (!json_is_array(content))
        return api_bad(e, place, NULL, "%s must be a string or an array of text blocks", place);
    json_t *parts = json_array();
    if (json_object_set_new(message, "content", parts))
        return ask_nomem(e);
    json_array_foreach(content, i, block)
    {
        snprintf(at, sizeof(at), "%s[%zu]", place, i);
        if (add_block(message, parts, block, at, e))
            return -1;
    }
    return 0;
}

/* The new message is a's. */
static json_t *add_message(struct ask *a, const char *role)
{
    json_t *message = json_pack("{ss}", "role", role);
    if (!a->own_messages)
        a->own_messages = json_array();
    return json_array_append_new(a->own_messages, message) ? NULL : message;
}

static int read_system(struct ask *a, const struct ask_member *m, const json_t *value,
                       struct api_error *e)
{
    if (json_is_array(value) && json_array_size(value) == 0)
        return 0;
    json_t *message = add_message(a, "system");
    return message ? set_content(message, value, m->name, e) : ask_nomem(e);
}

static int translate(struct ask *a, size_t at, const json_t *from, struct api_error *e)
{
    static const char *const roles[] = {"user", "assistant", "system"};
    char place[PLACE_MAX / 2];
    const char *role = NULL;
    for (size_t i = 0; i < ARRAY_LEN(roles); i++)
        if (says(json_object_get(from, "role"), roles[i]))
            role = roles[i];
    snprintf(place, sizeof(place), "messages[%zu].role", at);
    if (!role)
        return api_bad(e, place, NULL, "%s must be user, assistant or system", place);
    json_t *message = add_message(a, role);
    snprintf(place, sizeof(place), "messages[%zu].content", at);
    return message ? set_content(message, json_object_get(from, "content"), place, e)
                   : ask_nomem(e);
}

/* A template is rendered to where the assistant begins to speak, not to where it goes on. */
static int read_messages(struct ask *a, const struct ask_member *m, const json_t *value,
                         struct api_error *e)
{
    size_t n = json_array_size(value), i;
    json_t *message;
    if (n == 0 || n > MESSAGES_MAX - 1)
        return api_bad(e, m->name, NULL, "messages must be an array of 1 to %d messages",
                       MESSAGES_MAX - 1);
    json_array_foreach(value, i, message)
    {
        if (translate(a, i, message, e))
            return -1;
    }
    if (says(json_object_get(json_array_get(value, n - 1), "role"), "assistant"))
        return ask_refuse(e, m->name,
                          "messages: the last one must not be the assistant's, as this "
                          "server does not continue a begun answer");
    a->messages = a->own_messages;
    return 0;
}

static int read_thinking(struct ask *a, const struct ask_member *m, const json_t *value,
                         struct api_error *e)
{
    const json_t *type = json_object_get(value, "type");
    (void)m;
    bool on = says(type, "enabled") || says(type, "adaptive");
    if (!on && !says(type, "disabled") && !says(type, "between_tools"))
        return api_bad(e, "thinking.type", NULL,
                       "thinking.type must be enabled, adaptive, between_tools or disabled");
    return ask_set_variable(a, "enable_thinking", json_boolean(on), e);
}

static int read_tool_choice(struct ask *a, const struct ask_member *m, const json_t *value,
                            struct api_error *e)
{
    const json_t *type = json_object_get(value, "type");
    (void)a;
    if (says(type, "none") || says(type, "auto"))
        return 0;
    return ask_refuse(e, m->name, "tool_choice: this server supports no type but none and auto");
}

static int read_tools(struct ask *a, const struct ask_member *m, const json_t *value,
                      struct api_error *e)
{
    const json_t *choice = json_object_get(a->body, "tool_choice");
    if (json_array_size(value) == 0 || says(json_object_get(choice, "type"), "none"))
        return 0;
    return ask_refuse(e, m->name, "tools are not supported by this server");
}

static int read_output_config(struct ask *a, const struct ask_member *m, const json_t *value,
                              struct api_error *e)
{
    const json_t *effort = json_object_get(value, "effort");
    const json_t *format = json_object_get(value, "format");
    const struct ask_member row = {.name = "output_config.effort"};
    (void)m;
    if (format && !json_is_null(format))
        return ask_refuse(e, "output_config.format",
                          "output_config.format is not supported by this server");
    if (!effort || json_is_null(effort))
        return 0;
    if (!json_is_string(effort))
        return api_bad(e, row.name, NULL, "%s must be a string", row.name);
    return ask_read_effort(a, &row, effort, e);
}

static void defaults(struct realm_sampling *s)
{
    realm_sampling_init(s, REALM_DOOR_OPENAI);
}

/* What is counted is the prompt: count_tokens has no more than this. */
static const struct ask_member talk_rows[] = {
    {.name = "model",
     .kind = ASK_READ,
     .types = ASK_STRING,
     .read = ask_read_model,
     .schema = "{\"maxLength\":256}",
     .help = "a model's id; without it the server's main model answers"},
    {.name = "system",
     .kind = ASK_READ,
     .types = ASK_STRING | ASK_ARRAY,
     .read = read_system,
     .schema = "{\"items\":{\"$ref\":\"#/components/schemas/TextBlock\"}}",
     .help = "what the model is to be; a string or text blocks"},
    {.name = "messages",
     .kind = ASK_READ,
     .types = ASK_ARRAY,
     .required = true,
     .read = read_messages,
     .schema = "{\"minItems\":1,\"maxItems\":2047,\"items\":"
               "{\"$ref\":\"#/components/schemas/AnthropicMessage\"}}",
     .help = "the conversation"},
    {.name = "thinking",
     .kind = ASK_READ,
     .types = ASK_OBJECT,
     .read = read_thinking,
     .schema = "{\"required\":[\"type\"],\"properties\":{\"type\":{\"enum\":[\"enabled\","
               "\"adaptive\",\"between_tools\",\"disabled\"]}}}",
     .help = "whether the model thinks, told to its template"},
    {.name = "output_config",
     .kind = ASK_READ,
     .types = ASK_OBJECT,
     .read = read_output_config,
     .help = "effort is told to the model's template"},
    {.name = "tools", .kind = ASK_READ, .types = ASK_ARRAY, .read = read_tools},
    {.name = "tool_choice", .kind = ASK_READ, .types = ASK_OBJECT, .read = read_tool_choice},
    {.name = "speed", .kind = ASK_NEUTRAL, .types = ASK_STRING, .words = "standard "},
    {.name = "mcp_servers", .kind = ASK_NEUTRAL, .types = ASK_ARRAY},
    {.name = "context_management", .kind = ASK_NEUTRAL, .types = ASK_OBJECT},
    {.name = "output_format", .kind = ASK_REFUSE},
    {.name = "thread", .kind = ASK_REFUSE},
    {.name = "compaction", .kind = ASK_REFUSE},
    ASK_PASS_ROW("cache_control", ASK_OBJECT),
    ASK_PASS_ROW("betas", ASK_ARRAY),
    ASK_PASS_ROW("user_profile_id", ASK_STRING),
    ASK_PASS_ROW("workspace_id", ASK_STRING),
};

static const struct ask_member answer_rows[] = {
    {.name = "max_tokens", .kind = ASK_PARAM, .required = true},
    {.name = "temperature", .kind = ASK_PARAM, .max = 1},
    {.name = "top_p", .kind = ASK_PARAM},
    {.name = "top_k", .kind = ASK_PARAM},
    {.name = "stop_sequences",
     .kind = ASK_READ,
     .types = ASK_ARRAY,
     .read = ask_read_stop,
     .schema = "{\"maxItems\":16,\"items\":"
               "{\"type\":\"string\",\"minLength\":1,\"maxLength\":256}}",
     .help = "the answer ends where one of these is spelled, and is cut before it"},
    ASK_FLAG_ROW("stream", stream, "send the answer as it comes, in events"),
    /* not Anthropic's: other servers' clients, and defaults of tenants, have them at each door */
    ASK_PENALTY_ROWS,
    {.name = "repeat_penalty", .kind = ASK_PARAM, .param = "repetition_penalty"},
    ASK_SEED_ROW,
    ASK_FLAG_ROW("ignore_eos", ignore_end, "go on where the model would end"),
    /* OpenAI's, which its form has no place for */
    ASK_OFF_AT_ROW("n", 1, 1),
    ASK_OFF_ROW("logprobs"),
    ASK_OFF_AT_ROW("top_logprobs", 0, 0),
    ASK_OFF_ROW("logit_bias"),
    ASK_OFF_ROW("stop"),
    {.name = "container", .kind = ASK_REFUSE},
    ASK_PASS_ROW("metadata", ASK_OBJECT),
    ASK_PASS_ROW("service_tier", ASK_STRING),
    ASK_PASS_ROW("inference_geo", ASK_STRING),
    ASK_PASS_ROW("diagnostics", ASK_OBJECT),
    ASK_PASS_ROW("billing_policy", ASK_ANY),
    ASK_PASS_ROW("fallbacks", ASK_ANY),
    ASK_PASS_ROW("fallback_credit_token", ASK_ANY),
};

static const struct ask_group talk_group = ASK_GROUP(talk_rows);

const struct ask_endpoint ask_messages_endpoint = {
    .path = "/v1/messages",
    .summary = "The next message of a conversation, as Anthropic's clients ask for it",
    .own = ASK_GROUP(answer_rows),
    .shared = {&talk_group, &ask_foreign_group},
    .defaults = defaults,
};

const struct ask_endpoint ask_count_endpoint = {
    .path = "/v1/messages/count_tokens",
    .summary = "How many tokens a conversation is",
    .own = ASK_GROUP(talk_rows),
};

int ask_messages(struct ask *a, json_t *body, struct api_error *e)
{
    return ask_read(a, body, &ask_messages_endpoint, e);
}

int ask_count(struct ask *a, json_t *body, struct api_error *e)
{
    return ask_read(a, body, &ask_count_endpoint, e);
}
