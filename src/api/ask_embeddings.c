/* api/ask_embeddings.c - OpenAI's embeddings. */
#include <string.h>

#include "api/ask_impl.h"

static int read_input(struct ask *a, const struct ask_member *m, const json_t *value,
                      struct api_error *e)
{
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

/* OpenAI's models have one of their own. */
static int read_pooling(struct ask *a, const struct ask_member *m, const json_t *value,
                        struct api_error *e)
{
    const char *name = json_string_value(value);
    if (strcmp(name, "mean") != 0 && strcmp(name, "last") != 0)
        return api_bad(e, m->name, "invalid_value", "%s must be mean or last", m->name);
    a->pooling = strcmp(name, "mean") == 0 ? REALM_POOL_MEAN : REALM_POOL_LAST;
    return 0;
}

static const struct ask_member rows[] = {
    {.name = "model",
     .kind = ASK_READ,
     .types = ASK_STRING,
     .read = ask_read_model,
     .schema = "{\"maxLength\":256}",
     .help = "a model's id; without it the server's main model answers"},
    {.name = "input",
     .kind = ASK_READ,
     .types = ASK_STRING | ASK_ARRAY,
     .required = true,
     .read = read_input,
     .schema = ASK_PROMPTS_SCHEMA,
     .help = "text or ids, or an array of up to 2048 of these"},
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
    {.name = "pooling",
     .kind = ASK_READ,
     .types = ASK_STRING,
     .read = read_pooling,
     .schema = "{\"enum\":[\"mean\",\"last\",null],\"default\":\"mean\"}",
     .help = "of the tokens' hidden states"},
    ASK_PASS_ROW("user", ASK_STRING),
};

const struct ask_endpoint ask_embeddings_endpoint = {
    .path = "/v1/embeddings",
    .summary = "Vectors of texts",
    .own = ASK_GROUP(rows),
};

int ask_embeddings(struct ask *a, json_t *body, struct api_error *e)
{
    return ask_read(a, body, &ask_embeddings_endpoint, e);
}
