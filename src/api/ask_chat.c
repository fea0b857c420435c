/* api/ask_chat.c - OpenAI's chat completions. */
#include <string.h>

#include "api/ask_impl.h"

static bool says(const json_t *value, const char *word)
{
    return json_is_string(value) && strcmp(json_string_value(value), word) == 0;
}

/* Tools that the client forbids to be called need not be shown. */
static int read_tools(struct ask *a, const struct ask_member *m, const json_t *value,
                      struct api_error *e)
{
    if (json_array_size(value) == 0 || says(json_object_get(a->body, "tool_choice"), "none"))
        return 0;
    return ask_refuse(e, m->name, "tools are not supported by this server");
}

static int read_modalities(struct ask *a, const struct ask_member *m, const json_t *value,
                           struct api_error *e)
{
    size_t i;
    json_t *item;
    (void)a;
    json_array_foreach(value, i, item)
    {
        if (!says(item, "text"))
            return ask_refuse(e, m->name, "modalities: this server supports none but text");
    }
    return 0;
}

/* max_completion_tokens is read last. */
static int finish(struct ask *a, const struct ask_member *m, const json_t *value,
                  struct api_error *e)
{
    const json_t *old = json_object_get(a->body, "max_tokens");
    (void)m, (void)value;
    if (json_is_integer(old) && (uint32_t)json_integer_value(old) != a->sampling.max_tokens)
        return api_bad(e, "max_completion_tokens", NULL,
                       "max_completion_tokens and max_tokens must not differ");
    if (a->top_logprobs && !a->logprobs)
        return api_bad(e, "top_logprobs", NULL, "top_logprobs needs logprobs to be true");
    return 0;
}

static void defaults(struct realm_sampling *s)
{
    realm_sampling_init(s, REALM_DOOR_OPENAI);
}

static const struct ask_member rows[] = {
    {.name = "messages",
     .kind = ASK_READ,
     .types = ASK_ARRAY,
     .required = true,
     .read = ask_read_messages,
     .schema = "{\"minItems\":1,\"maxItems\":2048,\"items\":{\"$ref\":"
               "\"#/components/schemas/Message\"}}",
     .help = "the conversation"},
    {.name = "max_tokens", .kind = ASK_PARAM},
    {.name = "max_completion_tokens", .kind = ASK_PARAM, .param = "max_tokens"},
    ASK_N_PREDICT_ROW,
    ASK_FLAG_ROW("logprobs", logprobs, "log-probabilities of the answer's tokens"),
    {.name = "top_logprobs",
     .kind = ASK_COUNT,
     .at = offsetof(struct ask, top_logprobs),
     .max = 20,
     .help = "and of this many likeliest tokens at each place"},
    {.name = "reasoning_effort",
     .kind = ASK_READ,
     .types = ASK_STRING,
     .read = ask_read_effort,
     .schema = "{\"enum\":[\"none\",\"minimal\",\"low\",\"medium\",\"high\",\"xhigh\",\"max\","
               "null]}",
     .help = "told to the model's template; none: no thinking"},
    {.name = "enable_thinking",
     .kind = ASK_READ,
     .types = ASK_BOOL,
     .read = ask_read_thinking,
     .help = "told to the model's template"},
    {.name = "chat_template_kwargs",
     .kind = ASK_READ,
     .types = ASK_OBJECT,
     .read = ask_read_variables,
     .help = "further variables of the model's template"},
    ASK_FLAG_ROW("timings_per_token", timings, "llama-server's timings in each event"),
    {.name = "tools", .kind = ASK_READ, .types = ASK_ARRAY, .read = read_tools},
    {.name = "tool_choice",
     .kind = ASK_NEUTRAL,
     .types = ASK_STRING | ASK_OBJECT,
     .words = "none auto "},
    ASK_PASS_ROW("parallel_tool_calls", ASK_BOOL),
    {.name = "functions", .kind = ASK_NEUTRAL, .types = ASK_ARRAY},
    {.name = "function_call",
     .kind = ASK_NEUTRAL,
     .types = ASK_STRING | ASK_OBJECT,
     .words = "none auto "},
    {.name = "modalities", .kind = ASK_READ, .types = ASK_ARRAY, .read = read_modalities},
    {.name = "audio", .kind = ASK_REFUSE},
    {.name = "moderation", .kind = ASK_REFUSE},
    {.name = "prediction", .kind = ASK_REFUSE},
    {.name = "web_search_options", .kind = ASK_REFUSE},
    {.name = "store", .kind = ASK_NEUTRAL, .types = ASK_BOOL},
    {.name = "service_tier", .kind = ASK_NEUTRAL, .types = ASK_STRING, .words = "auto default "},
    {.name = "verbosity", .kind = ASK_NEUTRAL, .types = ASK_STRING, .words = "medium "},
    ASK_PASS_ROW("metadata", ASK_OBJECT),
    ASK_PASS_ROW("prompt_cache_key", ASK_STRING),
    ASK_PASS_ROW("prompt_cache_options", ASK_OBJECT),
    ASK_PASS_ROW("prompt_cache_retention", ASK_STRING),
    ASK_PASS_ROW("safety_identifier", ASK_STRING),
    /* llama-server and vLLM */
    {.name = "n_probs", .kind = ASK_NEUTRAL, .types = ASK_INT},
    {.name = "reasoning_format",
     .kind = ASK_NEUTRAL,
     .types = ASK_STRING,
     .words = "auto deepseek "},
    {.name = "include_reasoning", .kind = ASK_NEUTRAL, .types = ASK_BOOL, .words = "true "},
    {.name = "add_special_tokens", .kind = ASK_NEUTRAL, .types = ASK_BOOL},
    {.name = "echo", .kind = ASK_NEUTRAL, .types = ASK_BOOL},
    {.name = "add_generation_prompt", .kind = ASK_NEUTRAL, .types = ASK_BOOL, .words = "true "},
    {.name = "continue_final_message", .kind = ASK_NEUTRAL, .types = ASK_BOOL},
};

const struct ask_endpoint ask_chat_endpoint = {
    .path = "/v1/chat/completions",
    .summary = "The next message of a conversation",
    .own = ASK_GROUP(rows),
    .shared = {&ask_openai_group, &ask_foreign_group},
    .defaults = defaults,
    .finish = finish,
};

int ask_chat(struct ask *a, json_t *body, struct api_error *e)
{
    return ask_read(a, body, &ask_chat_endpoint, e);
}
