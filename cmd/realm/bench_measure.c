/* cmd/realm/bench_measure.c - the engine, measured from outside. */
#include "base/clock.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/rng.h"
#include "bench.h"

enum { PAGE_TOKENS = 16 }; /* the cache has whole pages of a prompt */

/* A generation that draws greedily and does not stop, or an encoder's vector, on seeded random
 * tokens: the first depth are the same in each call with this seed, the others come but once. */
static int start(struct bench *b, uint64_t seed, uint32_t tokens, uint32_t max_tokens,
                 struct realm_gen **out, struct realm_error *err)
{
    const size_t n = (size_t)b->depth + tokens;
    uint32_t *ids = mem_array(n, sizeof(*ids));
    if (!ids)
        return err_nomem(err, "a prompt");
    b->prompts++;
    for (size_t i = 0; i < n; i++)
        ids[i] = (uint32_t)(rng_unit(seed, i < b->depth ? 0 : b->prompts, i) * b->vocab);
    struct realm_request request;
    realm_request_init(&request, REALM_DOOR_OPENAI);
    request.ids = ids;
    request.n_ids = n;
    request.ignore_end = true;
    request.sampling.temperature = 0;
    request.sampling.max_tokens = max_tokens;
    request.prompt_only = b->encoder;
    request.pooling = b->encoder ? REALM_POOL_MEAN : REALM_POOL_NONE;
    int status = realm_gen_start(out, b->model, &request, err);
    mem_free(ids);
    return status;
}

/* The next event; an end because of an error is one. */
static int next(struct realm_gen *gen, struct realm_event *event, struct realm_error *err)
{
    int status = realm_gen_next(gen, event, NULL);
    if (!status && event->kind == REALM_EVENT_END && event->finish == REALM_FINISH_ERROR)
        status = event->status;
    return status ? err_set(err, status, "a generation failed: %s", realm_status_name(status)) : 0;
}

/* What a prompt took, from its first step to its first token. */
static int prefill(struct bench *b, uint32_t tokens, struct realm_usage *usage,
                   struct realm_error *err)
{
    struct realm_gen *gen;
    struct realm_event event;
    int status = start(b, 1, tokens, 1, &gen, err);
    if (status)
        return status;
    do
        status = next(gen, &event, err);
    while (!status && event.kind != REALM_EVENT_END);
    if (!status)
        *usage = event.usage;
    realm_gen_close(gen);
    return status;
}

double bench_prefill(struct bench *b, uint32_t tokens, struct realm_error *err)
{
    struct realm_usage usage;
    /* The first time depth tokens are computed, too; after that they are found. */
    for (int tries = 0; tries < 2; tries++) {
        if (prefill(b, tokens, &usage, err))
            return -1;
        if (usage.cached_tokens >= b->depth / PAGE_TOKENS * PAGE_TOKENS)
            return (double)(usage.prompt_tokens - usage.cached_tokens) * 1e9 /
                   (double)usage.prefill_ns;
    }
    err_set(err, REALM_E_NO_ROOM, "keys and values of %u tokens do not stay in memory", b->depth);
    return -1;
}

/* With every answer under way: rows computed from here until `rows` more, per second. */
static double measure_rows(const struct bench *b, struct realm_gen *first, uint64_t rows,
                           struct realm_error *err)
{
    struct realm_stats s;
    struct realm_event event;
    realm_stats(b->engine, &s);
    uint64_t rows_before = s.decode_rows, start_ns = clock_ns(clock_system());
    while (s.decode_rows - rows_before < rows) {
        if (next(first, &event, err))
            return -1;
        if (event.kind == REALM_EVENT_END) {
            err_set(err, REALM_E_CONTEXT, "the context is too short for this measurement");
            return -1;
        }
        realm_stats(b->engine, &s);
    }
    double seconds = (double)(clock_ns(clock_system()) - start_ns) * 1e-9;
    return (double)(s.decode_rows - rows_before) / seconds;
}

/* n generations of so many tokens each, and the first event of all. */
static int start_all(struct bench *b, struct realm_gen **gens, uint32_t n, uint32_t tokens,
                     struct realm_error *err)
{
    struct realm_event event;
    int status = 0;
    for (uint32_t i = 0; i < n && !status; i++)
        status = start(b, i + 1, tokens, 0, &gens[i], err);
    for (uint32_t i = 0; i < n && !status; i++)
        status = next(gens[i], &event, err);
    return status;
}

static struct realm_gen **gens_new(uint32_t n, struct realm_error *err)
{
    struct realm_gen **gens = mem_zarray(n, sizeof(struct realm_gen *));
    if (!gens)
        err_nomem(err, "the batch");
    return gens;
}

static void gens_free(struct realm_gen **gens, uint32_t n)
{
    for (uint32_t i = 0; i < n && gens[i]; i++)
        realm_gen_cancel(gens[i]);
    for (uint32_t i = 0; i < n; i++)
        realm_gen_close(gens[i]);
    mem_free(gens);
}

double bench_decode(struct bench *b, uint32_t tokens, uint32_t batch, struct realm_error *err)
{
    struct realm_gen **gens = gens_new(batch, err);
    double rate = -1;
    if (!gens)
        return rate;
    if (!start_all(b, gens, batch, 1, err))
        rate = measure_rows(b, gens[0], (uint64_t)tokens * batch, err);
    gens_free(gens, batch);
    return rate;
}

/* A text's only event is its end, with the vector. */
double bench_embed(struct bench *b, uint32_t tokens, uint32_t texts, struct realm_error *err)
{
    struct realm_gen **gens = gens_new(texts, err);
    double rate = -1;
    if (!gens)
        return rate;
    uint64_t start_ns = clock_ns(clock_system());
    if (!start_all(b, gens, texts, tokens, err))
        rate = (double)tokens * texts * 1e9 / (double)(clock_ns(clock_system()) - start_ns);
    gens_free(gens, texts);
    return rate;
}
