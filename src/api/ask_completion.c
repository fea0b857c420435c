/* api/ask_completion.c - OpenAI's completions of old, which evaluation harnesses use. */
#include "api/ask_impl.h"

/* 0 is for who wants the prompt back with its log-probabilities. */
static int read_max_tokens(struct ask *a, const struct ask_member *m, const json_t *value,
                           struct api_error *e)
{
    bool none = json_is_integer(value) && json_integer_value(value) == 0;
    a->prompt_only = none && json_is_true(json_object_get(a->body, "echo"));
    return a->prompt_only ? 0 : ask_read_param(a, m, value, e);
}

static int read_logprobs(struct ask *a, const struct ask_member *m, const json_t *value,
                         struct api_error *e)
{
    const int most = 5;
    json_int_t n = json_integer_value(value);
    if (!json_is_integer(value) || n < 0 || n > most)
        return api_bad(e, m->name, NULL, "%s must be a whole number from 0 to %d", m->name, most);
    a->logprobs = true;
    a->top_logprobs = (uint32_t)n;
    return 0;
}

/* Answers are not drawn to be thrown away. */
static int finish(struct ask *a, const struct ask_member *m, const json_t *value,
                  struct api_error *e)
{
    const json_t *best = json_object_get(a->body, "best_of");
    (void)m, (void)value;
    if (best && !json_is_null(best) && json_integer_value(best) != (json_int_t)a->n)
        return ask_refuse(e, "best_of", "best_of: this server supports no value but that of n");
    return ask_check_choices(a, "n", e);
}

static int read_best_of(struct ask *a, const struct ask_member *m, const json_t *value,
                        struct api_error *e)
{
    (void)a;
    if (json_integer_value(value) >= 1 && json_integer_value(value) <= CHOICES_MAX)
        return 0;
    return api_bad(e, m->name, NULL, "%s must be a whole number from 1 to %d", m->name,
                   CHOICES_MAX);
}

static void defaults(struct realm_sampling *s)
{
    realm_sampling_init(s, REALM_DOOR_OPENAI);
}

static const struct ask_member rows[] = {
    {.name = "prompt",
     .kind = ASK_READ,
     .types = ASK_STRING | ASK_ARRAY,
     .required = true,
     .read = ask_read_prompt,
     .schema = ASK_PROMPTS_SCHEMA,
     .help = "text or ids, or an array of such prompts"},
    ASK_FLAG_ROW("echo", echo, "the prompt comes before its answer"),
    {.name = "max_tokens",
     .kind = ASK_READ,
     .types = ASK_ANY,
     .param = "max_tokens",
     .read = read_max_tokens,
     .schema = "{\"minimum\":0}"},
    ASK_N_PREDICT_ROW,
    {.name = "logprobs",
     .kind = ASK_READ,
     .types = ASK_ANY,
     .read = read_logprobs,
     .schema = "{\"type\":[\"integer\",\"null\"],\"minimum\":0,\"maximum\":5}",
     .help = "log-probabilities of tokens, and of this many likeliest at each place"},
    {.name = "best_of",
     .kind = ASK_READ,
     .types = ASK_INT,
     .read = read_best_of,
     .schema = "{\"minimum\":1,\"maximum\":16}",
     .help = "no value but that of n is supported"},
    /* a conversation's */
    ASK_OFF_AT_ROW("top_logprobs", 0, 0),
    {.name = "tools", .kind = ASK_NEUTRAL, .types = ASK_ARRAY},
    {.name = "suffix", .kind = ASK_NEUTRAL, .types = ASK_STRING},
    {.name = "n_probs", .kind = ASK_NEUTRAL, .types = ASK_INT},
    {.name = "add_special_tokens", .kind = ASK_NEUTRAL, .types = ASK_BOOL, .words = "true "},
    ASK_FLAG_ROW("timings_per_token", timings, "llama-server's timings in each event"),
};

const struct ask_endpoint ask_completion_endpoint = {
    .path = "/v1/completions",
    .summary = "Text that continues prompts",
    .own = ASK_GROUP(rows),
    .shared = {&ask_openai_group, &ask_foreign_group},
    .defaults = defaults,
    .finish = finish,
};

int ask_completion(struct ask *a, json_t *body, struct api_error *e)
{
    return ask_read(a, body, &ask_completion_endpoint, e);
}
