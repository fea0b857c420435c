#include "sampling_opts.h"

#include <string.h>

#include "base/assert.h"

/* What a parameter is called on the command line, where that differs. */
static const struct spelling {
    const char *param, *option;
    char letter;
} spellings[] = {
    {"max_tokens", "max-tokens", 'n'},
    {"top_p", "top-p", 0},
    {"top_k", "top-k", 0},
    {"min_p", "min-p", 0},
    {"repetition_penalty", "repeat-penalty", 0},
    {"presence_penalty", "presence-penalty", 0},
    {"frequency_penalty", "frequency-penalty", 0},
};

static struct spelling spelling_of(const char *param)
{
    for (size_t i = 0; i < ARRAY_LEN(spellings); i++)
        if (strcmp(spellings[i].param, param) == 0)
            return spellings[i];
    return (struct spelling){param, param, 0};
}

/* "most tokens to generate (default: what is left of the context)" */
static void describe(const struct realm_param *p, char *out, size_t n)
{
    double value = p->defaults[REALM_DOOR_CLI];
    if (p->type == REALM_PARAM_U64)
        snprintf(out, n, "%s", p->help);
    else if (value < p->min)
        snprintf(out, n, "%s (default: what is left of the context)", p->help);
    else
        snprintf(out, n, "%s (default %g)", p->help, value);
}

size_t sampling_opts_add(struct sampling_opts *s, struct opt *opts, size_t n)
{
    size_t n_params;
    const struct realm_param *params = realm_params(&n_params);
    ASSERT(n_params <= SAMPLING_OPTS_MAX);
    for (size_t i = 0; i < n_params; i++) {
        const struct realm_param *p = &params[i];
        struct spelling spelling = spelling_of(p->name);
        describe(p, s->help[i], sizeof(s->help[i]));
        opts[n++] =
            (struct opt){spelling.option, spelling.letter, p->type == REALM_PARAM_F32 ? "X" : "N",
                         s->help[i],      &s->text[i],     NULL};
    }
    return n;
}

int sampling_opts_read(const struct sampling_opts *s, const char *cmd,
                       struct realm_sampling *sampling)
{
    size_t n_params;
    const struct realm_param *params = realm_params(&n_params);
    for (size_t i = 0; i < n_params; i++) {
        struct realm_error err;
        double value;
        if (!s->text[i])
            continue;
        const struct spelling spelling = spelling_of(params[i].name);
        const struct opt_shown option = opt_show(spelling.letter, spelling.option);
        /* A seed has more bits than a double. */
        if (params[i].type == REALM_PARAM_U64) {
            int status = opt_u64(cmd, option.text, s->text[i], 0, UINT64_MAX, &sampling->seed);
            if (status >= 0)
                return status;
            sampling->has_seed = true;
            continue;
        }
        value = opt_number(s->text[i]);
        /* The engine's sentence begins with its own name of the parameter. */
        if (realm_sampling_set(sampling, params[i].name, value, &err))
            return cmd_usage(cmd, "%s%s, not '%s'", option.text,
                             err.message + strlen(params[i].name), s->text[i]);
    }
    return -1;
}

bool sampling_opts_given(const struct sampling_opts *s, const char *name)
{
    size_t n_params;
    const struct realm_param *params = realm_params(&n_params);
    for (size_t i = 0; i < n_params; i++)
        if (strcmp(params[i].name, name) == 0)
            return s->text[i] != NULL;
    return false;
}
