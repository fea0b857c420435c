#include <math.h>

#include "base/mem.h"
#include "score.h"

struct sums {
    double nll, nll2; /* negative log-probabilities, and their squares */
    size_t n;
};

static void add_second_half(struct sums *s, const float *logprobs, uint32_t window)
{
    for (uint32_t i = window / 2 + 1; i < window; i++) {
        double nll = -(double)logprobs[i];
        s->nll += nll;
        s->nll2 += nll * nll;
        s->n++;
    }
}

static void finish(const struct sums *s, struct windows *w)
{
    const double n = (double)s->n, mean = s->nll / n;
    const double variance = s->nll2 / n - mean * mean;
    w->scored = s->n;
    w->perplexity = exp(mean);
    w->error = s->n > 1 && variance > 0 ? sqrt(variance / (n - 1)) * w->perplexity : 0;
}

static int check(const struct realm_model_info *info, size_t n_ids, const struct windows *w)
{
    if (w->window > info->context_tokens)
        return cmd_usage("score", "a window of %u tokens is over the model's context of %u",
                         w->window, info->context_tokens);
    if (n_ids < w->window)
        return cmd_usage("score",
                         "the text has %zu token%s, fewer than a window of %u; --window N takes "
                         "shorter ones, --window 0 the text as it is",
                         n_ids, plural(n_ids), w->window);
    return -1;
}

int score_windows(struct realm_model *m, uint32_t *ids, size_t n_ids, struct windows *w)
{
    struct realm_model_info info;
    struct realm_error err = {0};
    struct sums sums = {0};
    realm_model_info(m, &info);
    int status = check(&info, n_ids, w);
    if (status >= 0)
        return status;
    float *logprobs = mem_array(w->window, sizeof(*logprobs));
    if (!logprobs)
        return cmd_failf("score", "out of memory");
    const uint32_t bos = ids[0];
    w->n = n_ids / w->window;
    for (size_t i = 0; i < w->n && !err.status; i++) {
        uint32_t *first = ids + i * w->window;
        progress_show("scoring", i, w->n);
        if (info.adds_bos)
            first[0] = bos;
        if (realm_score(m, first, w->window, logprobs, NULL, 0, NULL, &err) == 0)
            add_second_half(&sums, logprobs, w->window);
    }
    progress_clear();
    mem_free(logprobs);
    if (err.status)
        return cmd_fail("score", &err);
    finish(&sums, w);
    return -1;
}
