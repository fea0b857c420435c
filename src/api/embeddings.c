/* api/embeddings.c - POST /v1/embeddings: the prompt's final hidden states, pooled. */
#include <math.h>
#include <string.h>

#include <openssl/evp.h>

#include "api/api_impl.h"
#include "api/openai.h"
#include "base/ckd.h"
#include "base/mem.h"

/* "pooling" is ours: OpenAI's models have one of their own. */
static int read(struct ask *a, json_t *body, struct api_error *e)
{
    if (ask_embeddings(a, body, e))
        return -1;
    const json_t *pooling = json_object_get(a->body, "pooling");
    const char *name = json_string_value(pooling);
    if (!pooling || json_is_null(pooling) || (name && strcmp(name, "mean") == 0))
        a->pooling = REALM_POOL_MEAN;
    else if (name && strcmp(name, "last") == 0)
        a->pooling = REALM_POOL_LAST;
    else
        return api_bad(e, "pooling", "invalid_value", "pooling must be mean or last");
    return 0;
}

/* Cut to the dimensions that are wanted, then of length 1, as OpenAI's are. */
static size_t normalise(const struct job *j, struct choice *c)
{
    size_t n = j->info.hidden_size;
    if (j->ask.dimensions)
        n = min_size(n, j->ask.dimensions);
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)c->embedding[i] * (double)c->embedding[i];
    double scale = sum > 0 ? 1 / sqrt(sum) : 0;
    for (size_t i = 0; i < n; i++)
        c->embedding[i] = (float)((double)c->embedding[i] * scale);
    return n;
}

static void write_base64(struct job *j, const float *v, size_t n)
{
    size_t bytes = n * sizeof(*v);
    unsigned char *text = mem_alloc(4 * (bytes / 3 + 1) + 1);
    if (!text) {
        j->w.status = REALM_E_NOMEM;
        return;
    }
    int length = EVP_EncodeBlock(text, (const unsigned char *)v, (int)bytes);
    write_text(&j->w, "\"");
    write_bytes(&j->w, text, (size_t)length);
    write_text(&j->w, "\"");
    mem_free(text);
}

static void write_floats(struct job *j, const float *v, size_t n)
{
    write_text(&j->w, "[");
    for (size_t i = 0; i < n; i++) {
        write_text(&j->w, i ? "," : "");
        write_number(&j->w, (double)v[i]);
    }
    write_text(&j->w, "]");
}

static void write_one(struct job *j, struct choice *c)
{
    size_t n = normalise(j, c);
    write_f(&j->w, "%s{\"object\":\"embedding\",\"index\":%u,\"embedding\":", c->index ? "," : "",
            c->index);
    if (j->ask.base64)
        write_base64(j, c->embedding, n);
    else
        write_floats(j, c->embedding, n);
    write_text(&j->w, "}");
}

static void finish(struct job *j)
{
    if (j->ask.dimensions > j->info.hidden_size) {
        struct api_error e = {0};
        (void)api_bad(&e, "dimensions", "invalid_value", "dimensions must be from 1 to %u",
                      j->info.hidden_size);
        job_fail(j, &e);
        return;
    }
    write_text(&j->w, "{\"object\":\"list\",\"data\":[");
    for (size_t i = 0; i < j->n_choices; i++)
        write_one(j, &j->choices[i]);
    write_text(&j->w, "],\"model\":");
    write_quoted(&j->w, openai_model(j));
    uint32_t tokens = job_usage(j).prompt_tokens;
    write_f(&j->w, ",\"usage\":{\"prompt_tokens\":%u,\"total_tokens\":%u}}", tokens, tokens);
    job_answer(j, 200);
}

const struct door door_embeddings = {
    .name = "embeddings",
    .read = read,
    .embeds = true,
    .error = api_error_openai,
    .finish = finish,
};
