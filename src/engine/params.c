/* engine/params.c - the parameters of a draw, once for every door. */
#include <math.h>
#include <string.h>

#include "base/ckd.h"
#include "base/err.h"
#include "engine/engine_impl.h"

/* In the order in which they are checked.  Defaults: guest, WebSocket, OpenAI,
 * command line; of max_tokens 0 stands for the rest of the context, which nobody
 * can say with a number. */
static const struct realm_param params[] = {
    {.name = "max_tokens",
     .help = "most tokens to generate",
     .type = REALM_PARAM_U32,
     .min = 1,
     .max = UINT32_MAX,
     .offset = offsetof(struct realm_sampling, max_tokens),
     .defaults = {512, 100, 0, 0}},
    {.name = "temperature",
     .help = "how far draws stray from the likeliest token; 0 always takes it",
     .type = REALM_PARAM_F32,
     .max = 100,
     .offset = offsetof(struct realm_sampling, temperature),
     .defaults = {0.7, 0.7, 1, 0.7}},
    {.name = "top_p",
     .help = "draw from the likeliest tokens that together have this probability; 1 is off",
     .type = REALM_PARAM_F32,
     .max = 1,
     .above_min = true,
     .offset = offsetof(struct realm_sampling, top_p),
     .defaults = {0.9, 0.9, 1, 0.9}},
    {.name = "top_k",
     .help = "draw from this many of the likeliest tokens; 0 is off",
     .type = REALM_PARAM_U32,
     .max = INT32_MAX,
     .offset = offsetof(struct realm_sampling, top_k),
     .defaults = {40, 0, 0, 40}},
    {.name = "min_p",
     .help = "leave out tokens less likely than this share of the likeliest; 0 is off",
     .type = REALM_PARAM_F32,
     .max = 1,
     .below_max = true,
     .offset = offsetof(struct realm_sampling, min_p)},
    {.name = "repetition_penalty",
     .help = "over 1 makes the last 64 tokens less likely; 1 is off",
     .type = REALM_PARAM_F32,
     .max = 10,
     .above_min = true,
     .offset = offsetof(struct realm_sampling, repetition_penalty),
     .defaults = {1.1, 1, 1, 1.1}},
    {.name = "presence_penalty",
     .help = "taken from the logits of the last 64 tokens; 0 is off",
     .type = REALM_PARAM_F32,
     .min = -2,
     .max = 2,
     .offset = offsetof(struct realm_sampling, presence_penalty)},
    {.name = "frequency_penalty",
     .help = "the same, times how often the token stands there; 0 is off",
     .type = REALM_PARAM_F32,
     .min = -2,
     .max = 2,
     .offset = offsetof(struct realm_sampling, frequency_penalty)},
    {.name = "seed",
     .help = "makes draws repeatable; a fresh one is drawn without it",
     .type = REALM_PARAM_U64,
     .max = 18446744073709551616.0, /* 2^64 */
     .below_max = true,
     .offset = offsetof(struct realm_sampling, seed)},
};

const struct realm_param *realm_params(size_t *n)
{
    *n = ARRAY_LEN(params);
    return params;
}

static bool in_range(const struct realm_param *p, double value)
{
    if (!isfinite(value) || value < p->min || value > p->max)
        return false;
    if ((p->above_min && value == p->min) || (p->below_max && value == p->max))
        return false;
    return p->type == REALM_PARAM_F32 || value == floor(value);
}

static int out_of_range(const struct realm_param *p, struct realm_error *err)
{
    const char *kind = p->type == REALM_PARAM_F32 ? "" : "whole ";
    if (!p->above_min && !p->below_max)
        return err_set(err, REALM_E_ARG, "%s must be a %snumber from %.15g to %.15g", p->name, kind,
                       p->min, p->max);
    return err_set(err, REALM_E_ARG, "%s must be a %snumber %s %.15g and %s %.15g", p->name, kind,
                   p->above_min ? "over" : "from", p->min, p->below_max ? "below" : "up to",
                   p->max);
}

static void store_value(struct realm_sampling *s, const struct realm_param *p, double value)
{
    void *field = (char *)s + p->offset;
    switch (p->type) {
    case REALM_PARAM_U32:
        *(uint32_t *)field = (uint32_t)value;
        break;
    case REALM_PARAM_F32:
        *(float *)field = (float)value;
        break;
    case REALM_PARAM_U64:
        *(uint64_t *)field = (uint64_t)value;
        break;
    }
}

static double load_value(const struct realm_sampling *s, const struct realm_param *p)
{
    const void *field = (const char *)s + p->offset;
    switch (p->type) {
    case REALM_PARAM_U32:
        return *(const uint32_t *)field;
    case REALM_PARAM_F32:
        return (double)*(const float *)field;
    case REALM_PARAM_U64:
        break;
    }
    return 0; // every u64 is in range, though not every one is a double
}

static const struct realm_param *find(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(params); i++)
        if (strcmp(params[i].name, name) == 0)
            return &params[i];
    return NULL;
}

int realm_sampling_set(struct realm_sampling *s, const char *name, double value,
                       struct realm_error *err)
{
    const struct realm_param *p = find(name);
    if (!p)
        return err_set(err, REALM_E_ARG, "no parameter has this name");
    /* As the field will hold it: what rounds to a bound is that bound. */
    double held = p->type == REALM_PARAM_F32 ? (double)(float)value : value;
    if (!in_range(p, value) || !in_range(p, held))
        return out_of_range(p, err);
    store_value(s, p, value);
    if (p->offset == offsetof(struct realm_sampling, seed))
        s->has_seed = true;
    return 0;
}

void realm_sampling_init(struct realm_sampling *s, enum realm_door door)
{
    *s = (struct realm_sampling){0};
    for (size_t i = 0; i < ARRAY_LEN(params); i++)
        store_value(s, &params[i], params[i].defaults[door]);
}

int realm_sampling_check(const struct realm_sampling *s, struct realm_error *err)
{
    for (size_t i = 0; i < ARRAY_LEN(params); i++) {
        const struct realm_param *p = &params[i];
        bool rest = p->offset == offsetof(struct realm_sampling, max_tokens) && s->max_tokens == 0;
        if (!rest && !in_range(p, load_value(s, p)))
            return out_of_range(p, err);
    }
    return 0;
}
