/* sample/sample.c - the chain of one draw.
 *
 * Candidates stand in an order that follows from the logits and options alone,
 * so a draw depends on nothing else.  No step sorts the whole vocabulary. */
#include "sample/sample.h"

#include <float.h>
#include <string.h>

#include "base/ckd.h"
#include "base/mem.h"
#include "base/rng.h"
#include "sample/top.h"

enum {
    TOP_FEW = 1024,        /* so many are found one by one; more by classes */
    CLASSES = 2048,        /* of candidates by how far below the best their logits are */
    CLASSES_PER_UNIT = 64, /* of logits; the last class is all that is 32 below */
};

struct sample_scratch {
    size_t vocab;
    float *logits;                /* (vocab) after biases and penalties */
    float *weights;               /* (vocab) */
    struct candidate *candidates; /* (vocab) */
    size_t n;                     /* candidates left */
    double class_weight[CLASSES];
};

int sample_scratch_open(struct sample_scratch **out, size_t vocab)
{
    *out = NULL;
    struct sample_scratch *s = mem_zalloc(sizeof(*s));
    if (!s)
        return REALM_E_NOMEM;
    s->vocab = vocab;
    s->logits = mem_array(vocab, sizeof(*s->logits));
    s->weights = mem_array(vocab, sizeof(*s->weights));
    s->candidates = mem_array(vocab, sizeof(*s->candidates));
    if (!s->logits || !s->weights || !s->candidates) {
        sample_scratch_close(s);
        return REALM_E_NOMEM;
    }
    *out = s;
    return 0;
}

void sample_scratch_close(struct sample_scratch *s)
{
    if (!s)
        return;
    mem_free(s->logits);
    mem_free(s->weights);
    mem_free(s->candidates);
    mem_free(s);
}

uint64_t sample_scratch_bytes(size_t vocab)
{
    const struct sample_scratch *s;
    return sizeof(*s) +
           (uint64_t)vocab * (sizeof(*s->logits) + sizeof(*s->weights) + sizeof(*s->candidates));
}

static float finite(float x)
{
    return x > FLT_MAX ? FLT_MAX : x < -FLT_MAX ? -FLT_MAX : x;
}

static float penalised(float logit, const struct realm_sampling *o, size_t count)
{
    logit = logit > 0 ? logit / o->repetition_penalty : logit * o->repetition_penalty;
    return finite(finite(logit) - o->presence_penalty - (float)count * o->frequency_penalty);
}

/* Times that window[i] stands in the window; 0 when it stood there before i. */
static size_t first_count(const uint32_t *window, size_t n, size_t i)
{
    for (size_t j = 0; j < i; j++)
        if (window[j] == window[i])
            return 0;
    size_t count = 0;
    for (size_t j = i; j < n; j++)
        count += window[j] == window[i];
    return count;
}

/* Into the scratch: the logits themselves are wanted as they are for logprobs. */
static void bias(struct sample_scratch *s, const struct sample_input *in)
{
    memcpy(s->logits, in->logits, in->vocab * sizeof(*s->logits));
    for (size_t i = 0; i < in->n_bias; i++) {
        float *logit = &s->logits[in->bias[i].token];
        *logit = finite(*logit + in->bias[i].bias);
    }
}

static void penalise(struct sample_scratch *s, const struct sample_input *in)
{
    const struct realm_sampling *o = in->sampling;
    if (o->repetition_penalty == 1 && o->presence_penalty == 0 && o->frequency_penalty == 0)
        return;
    size_t n = min_size(in->n_history, PENALTY_WINDOW);
    const uint32_t *window = in->history + in->n_history - n;
    for (size_t i = 0; i < n; i++) {
        size_t count = first_count(window, n, i);
        if (count)
            s->logits[window[i]] = penalised(s->logits[window[i]], o, count);
    }
}

static uint32_t greatest(const float *logits, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (logits[i] > logits[best])
            best = i;
    return (uint32_t)best;
}

static void take_all(struct sample_scratch *s, size_t vocab)
{
    for (size_t i = 0; i < vocab; i++)
        s->candidates[i] = (struct candidate){s->logits[i], (uint32_t)i};
    s->n = vocab;
}

static float candidates_max(const struct sample_scratch *s)
{
    float max = s->candidates[0].logit;
    for (size_t i = 1; i < s->n; i++)
        if (s->candidates[i].logit > max)
            max = s->candidates[i].logit;
    return max;
}

/* Likelier candidates have lower classes. */
static size_t class_of(float logit, float max)
{
    float below = (max - logit) * CLASSES_PER_UNIT;
    return below < CLASSES - 1 ? (size_t)below : CLASSES - 1;
}

/* Drops what is in a higher class than `last`, and puts the others of that class
 * behind those of lower ones, of which it returns the number. */
static size_t part_at(struct sample_scratch *s, float max, size_t last)
{
    size_t kept = 0, lower = 0;
    for (size_t i = 0; i < s->n; i++)
        if (class_of(s->candidates[i].logit, max) <= last)
            s->candidates[kept++] = s->candidates[i];
    s->n = kept;
    for (size_t i = 0; i < s->n; i++) {
        struct candidate c = s->candidates[i];
        if (class_of(c.logit, max) == last)
            continue;
        s->candidates[i] = s->candidates[lower];
        s->candidates[lower++] = c;
    }
    return lower;
}

/* Keeps the likeliest candidates, as many as it takes until their weights reach
 * want; all weigh 1, or as much as they are likely.  Sorts but the class in which
 * that happens. */
static void keep_until(struct sample_scratch *s, double want, bool by_likelihood)
{
    float max = candidates_max(s);
    double sum = 0;
    memset(s->class_weight, 0, sizeof(s->class_weight));
    for (size_t i = 0; i < s->n; i++)
        s->class_weight[class_of(s->candidates[i].logit, max)] +=
            by_likelihood ? (double)s->weights[i] : 1;
    size_t last = 0;
    while (last < CLASSES - 1 && sum + s->class_weight[last] < want)
        sum += s->class_weight[last++];
    size_t kept = part_at(s, max, last);
    top_sort(s->candidates + kept, s->n - kept);
    while (kept < s->n && sum < want) {
        float logit = s->candidates[kept++].logit;
        sum += by_likelihood ? (double)kern_expf(logit - max) : 1;
    }
    s->n = kept;
}

static void keep_top_k(struct sample_scratch *s, size_t top_k, size_t vocab)
{
    if (top_k <= TOP_FEW) {
        s->n = top_k;
        top_select(s->candidates, top_k, s->logits, vocab);
        return;
    }
    take_all(s, vocab);
    keep_until(s, (double)top_k, false);
}

static void keep_top_p(struct sample_scratch *s, const struct kernels *k, float top_p)
{
    float max;
    for (size_t i = 0; i < s->n; i++)
        s->weights[i] = s->candidates[i].logit;
    double total = (double)k->exp_max(s->weights, s->weights, s->n, &max);
    keep_until(s, (double)top_p * total, true);
}

static void keep_min_p(struct sample_scratch *s, float min_p)
{
    double least = (double)candidates_max(s) + kern_log((double)min_p);
    size_t kept = 0;
    for (size_t i = 0; i < s->n; i++)
        if ((double)s->candidates[i].logit >= least)
            s->candidates[kept++] = s->candidates[i];
    s->n = kept;
}

static void select_candidates(struct sample_scratch *s, const struct kernels *k,
                              const struct sample_input *in)
{
    const struct realm_sampling *o = in->sampling;
    if (o->top_k > 0 && o->top_k < in->vocab)
        keep_top_k(s, o->top_k, in->vocab);
    else
        take_all(s, in->vocab);
    if (o->top_p < 1)
        keep_top_p(s, k, o->top_p);
    if (o->min_p > 0)
        keep_min_p(s, o->min_p);
}

/* Draws one of the candidates with the number u in [0, 1). */
static uint32_t draw(struct sample_scratch *s, const struct kernels *k, float temperature, double u)
{
    float max = candidates_max(s), scaled_max;
    for (size_t i = 0; i < s->n; i++)
        s->weights[i] = (s->candidates[i].logit - max) / temperature;
    k->exp_max(s->weights, s->weights, s->n, &scaled_max);
    double total = 0, sum = 0;
    for (size_t i = 0; i < s->n; i++)
        total += (double)s->weights[i];
    size_t last = 0;
    for (size_t i = 0; i < s->n; i++) {
        if (s->weights[i] == 0)
            continue;
        last = i;
        sum += (double)s->weights[i];
        if (sum > u * total)
            break;
    }
    return s->candidates[last].id;
}

uint32_t sample_draw(struct sample_scratch *s, const struct kernels *k,
                     const struct sample_input *in)
{
    ASSERT(in->vocab > 0 && in->vocab <= s->vocab);
    bias(s, in);
    penalise(s, in);
    if (in->sampling->temperature == 0)
        return greatest(s->logits, in->vocab);
    select_candidates(s, k, in);
    return draw(s, k, in->sampling->temperature, rng_unit(in->seed, in->choice, in->position));
}

float sample_logprobs(struct sample_scratch *s, const struct kernels *k, const float *logits,
                      size_t vocab, uint32_t token, struct realm_logprob *top, size_t n_top)
{
    ASSERT(vocab > 0 && vocab <= s->vocab && token < vocab && n_top <= vocab);
    float max;
    double log_sum = kern_log((double)k->exp_max(s->weights, logits, vocab, &max));
    if (n_top)
        top_select(s->candidates, n_top, logits, vocab);
    for (size_t i = 0; i < n_top; i++)
        top[i] = (struct realm_logprob){
            s->candidates[i].id, (float)((double)s->candidates[i].logit - (double)max - log_sum)};
    return (float)((double)logits[token] - (double)max - log_sum);
}
