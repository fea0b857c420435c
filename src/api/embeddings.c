/* api/embeddings.c - POST /v1/embeddings, and llama-server's /embedding: prompts' final hidden
 * states, pooled. */
#include <string.h>

#include <openssl/evp.h>

#include "api/api_impl.h"
#include "api/openai.h"
#include "base/ckd.h"
#include "base/err.h"
#include "base/mem.h"

/* Of one request, in the engine at once; more would fill its queue. */
enum { AT_ONCE = 64 };

/* Copies what is wanted of v; returns how much. */
static size_t take_vector(const struct job *j, const float *v, float *out)
{
    size_t n = j->info.hidden_size;
    if (j->ask.dimensions)
        n = min_size(n, j->ask.dimensions);
    memcpy(out, v, n * sizeof(*v));
    if (!j->ask.raw)
        realm_normalise(out, n);
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

/* llama-server has a vector for each token where nothing is pooled, and so a list. */
static int write_one(struct job *j, size_t index, const float *embedding)
{
    bool llama = j->door == &door_llama_embeddings;
    float *v = mem_array(j->info.hidden_size, sizeof(*v));
    if (!v)
        return REALM_E_NOMEM;
    size_t n = take_vector(j, embedding, v);
    write_f(&j->w, "%s{%s\"index\":%zu,\"embedding\":%s", index ? "," : "",
            llama ? "" : "\"object\":\"embedding\",", index, llama ? "[" : "");
    if (j->ask.base64)
        write_base64(j, v, n);
    else
        write_floats(j, v, n);
    write_text(&j->w, llama ? "]}" : "}");
    mem_free(v);
    return j->w.status;
}

/* As the request says, or the model, or as most do. */
static enum realm_pooling pooling_of(const struct job *j)
{
    if (j->ask.pooling)
        return j->ask.pooling;
    return j->info.pooling ? j->info.pooling : REALM_POOL_MEAN;
}

static void init_request(const struct job *j, size_t at, struct realm_request *r)
{
    const struct ask_prompt *p = &j->ask.prompts[at];
    realm_request_init(r, REALM_DOOR_OPENAI);
    r->ids = p->ids;
    r->n_ids = p->n_ids;
    r->text = p->text;
    r->text_bytes = p->bytes;
    r->text_flags =
        REALM_TEXT_BOS | REALM_TEXT_END | (j->ask.special ? (unsigned)REALM_TEXT_SPECIAL : 0);
    r->prompt_only = true;
    r->pooling = pooling_of(j);
    account_request(j, r);
}

/* As check_all of prepare.c. */
static int check_all(const struct job *j, struct realm_error *err)
{
    struct realm_request r;
    int status = 0;
    for (size_t i = 0; i < j->ask.n_prompts && !status; i++) {
        init_request(j, i, &r);
        status = realm_gen_check(j->model, &r, err);
    }
    return status;
}

static int start(struct job *j, size_t at, struct realm_gen **out, struct realm_error *err)
{
    struct realm_request r;
    init_request(j, at, &r);
    if (j->ask.n_prompts > 1)
        r.admit = NULL; // check_all has asked
    return realm_gen_start(out, j->model, &r, err);
}

/* Waits for the embedding and writes it. */
static int take(struct job *j, size_t at, struct realm_gen *gen, struct realm_error *err)
{
    const struct realm_wait wait = job_wait(j);
    struct realm_event event;
    int status = realm_gen_next(gen, &event, &wait);
    if (!status)
        status = event.status;
    if (!status)
        status = write_one(j, at, event.embedding);
    if (!status) {
        j->worked.prompt_tokens += event.usage.prompt_tokens;
        j->worked.cached_tokens += event.usage.cached_tokens;
        account_worked(j);
    }
    return status ? err_set(err, status, "%s", realm_status_name(status)) : 0;
}

/* Of one that nobody waits for any more: what was computed of it counts all the same. */
static void give_up(struct job *j, struct realm_gen *gen)
{
    struct realm_event event = {0};
    if (!gen)
        return;
    realm_gen_cancel(gen);
    while (realm_gen_next(gen, &event, NULL) == 0 && event.kind != REALM_EVENT_END)
        ;
    j->worked.prompt_tokens += event.usage.prompt_tokens;
    j->worked.cached_tokens += event.usage.cached_tokens;
    realm_gen_close(gen);
}

/* In order, with some of those that follow under way. */
static int embed_all(struct job *j, struct realm_error *err)
{
    struct realm_gen *gens[AT_ONCE] = {NULL};
    size_t n = j->ask.n_prompts, begun = 0;
    int status = n > 1 ? check_all(j, err) : 0;
    for (size_t i = 0; i < n && !status; i++) {
        for (; begun < n && begun < i + AT_ONCE && !status; begun++)
            status = start(j, begun, &gens[begun % AT_ONCE], err);
        if (!status)
            status = take(j, i, gens[i % AT_ONCE], err);
        if (status)
            break;
        realm_gen_close(gens[i % AT_ONCE]);
        gens[i % AT_ONCE] = NULL;
    }
    for (size_t i = 0; i < AT_ONCE; i++)
        give_up(j, gens[i]);
    return status;
}

/* The list of vectors, between brackets. */
static int write_all(struct job *j, struct api_error *e)
{
    struct realm_error err = {0};
    write_text(&j->w, "[");
    int status = embed_all(j, &err);
    write_text(&j->w, "]");
    if (status == REALM_E_LIMIT && j->capped)
        return account_refused(j, e);
    return status ? api_from_status(e, status, &err) : 0;
}

static int embed(struct job *j, struct api_error *e)
{
    if (job_open_model(j, e))
        return -1;
    if (j->ask.dimensions > j->info.hidden_size)
        return api_bad(e, "dimensions", "invalid_value", "dimensions must be from 1 to %u",
                       j->info.hidden_size);
    write_text(&j->w, "{\"object\":\"list\",\"data\":");
    if (write_all(j, e))
        return -1;
    write_text(&j->w, ",\"model\":");
    write_quoted(&j->w, openai_model(j));
    uint32_t tokens = j->worked.prompt_tokens;
    write_f(&j->w, ",\"usage\":{\"prompt_tokens\":%u,\"total_tokens\":%u}}", tokens, tokens);
    return 0;
}

static int embed_llama(struct job *j, struct api_error *e)
{
    return job_open_model(j, e) ? -1 : write_all(j, e);
}

static void finish(struct job *j)
{
    job_answer(j, 200);
}

const struct door door_embeddings = {
    .name = "embeddings",
    .counts = true,
    .read = ask_embeddings,
    .work = embed,
    .error = api_error_openai,
    .finish = finish,
};

const struct door door_llama_embeddings = {
    .name = "llama_embeddings",
    .counts = true,
    .read = ask_llama_embeddings,
    .work = embed_llama,
    .error = api_error_openai,
    .finish = finish,
};
