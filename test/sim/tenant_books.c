#include "tenant_books.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <time.h>
#include <unistd.h>

#include "tenant_peek.h"

enum { S_NS = 1000000000, COMMIT_MS_MAX = 10000 };

/* The tenant layer counts whole tokens. */
static const double ROUND = 1e-3;

static void set_clocks(struct books *b)
{
    atomic_store(&b->world->now_ns, b->sim->now_ns);
    atomic_store(&b->world->wall_s, b->wall_s + (int64_t)(b->sim->now_ns / S_NS));
}

/* ------------------------------------------------------------------ the books -- */

static void level_leak(struct level *l, uint64_t per_min, uint64_t now_ns)
{
    l->at = fmax(0, l->at - (double)(now_ns - l->seen_ns) * (double)per_min / 60e9);
    l->seen_ns = now_ns;
}

/* All in any time is no more than what there was at first and what came back in it. */
static void level_take(struct books *b, struct level *l, uint64_t per_min, uint64_t n, bool checks)
{
    level_leak(l, per_min, b->sim->now_ns);
    l->at += (double)n;
    SIM_CHECK(b->sim, !checks || !per_min || l->at <= (double)per_min + ROUND,
              "%g were taken of %llu a minute", l->at, (unsigned long long)per_min);
}

static void level_return(struct level *l, uint64_t per_min, uint64_t n, uint64_t now_ns)
{
    level_leak(l, per_min, now_ns);
    l->at = fmax(0, l->at - (double)n);
}

static const struct spend *find_spend(const struct payer *p, int64_t start_s)
{
    for (size_t i = 0; i < p->n_spends; i++)
        if (p->spends[i].start_s == start_s)
            return &p->spends[i];
    return NULL;
}

static size_t spend_now(struct books *b, struct payer *p)
{
    int64_t span = p->window == BUDGET_HOUR ? 3600 : 86400, now = atomic_load(&b->world->wall_s);
    const struct spend *s = find_spend(p, now - now % span);
    if (s)
        return (size_t)(s - p->spends);
    SIM_CHECK(b->sim, p->n_spends < BOOKS_SPENDS, "too many windows");
    b->sum.windows += p->n_spends > 0;
    p->spends[p->n_spends] = (struct spend){.start_s = now - now % span};
    return p->n_spends++;
}

/* Whoever is refused must have reached what he is told. */
static void check_refusal(struct books *b, struct payer *p, const struct spend *s,
                          const struct tenant_refusal *why, uint64_t want)
{
    struct sim *sim = b->sim;
    level_leak(&p->requests, p->requests_per_min, sim->now_ns);
    level_leak(&p->tokens, p->tokens_per_min, sim->now_ns);
    bool right = false;
    if (why->limit == TENANT_PARALLEL)
        right = p->parallel && p->running == p->parallel;
    if (why->limit == TENANT_REQUESTS)
        right = p->requests_per_min && p->requests.at + 2 > (double)p->requests_per_min;
    if (why->limit == TENANT_TOKENS)
        right = p->tokens_per_min && p->tokens.at + (double)want + 1 > (double)p->tokens_per_min;
    if (why->limit == TENANT_BUDGET)
        right = p->budget && s->used + s->reserved + want > p->budget;
    SIM_CHECK(sim, right, "%s: refused for no reason: %s", p->id, why->message);
    b->sum.refused[why->limit]++;
}

/* ------------------------------------------------------------------- settling -- */

static void on_committed(void *ctx, int status)
{
    struct record *r = ctx;
    /* Of a status other than 0 nobody hears, and the row is missed. */
    if (status == 0)
        atomic_fetch_add(&r->commits, 1);
    atomic_fetch_add(&r->books->n_commits, 1);
}

/* Some answers are of another model than the one that the request names. */
static bool is_dear(uint64_t completion)
{
    return completion % 3 == 1;
}

static size_t split(uint64_t prompt, uint64_t completion, struct tenant_part *parts)
{
    const bool two = is_dear(completion);
    parts[0] = (struct tenant_part){"fake", prompt, 0, two ? 0 : completion};
    parts[1] = (struct tenant_part){"dear", 0, 0, completion};
    return two ? 2 : 1;
}

static void leave(struct books *b, struct record *r, bool free_of_charge)
{
    struct payer *p = r->payer;
    struct spend *s = &p->spends[r->spend];
    uint64_t used = r->prompt + r->completion, now = b->sim->now_ns;
    SIM_CHECK(b->sim, used <= r->reserved, "%llu tokens were used and %llu reserved",
              (unsigned long long)used, (unsigned long long)r->reserved);
    p->running--;
    s->reserved -= r->reserved;
    s->used += used;
    level_return(&p->requests, p->requests_per_min, free_of_charge, now);
    level_return(&p->tokens, p->tokens_per_min, r->reserved - used, now);
    p->rows++;
    p->prompt += r->prompt;
    p->completion += r->completion;
    p->dear += is_dear(r->completion) ? r->completion : 0;
    r->grant = NULL;
}

static void settle_one(struct books *b, struct record *r, enum tenant_outcome outcome,
                       uint64_t prompt, uint64_t completion)
{
    SIM_CHECK(b->sim, r->grant, "it is settled twice");
    struct tenant_part parts[2];
    const struct tenant_row row = {.outcome = outcome,
                                   .parts = parts,
                                   .n_parts = split(prompt, completion, parts),
                                   .by_limit = outcome == TENANT_REFUSED};
    r->outcome = outcome;
    r->prompt = prompt;
    r->completion = completion;
    b->n_settled++;
    b->sum.tokens += prompt + completion;
    tenant_settle(r->grant, &row, on_committed, r);
    leave(b, r, outcome == TENANT_REFUSED && prompt + completion == 0);
}

/* ------------------------------------------------------------------ reserving -- */

static int reserve_exactly(struct books *b, struct record *r, uint64_t tokens,
                           struct tenant_refusal *why)
{
    struct payer *p = r->payer;
    uint64_t more = tokens - r->reserved;
    if (tenant_reserve(r->grant, tokens, r->reserved ? 0 : tokens, why)) {
        check_refusal(b, p, &p->spends[r->spend], why, more);
        return -1;
    }
    p->spends[r->spend].reserved += more;
    level_take(b, &p->tokens, p->tokens_per_min, more, r->reserved == 0);
    r->reserved = tokens;
    return 0;
}

/* Up to `tokens` in all, or as much as there is, but `least` at least. */
static int reserve(struct books *b, struct record *r, uint64_t tokens, uint64_t least)
{
    struct tenant_refusal why;
    if (reserve_exactly(b, r, tokens, &why) == 0)
        return 0;
    if (why.left == 0 || r->reserved + why.left < least)
        return -1;
    int failed = reserve_exactly(b, r, r->reserved + why.left, &why);
    SIM_CHECK(b->sim, !failed, "what is left cannot be had: %s", why.message);
    return 0;
}

/* ------------------------------------------------------------------ the hooks -- */

static struct record *admit_one(struct books *b, struct payer *p, uint32_t weight)
{
    struct tenant_pass pass;
    struct tenant_refusal why;
    char id[REQUEST_ID_MAX + TENANT_ID_MAX];
    SIM_CHECK(b->sim, b->n_records < BOOKS_RECORDS, "too many requests");
    struct record *r = &b->records[b->n_records];
    snprintf(id, sizeof(id), "%s-%zu", p->id, b->n_records);
    SIM_CHECK(b->sim, tenants_auth(b->world->t, p->key, strlen(p->key), &pass) == TENANT_AUTH_OK,
              "%s has no key", p->id);
    SIM_CHECK(b->sim, tenant_view(&pass)->weight == weight, "%s: weight", p->id);
    const struct tenant_request request = {id, "chat"};
    *r = (struct record){.books = b, .payer = p, .spend = spend_now(b, p)};
    int refused = tenants_admit(&r->grant, b->world->t, &pass, &request, &why);
    tenant_pass_drop(&pass);
    if (refused) {
        check_refusal(b, p, &p->spends[r->spend], &why, 1);
        return NULL;
    }
    b->n_records++;
    b->sum.requests++;
    p->running++;
    level_take(b, &p->requests, p->requests_per_min, 1, true);
    return r;
}

static bool on_start(void *ctx, struct sim_gen *g, uint32_t n_prompt)
{
    struct books *b = ctx;
    set_clocks(b);
    struct record *r = admit_one(b, &b->payers[g->tenant], b->sim->tenants[g->tenant].weight);
    if (!r)
        return false;
    uint64_t answer = g->answer_max < b->slice ? g->answer_max : b->slice;
    answer = g->prompt_only ? 0 : answer;
    r->n_prompt = n_prompt;
    if (reserve(b, r, n_prompt + answer, n_prompt + (answer > 0))) {
        settle_one(b, r, TENANT_REFUSED, 0, 0);
        r->ended = true;
        return false;
    }
    r->capped = g->prompt_only;
    g->allowed = r->reserved < n_prompt + answer ? (uint32_t)r->reserved - n_prompt : 0;
    b->of_gen[g - b->sim->gens] = r;
    return true;
}

static void on_started(void *ctx, struct sim_gen *g, int status)
{
    struct books *b = ctx;
    struct record *r = b->of_gen[g - b->sim->gens];
    if (status) {
        settle_one(b, r, TENANT_REFUSED, 0, 0);
        r->ended = true;
    } else if (g->allowed) {
        sched_gen_allow(g->gen, g->allowed);
    }
}

/* Reserves the next slice before the last one is used up, or lets it end there. */
static void on_token(void *ctx, struct sim_gen *g)
{
    struct books *b = ctx;
    struct record *r = b->of_gen[g - b->sim->gens];
    r->n_drawn++;
    if (!r->grant)
        return;
    SIM_CHECK(b->sim, r->n_prompt + r->n_drawn <= r->reserved, "a token that was not reserved");
    set_clocks(b);
    if (sim_chance(b->sim, 0.05)) {
        struct tenant_part parts[2];
        tenant_note(r->grant, parts, split(r->n_prompt, r->n_drawn, parts));
        r->was_noted = true;
        r->noted = r->n_drawn;
    }
    uint32_t answer = (uint32_t)r->reserved - r->n_prompt;
    if (r->capped || r->n_drawn == g->allowed || answer >= g->answer_max ||
        r->n_drawn + b->slice / 2 < answer)
        return;
    uint32_t most = answer + b->slice < g->answer_max ? answer + b->slice : g->answer_max;
    r->capped = reserve(b, r, r->n_prompt + most, r->reserved + 1) != 0;
    b->sum.capped += r->capped;
    if (!r->capped && !g->allowed)
        return;
    g->allowed = (uint32_t)r->reserved - r->n_prompt;
    sched_gen_allow(g->gen, g->allowed);
}

static enum tenant_outcome outcome_of(const struct realm_event *e)
{
    switch (e->status) {
    case REALM_E_CANCELLED:
        return TENANT_CANCELLED;
    case REALM_E_LIMIT: // the budget's end, or the queue's
        return e->usage.completion_tokens ? TENANT_OK : TENANT_REFUSED;
    default:
        return e->status ? TENANT_FAILED : TENANT_OK;
    }
}

static void on_end(void *ctx, struct sim_gen *g, const struct realm_event *e)
{
    struct books *b = ctx;
    struct record *r = b->of_gen[g - b->sim->gens];
    struct payer *p = r->payer;
    bool began = g->gen->first_step_ns != 0;
    uint32_t prompt = began ? e->usage.prompt_tokens : 0;
    SIM_CHECK(b->sim, !r->ended, "a second end");
    SIM_CHECK(b->sim, e->usage.prompt_tokens == (began ? r->n_prompt : 0),
              "a prompt of another length");
    SIM_CHECK(b->sim, e->usage.completion_tokens == r->n_drawn, "an answer of another length");
    set_clocks(b);
    r->ended = true;
    if (r->grant) {
        settle_one(b, r, outcome_of(e), prompt, e->usage.completion_tokens);
        return;
    }
    p->lost_prompt += prompt;
    p->lost_completion += e->usage.completion_tokens;
}

/* ------------------------------------------------------------------- checking -- */

static void check_window(struct books *b, const struct payer *p, const struct window *w)
{
    const struct spend *s = find_spend(p, w->start_s);
    uint64_t used = s ? s->used : 0, reserved = s ? s->reserved : 0;
    SIM_CHECK(b->sim, w->used == used && w->reserved == reserved,
              "%s: %llu used and %llu reserved, should be %llu and %llu", p->id,
              (unsigned long long)w->used, (unsigned long long)w->reserved,
              (unsigned long long)used, (unsigned long long)reserved);
}

static void check_payer(struct books *b, const struct payer *p)
{
    struct counters c;
    SIM_CHECK(b->sim, peek_counters(b->world->t, p->id, &c), "there is no %s", p->id);
    SIM_CHECK(b->sim, c.running == p->running, "%s: %u run, %u are counted", p->id, p->running,
              c.running);
    SIM_CHECK(b->sim, !p->parallel || p->running <= p->parallel, "%s: %u at once", p->id,
              p->running);
    for (size_t i = 0; i < p->n_spends; i++)
        SIM_CHECK(b->sim, !p->budget || p->spends[i].used + p->spends[i].reserved <= p->budget,
                  "%s: over its budget", p->id);
    check_window(b, p, &c.windows[p->window][0]);
    /* Since this process began. */
    if (c.windows[p->window][1].start_s && c.windows[p->window][1].used)
        check_window(b, p, &c.windows[p->window][1]);
}

static void on_turn(void *ctx)
{
    struct books *b = ctx;
    uint32_t running[SIM_TENANTS] = {0};
    for (size_t i = 0; i < b->sim->gens_end; i++)
        if (b->sim->gens[i].gen && b->of_gen[i]->grant)
            running[b->sim->gens[i].tenant]++;
    for (unsigned i = 0; i < b->sim->n_tenants; i++) {
        SIM_CHECK(b->sim, running[i] == b->payers[i].running, "%s: %u run and %u are admitted",
                  b->payers[i].id, running[i], b->payers[i].running);
        check_payer(b, &b->payers[i]);
    }
}

/* -------------------------------------------------------------------- opening -- */

static uint64_t maybe(struct sim *s, uint64_t one_in, uint64_t least, uint64_t range)
{
    return sim_below(s, one_in) ? 0 : least + sim_below(s, range);
}

static void choose_limits(struct books *b, struct payer *p)
{
    p->parallel = maybe(b->sim, 2, 1, 8);
    p->requests_per_min = maybe(b->sim, 3, 1, 120);
    p->tokens_per_min = maybe(b->sim, 3, 100, 6000);
    p->budget = maybe(b->sim, 2, 50, 4000);
    p->window = sim_below(b->sim, 3) ? BUDGET_HOUR : BUDGET_DAY;
}

static void add_limit(json_t *limits, const char *name, uint64_t value)
{
    if (value)
        assert_int_equal(json_object_set_new(limits, name, json_integer((json_int_t)value)), 0);
}

static void make_payer(struct books *b, struct payer *p, uint32_t weight)
{
    json_t *limits = json_object();
    choose_limits(b, p);
    add_limit(limits, "parallel", p->parallel);
    add_limit(limits, "requests_per_min", p->requests_per_min);
    add_limit(limits, "tokens_per_min", p->tokens_per_min);
    add_limit(limits, "budget_tokens", p->budget);
    json_object_set_new(limits, "budget_window", json_string(budget_window_names[p->window]));
    json_t *body =
        json_pack("{s:s, s:i, s:o}", "id", p->id, "weight", (int)weight, "limits", limits);
    char *text = json_dumps(body, 0);
    make_tenant(b->world, text);
    make_key(b->world, p->id, p->key);
    free(text);
    json_decref(body);
}

void books_open(struct books *b, struct sim *s, struct world *w)
{
    static const uint32_t slices[] = {4, 16, 64};
    b->sim = s;
    b->world = w;
    b->n_records = b->n_settled = 0;
    atomic_store(&b->n_commits, 0);
    b->slice = slices[sim_below(s, 3)];
    /* At noon, or so that a day will soon be over. */
    b->wall_s = WALL_S + (sim_below(s, 2) ? 0 : 12 * 3600 - (int64_t)sim_below(s, 20));
    memset(b->of_gen, 0, sizeof(b->of_gen));
    memset(b->payers, 0, sizeof(b->payers));
    set_clocks(b);
    for (unsigned i = 0; i < s->n_tenants; i++) {
        struct payer *p = &b->payers[i];
        snprintf(p->id, sizeof(p->id), "s%llu-%u", (unsigned long long)s->seed, i);
        make_payer(b, p, s->tenants[i].weight);
    }
    s->hooks = (struct sim_hooks){on_start, on_started, on_token, on_end, on_turn, b};
}

void books_jump(struct books *b)
{
    /* One that is older than the window before belongs to none that is kept. */
    if (b->wall_s == WALL_S)
        b->wall_s += 3600;
    set_clocks(b);
}

/* -------------------------------------------------------------------- the end -- */

/* Until all is on the disk that is going to be. */
static void await_ledger(struct books *b)
{
    struct tenants_stats stats;
    for (int ms = 0; ms < COMMIT_MS_MAX; ms++) {
        tenants_stats(b->world->t, &stats);
        size_t n = atomic_load(&b->n_commits);
        SIM_CHECK(b->sim, n <= b->n_settled, "one is told twice that it is durable");
        if (stats.waiting == 0 && n == b->n_settled)
            return;
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
    SIM_CHECK(b->sim, false, "%zu were settled, %zu are durable", b->n_settled,
              atomic_load(&b->n_commits));
}

static void interrupt(struct books *b, struct record *r)
{
    const struct tenant_part part = {.model = "fake", .prompt_tokens = 1};
    const struct tenant_row row = {.outcome = TENANT_FAILED, .parts = &part, .n_parts = 1};
    tenant_settle(r->grant, &row, NULL, NULL); // in the process that is gone
    r->outcome = TENANT_INTERRUPTED;
    r->prompt = r->was_noted ? r->n_prompt : 0;
    r->completion = r->noted;
    r->payer->noted_prompt += r->prompt;
    r->payer->noted_completion += r->completion;
    b->sum.interrupted++;
    leave(b, r, false);
}

/* The database as it is now is what the next process finds, whatever this one still writes. */
void books_kill(struct books *b)
{
    struct world *w = b->world;
    char copy[80], path[80];
    struct realm_error err = {0};
    set_clocks(b);
    await_ledger(b);
    snprintf(copy, sizeof(copy), "%s/copy.db", w->dir);
    SIM_CHECK(b->sim, peek_copy(w->t, copy, &err) == 0, "%s", err.message);
    for (size_t i = 0; i < b->sim->gens_end; i++) {
        struct sim_gen *g = &b->sim->gens[i];
        if (!g->gen)
            continue;
        interrupt(b, b->of_gen[i]);
        g->cancelled = true;
        sched_gen_cancel(g->gen);
    }
    world_close(w);
    snprintf(path, sizeof(path), "%s/realm.db", w->dir);
    assert_int_equal(rename(copy, path), 0);
    world_open(w);
    for (unsigned i = 0; i < b->sim->n_tenants; i++)
        b->payers[i].requests.at = b->payers[i].tokens.at = 0;
    on_turn(b);
}

static uint64_t number(const json_t *row, const char *name)
{
    return (uint64_t)json_integer_value(json_object_get(row, name));
}

static void check_row(struct books *b, const struct payer *p, const json_t *row)
{
    static const char *const outcomes[] = {"ok", "cancelled", "refused", "failed", "interrupted"};
    const char *id = json_string_value(json_object_get(row, "request_id"));
    size_t n = strlen(p->id), at;
    SIM_CHECK(b->sim, strncmp(id, p->id, n) == 0 && id[n] == '-', "%s is not of %s", id, p->id);
    at = strtoull(id + n + 1, NULL, 10);
    SIM_CHECK(b->sim, at < b->n_records && b->records[at].payer == p, "nobody asked for %s", id);
    struct record *r = &b->records[at];
    SIM_CHECK(b->sim, !r->in_ledger, "%s has two rows", id);
    SIM_CHECK(b->sim,
              strcmp(json_string_value(json_object_get(row, "outcome")), outcomes[r->outcome]) == 0,
              "%s: another outcome than %s", id, outcomes[r->outcome]);
    SIM_CHECK(b->sim,
              number(row, "prompt_tokens") == r->prompt &&
                  number(row, "completion_tokens") == r->completion,
              "%s: other tokens than %llu and %llu", id, (unsigned long long)r->prompt,
              (unsigned long long)r->completion);
    r->in_ledger = true;
}

static void check_rows(struct books *b, const struct payer *p)
{
    struct realm_error err = {0};
    json_t *out, *row;
    size_t i;
    SIM_CHECK(b->sim, tenants_requests(b->world->t, p->id, 1000, &out, &err) == 0, "%s",
              err.message);
    json_t *rows = json_object_get(out, "rows");
    size_t n = json_array_size(rows);
    json_array_foreach(rows, i, row) check_row(b, p, row);
    SIM_CHECK(b->sim, n == p->rows || (n == 1000 && p->rows > n), "%s: %zu rows of %llu", p->id, n,
              (unsigned long long)p->rows);
    json_decref(out);
}

/* What the ledger says is what the scheduler says, but for what was lost with the process. */
static void check_sums(struct books *b, const struct payer *p,
                       const struct realm_tenant_stats *made)
{
    uint64_t rows = (uint64_t)usage(b->world, p->id, "requests");
    uint64_t prompt = (uint64_t)usage(b->world, p->id, "prompt_tokens");
    uint64_t completion = (uint64_t)usage(b->world, p->id, "completion_tokens");
    uint64_t to_prompt = made->prompt_tokens - p->lost_prompt + p->noted_prompt;
    uint64_t to_completion = made->completion_tokens - p->lost_completion + p->noted_completion;
    uint64_t dear = (uint64_t)usage_of(b->world, p->id, "dear", "completion_tokens");
    SIM_CHECK(b->sim, dear == p->dear, "%s: %llu tokens of the other model, should be %llu", p->id,
              (unsigned long long)dear, (unsigned long long)p->dear);
    SIM_CHECK(b->sim, rows == p->rows, "%s: %llu rows for %llu requests", p->id,
              (unsigned long long)rows, (unsigned long long)p->rows);
    SIM_CHECK(b->sim, prompt == to_prompt && completion == to_completion,
              "%s: the ledger has %llu and %llu tokens, the scheduler %llu and %llu", p->id,
              (unsigned long long)prompt, (unsigned long long)completion,
              (unsigned long long)to_prompt, (unsigned long long)to_completion);
}

static void check_payers(struct books *b)
{
    struct realm_tenant_stats stats[SIM_TENANTS];
    size_t n = sched_tenant_stats(b->sim->sched, stats, SIM_TENANTS);
    for (unsigned i = 0; i < b->sim->n_tenants; i++) {
        struct realm_tenant_stats made = {.weight = 0};
        for (size_t j = 0; j < n && j < SIM_TENANTS; j++)
            if (stats[j].tenant[1] == (char)('0' + i))
                made = stats[j];
        check_sums(b, &b->payers[i], &made);
        check_rows(b, &b->payers[i]);
    }
}

void books_close(struct books *b, bool reopen)
{
    set_clocks(b);
    await_ledger(b);
    if (reopen) {
        world_close(b->world);
        world_open(b->world);
    }
    on_turn(b);
    check_payers(b);
    for (size_t i = 0; i < b->n_records; i++) {
        struct record *r = &b->records[i];
        unsigned commits = r->outcome != TENANT_INTERRUPTED;
        SIM_CHECK(b->sim, r->ended && !r->grant, "request %zu has no end", i);
        SIM_CHECK(b->sim, atomic_load(&r->commits) == commits, "request %zu: %u commits", i,
                  atomic_load(&r->commits));
    }
    b->sim->hooks = (struct sim_hooks){.turn = NULL};
}
