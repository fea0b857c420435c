/* api/ask_embeddings.c - embeddings, as OpenAI's and llama-server's clients ask for them. */
#include <string.h>

#include "api/ask_impl.h"

static int read_input(struct ask *a, const struct ask_member *m, const json_t *value,
                      struct api_error *e)
{
    if (a->prompts)
        return api_bad(e, m->name, NULL, "%s: give content or input, not both", m->name);
    if (ask_read_inputs(a, m->name, value, EMBEDDING_INPUTS_MAX, e))
        return -1;
    for (size_t i = 0; i < a->n_prompts; i++)
        if (a->prompts[i].text && a->prompts[i].bytes == 0)
            return api_bad(e, m->name, NULL, "%s: a text must not be empty", m->name);
    return 0;
}

static int read_format(struct ask *a, const struct ask_member *m, const json_t *value,
                       struct api_error *e)
{
    const char *format = json_string_value(value);
    a->base64 = strcmp(format, "base64") == 0;
    if (a->base64 || strcmp(format, "float") == 0)
        return 0;
    return api_bad(e, m->name, NULL, "%s must be float or base64", m->name);
}

static int read_pooling(struct ask *a, const struct ask_member *m, const json_t *value,
                        struct api_error *e)
{
    a->pooling = realm_pooling_named(json_string_value(value));
    if (a->pooling)
        return 0;
    return api_bad(e, m->name, "invalid_value", "%s must be mean, cls or last", m->name);
}

/* Norms are known by their exponent; -1: none. */
static int read_norm(struct ask *a, const struct ask_member *m, const json_t *value,
                     struct api_error *e)
{
    json_int_t norm = json_integer_value(value);
    a->raw = norm == -1;
    if (norm == -1 || norm == 2)
        return 0;
    return ask_refuse(e, m->name, "%s: this server supports no value but -1 and 2", m->name);
}

#define MODEL_ROW                                                                       \
    {                                                                                   \
        .name = "model", .kind = ASK_READ, .types = ASK_STRING, .read = ask_read_model, \
        .schema = "{\"maxLength\":256}",                                                \
        .help = "a model's id; without it the server's main model answers"              \
    }
#define POOLING_ROW                                                                            \
    {                                                                                          \
        .name = "pooling", .kind = ASK_READ, .types = ASK_STRING, .read = read_pooling,        \
        .schema = "{\"enum\":[\"mean\",\"cls\",\"last\",null]}",                               \
        .help = "of the tokens' hidden states; without it what the model's file says, or mean" \
    }
#define INPUT_ROW(name_, required_)                                                              \
    {                                                                                            \
        .name = name_, .kind = ASK_READ, .types = ASK_STRING | ASK_ARRAY, .required = required_, \
        .read = read_input, .schema = ASK_PROMPTS_SCHEMA,                                        \
        .help = "text or ids, or an array of up to 2048 of these"                                \
    }

static const struct ask_member rows[] = {
    MODEL_ROW,
    INPUT_ROW("input", true),
    {.name = "encoding_format",
     .kind = ASK_READ,
     .types = ASK_STRING,
     .read = read_format,
     .schema = "{\"enum\":[\"float\",\"base64\",null],\"default\":\"float\"}",
     .help = "base64: little-endian 32-bit floats"},
    {.name = "dimensions",
     .kind = ASK_COUNT,
     .at = offsetof(struct ask, dimensions),
     .min = 1,
     .max = MODEL_WIDTH_MAX,
     .help = "only the first of them, normalised again"},
    POOLING_ROW,
    ASK_PASS_ROW("user", ASK_STRING),
};

const struct ask_endpoint ask_embeddings_endpoint = {
    .path = "/v1/embeddings",
    .summary = "Vectors of texts",
    .own = ASK_GROUP(rows),
};

static const struct ask_member llama_rows[] = {
    MODEL_ROW,
    INPUT_ROW("content", false),
    INPUT_ROW("input", false),
    {.name = "embd_normalize",
     .kind = ASK_READ,
     .types = ASK_INT,
     .read = read_norm,
     .schema = "{\"enum\":[-1,2,null],\"default\":2}",
     .help = "2: of length 1; -1: as the model has it"},
    POOLING_ROW,
};

static int finish_llama(struct ask *a, const struct ask_member *m, const json_t *value,
                        struct api_error *e)
{
    (void)m, (void)value;
    a->special = true;
    return a->prompts ? 0 : api_bad(e, "content", NULL, "content is missing");
}

const struct ask_endpoint ask_llama_embeddings_endpoint = {
    .path = "/embedding",
    .summary = "Vectors of texts, as llama-server gives them",
    .own = ASK_GROUP(llama_rows),
    .finish = finish_llama,
};

int ask_llama_embeddings(struct ask *a, json_t *body, struct api_error *e)
{
    return ask_read(a, body, &ask_llama_embeddings_endpoint, e);
}

int ask_embeddings(struct ask *a, json_t *body, struct api_error *e)
{
    return ask_read(a, body, &ask_embeddings_endpoint, e);
}
