#include "sched_sim.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/limits.h"

enum { PAGE_BYTES = 4096, DRAIN_TURNS_MAX = 200000 };

void sim_fail(const struct sim *s, const char *file, int line, const char *fmt, ...)
{
    char what[256];
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof(what), fmt, args);
    va_end(args);
    print_error("SEED=%llu, turn %llu: %s\n", (unsigned long long)s->seed,
                (unsigned long long)s->turns, what);
    _fail(file, line);
    abort();
}

uint64_t sim_below(struct sim *s, uint64_t n)
{
    s->random += 0x9e3779b97f4a7c15u;
    uint64_t x = s->random;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return (x ^ (x >> 31)) % n;
}

bool sim_chance(struct sim *s, double p)
{
    return (double)sim_below(s, 1u << 30) < p * (double)(1u << 30);
}

static uint64_t now(void *ctx)
{
    return ((struct sim *)ctx)->now_ns;
}

static bool goes_wrong(void *ctx, const struct forward_row *row)
{
    struct sim *s = ctx;
    (void)row;
    return s->faults > 0 && sim_chance(s, s->faults);
}

static bool on_step(void *ctx, const struct forward_row *rows, size_t n);

void sim_open(struct sim *s)
{
    s->clock = (struct clock){now, s};
    s->now_ns = 1;
    fake_watch(&(struct fake_watch){on_step, goes_wrong, s});
    struct sched_options options = {
        .pool = s->pool,
        .kernels = kernels_best(),
        .clock = &s->clock,
        .kv_bytes_max = s->pages * PAGE_BYTES,
        .kv_type = KV_F16,
        .step_ms = 50,
        .running_max = s->running_max,
        .forward = &fake_forward,
        .manual = true,
        .cache_off = s->cache_off,
        .audit = true,
    };
    assert_int_equal(sched_open(&s->sched, &options), 0);
    for (unsigned i = 0; i < s->n_models; i++)
        assert_int_equal(sched_model_open(&s->runs[i], s->sched, &s->models[i]), 0);
}

/* ------------------------------------------------------------------- asking -- */

static struct sim_gen *free_place(struct sim *s)
{
    for (size_t i = 0; i < SIM_GENS; i++) {
        if (s->gens[i].gen)
            continue;
        s->gens_end = i + 1 > s->gens_end ? i + 1 : s->gens_end;
        return &s->gens[i];
    }
    return NULL;
}

static const struct account *account_of(const struct sim *s, unsigned tenant)
{
    const struct list *busy = &s->sched->shares.busy;
    for (struct list *i = busy->next; i != busy; i = i->next) {
        const struct account *a = CONTAINER_OF(i, struct account, link);
        if (a->stats.tenant[1] == (char)('0' + tenant))
            return a;
    }
    return NULL;
}

static void expect_refusal(struct sim *s, int status)
{
    s->refused++;
    SIM_CHECK(s, status == REALM_E_NO_ROOM || status == REALM_E_LIMIT, "start: %d", status);
}

bool sim_start(struct sim *s, unsigned tenant, uint32_t n_prompt, uint32_t answer_max)
{
    static uint32_t ids[FAKE_CONTEXT];
    struct sim_gen *g = free_place(s);
    if (!g)
        return false;
    unsigned m = (unsigned)sim_below(s, s->n_models);
    char name[] = {'t', (char)('0' + tenant), '\0'};
    *g = (struct sim_gen){
        .tenant = tenant,
        .model = &s->models[m],
        .answer_max = answer_max,
        .start_ns = s->now_ns,
    };
    for (uint32_t i = 0; i < n_prompt; i++) {
        ids[i] = (uint32_t)sim_below(s, FAKE_VOCAB);
        g->hash = fake_lead(g->model, g->hash, ids[i]);
    }
    struct realm_request r = {
        .tenant = name,
        .weight = s->tenants[tenant].weight,
        .kv_bytes_max = s->tenants[tenant].kv_bytes_max,
        .priority = (int32_t)sim_below(s, 3) - 1,
        .ignore_end = true,
        .prompt_logprobs = s->logprobs && sim_below(s, 4) == 0,
        .prompt_only = s->logprobs && sim_below(s, 4) == 0,
        .sampling = {.max_tokens = answer_max, .top_p = 1, .repetition_penalty = 1},
    };
    g->prompt_only = r.prompt_only;
    if (s->hooks.start && !s->hooks.start(s->hooks.ctx, g, n_prompt))
        return false;
    int status = sched_gen_open(&g->gen, s->runs[m], ids, n_prompt, 0, &r, 1, NULL);
    s->started += status == 0;
    if (status)
        expect_refusal(s, status);
    if (s->hooks.started)
        s->hooks.started(s->hooks.ctx, g, status);
    return status == 0;
}

static unsigned open_of(const struct sim *s, unsigned tenant)
{
    unsigned n = 0;
    for (size_t i = 0; i < s->gens_end; i++)
        n += s->gens[i].gen && s->gens[i].tenant == tenant;
    return n;
}

static void ask_for_more(struct sim *s)
{
    for (unsigned i = 0; i < s->n_tenants; i++) {
        const struct sim_tenant *t = &s->tenants[i];
        if (!sim_chance(s, t->busy))
            continue;
        for (unsigned n = open_of(s, i); n < t->open_max; n++)
            if (!sim_start(s, i, 1 + (uint32_t)sim_below(s, t->prompt_max),
                           1 + (uint32_t)sim_below(s, t->answer_max)))
                break;
    }
}

/* Time passes; one step in sixteen is long enough to look who waits for it, and now and then
 * somebody comes meanwhile. */
static bool on_step(void *ctx, const struct forward_row *rows, size_t n)
{
    struct sim *s = ctx;
    (void)rows;
    s->now_ns += s->step_ns + n * s->row_ns;
    s->rows += n;
    if (!s->comes && sim_below(s, 16))
        return true;
    if (s->comes)
        SIM_CHECK(s, sim_start(s, 1, 5, 5), "who comes is refused");
    s->comes = false;
    if (s->asks && sim_below(s, 2))
        ask_for_more(s);
    return false;
}

static void cancel_some(struct sim *s)
{
    for (size_t i = 0; s->cancels > 0 && i < s->gens_end; i++) {
        if (!s->gens[i].gen || !sim_chance(s, s->cancels))
            continue;
        sched_gen_cancel(s->gens[i].gen);
        s->gens[i].cancelled = true;
    }
}

/* ------------------------------------------------------------------ reading -- */

/* What was computed for it since the last turn, each token once. */
static void count_service(struct sim *s, struct sim_gen *g)
{
    uint32_t prompt = g->gen->computed, answer = g->gen->n_tokens - g->gen->n_prompt;
    uint32_t cost = 2 * (answer - g->seen_answer);
    s->tokens -= answer - g->seen_answer;
    prompt = prompt < g->gen->n_prompt ? prompt : g->gen->n_prompt;
    g->seen_prompt = g->seen_prompt ? g->seen_prompt : g->gen->n_cached;
    if (prompt > g->seen_prompt) {
        cost += prompt - g->seen_prompt;
        g->seen_prompt = prompt;
    }
    g->seen_answer = answer;
    s->tokens += cost;
    s->tenants[g->tenant].served += (double)cost * (double)g->model->params;
}

static void check_end(struct sim *s, const struct sim_gen *g, const struct realm_event *e)
{
    uint32_t want = g->prompt_only ? 0 : g->answer_max;
    switch (e->status) {
    case 0:
        SIM_CHECK(s, e->finish == REALM_FINISH_LENGTH, "it ended early");
        SIM_CHECK(s, e->usage.completion_tokens == want, "%u tokens of %u",
                  e->usage.completion_tokens, want);
        break;
    case REALM_E_CANCELLED:
        SIM_CHECK(s, g->cancelled, "nobody cancelled it");
        break;
    case REALM_E_NUMERIC:
        SIM_CHECK(s, s->faults > 0, "no row was wrong");
        break;
    case REALM_E_LIMIT:
        if (g->allowed && e->usage.completion_tokens == g->allowed)
            break;
        SIM_CHECK(s, s->now_ns - g->start_ns > QUEUE_MS_MAX * 1000000ull, "it waited too short");
        SIM_CHECK(s, e->usage.completion_tokens == 0, "it had begun");
        break;
    default:
        SIM_CHECK(s, false, "it ended with %d", e->status);
    }
    SIM_CHECK(s, e->usage.completion_tokens == g->seen_answer, "%u tokens are said and %u came",
              e->usage.completion_tokens, g->seen_answer);
}

static void read_one(struct sim *s, struct sim_gen *g)
{
    const struct realm_wait at_once = {.deadline_ns = 1};
    struct realm_event e;
    while (sched_gen_next(g->gen, &e, &at_once) == 0) {
        if (e.kind == REALM_EVENT_PROMPT)
            continue;
        if (e.kind == REALM_EVENT_END) {
            check_end(s, g, &e);
            if (s->hooks.end)
                s->hooks.end(s->hooks.ctx, g, &e);
            s->tenants[g->tenant].ended++;
            s->ended++;
            sched_gen_close(g->gen);
            g->gen = NULL;
            return;
        }
        SIM_CHECK(s, e.token == fake_token(g->hash), "another token than alone, at %u", e.index);
        g->hash = fake_lead(g->model, g->hash, e.token);
        g->first_ns = g->first_ns ? g->first_ns : s->now_ns;
        if (s->hooks.token)
            s->hooks.token(s->hooks.ctx, g);
    }
}

/* ----------------------------------------------------------------- checking -- */

/* Whether a page may belong to both: they are one tenant's and have the same tokens up to its
 * end. */
static bool may_share(const struct sim_gen *a, const struct sim_gen *b, uint32_t end)
{
    return a->tenant == b->tenant && a->gen->computed >= end && b->gen->computed >= end &&
           memcmp(a->gen->tokens, b->gen->tokens, end * sizeof(uint32_t)) == 0;
}

/* Each page is held by one sequence, or by such as may share it; all that are held are counted
 * once.  The mark of the turn and its holder stand behind what the model keeps in it. */
static void check_pages(struct sim *s)
{
    uint64_t held = 0, bytes = 0;
    s->mark++;
    for (size_t i = 0; i < s->gens_end; i++) {
        struct sched_gen *g = s->gens[i].gen;
        if (!g || !g->seq)
            continue;
        SIM_CHECK(s, !g->done && g->state == GEN_RUNNING, "one that does not run holds pages");
        for (uint32_t pos = 0; pos < kv_seq_room(g->seq); pos += KV_PAGE_TOKENS) {
            uint64_t *page = (uint64_t *)kv_seq_pages(g->seq)[pos / KV_PAGE_TOKENS];
            uint64_t *mark = page + KV_PAGE_TOKENS, *holder = mark + 1;
            if (*mark == s->mark) {
                SIM_CHECK(s, may_share(&s->gens[i], &s->gens[*holder], pos + KV_PAGE_TOKENS),
                          "a page has two owners");
                continue;
            }
            *mark = s->mark;
            *holder = i;
            held++;
            bytes += kv_page_bytes(g->model->kv);
        }
    }
    struct kv_budget *b = &s->sched->budget;
    SIM_CHECK(s, held == atomic_load(&b->pages_used), "%llu pages are held, %llu are said to be",
              (unsigned long long)held, (unsigned long long)atomic_load(&b->pages_used));
    SIM_CHECK(s, bytes <= atomic_load(&b->bytes) && atomic_load(&b->bytes) <= b->bytes_max,
              "over the budget");
}

/* Whether it came during the last step. */
static bool is_new(const struct sim *s, const struct sched_gen *g)
{
    const struct list *inbox = &s->sched->inbox;
    for (struct list *i = inbox->next; i != inbox; i = i->next)
        if (CONTAINER_OF(i, struct sched_gen, link) == g)
            return true;
    return false;
}

static void check_account(struct sim *s, const struct account *a, unsigned tenant)
{
    size_t running = 0, waiting = 0, fresh = 0, queued = 0;
    uint64_t bytes = 0, pages = 0;
    for (size_t i = 0; i < s->gens_end; i++) {
        const struct sched_gen *g = s->gens[i].gen;
        if (!g || g->done || s->gens[i].tenant != tenant)
            continue;
        running += g->state == GEN_RUNNING;
        fresh += is_new(s, g);
        waiting += g->state == GEN_WAITING && !is_new(s, g);
        queued += !g->began;
        pages += g->pages;
        bytes += g->pages * kv_page_bytes(g->model->kv);
    }
    SIM_CHECK(s, a || running + waiting == 0, "a busy tenant has no account");
    if (!a)
        return;
    SIM_CHECK(s, a->n_running == running && a->n_waiting == waiting && a->queued == queued,
              "t%u: %zu run, %zu wait", tenant, a->n_running, a->n_waiting);
    SIM_CHECK(s, a->kv_bytes == bytes && a->stats.kv_pages == pages, "t%u: wrong bytes", tenant);
    SIM_CHECK(s, a->stats.running == running && a->stats.waiting == waiting + fresh, "wrong stats");
    SIM_CHECK(s, a->queued <= QUEUE_REQUESTS_MAX / 2, "t%u: %u are queued", tenant, a->queued);
}

/* Whether a would take whatever comes free: who waits for one model alone cannot use the
 * places of another. */
static bool wants_all(const struct sim *s, const struct account *a)
{
    bool wants[SIM_MODELS] = {false};
    for (const struct list *i = a->waiting.next; i != &a->waiting; i = i->next)
        wants[CONTAINER_OF(i, struct sched_gen, link)->model != s->runs[0]] = true;
    return wants[0] && (s->n_models == 1 || wants[1]);
}

static void check_accounts(struct sim *s)
{
    for (unsigned i = 0; i < s->n_tenants; i++) {
        const struct account *a = account_of(s, i);
        check_account(s, a, i);
        s->tenants[i].waits = a && wants_all(s, a);
    }
    for (unsigned i = 0; i < s->n_models; i++)
        SIM_CHECK(s, s->runs[i]->n_running <= s->sched->places_max, "too many run");
    SIM_CHECK(s, s->sched->queued <= QUEUE_REQUESTS_MAX, "%zu are queued", s->sched->queued);
}

/* As far as a tenant may get ahead, by the paper: max(prompt cost x longest prompt, answer cost
 * x tokens that fit), and no prompt is longer than what fits. */
static double lead_max(const struct sim *s, unsigned tenant)
{
    double most = 0;
    for (unsigned i = 0; i < s->n_models; i++) {
        uint64_t fit = s->sched->budget.bytes_max / kv_page_bytes(s->runs[i]->kv) * KV_PAGE_TOKENS;
        most = fmax(most, 2.0 * (double)fit * (double)s->models[i].params);
    }
    return most / s->tenants[tenant].weight;
}

/* While both of two tenants have some that wait, neither gets further ahead of the other. */
static void check_fair(struct sim *s, unsigned a, unsigned b)
{
    const struct sim_tenant *x = &s->tenants[a], *y = &s->tenants[b];
    bool both = x->waits && y->waits && !x->kv_bytes_max && !y->kv_bytes_max;
    double lead = x->served / x->weight - y->served / y->weight;
    if (!both || !s->pairs[a][b].both) {
        s->pairs[a][b].both = both;
        s->pairs[a][b].lo = s->pairs[a][b].hi = lead;
        return;
    }
    double lo = s->pairs[a][b].lo = fmin(s->pairs[a][b].lo, lead);
    double hi = s->pairs[a][b].hi = fmax(s->pairs[a][b].hi, lead);
    double part = (hi - lo) / (2 * fmax(lead_max(s, a), lead_max(s, b)));
    s->unfair_max = fmax(s->unfair_max, part);
    SIM_CHECK(s, part <= 1, "t%u and t%u: the lead changed by %g of its bound", a, b, part);
}

bool sim_turn(struct sim *s, bool ask)
{
    s->asks = ask;
    if (ask)
        ask_for_more(s);
    cancel_some(s);
    s->turns++;
    s->now_ns += 100000;
    bool busy = sched_turn(s->sched);
    check_pages(s);
    check_accounts(s);
    for (size_t i = 0; i < s->gens_end; i++)
        if (s->gens[i].gen)
            count_service(s, &s->gens[i]);
    for (unsigned a = 0; a < s->n_tenants; a++)
        for (unsigned b = a + 1; b < s->n_tenants; b++)
            check_fair(s, a, b);
    for (size_t i = 0; i < s->gens_end; i++)
        if (s->gens[i].gen)
            read_one(s, &s->gens[i]);
    while (s->gens_end && !s->gens[s->gens_end - 1].gen)
        s->gens_end--;
    if (s->hooks.turn)
        s->hooks.turn(s->hooks.ctx);
    return busy;
}

void sim_drain(struct sim *s)
{
    for (unsigned n = 0; sim_turn(s, false); n++)
        SIM_CHECK(s, n < DRAIN_TURNS_MAX, "it does not come to an end");
}

void sim_close(struct sim *s)
{
    sim_drain(s);
    struct sched_stats stats;
    sched_stats(s->sched, &stats);
    SIM_CHECK(s, s->gens_end == 0 && s->ended == s->started, "%llu began and %llu ended",
              (unsigned long long)s->started, (unsigned long long)s->ended);
    SIM_CHECK(s,
              stats.started == s->started &&
                  stats.finished + stats.cancelled + stats.failed == s->started &&
                  stats.running + stats.waiting + stats.kv_pages == 0,
              "the numbers are wrong");
    /* What preemption made it compute again. */
    SIM_CHECK(s, s->rows <= 5 * s->tokens / 2 + 2000, "%llu rows for %llu tokens",
              (unsigned long long)s->rows, (unsigned long long)s->tokens);
    for (unsigned i = 0; i < s->n_models; i++)
        sched_model_close(s->runs[i]);
    sched_close(s->sched);
}
