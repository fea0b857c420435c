/* sched/batch.c - which rows the next step of a model computes. */
#include "base/ckd.h"
#include "sched/sched_impl.h"

/* How many times as long a step may be that is for prompts alone, and how many times for as many
 * rows as most products need to reach their rate: every step reads all weights, and only a request
 * that comes meanwhile waits for its end, which is near then (step.c). */
enum { PROMPT_STEPS = 4, PROMPT_STEPS_MOST = 32, PROMPT_ROWS = 64 };

/* Adds up to max of g's next rows, fewer when the rows or logits of the batch are
 * used up, which an encoder's texts never see. */
static void add_rows(struct batch *b, struct sched_gen *g, size_t max)
{
    struct part part = {.gen = g, .row = b->n_rows, .logits = b->n_logits};
    size_t n = min_size(gen_pending(g), min_size(max, g->model->rows_max - b->n_rows));
    for (; part.rows < n; part.rows++) {
        uint32_t pos = g->computed + (uint32_t)part.rows;
        bool logits = gen_draws(g, pos) || prompt_wants_logits(g, pos);
        if (logits && b->n_logits == FORWARD_LOGITS_MAX)
            break;
        b->rows[b->n_rows++] = (struct forward_row){
            .seq = g->seq,
            .token = g->tokens[pos],
            .pos = pos,
            .wants_logits = logits,
            .wants_hidden = prompt_wants_hidden(g, pos),
        };
        b->n_logits += logits;
    }
    part.n_logits = b->n_logits - part.logits;
    if (part.rows)
        b->parts[b->n_parts++] = part;
}

static bool decodes(const struct sched_gen *g)
{
    return g->n_tokens > g->n_prompt && gen_pending(g) == 1;
}

/* Rows for prompts: what answers leave of the step, but never less than fits a
 * quarter of it, so that a full house does not keep new guests waiting.  Where even
 * a step of the answers alone takes most of the time, prompts may double it: few
 * rows read the same weights as one does, and would read them again in each step.
 * Kernels take whole tiles: one that is not full takes nearly as long. */
static size_t prompt_rows(const struct pace *p, size_t n_decode, uint64_t step_ns)
{
    uint64_t alone_ns = pace_ns(p, max_size(n_decode, 1));
    uint64_t ns = step_ns > 2 * alone_ns ? step_ns : 2 * alone_ns;
    size_t all = pace_rows(p, ns);
    if (all > TILE_TOKENS)
        all -= all % TILE_TOKENS;
    return max_size(all > n_decode ? all - n_decode : 0, pace_rows(p, ns / 4));
}

/* Prompts of a step: those of the tenant with the least counter first. */
struct prompts {
    struct sched_gen *gens[FORWARD_LOGITS_MAX];
    size_t rows[FORWARD_LOGITS_MAX];
    size_t n;
};

static void collect(struct prompts *p, struct sched_model *m)
{
    p->n = 0;
    for (struct list *i = m->running.next; i != &m->running; i = i->next) {
        struct sched_gen *g = gen_of(i);
        if (decodes(g))
            continue;
        size_t at = p->n++;
        for (; at && p->gens[at - 1]->account->counter > g->account->counter; at--)
            p->gens[at] = p->gens[at - 1];
        p->gens[at] = g;
        g->account->at = g->account->counter;
    }
}

/* The next piece of g's `pending` rows: of a page, or a text that is whole or nothing. */
static size_t piece_of(const struct sched_gen *g, size_t pending, size_t left, bool first)
{
    if (!g->model->model->config.encoder)
        return min_size(pending, min_size(left, KV_PAGE_TOKENS));
    return first || pending <= left ? pending : 0;
}

static bool of_one_tenant(const struct prompts *p)
{
    for (size_t i = 1; i < p->n; i++)
        if (p->gens[i]->account != p->gens[0]->account)
            return false;
    return true;
}

/* The prompt whose tenant is behind, of those that want more rows; p->n: none does. */
static size_t behind(const struct prompts *p)
{
    size_t best = p->n;
    for (size_t i = 0; i < p->n; i++) {
        const struct account *a = p->gens[i]->account;
        if (p->rows[i] < gen_pending(p->gens[i]) &&
            (best == p->n || a->at < p->gens[best]->account->at))
            best = i;
    }
    return best;
}

/* Up to `most` rows, a piece at a time for the tenant that is behind, whose first prompt gets all
 * of it.  Rows that are computed again count here: they take the time of others.  Once a prompt
 * ends in this step none are added beyond the first `few`, for it would wait for them; those of
 * tenants that were further behind are in it, though. */
static void hand_out(struct prompts *p, size_t few, size_t most)
{
    size_t all = 0;
    bool alone = of_one_tenant(p);
    for (size_t i = 0; i < p->n; i++)
        p->rows[i] = 0;
    while (all < most) {
        size_t i = behind(p);
        if (i == p->n)
            return;
        struct sched_gen *g = p->gens[i];
        size_t pending = gen_pending(g), rows = piece_of(g, pending - p->rows[i], most - all, !all);
        if (!rows)
            return; // it begins the next step
        p->rows[i] += rows;
        all += rows;
        g->account->at += g->model->cost * (double)rows / g->account->weight;
        if (p->rows[i] == pending && !alone)
            most = few;
    }
}

/* Where nobody waits for the end of a step. */
static size_t prompt_rows_alone(const struct pace *p, size_t few, uint64_t step_ns)
{
    size_t rows = prompt_rows(p, 0, PROMPT_STEPS_MOST * step_ns);
    return max_size(min_size(rows, PROMPT_ROWS),
                    max_size(few, prompt_rows(p, 0, PROMPT_STEPS * step_ns)));
}

void batch_build(struct batch *b, struct sched_model *m, uint64_t step_ns)
{
    b->n_rows = b->n_parts = b->n_logits = 0;
    for (struct list *i = m->running.next; i != &m->running; i = i->next)
        if (decodes(gen_of(i)))
            add_rows(b, gen_of(i), 1);
    b->n_decode = b->n_rows;
    struct prompts prompts;
    collect(&prompts, m);
    b->n_short = b->n_rows;
    if (prompts.n == 0)
        return;
    bool nobody_waits = b->n_decode == 0 && m->n_running == m->sched->n_running;
    size_t few = prompt_rows(&m->pace, b->n_decode, step_ns);
    size_t most = nobody_waits ? prompt_rows_alone(&m->pace, few, step_ns) : few;
    hand_out(&prompts, few, most);
    for (size_t i = 0; i < prompts.n; i++)
        add_rows(b, prompts.gens[i], prompts.rows[i]);
    b->n_short = m->model->config.encoder ? b->n_rows : min_size(b->n_rows, b->n_decode + few);
}

void batch_keep_first(struct batch *b, size_t n)
{
    for (; b->n_rows > n; b->n_rows--) {
        struct part *last = &b->parts[b->n_parts - 1];
        bool logits = b->rows[b->n_rows - 1].wants_logits;
        b->n_logits -= logits;
        last->n_logits -= logits;
        if (--last->rows == 0)
            b->n_parts--;
    }
}
