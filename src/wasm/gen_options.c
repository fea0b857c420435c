#include "wasm/gen_options.h"

#include <string.h>

#include "base/err.h"

static int read_stop_ids(const struct guest_memory *m, const struct gen_options *o, uint32_t vocab,
                         struct gen_wish *out, struct realm_error *err)
{
    size_t n = o->stop_token_count;
    if (!guest_copy_in(m, o->stop_tokens_ptr, out->stop_ids, n * sizeof(uint32_t)))
        return err_set(err, REALM_E_ARG, "stop_tokens_ptr + 4 * stop_token_count is out of bounds");
    for (size_t i = 0; i < n; i++)
        if (out->stop_ids[i] >= vocab)
            return err_set(err, REALM_E_ARG, "stop token %zu is %u, the vocabulary has %u", i,
                           out->stop_ids[i], vocab);
    out->n_stop_ids = n;
    return 0;
}

int gen_options_read(const struct guest_memory *m, uint32_t at, uint32_t vocab,
                     struct gen_wish *out, struct realm_error *err)
{
    struct gen_options o;
    *out = (struct gen_wish){0};
    realm_sampling_init(&out->sampling, REALM_DOOR_GUEST);
    if (at == 0)
        return 0;
    if (!guest_copy_in(m, at, &o, sizeof(o)))
        return err_set(err, REALM_E_ARG, "options_ptr + %d is out of bounds", GEN_OPTIONS_BYTES);
    /* In realm_sampling 0 stands for the rest of the context; here it is no number of tokens. */
    if (o.max_tokens == 0)
        return err_set(err, REALM_E_ARG, "max_tokens must be at least 1");
    out->sampling.max_tokens = o.max_tokens;
    out->sampling.temperature = o.temperature;
    out->sampling.top_p = o.top_p;
    out->sampling.top_k = o.top_k;
    out->sampling.repetition_penalty = o.repetition_penalty;
    out->sampling.seed = o.seed;
    out->sampling.has_seed = o.seed != 0;
    int status = realm_sampling_check(&out->sampling, err);
    return status ? status : read_stop_ids(m, &o, vocab, out, err);
}

void gen_options_write(const struct realm_sampling *s, uint8_t out[GEN_OPTIONS_BYTES])
{
    const struct gen_options o = {
        .max_tokens = s->max_tokens ? s->max_tokens : UINT32_MAX,
        .temperature = s->temperature,
        .top_p = s->top_p,
        .top_k = s->top_k,
        .repetition_penalty = s->repetition_penalty,
        .seed = s->has_seed ? (uint32_t)s->seed : 0,
    };
    memcpy(out, &o, sizeof(o));
}
