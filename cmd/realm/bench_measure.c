/* cmd/realm/bench_measure.c - the engine, measured from outside. */
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/rng.h"
#include "bench.h"

/* A generation on n seeded random tokens that draws greedily and does not stop. */
static int start(const struct bench *b, uint32_t n, uint64_t seed, uint32_t max_tokens,
                 struct realm_gen **out, struct realm_error *err)
{
    uint32_t *ids = mem_array(n, sizeof(*ids));
    if (!ids)
        return err_nomem(err, "a prompt");
    for (uint32_t i = 0; i < n; i++)
        ids[i] = (uint32_t)(rng_unit(seed, 0, i) * b->vocab);
    struct realm_request request;
    realm_request_init(&request, REALM_DOOR_OPENAI);
    request.ids = ids;
    request.n_ids = n;
    request.ignore_end = true;
    request.sampling.temperature = 0;
    request.sampling.max_tokens = max_tokens;
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

/* Seconds from the first step of a prompt of n tokens to its first token. */
static double prefill_seconds(const struct bench *b, uint32_t n, struct realm_error *err)
{
    struct realm_gen *gen;
    struct realm_event event;
    if (start(b, n, 1, 1, &gen, err))
        return -1;
    int status;
    do
        status = next(gen, &event, err);
    while (!status && event.kind != REALM_EVENT_END);
    double seconds = status ? -1 : (double)event.usage.prefill_ns * 1e-9;
    realm_gen_close(gen);
    return seconds;
}

double bench_prefill(const struct bench *b, uint32_t tokens, struct realm_error *err)
{
    double before = b->depth ? prefill_seconds(b, b->depth, err) : 0;
    if (before < 0)
        return -1;
    double all = prefill_seconds(b, b->depth + tokens, err);
    return all < 0 ? -1 : (double)tokens / (all - before);
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

double bench_decode(const struct bench *b, uint32_t tokens, uint32_t batch, struct realm_error *err)
{
    struct realm_gen **gens = mem_zarray(batch, sizeof(struct realm_gen *));
    struct realm_event event;
    double rate = -1;
    if (!gens) {
        err_nomem(err, "the batch");
        return -1;
    }
    for (uint32_t i = 0; i < batch; i++)
        if (start(b, b->depth ? b->depth : 1, i + 1, 0, &gens[i], err))
            goto out;
    for (uint32_t i = 0; i < batch; i++)
        if (next(gens[i], &event, err))
            goto out;
    rate = measure_rows(b, gens[0], (uint64_t)tokens * batch, err);

out:
    for (uint32_t i = 0; i < batch; i++)
        realm_gen_cancel(gens[i]);
    for (uint32_t i = 0; i < batch; i++)
        realm_gen_close(gens[i]);
    mem_free(gens);
    return rate;
}
