/* sched/prompt.c - what is wanted of a prompt's own tokens: log-probabilities of
 * each, an embedding of all.
 *
 * Both are taken from a position once, in the order of positions; when keys and
 * values are computed again after a preemption, `used` says what is there already.
 * So neither depends on how the prompt is cut into steps. */
#include <string.h>

#include "base/ckd.h"
#include "base/mem.h"
#include "sched/sched_impl.h"

bool prompt_wants_logits(const struct sched_gen *g, uint32_t pos)
{
    if (!g->prompt_logprobs || pos < g->used)
        return false;
    return pos + 1 < g->n_prompt || (g->n_next && pos + 1 == g->n_prompt);
}

bool prompt_wants_hidden(const struct sched_gen *g, uint32_t pos)
{
    if (g->pooling == REALM_POOL_LAST)
        return pos + 1 == g->n_prompt;
    if (g->pooling == REALM_POOL_CLS)
        return pos == 0;
    return g->pooling == REALM_POOL_MEAN && pos >= g->used;
}

int prompt_open(struct sched_gen *g, const struct realm_request *r, uint32_t n_next)
{
    size_t width = g->model->model->config.width;
    g->prompt_logprobs = r->prompt_logprobs;
    g->prompt_only = r->prompt_only;
    g->pooling = r->pooling;
    g->n_next = n_next;
    if (g->pooling == REALM_POOL_NONE)
        return 0;
    g->embedding = mem_zarray(width, sizeof(*g->embedding));
    if (g->pooling == REALM_POOL_MEAN)
        g->sum = mem_zarray(width, sizeof(*g->sum));
    return g->embedding && (g->sum || g->pooling != REALM_POOL_MEAN) ? 0 : REALM_E_NOMEM;
}

void prompt_close(struct sched_gen *g)
{
    mem_free(g->sum);
    mem_free(g->embedding);
    buf_free(&g->rows);
}

void prompt_pool(struct sched_gen *g, const struct forward_row *rows, const struct part *part)
{
    size_t width = g->model->model->config.width;
    for (size_t i = part->row; i < part->row + part->rows; i++) {
        if (!rows[i].wants_hidden)
            continue;
        const float *hidden = g->sched->forward->hidden(g->model->forward, i);
        if (!g->sum)
            memcpy(g->embedding, hidden, width * sizeof(*hidden));
        for (size_t j = 0; g->sum && j < width; j++)
            g->sum[j] += (double)hidden[j];
    }
}

void prompt_row(const struct sample_item *item, struct sample_scratch *scratch,
                const struct kernels *k)
{
    struct sched_gen *g = item->gen;
    uint32_t next = item->pos + 1;
    bool beyond = next == g->n_prompt;
    uint32_t token = beyond ? 0 : g->tokens[next], n_top = beyond ? g->n_next : g->n_top;
    float logprob = sample_logprobs(scratch, k, item->logits, g->model->model->config.vocab, token,
                                    gen_row_top(g, item->place), n_top);
    gen_write_row(g, item->place, next, token, logprob, n_top);
}

bool prompt_settle(struct sched_gen *g)
{
    size_t width = g->model->model->config.width;
    uint32_t done = (uint32_t)min_size(g->computed, g->n_prompt);
    g->used = done > g->used ? done : g->used;
    if (!g->prompt_only || g->computed < g->n_prompt)
        return false;
    for (size_t i = 0; g->sum && i < width; i++)
        g->embedding[i] = (float)(g->sum[i] / (double)g->n_prompt);
    return true;
}
