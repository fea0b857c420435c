/* api/ask_llama.c - llama-server's completions, with its names and defaults. */
#include <stdio.h>
#include <string.h>

#include "api/ask_impl.h"
#include "base/mem.h"

static void defaults(struct realm_sampling *s)
{
    realm_sampling_init(s, REALM_DOOR_OPENAI);
    s->temperature = 0.8f;
    s->top_k = 40;
    s->top_p = 0.95f;
    s->min_p = 0.05f;
}

/* ---------------------------------------------------------------- prompts -- */

/* {"prompt_string": text}, which might have pictures beside it. */
static int add_object(struct ask *a, const json_t *value, const char *place, struct api_error *e)
{
    const json_t *text = json_object_get(value, "prompt_string");
    const json_t *data = json_object_get(value, "multimodal_data");
    if (json_array_size(data) || (data && !json_is_array(data) && !json_is_null(data)))
        return ask_refuse(e, place, "%s: this server reads no images or sounds", place);
    if (!json_is_string(text))
        return api_bad(e, place, NULL, "%s.prompt_string must be a string", place);
    return ask_add_text(a, text);
}

/* Text and ids by turns. */
static int add_parts(struct ask *a, const json_t *value, const char *place, struct api_error *e)
{
    size_t i;
    json_t *part;
    json_array_foreach(value, i, part)
    {
        bool id = json_is_integer(part) && json_integer_value(part) >= 0 &&
                  json_integer_value(part) < MODEL_VOCAB_MAX;
        if (!id && !json_is_string(part))
            return api_bad(e, place, NULL, "%s must be made of strings and ids from 0 to %d", place,
                           MODEL_VOCAB_MAX - 1);
    }
    a->prompts[a->n_prompts++] = (struct ask_prompt){.parts = value};
    return 0;
}

static bool has_type(const json_t *array, json_type type)
{
    size_t i;
    json_t *item;
    json_array_foreach(array, i, item)
    {
        if (json_typeof(item) == type)
            return true;
    }
    return false;
}

static int add_prompt(struct ask *a, const json_t *value, const char *place, struct api_error *e)
{
    if (json_is_string(value))
        return ask_add_text(a, value);
    if (json_is_object(value))
        return add_object(a, value, place, e);
    if (json_array_size(value) == 0)
        return api_bad(e, place, NULL, "%s must be a string or an array of strings and ids", place);
    return has_type(value, JSON_STRING) ? add_parts(a, value, place, e)
                                        : ask_add_ids(a, value, place, e);
}

/* An array with a number in it is one prompt, any other an array of prompts. */
static int read_prompt(struct ask *a, const struct ask_member *m, const json_t *value,
                       struct api_error *e)
{
    bool many =
        json_is_array(value) && !has_type(value, JSON_INTEGER) && !has_type(value, JSON_REAL);
    size_t n = many ? json_array_size(value) : 1, i;
    json_t *item;
    char place[48];
    a->special = true;
    if (n == 0 || n > CHOICES_MAX)
        return api_bad(e, m->name, NULL, "%s must be an array of 1 to %d prompts", m->name,
                       CHOICES_MAX);
    a->prompts = mem_zarray(n, sizeof(*a->prompts));
    if (!a->prompts)
        return ask_nomem(e);
    if (!many)
        return add_prompt(a, value, m->name, e);
    json_array_foreach(value, i, item)
    {
        snprintf(place, sizeof(place), "%s[%zu]", m->name, i);
        if (add_prompt(a, item, place, e))
            return -1;
    }
    return 0;
}

/* ---------------------------------------------------------------- options -- */

/* -1: as many as there is room for; 0: the prompt is read and nothing drawn. */
static int read_length(struct ask *a, const struct ask_member *m, const json_t *value,
                       struct api_error *e)
{
    json_int_t n = json_integer_value(value);
    if (!json_is_integer(value) || n < -1 || n > UINT32_MAX)
        return api_bad(e, m->name, NULL, "%s must be a whole number from -1 to %u", m->name,
                       UINT32_MAX);
    a->prompt_only = n == 0;
    a->sampling.max_tokens = n > 0 ? (uint32_t)n : 0;
    return 0;
}

static int read_seed(struct ask *a, const struct ask_member *m, const json_t *value,
                     struct api_error *e)
{
    /* llama-server's seeds have 32 bits: this is its -1. */
    return json_integer_value(value) == UINT32_MAX ? 0 : ask_read_seed(a, m, value, e);
}

static int read_n_probs(struct ask *a, const struct ask_member *m, const json_t *value,
                        struct api_error *e)
{
    json_int_t n = json_integer_value(value);
    if (!json_is_integer(value) || n < 0 || n > TOP_LOGPROBS_MAX)
        return api_bad(e, m->name, NULL, "%s must be a whole number from 0 to %d", m->name,
                       TOP_LOGPROBS_MAX);
    a->logprobs = n > 0;
    a->top_logprobs = (uint32_t)n;
    return 0;
}

static void penalties_off(struct realm_sampling *s)
{
    s->repetition_penalty = 1;
    s->presence_penalty = 0;
    s->frequency_penalty = 0;
}

static bool penalties_are_off(const struct realm_sampling *s)
{
    return s->repetition_penalty == 1 && s->presence_penalty == 0 && s->frequency_penalty == 0;
}

enum { REPEAT_LAST_N = 64 };

int ask_read_repeat_last_n(struct ask *a, const struct ask_member *m, const json_t *value,
                           struct api_error *e)
{
    json_int_t n = json_integer_value(value);
    if (n == 0)
        penalties_off(&a->sampling);
    if (n == REPEAT_LAST_N || penalties_are_off(&a->sampling))
        return 0;
    return ask_refuse(e, m->name, "%s: this server supports no value but 0 and %d", m->name,
                      REPEAT_LAST_N);
}

enum sampler { PENALTIES, TOP_K, TOP_P, MIN_P, TEMPERATURE, SAMPLERS, OTHER = SAMPLERS, UNKNOWN };

static enum sampler sampler_of(const json_t *name)
{
    static const char *const names[] = {"penalties", "top_k", "top_p", "min_p", "temperature"};
    static const char *const others[] = {"dry",         "typ_p",    "typical_p", "xtc",
                                         "top_n_sigma", "temp_ext", "adaptive_p"};
    for (size_t i = 0; json_is_string(name) && i < ARRAY_LEN(names); i++)
        if (strcmp(json_string_value(name), names[i]) == 0)
            return (enum sampler)i;
    for (size_t i = 0; json_is_string(name) && i < ARRAY_LEN(others); i++)
        if (strcmp(json_string_value(name), others[i]) == 0)
            return OTHER;
    return UNKNOWN;
}

static void switch_off(struct realm_sampling *s, bool on[SAMPLERS])
{
    if (!on[PENALTIES])
        penalties_off(s);
    if (!on[TOP_K])
        s->top_k = 0;
    if (!on[TOP_P])
        s->top_p = 1;
    if (!on[MIN_P])
        s->min_p = 0;
    if (!on[TEMPERATURE])
        s->temperature = 1;
}

/* Those that are left out are off; the order of the others is this engine's own.  Samplers
 * that it lacks are off anyway, or their own members are refused. */
int ask_read_samplers(struct ask *a, const struct ask_member *m, const json_t *value,
                      struct api_error *e)
{
    bool on[SAMPLERS] = {false};
    int last = -1;
    size_t i;
    json_t *item;
    json_array_foreach(value, i, item)
    {
        enum sampler s = sampler_of(item);
        if (s == UNKNOWN)
            return ask_refuse(e, m->name,
                              "%s: this server supports penalties, top_k, top_p, "
                              "min_p and temperature",
                              m->name);
        if (s == OTHER)
            continue;
        if ((int)s <= last)
            return ask_refuse(e, m->name,
                              "%s: this server supports no order but penalties, "
                              "top_k, top_p, min_p, temperature",
                              m->name);
        last = (int)s;
        on[s] = true;
    }
    switch_off(&a->sampling, on);
    return 0;
}

static int finish(struct ask *a, const struct ask_member *m, const json_t *value,
                  struct api_error *e)
{
    const json_t *length = json_object_get(a->body, "n_predict");
    const json_t *other = json_object_get(a->body, "max_tokens");
    (void)m, (void)value;
    if (json_is_integer(length) && json_is_integer(other) && !json_equal(length, other))
        return api_bad(e, "max_tokens", NULL, "max_tokens and n_predict must not differ");
    a->return_tokens |= a->stream; // whose events have them always
    return ask_check_choices(a, json_object_get(a->body, "n_cmpl") ? "n_cmpl" : "n", e);
}

static const struct ask_member rows[] = {
    {.name = "model",
     .kind = ASK_READ,
     .types = ASK_STRING,
     .read = ask_read_model,
     .schema = "{\"maxLength\":256}",
     .help = "a model's id; without it the server's main model answers"},
    {.name = "prompt",
     .kind = ASK_READ,
     .types = ASK_STRING | ASK_ARRAY | ASK_OBJECT,
     .required = true,
     .read = read_prompt,
     .schema = "{\"minItems\":1}",
     .help = "text, or ids and text by turns, or an array of such prompts"},
    {.name = "n_predict",
     .kind = ASK_READ,
     .types = ASK_ANY,
     .param = "max_tokens",
     .read = read_length,
     .schema = "{\"minimum\":-1,\"default\":-1}"},
    {.name = "max_tokens",
     .kind = ASK_READ,
     .types = ASK_ANY,
     .param = "max_tokens",
     .read = read_length,
     .schema = "{\"minimum\":-1,\"default\":-1}"},
    {.name = "temperature", .kind = ASK_PARAM},
    {.name = "top_p", .kind = ASK_PARAM},
    {.name = "top_k", .kind = ASK_PARAM},
    {.name = "min_p", .kind = ASK_PARAM},
    {.name = "repeat_penalty", .kind = ASK_PARAM, .param = "repetition_penalty"},
    {.name = "presence_penalty", .kind = ASK_PARAM},
    {.name = "frequency_penalty", .kind = ASK_PARAM},
    {.name = "seed",
     .kind = ASK_READ,
     .types = ASK_INT,
     .read = read_seed,
     .schema = "{\"default\":-1}",
     .help = "makes draws repeatable; -1 draws a fresh one"},
    {.name = "stop",
     .kind = ASK_READ,
     .types = ASK_STRING | ASK_ARRAY,
     .read = ask_read_stop,
     .schema = "{\"minLength\":1,\"maxLength\":256,\"maxItems\":16,"
               "\"items\":{\"type\":\"string\",\"minLength\":1,\"maxLength\":256}}",
     .help = "the answer ends where one of these is spelled, and is cut before it"},
    {.name = "logit_bias",
     .kind = ASK_READ,
     .types = ASK_OBJECT | ASK_ARRAY | ASK_BOOL,
     .read = ask_read_bias,
     .help = "added to the logits of tokens, by their ids"},
    {.name = "n_probs",
     .kind = ASK_READ,
     .types = ASK_ANY,
     .read = read_n_probs,
     .schema = "{\"type\":[\"integer\",\"null\"],\"minimum\":0,\"maximum\":1024,\"default\":0}",
     .help = "log-probabilities of this many likeliest tokens at each place"},
    {.name = "n",
     .kind = ASK_COUNT,
     .at = offsetof(struct ask, n),
     .min = 1,
     .max = CHOICES_MAX,
     .schema = "{\"default\":1}",
     .help = "answers to each prompt"},
    {.name = "n_cmpl",
     .kind = ASK_COUNT,
     .at = offsetof(struct ask, n),
     .min = 1,
     .max = CHOICES_MAX,
     .schema = "{\"default\":1}",
     .help = "the same"},
    ASK_FLAG_ROW("stream", stream, "send the answer as it comes, in events"),
    ASK_FLAG_ROW("ignore_eos", ignore_end, "go on where the model would end"),
    ASK_FLAG_ROW("return_tokens", return_tokens, "the answer's ids, too"),
    ASK_FLAG_ROW("timings_per_token", timings, "timings in each event"),
    /* OpenAI's: here it is n_probs, and there are no conversations */
    ASK_OFF_ROW("logprobs"),
    ASK_OFF_AT_ROW("top_logprobs", 0, 0),
    {.name = "tools", .kind = ASK_NEUTRAL, .types = ASK_ARRAY},
};

const struct ask_endpoint ask_llama_endpoint = {
    .path = "/completion",
    .summary = "Text that continues prompts, as clients of llama-server ask for it",
    .own = ASK_GROUP(rows),
    .shared = {&ask_foreign_group},
    .defaults = defaults,
    .finish = finish,
};

int ask_llama(struct ask *a, json_t *body, struct api_error *e)
{
    return ask_read(a, body, &ask_llama_endpoint, e);
}
