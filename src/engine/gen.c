/* engine/gen.c - from a request to a generation of the scheduler's. */
#include <string.h>

#include "base/ckd.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/rng.h"
#include "engine/engine_impl.h"

enum { STOP_IDS_MAX = 255, BIAS_MAX = 100, WEIGHT_MAX = 1000 };

void realm_request_init(struct realm_request *request, enum realm_door door)
{
    *request = (struct realm_request){0};
    realm_sampling_init(&request->sampling, door);
}

static int check_ids(const struct realm_model *m, const uint32_t *ids, size_t n, const char *what,
                     struct realm_error *err)
{
    uint32_t vocab = m->loaded->model->config.vocab;
    for (size_t i = 0; i < n; i++)
        if (ids[i] >= vocab)
            return err_set(err, REALM_E_ARG, "%s: id %u at index %zu, and the vocabulary has %u",
                           what, ids[i], i, vocab);
    return 0;
}

static int check_stops(const struct realm_model *m, const struct realm_request *r,
                       struct realm_error *err)
{
    if (r->n_stop_ids > STOP_IDS_MAX)
        return err_set(err, REALM_E_ARG, "stop_ids: %zu ids, at most %d", r->n_stop_ids,
                       STOP_IDS_MAX);
    if (r->n_stop > STOP_MAX)
        return err_set(err, REALM_E_ARG, "stop: %zu strings, at most %d", r->n_stop, STOP_MAX);
    if (r->n_stop && !m->loaded->model->vocab)
        return err_set(err, REALM_E_UNSUPPORTED, "stop: the model has no tokenizer");
    for (size_t i = 0; i < r->n_stop; i++) {
        size_t n = strnlen(r->stop[i], STOP_BYTES_MAX + 1);
        if (n == 0 || n > STOP_BYTES_MAX)
            return err_set(err, REALM_E_ARG, "stop: a string must have 1 to %d bytes",
                           STOP_BYTES_MAX);
    }
    return check_ids(m, r->stop_ids, r->n_stop_ids, "stop_ids", err);
}

static int check_bias(const struct realm_model *m, const struct realm_request *r,
                      struct realm_error *err)
{
    uint32_t vocab = m->loaded->model->config.vocab;
    if (r->n_logit_bias > LOGIT_BIAS_MAX)
        return err_set(err, REALM_E_ARG, "logit_bias: %zu tokens, at most %d", r->n_logit_bias,
                       LOGIT_BIAS_MAX);
    for (size_t i = 0; i < r->n_logit_bias; i++) {
        const struct realm_logit_bias *b = &r->logit_bias[i];
        if (b->token >= vocab)
            return err_set(err, REALM_E_ARG, "logit_bias: id %u, and the vocabulary has %u",
                           b->token, vocab);
        if (!(b->bias >= -BIAS_MAX && b->bias <= BIAS_MAX))
            return err_set(err, REALM_E_ARG, "logit_bias: that of id %u must be from %d up to %d",
                           b->token, -BIAS_MAX, BIAS_MAX);
    }
    return 0;
}

static int only_embeds(const struct realm_model *m, struct realm_error *err)
{
    return err_set(err, REALM_E_UNSUPPORTED,
                   "the model (%s) makes embeddings alone and cannot generate or score text",
                   m->loaded->model->config.architecture);
}

static int check_prompt(const struct realm_model *m, const struct realm_request *r,
                        struct realm_error *err)
{
    if (m->loaded->model->config.encoder && (!r->prompt_only || r->prompt_logprobs))
        return only_embeds(m, err);
    if (r->pooling != REALM_POOL_NONE && r->pooling != REALM_POOL_MEAN &&
        r->pooling != REALM_POOL_LAST && r->pooling != REALM_POOL_CLS)
        return err_set(err, REALM_E_ARG, "pooling: no such kind");
    if (r->pooling && !r->prompt_only)
        return err_set(err, REALM_E_ARG, "pooling: only with prompt_only");
    return 0;
}

static int check_tenant(const struct realm_request *r, struct realm_error *err)
{
    size_t n = r->tenant ? strnlen(r->tenant, TENANT_NAME_MAX + 1) : 1;
    if (n < 1 || n > TENANT_NAME_MAX)
        return err_set(err, REALM_E_ARG, "tenant: must have from 1 up to %d bytes",
                       TENANT_NAME_MAX);
    if (r->weight > WEIGHT_MAX)
        return err_set(err, REALM_E_ARG, "weight: %u, at most %d", r->weight, WEIGHT_MAX);
    if (r->priority < -PRIORITY_MAX || r->priority > PRIORITY_MAX)
        return err_set(err, REALM_E_ARG, "priority: must be from %d up to %d", -PRIORITY_MAX,
                       PRIORITY_MAX);
    return 0;
}

static int check(const struct realm_model *m, const struct realm_request *r,
                 struct realm_error *err)
{
    int status = realm_sampling_check(&r->sampling, err);
    if (status)
        return status;
    if (r->top_logprobs > TOP_LOGPROBS_MAX)
        return err_set(err, REALM_E_ARG, "top_logprobs: %u, at most %d", r->top_logprobs,
                       TOP_LOGPROBS_MAX);
    status = check_prompt(m, r, err);
    if (!status)
        status = check_tenant(r, err);
    if (!status)
        status = check_bias(m, r, err);
    return status ? status : check_stops(m, r, err);
}

/* The ids of request's text, for the caller to free. */
static int tokenize(const struct realm_model *m, const struct realm_request *r, uint32_t **ids,
                    size_t *n, struct realm_error *err)
{
    const struct vocab *v = m->loaded->model->vocab;
    if (!v)
        return err_set(err, REALM_E_UNSUPPORTED, "the model has no tokenizer");
    if (r->text_bytes > PROMPT_BYTES_MAX)
        return err_set(err, REALM_E_ARG, "the prompt has %zu bytes, at most %d", r->text_bytes,
                       PROMPT_BYTES_MAX);
    uint32_t context = m->loaded->model->config.context;
    size_t least = vocab_least(v, r->text, r->text_bytes, r->text_flags);
    if (least > context)
        return err_set(err, REALM_E_CONTEXT,
                       "the prompt has %zu tokens at least and the context %u", least, context);
    size_t bound = vocab_bound(v, r->text_bytes);
    *ids = mem_array(bound, sizeof(**ids));
    if (!*ids)
        return err_nomem(err, "the prompt's ids");
    int status = vocab_encode(v, r->text, r->text_bytes, r->text_flags, *ids, bound, n);
    if (!status)
        return 0;
    mem_free(*ids);
    *ids = NULL;
    return err_set(err, status, "the prompt: %s", realm_status_name(status));
}

/* How many of the prompt's ids lie wholly in the part of its text that is no secret: those
 * with which that part, read alone, begins alike. */
static int count_public(const struct realm_model *m, const struct realm_request *r,
                        const uint32_t *ids, size_t n, size_t *out, struct realm_error *err)
{
    *out = 0;
    struct realm_request part = *r;
    if (r->shared_bytes < r->text_bytes)
        part.text_bytes = r->shared_bytes;
    /* A character that is cut in two is left out. */
    while (part.text_bytes && part.text_bytes < r->text_bytes &&
           ((uint8_t)r->text[part.text_bytes] & 0xc0) == 0x80)
        part.text_bytes--;
    if (part.text_bytes == 0)
        return 0;
    uint32_t *made;
    size_t n_made;
    int status = tokenize(m, &part, &made, &n_made, err);
    if (status)
        return status;
    while (*out < n && *out < n_made && made[*out] == ids[*out])
        ++*out;
    mem_free(made);
    return 0;
}

static int draw_seed(struct realm_gen *g, const struct realm_sampling *s, struct realm_error *err)
{
    g->seed = s->seed;
    if (!s->has_seed && rng_system(&g->seed, sizeof(g->seed)))
        return err_set(err, REALM_E_SYS, "the system gives no random numbers");
    return 0;
}

static int admit(const struct realm_request *r, uint32_t prompt_tokens, struct realm_error *err)
{
    int status = r->admit(r->admit_ctx, prompt_tokens);
    return status ? err_set(err, status, "the caller's limit is reached") : 0;
}

/* The prompt's ids, checked; *made is NULL or for the caller to free. */
static int read_prompt(const struct realm_model *m, const struct realm_request *r, uint32_t **made,
                       const uint32_t **ids, size_t *n, struct realm_error *err)
{
    *made = NULL;
    *n = r->n_ids;
    int status = r->ids || !r->text ? check_ids(m, r->ids, r->n_ids, "prompt", err)
                                    : tokenize(m, r, made, n, err);
    *ids = *made ? *made : r->ids;
    if (!status && *n == 0)
        status = err_set(err, REALM_E_ARG, "the prompt is empty");
    if (!status)
        status = sched_gen_check(m->loaded->run, *n, r, err);
    if (!status && r->admit)
        status = admit(r, (uint32_t)*n, err);
    if (status)
        mem_free(*made);
    return status;
}

static int queue(struct realm_gen *g, const struct realm_model *m, const struct realm_request *r,
                 struct realm_error *err)
{
    uint32_t *made;
    const uint32_t *ids;
    size_t n, n_public = 0;
    int status = read_prompt(m, r, &made, &ids, &n, err);
    if (status)
        return status;
    if (made)
        status = count_public(m, r, ids, n, &n_public, err);
    if (!status)
        status = sched_gen_open(&g->gen, m->loaded->run, ids, n, n_public, r, g->seed, err);
    mem_free(made);
    return status;
}

int realm_gen_check(const struct realm_model *m, const struct realm_request *request,
                    struct realm_error *err)
{
    uint32_t *made;
    const uint32_t *ids;
    size_t n;
    int status = check(m, request, err);
    if (!status)
        status = read_prompt(m, request, &made, &ids, &n, err);
    if (!status)
        mem_free(made);
    return status;
}

int realm_gen_start(struct realm_gen **out, struct realm_model *m,
                    const struct realm_request *request, struct realm_error *err)
{
    *out = NULL;
    int status = check(m, request, err);
    if (status)
        return status;
    struct realm_gen *g = mem_zalloc(sizeof(*g));
    if (!g)
        return err_nomem(err, "a generation");
    g->realm = m->realm;
    if (store_lease_share(&g->lease, m->lease)) {
        mem_free(g);
        return err_nomem(err, "a generation");
    }
    status = draw_seed(g, &request->sampling, err);
    if (!status)
        status = queue(g, m, request, err);
    if (status) {
        store_lease_close(g->lease);
        mem_free(g);
        return status;
    }
    engine_enter_again(g->realm);
    *out = g;
    return 0;
}

int realm_gen_next(struct realm_gen *g, struct realm_event *event, const struct realm_wait *wait)
{
    return sched_gen_next(g->gen, event, wait);
}

void realm_gen_cancel(struct realm_gen *g)
{
    sched_gen_cancel(g->gen);
}

void realm_gen_allow(struct realm_gen *g, uint32_t completion_tokens)
{
    sched_gen_allow(g->gen, completion_tokens);
}

uint64_t realm_gen_seed(const struct realm_gen *g)
{
    return g->seed;
}

uint32_t realm_gen_prompt_tokens(const struct realm_gen *g)
{
    return sched_gen_prompt_tokens(g->gen);
}

void realm_gen_close(struct realm_gen *g)
{
    if (!g)
        return;
    struct realm *r = g->realm;
    sched_gen_close(g->gen);
    store_lease_drop(g->lease);
    mem_free(g);
    engine_leave(r);
}

int realm_score(struct realm_model *m, const uint32_t *ids, size_t n, float *logprobs,
                struct realm_logprob *next, size_t n_next, const struct realm_wait *wait,
                struct realm_error *err)
{
    uint32_t vocab = m->loaded->model->config.vocab;
    if (m->loaded->model->config.encoder)
        return only_embeds(m, err);
    if (n == 0)
        return err_set(err, REALM_E_ARG, "there is nothing to score");
    if (n_next > min_size(TOP_LOGPROBS_MAX, vocab))
        return err_set(err, REALM_E_ARG, "next: %zu tokens, at most %zu", n_next,
                       min_size(TOP_LOGPROBS_MAX, vocab));
    int status = check_ids(m, ids, n, "ids", err);
    if (status)
        return status;
    struct sched_score score = {.logprobs = logprobs, .next = next, .n_next = n_next};
    return sched_score(m->loaded->run, ids, n, &score, wait, err);
}
