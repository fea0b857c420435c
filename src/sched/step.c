/* sched/step.c - one step: the forward pass, then a draw for each row that ends
 * in one, on all threads at once. */
#include "sched/sched_impl.h"

#include "base/ckd.h"
#include "base/mem.h"

enum { TOKENS_FIRST = 64 };

/* Nobody waits for this step any more. */
static bool is_for_nobody(const struct sched *s)
{
    if (atomic_load_explicit(&s->shutdown, memory_order_relaxed))
        return true;
    for (size_t i = 0; i < s->batch.n_parts; i++)
        if (!atomic_load_explicit(&s->batch.parts[i].gen->cancelled, memory_order_relaxed))
            return false;
    return true;
}

/* Asked before each layer, which it counts: the rows that are still wanted.  A long step becomes a
 * short one when somebody comes, as long as what is given up is less than what is saved. */
static size_t wanted(void *ctx, uint32_t layer)
{
    struct sched *s = ctx;
    const struct batch *b = &s->batch;
    atomic_fetch_add_explicit(&s->layers, 1, memory_order_relaxed);
    if (is_for_nobody(s))
        return 0;
    if (b->n_short < b->n_rows && 2 * layer < b->parts[0].gen->model->model->config.layers &&
        atomic_load_explicit(&s->woken, memory_order_relaxed))
        batch_keep_first(&s->batch, b->n_short);
    return b->n_rows;
}

static void note_first_step(struct sched *s, uint64_t now)
{
    for (size_t i = 0; i < s->batch.n_parts; i++)
        if (s->batch.parts[i].gen->first_step_ns == 0)
            s->batch.parts[i].gen->first_step_ns = now;
}

static struct outcome failed(int status)
{
    return (struct outcome){true, REALM_FINISH_ERROR, status};
}

static bool has_bad_row(const struct sched_forward *ops, const struct forward *f,
                        const struct part *part)
{
    for (size_t i = 0; i < part->rows; i++)
        if (ops->row_bad(f, part->row + i))
            return true;
    return false;
}

/* One item for each row that has logits. */
static int add_items(struct sched *s, struct forward *f, const struct part *part)
{
    struct sched_gen *g = part->gen;
    size_t logits = part->logits;
    uint32_t n = 0, last = 0;
    for (size_t i = part->row; i < part->row + part->rows; i++) {
        const struct forward_row *row = &s->batch.rows[i];
        if (!row->wants_logits)
            continue;
        struct sample_item item = {g, s->forward->logits(f, logits++), row->pos, n};
        if (gen_draws(g, row->pos)) {
            s->draws[s->n_draws++] = item;
            continue;
        }
        s->prompts[s->n_prompts++] = item;
        n++;
        last = row->pos;
    }
    return n ? gen_reserve_rows(g, n, last + 1 == g->n_prompt ? g->n_next : g->n_top) : 0;
}

/* Takes the rows as computed, but for those of generations that went wrong. */
static void advance(struct sched *s, struct sched_model *m, int status)
{
    s->n_prompts = s->n_draws = 0;
    for (size_t i = 0; i < s->batch.n_parts; i++) {
        const struct part *part = &s->batch.parts[i];
        if (status == REALM_E_NUMERIC && !has_bad_row(s->forward, m->forward, part)) {
            // its rows are right
        } else if (status) {
            part->gen->outcome = failed(status);
            continue;
        }
        part->gen->computed += (uint32_t)part->rows;
        prompt_pool(part->gen, s->batch.rows, part);
        int added = add_items(s, m->forward, part);
        if (added)
            part->gen->outcome = failed(added);
    }
}

static int grow_tokens(struct sched_gen *g)
{
    if (g->n_tokens < g->tokens_cap)
        return 0;
    uint32_t cap =
        (uint32_t)min_size(max_size(2 * (size_t)g->tokens_cap, TOKENS_FIRST), g->tokens_max);
    uint32_t *tokens = mem_realloc_array(g->tokens, cap, sizeof(*tokens));
    if (!tokens)
        return REALM_E_NOMEM;
    g->tokens = tokens;
    g->tokens_cap = cap;
    return 0;
}

static bool ends(const struct sched_gen *g, uint32_t token)
{
    const struct vocab *vocab = g->model->model->vocab;
    if (!g->ignore_end && vocab && vocab_is_end(vocab, token))
        return true;
    for (size_t i = 0; i < g->n_stop_ids; i++)
        if (g->stop_ids[i] == token)
            return true;
    return false;
}

/* The token's text into g->text, as far as it is certain. */
static int write_text(struct sched_gen *g, uint32_t token)
{
    buf_clear(&g->text);
    buf_clear(&g->piece);
    if (!g->detok.vocab)
        return 0;
    int status = buf_reserve(&g->piece, detok_bound(&g->detok, token));
    if (status)
        return status;
    char *piece = (char *)g->piece.p;
    size_t n = detok_push(&g->detok, token, piece);
    return stop_push(&g->stop, piece, n, &g->text, &g->stopped);
}

/* Draws g's next token and tells its reader. */
static int draw(struct sched_gen *g, const struct sample_item *item, struct sample_scratch *scratch,
                const struct kernels *k)
{
    size_t vocab = g->model->model->config.vocab;
    int status = grow_tokens(g);
    if (status)
        return status;
    uint32_t token = sample_draw(scratch, k,
                                 &(struct sample_input){
                                     .logits = item->logits,
                                     .vocab = vocab,
                                     .history = g->tokens,
                                     .n_history = g->n_tokens,
                                     .sampling = &g->sampling,
                                     .bias = g->bias,
                                     .n_bias = g->n_bias,
                                     .seed = g->seed,
                                     .choice = g->choice,
                                     .position = g->n_tokens,
                                 });
    g->tokens[g->n_tokens++] = token;
    g->outcome.over = ends(g, token);
    g->outcome.finish = REALM_FINISH_STOP;
    if (g->outcome.over)
        return 0;
    float logprob = 0;
    if (g->logprobs)
        logprob = sample_logprobs(scratch, k, item->logits, vocab, token, g->top, g->n_top);
    status = write_text(g, token);
    if (status)
        return status;
    g->outcome.over = g->stopped;
    if (!g->outcome.over && g->n_tokens == g->tokens_max)
        g->outcome = (struct outcome){true, REALM_FINISH_LENGTH, 0};
    if (!g->outcome.over && g->n_tokens - g->n_prompt >= atomic_load(&g->allowed))
        g->outcome = failed(REALM_E_LIMIT);
    return gen_push_event(g, token, logprob);
}

static void look_up(void *ctx, size_t i, unsigned worker)
{
    struct sched *s = ctx;
    if (!s->prompts[i].gen->outcome.over)
        prompt_row(&s->prompts[i], s->scratch[worker], s->options.kernels);
}

static void sample(void *ctx, size_t i, unsigned worker)
{
    struct sched *s = ctx;
    const struct sample_item *item = &s->draws[i];
    struct sched_gen *g = item->gen;
    if (g->outcome.over)
        return;
    int status = draw(g, item, s->scratch[worker], s->options.kernels);
    if (status)
        g->outcome = failed(status);
}

/* On all threads: first the prompts, so that their events come before the answers'. */
static void use_logits(struct sched *s)
{
    if (s->n_prompts)
        pool_run(s->options.pool, look_up, s, s->n_prompts);
    for (size_t i = 0; s->n_prompts && i < s->batch.n_parts; i++) {
        struct sched_gen *g = s->batch.parts[i].gen;
        int status = g->rows.n && !g->outcome.over ? gen_push_rows(g) : 0;
        if (status)
            g->outcome = failed(status);
    }
    if (s->n_draws)
        pool_run(s->options.pool, sample, s, s->n_draws);
}

static void note_step(struct sched *s, uint64_t ns)
{
    const struct batch *b = &s->batch;
    mutex_lock(&s->lock);
    struct sched_stats *stats = &s->stats;
    stats->steps++;
    stats->step_ns += ns;
    if (ns > stats->step_ns_max)
        stats->step_ns_max = ns;
    stats->decode_rows += b->n_decode;
    stats->prompt_rows += b->n_rows - b->n_decode;
    stats->decode_steps += b->n_decode > 0;
    if (b->n_decode > stats->decode_batch_max)
        stats->decode_batch_max = (uint32_t)b->n_decode;
    mutex_unlock(&s->lock);
}

static void settle(struct sched_gen *g, uint64_t now)
{
    if (!g->outcome.over && prompt_settle(g))
        g->outcome = (struct outcome){true, REALM_FINISH_LENGTH, 0};
    if (g->first_token_ns == 0 && g->n_tokens > g->n_prompt)
        g->first_token_ns = now;
    if (g->outcome.over) {
        gen_finish(g, g->outcome);
        return;
    }
    reuse_keep(g);
    gen_notify(g);
}

void sched_step(struct sched *s, struct sched_model *m)
{
    sched_make_room(s, m);
    batch_build(&s->batch, m, (uint64_t)s->options.step_ms * 1000000u);
    if (s->batch.n_rows == 0)
        return;
    uint64_t start = clock_ns(s->options.clock);
    note_first_step(s, start);
    size_t bad, n_begun = s->batch.n_rows;
    int status = s->forward->step(m->forward, s->batch.rows, n_begun, wanted, s, &bad);
    if (status == REALM_E_CANCELLED)
        return; // whoever was cancelled ends before the next step
    advance(s, m, status);
    use_logits(s);
    uint64_t now = clock_ns(s->options.clock);
    if (s->batch.n_rows == n_begun)
        pace_note(&m->pace, n_begun, now - start);
    note_step(s, now - start);
    for (size_t i = 0; i < s->batch.n_parts; i++) {
        share_charge(s->batch.parts[i].gen);
        settle(s->batch.parts[i].gen, now);
    }
}
