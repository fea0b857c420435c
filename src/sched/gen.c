/* sched/gen.c - the life of a generation, from the request to its end. */
#include <math.h>
#include <string.h>

#include "base/ckd.h"
#include "base/err.h"
#include "base/mem.h"
#include "sched/sched_impl.h"

static void gen_free(struct sched_gen *g)
{
    mem_free(g->stop_ids);
    mem_free(g->bias);
    mem_free(g->tenant);
    mem_free(g->tokens);
    mem_free(g->top);
    stop_free(&g->stop);
    buf_free(&g->piece);
    buf_free(&g->text);
    buf_free(&g->events);
    buf_free(&g->tail);
    buf_free(&g->taken);
    prompt_close(g);
    cond_destroy(&g->changed);
    mutex_destroy(&g->lock);
    mem_free(g);
}

static struct sched_gen *gen_alloc(struct sched_model *m)
{
    struct sched_gen *g = mem_zalloc(sizeof(*g));
    if (!g)
        return NULL;
    if (mutex_init(&g->lock)) {
        mem_free(g);
        return NULL;
    }
    if (cond_init(&g->changed)) {
        mutex_destroy(&g->lock);
        mem_free(g);
        return NULL;
    }
    atomic_init(&g->allowed, UINT32_MAX);
    g->sched = m->sched;
    g->model = m;
    list_init(&g->link);
    buf_init(&g->piece, STOP_PUSH_MAX);
    buf_init(&g->text, STOP_BYTES_MAX + STOP_PUSH_MAX);
    buf_init(&g->rows, EVENTS_BYTES_MAX);
    buf_init(&g->events, EVENTS_BYTES_MAX);
    buf_init(&g->taken, EVENTS_BYTES_MAX);
    buf_init(&g->tail, 2 * STOP_BYTES_MAX);
    return g;
}

/* A copy of n items for the caller to free, NULL when memory is short. */
static void *copy(const void *items, size_t n, size_t size)
{
    void *copied = mem_array(n, size);
    if (copied && n)
        memcpy(copied, items, n * size);
    return copied;
}

static int copy_ids(struct sched_gen *g, const uint32_t *ids, size_t n)
{
    g->tokens = copy(ids, n, sizeof(*ids));
    if (!g->tokens)
        return REALM_E_NOMEM;
    g->n_prompt = g->n_tokens = g->tokens_cap = (uint32_t)n;
    return 0;
}

static int copy_stops(struct sched_gen *g, const struct realm_request *r)
{
    g->stop_ids = copy(r->stop_ids, r->n_stop_ids, sizeof(*r->stop_ids));
    if (!g->stop_ids)
        return REALM_E_NOMEM;
    g->n_stop_ids = r->n_stop_ids;
    return stop_init(&g->stop, r->stop, r->n_stop);
}

static int copy_options(struct sched_gen *g, const struct realm_request *r)
{
    const struct model *model = g->model->model;
    g->sampling = r->sampling;
    g->choice = r->choice;
    g->ignore_end = r->ignore_end;
    g->notify = r->notify;
    g->notify_ctx = r->notify_ctx;
    g->logprobs = r->logprobs || r->top_logprobs;
    g->n_top = (uint32_t)min_size(r->top_logprobs, model->config.vocab);
    g->top = mem_array(g->n_top, sizeof(*g->top));
    g->tenant = mem_strdup(r->tenant ? r->tenant : "default");
    g->weight = r->weight ? r->weight : 1;
    g->kv_bytes_max = r->kv_bytes_max;
    g->priority = r->priority;
    g->bias = copy(r->logit_bias, r->n_logit_bias, sizeof(*r->logit_bias));
    g->n_bias = r->n_logit_bias;
    if (!g->top || !g->tenant || !g->bias)
        return REALM_E_NOMEM;
    if (model->vocab)
        detok_init(&g->detok, model->vocab, false, r->show_special);
    return copy_stops(g, r);
}

/* The end must not depend on memory: room for what it may have to write. */
static int reserve_end(struct sched_gen *g)
{
    int status = buf_reserve(&g->stop.held, STOP_BYTES_MAX + 8);
    return status ? status : buf_reserve(&g->tail, STOP_BYTES_MAX + 8);
}

/* How many tokens the budget can hold of one sequence. */
static uint64_t capacity(const struct sched_model *m)
{
    return m->sched->budget.bytes_max / kv_page_bytes(m->kv) * KV_PAGE_TOKENS;
}

static int no_room(const struct sched_model *m, uint64_t tokens, struct realm_error *err)
{
    return err_set(err, REALM_E_NO_ROOM,
                   "keys and values of %llu tokens do not fit the budget, which holds %llu",
                   (unsigned long long)tokens, (unsigned long long)capacity(m));
}

/* How far a prompt and an answer of max_tokens (0: as long as there is room) may go. */
struct reach {
    uint32_t tokens, positions;
};

static int find_reach(const struct sched_model *m, size_t n_ids, const struct realm_request *r,
                      struct reach *out, struct realm_error *err)
{
    uint32_t context = m->model->config.context, max_tokens = r->sampling.max_tokens;
    if (n_ids > context)
        return err_set(err, REALM_E_CONTEXT, "the prompt has %zu tokens and the context %u", n_ids,
                       context);
    *out = (struct reach){cast_u32(n_ids), cast_u32(n_ids)};
    if (r->prompt_only)
        return kv_fits(m->kv, n_ids) ? 0 : no_room(m, n_ids, err);
    if (n_ids == context)
        return err_set(err, REALM_E_CONTEXT,
                       "the prompt has %zu tokens and the context %u: no room for an answer", n_ids,
                       context);
    uint64_t rest = context - n_ids;
    uint64_t answer = max_tokens && max_tokens < rest ? max_tokens : rest;
    if (!max_tokens && capacity(m) >= n_ids)
        answer = min_size(answer, capacity(m) - n_ids + 1);
    uint64_t positions = n_ids + answer - 1;
    if (!kv_fits(m->kv, positions))
        return no_room(m, positions, err);
    *out = (struct reach){cast_u32(positions + 1), cast_u32(positions)};
    return 0;
}

int sched_gen_check(const struct sched_model *m, size_t n_ids, const struct realm_request *request,
                    struct realm_error *err)
{
    struct reach reach;
    return find_reach(m, n_ids, request, &reach, err);
}

static int enqueue(struct sched_gen *g, struct realm_error *err)
{
    struct sched *s = g->sched;
    g->start_ns = clock_ns(s->options.clock);
    mutex_lock(&s->lock);
    int status = atomic_load(&s->shutdown) ? err_set(err, REALM_E_SHUTDOWN, "the engine is closing")
                                           : share_enter(s, g, err);
    if (!status) {
        g->ticket = ++s->tickets;
        s->stats.started++;
        s->stats.waiting++;
        list_add_tail(&s->inbox, &g->link);
        sched_wake(s);
    }
    mutex_unlock(&s->lock);
    return status;
}

/* n_next: of a scoring. */
static int open_gen(struct sched_gen **out, struct sched_model *m, const uint32_t *ids,
                    size_t n_ids, size_t n_public, const struct realm_request *request,
                    uint64_t seed, uint32_t n_next, struct realm_error *err)
{
    *out = NULL;
    struct reach reach;
    int status = find_reach(m, n_ids, request, &reach, err);
    if (status)
        return status;
    struct sched_gen *g = gen_alloc(m);
    if (!g)
        return err_nomem(err, "a generation");
    g->seed = seed;
    g->n_public = (uint32_t)min_size(n_public, n_ids);
    g->tokens_max = reach.tokens;
    g->positions_max = reach.positions;
    status = copy_ids(g, ids, n_ids);
    if (!status)
        status = copy_options(g, request);
    if (!status)
        status = prompt_open(g, request, n_next);
    if (!status)
        status = reserve_end(g);
    if (status) {
        gen_free(g);
        return err_nomem(err, "a generation");
    }
    status = enqueue(g, err);
    if (status) {
        gen_free(g);
        return status;
    }
    *out = g;
    return 0;
}

int sched_gen_open(struct sched_gen **out, struct sched_model *m, const uint32_t *ids, size_t n_ids,
                   size_t n_public, const struct realm_request *request, uint64_t seed,
                   struct realm_error *err)
{
    return open_gen(out, m, ids, n_ids, n_public, request, seed, 0, err);
}

static struct realm_usage usage_of(const struct sched_gen *g)
{
    uint64_t now = clock_ns(g->sched->options.clock);
    uint64_t stepped = g->first_step_ns ? g->first_step_ns : now;
    uint64_t drew = g->first_token_ns ? g->first_token_ns : now;
    bool ran = g->first_step_ns != 0; // what nobody computed nobody is charged for
    return (struct realm_usage){
        .prompt_tokens = ran ? g->n_prompt : 0,
        .cached_tokens = ran ? g->n_cached : 0,
        .completion_tokens = g->n_tokens - g->n_prompt,
        .queued_ns = stepped - g->start_ns,
        .prefill_ns = drew - stepped,
        .decode_ns = now - drew,
    };
}

/* What was held back: the beginning of a character, or of a stop string. */
static void write_tail(struct sched_gen *g)
{
    if (g->stopped)
        return;
    char last[4];
    bool stopped;
    size_t n = g->detok.vocab ? detok_end(&g->detok, last) : 0;
    int status = stop_push(&g->stop, last, n, &g->tail, &stopped);
    if (!status && !stopped)
        status = stop_flush(&g->stop, &g->tail);
    /* reserve_end made the room; a push that failed may have left more. */
    ASSERT(status == 0 || g->outcome.status);
}

/* Out of the scheduler's lists and counters, its pages given back. */
static void leave(struct sched_gen *g, struct outcome outcome)
{
    struct sched *s = g->sched;
    reuse_close(g);
    bool ran = g->state == GEN_RUNNING;
    share_end(s, g);
    mutex_lock(&s->lock);
    struct sched_stats *stats = &s->stats;
    stats->waiting -= !ran;
    stats->finished += outcome.status == 0;
    stats->cancelled += outcome.status == REALM_E_CANCELLED;
    stats->failed += outcome.status != 0 && outcome.status != REALM_E_CANCELLED;
    stats->prompt_tokens += g->usage.prompt_tokens;
    stats->cached_tokens += g->usage.cached_tokens;
    stats->completion_tokens += g->usage.completion_tokens;
    share_leave(s, g);
    mutex_unlock(&s->lock);
}

void gen_notify(struct sched_gen *g)
{
    if (g->untold && g->notify)
        g->notify(g->notify_ctx);
    g->untold = false;
}

/* With let_go the closing thread may free g as soon as the lock is open: a mutex
 * may be destroyed right after another thread's unlock, and that is all that is
 * left to do here. */
static void let_go(struct sched_gen *g)
{
    mutex_lock(&g->lock);
    g->let_go = true;
    cond_broadcast(&g->changed);
    mutex_unlock(&g->lock);
}

void gen_finish(struct sched_gen *g, struct outcome outcome)
{
    g->usage = usage_of(g);
    write_tail(g);
    leave(g, outcome);
    mutex_lock(&g->lock);
    g->finish = outcome.finish;
    g->status = outcome.status;
    g->done = true;
    cond_broadcast(&g->changed);
    mutex_unlock(&g->lock);
    /* The reader may have the end by now, but not yet have closed. */
    g->untold = true;
    gen_notify(g);
    let_go(g);
}

uint32_t sched_gen_prompt_tokens(const struct sched_gen *g)
{
    return g->n_prompt;
}

void sched_gen_cancel(struct sched_gen *g)
{
    atomic_store(&g->cancelled, true);
}

void sched_gen_allow(struct sched_gen *g, uint32_t completion_tokens)
{
    atomic_store(&g->allowed, completion_tokens);
}

void sched_gen_close(struct sched_gen *g)
{
    if (!g)
        return;
    sched_gen_cancel(g);
    mutex_lock(&g->lock);
    while (!g->let_go)
        cond_wait(&g->changed, &g->lock);
    mutex_unlock(&g->lock);
    gen_free(g);
}

/* Takes the events of a scoring of n_ids ids; the status of the end. */
static int read_scores(struct sched_gen *g, size_t n_ids, const struct sched_score *score,
                       const struct realm_wait *wait)
{
    struct realm_event e;
    for (;;) {
        int status = sched_gen_next(g, &e, wait);
        if (status)
            return status;
        if (e.kind == REALM_EVENT_END)
            return e.status;
        if (e.index < n_ids)
            score->logprobs[e.index] = e.logprob;
        else
            memcpy(score->next, e.top, e.n_top * sizeof(*e.top));
    }
}

int sched_score(struct sched_model *m, const uint32_t *ids, size_t n_ids,
                const struct sched_score *score, const struct realm_wait *wait,
                struct realm_error *err)
{
    const struct realm_request request = {.prompt_logprobs = true, .prompt_only = true};
    struct sched_gen *g;
    int status = open_gen(&g, m, ids, n_ids, 0, &request, 0, (uint32_t)score->n_next, err);
    if (status)
        return status;
    score->logprobs[0] = NAN;
    status = read_scores(g, n_ids, score, wait);
    sched_gen_close(g);
    return status ? err_set(err, status, "scoring ended: %s", realm_status_name(status)) : 0;
}
