/* api/ask_dispatch.c - the parameters of calls on a WebSocket. */
#include "api/ask_impl.h"

static void defaults(struct realm_sampling *s)
{
    realm_sampling_init(s, REALM_DOOR_WEBSOCKET);
}

static const struct ask_member option_rows[] = {
    {.name = "model",
     .kind = ASK_READ,
     .types = ASK_STRING,
     .read = ask_read_model,
     .help = "a model's id; without it the server's main model answers"},
    {.name = "max_tokens", .kind = ASK_PARAM},
    {.name = "temperature", .kind = ASK_PARAM},
    {.name = "top_p", .kind = ASK_PARAM},
    {.name = "top_k", .kind = ASK_PARAM},
    ASK_PENALTY_ROWS,
    ASK_SEED_ROW,
    {.name = "stop",
     .kind = ASK_READ,
     .types = ASK_STRING | ASK_ARRAY,
     .read = ask_read_stop,
     .help = "the answer ends where one of these is spelled, and is cut before it"},
    ASK_FLAG_ROW("stream", stream, "send the answer as it comes"),
    ASK_FLAG_ROW("logprobs", logprobs, "with stream: log-probabilities of the answer's tokens"),
    {.name = "tools", .kind = ASK_NEUTRAL, .types = ASK_ARRAY},
    ASK_OFF_AT_ROW("n", 1, 1),
    ASK_OFF_AT_ROW("top_logprobs", 0, 0),
    ASK_OFF_ROW("logit_bias"),
};

static const struct ask_member generate_rows[] = {
    {.name = "prompt",
     .kind = ASK_READ,
     .types = ASK_STRING,
     .required = true,
     .read = ask_read_prompt,
     .help = "the text to continue"},
};

static const struct ask_member chat_rows[] = {
    {.name = "messages",
     .kind = ASK_READ,
     .types = ASK_ARRAY,
     .required = true,
     .read = ask_read_messages,
     .help = "the conversation"},
};

static const struct ask_group option_group = ASK_GROUP(option_rows);

const struct ask_endpoint ask_generate_endpoint = {
    .path = "generate",
    .summary = "Text that continues a prompt",
    .own = ASK_GROUP(generate_rows),
    .shared = {&option_group, &ask_foreign_group},
    .defaults = defaults,
};

const struct ask_endpoint ask_call_endpoint = {
    .path = "chat",
    .summary = "The next message of a conversation",
    .own = ASK_GROUP(chat_rows),
    .shared = {&option_group, &ask_foreign_group},
    .defaults = defaults,
};

int ask_dispatch(struct ask *a, json_t *params, bool chat, struct api_error *e)
{
    return ask_read(a, params, chat ? &ask_call_endpoint : &ask_generate_endpoint, e);
}
