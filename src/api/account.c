/* api/account.c - what a job costs its tenant: let in, reserved for, settled.
 *
 * Tokens are reserved before they are computed: a prompt's when it is counted, an answer's in
 * slices as it grows.  Where the budget ends, the answers end with it. */
#include <stdio.h>
#include <string.h>

#include "api/api_impl.h"
#include "base/ckd.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"

enum { SLICE_TOKENS = 256, NOTE_NS = 1000000000 };

/* ---- being let in ---- */

static void refusal_error(struct api_error *e, const struct tenant_refusal *why)
{
    switch (why->limit) {
    case TENANT_REQUESTS:
    case TENANT_TOKENS:
    case TENANT_PARALLEL:
        (void)api_fail(e, 429, "rate_limit_exceeded", "%s", why->message);
        break;
    case TENANT_BUDGET:
        (void)api_fail(e, 429, "quota_exceeded", "%s", why->message);
        break;
    case TENANT_LEDGER:
        (void)api_fail(e, 503, "ledger_unavailable", "%s", why->message);
        break;
    case TENANT_MEMORY:
        (void)api_from_status(e, REALM_E_NOMEM, NULL);
        break;
    }
    e->retry_ms = why->retry_ms;
}

int account_open(struct job *j, struct api_error *e)
{
    struct tenant_refusal why;
    const struct tenant_request request = {.id = j->id, .endpoint = j->door->name};
    if (!j->door->counts)
        return 0;
    if (tenants_admit(&j->grant, j->api->options.tenants, &j->pass, &request, &why) == 0)
        return 0;
    refusal_error(e, &why);
    return -1;
}

/* ---- reserving ---- */

/* Most tokens of one answer that are reserved at once. */
static uint64_t slice_of_answer(const struct job *j)
{
    uint32_t most = j->ask.sampling.max_tokens;
    if (j->ask.prompt_only || j->door->work)
        return 0;
    return most ? min_size(most, SLICE_TOKENS) : SLICE_TOKENS;
}

/* Up to `tokens` in all, or as much as there is, but `least` at least; rated as tenant_reserve
 * has it. */
static int reserve(struct job *j, uint64_t tokens, uint64_t least, uint64_t rated)
{
    struct tenant_refusal why;
    int failed = j->grant ? tenant_reserve(j->grant, tokens, rated, &why) : 0;
    if (failed && why.left && j->reserved + why.left >= least) {
        tokens = j->reserved + why.left;
        refusal_error(&j->cap_error, &why);
        failed = tenant_reserve(j->grant, tokens, rated, &why);
    }
    if (!failed) {
        j->reserved = tokens;
        j->beyond = j->grant ? why.left : UINT64_MAX;
        return 0;
    }
    j->capped = true;
    refusal_error(&j->cap_error, &why);
    return REALM_E_LIMIT;
}

/* The answers to one prompt share it, and are reserved with it. */
static int on_prompt(void *ctx, uint32_t prompt_tokens)
{
    struct job *j = ctx;
    uint32_t n = j->ask.n;
    j->reserved_prompts += prompt_tokens;
    uint64_t prompt = j->reserved + prompt_tokens, answers = n * slice_of_answer(j);
    uint64_t least = answers ? prompt + n : prompt;
    return reserve(j, prompt + answers, least, least);
}

void account_request(const struct job *j, struct realm_request *r)
{
    const struct tenant_view *view = tenant_view(&j->pass);
    r->tenant = view->id;
    r->weight = view->weight;
    r->kv_bytes_max = view->kv_bytes_max;
    r->priority = j->ask.priority;
    r->admit = on_prompt;
    r->admit_ctx = (void *)j;
}

/* What may be drawn of so many reserved tokens and of those that can still be had: the engine goes
 * on while the server's thread is late in reserving more. */
static uint64_t within_budget(const struct job *j, uint64_t reserved)
{
    return j->beyond > UINT64_MAX - reserved ? UINT64_MAX : reserved + j->beyond;
}

/* So many tokens of its answer. */
static void allow(struct choice *c, uint64_t tokens)
{
    c->bounded = c->bounded || tokens < UINT32_MAX;
    realm_gen_allow(c->gen, (uint32_t)min_size(tokens, UINT32_MAX));
}

void account_started(struct choice *c)
{
    const struct job *j = c->job;
    if (j->grant)
        allow(c, within_budget(j, j->reserved - j->reserved_prompts) / j->n_choices);
}

int account_reserve(struct job *j, uint64_t tokens, bool growth, struct realm_error *err)
{
    int status = reserve(j, tokens, tokens, growth ? 0 : tokens);
    return status ? err_set(err, status, "%s", j->cap_error.message) : 0;
}

int account_refused(const struct job *j, struct api_error *e)
{
    *e = j->cap_error;
    return -1;
}

static uint64_t drawn(const struct job *j)
{
    uint64_t n = 0;
    for (size_t i = 0; i < j->n_choices; i++)
        n += j->choices[i].n_drawn;
    return n;
}

/* What is left is shared out, also when the budget was lifted meanwhile. */
static void cap(struct job *j, uint64_t left)
{
    size_t running = 0;
    for (size_t i = 0; i < j->n_choices; i++)
        running += !j->choices[i].over;
    for (size_t i = 0; i < j->n_choices; i++) {
        struct choice *c = &j->choices[i];
        if (!c->over && c->gen)
            allow(c, c->n_drawn + min_size(left / running, UINT32_MAX));
    }
}

void account_token(struct job *j)
{
    if (!j->grant || j->capped)
        return;
    uint64_t n = drawn(j), for_answers = j->reserved - j->reserved_prompts;
    uint64_t most = j->ask.sampling.max_tokens;
    most = most ? most * j->n_choices : UINT64_MAX;
    if (for_answers >= most || n + j->n_choices * SLICE_TOKENS / 2 <= for_answers)
        return;
    uint64_t more = min_size(for_answers + j->n_choices * SLICE_TOKENS, most);
    bool failed = reserve(j, j->reserved_prompts + more, j->reserved + 1, 0);
    for_answers = j->reserved - j->reserved_prompts;
    if (failed)
        j->beyond = 0;
    cap(j, within_budget(j, for_answers > n ? for_answers - n : 0));
}

/* A prompt that has no answer yet may still wait for the engine, and what nobody computed nobody
 * is charged for. */
static uint64_t answered_prompts(const struct job *j)
{
    uint64_t n = 0;
    for (size_t i = 0; i < j->n_choices; i += j->ask.n) {
        const struct choice *c = &j->choices[i];
        n += c->n_drawn || c->over ? c->usage.prompt_tokens : 0;
    }
    return n;
}

static void note(const struct job *j, uint64_t prompt_tokens, uint64_t completion_tokens)
{
    const struct tenant_part part = {.model = j->named.id,
                                     .prompt_tokens = prompt_tokens,
                                     .completion_tokens = completion_tokens};
    tenant_note(j->grant, &part, 1);
}

static bool is_time_to_note(struct job *j, uint64_t now_ns)
{
    if (!j->grant || now_ns - j->noted_ns < NOTE_NS)
        return false;
    j->noted_ns = now_ns;
    return true;
}

void account_tick(struct job *j, uint64_t now_ns)
{
    if (j->stage == JOB_RUNNING && !j->guest && is_time_to_note(j, now_ns))
        note(j, answered_prompts(j), drawn(j));
}

void account_worked(struct job *j)
{
    if (is_time_to_note(j, clock_ns(clock_system())))
        note(j, j->worked.prompt_tokens, 0);
}

/* ---- settling ---- */

static uint32_t ms_between(uint64_t from_ns, uint64_t to_ns)
{
    return to_ns > from_ns ? (uint32_t)min_size((to_ns - from_ns) / 1000000u, UINT32_MAX) : 0;
}

static void settle(struct job *j, enum tenant_outcome outcome,
                   void (*committed)(void *ctx, int status))
{
    struct realm_usage u = job_usage(j);
    struct tenant_part parts[REQUEST_MODELS_MAX] = {
        {j->named.id, u.prompt_tokens, u.cached_tokens, u.completion_tokens}};
    size_t n_parts = guest_parts(j, parts);
    uint64_t now = j->ended_ns ? j->ended_ns : clock_ns(clock_system());
    const struct tenant_row row = {
        .outcome = outcome,
        .code = j->code,
        .guest = j->guest_name,
        .parts = parts,
        .n_parts = n_parts ? n_parts : 1,
        .queued_ms = ms_between(0, u.queued_ns),
        .first_token_ms = j->first_ns ? ms_between(j->arrived_ns, j->first_ns) : 0,
        .total_ms = ms_between(j->arrived_ns, now),
        .by_limit = (j->capped && outcome == TENANT_REFUSED) || j->end_error.http == 503,
    };
    struct tenant_grant *g = j->grant;
    j->grant = NULL;
    tenant_settle(g, &row, committed, j);
}

/* How the ledger calls what became of it. */
static enum tenant_outcome ledger_outcome(const struct job *j)
{
    static const enum tenant_outcome outcomes[] = {
        [OUTCOME_OK] = TENANT_OK,
        [OUTCOME_CANCELLED] = TENANT_CANCELLED,
        [OUTCOME_REFUSED] = TENANT_REFUSED,
        [OUTCOME_FAILED] = TENANT_FAILED,
    };
    return outcomes[j->outcome];
}

bool account_commit(struct job *j, void (*committed)(void *ctx, int status))
{
    if (!j->grant)
        return false;
    settle(j, ledger_outcome(j), committed);
    return true;
}

static void nobody_waits(void *ctx, int status)
{
    (void)ctx;
    (void)status;
}

void account_close(struct job *j)
{
    (void)account_commit(j, nobody_waits);
}

/* The end closes all connections, so that clients that leave then were sent away. */
void account_interrupt(struct job *j)
{
    bool failed = j->outcome == OUTCOME_REFUSED || j->outcome == OUTCOME_FAILED;
    if (j->grant)
        settle(j, failed ? ledger_outcome(j) : TENANT_INTERRUPTED, nobody_waits);
}

/* ---- what headers say ---- */

/* OpenAI's form: "1s", "6m0s", "20ms". */
static void write_span(char out[24], uint32_t ms)
{
    if (ms < 1000)
        snprintf(out, 24, "%ums", ms);
    else if (ms < 60000)
        snprintf(out, 24, "%us", (ms + 999) / 1000);
    else
        snprintf(out, 24, "%um%us", ms / 60000, ms % 60000 / 1000);
}

size_t account_headers(const struct job *j, struct http_header *headers, struct rate_texts *t)
{
    struct tenant_rates r;
    size_t n = 0;
    if (!j->pass.tenant || !j->door->counts)
        return 0;
    tenant_rates(&j->pass, &r);
    snprintf(t->text[0], sizeof(t->text[0]), "%llu", (unsigned long long)r.requests_limit);
    snprintf(t->text[1], sizeof(t->text[1]), "%llu", (unsigned long long)r.requests_left);
    write_span(t->text[2], r.requests_reset_ms);
    snprintf(t->text[3], sizeof(t->text[3]), "%llu", (unsigned long long)r.tokens_limit);
    snprintf(t->text[4], sizeof(t->text[4]), "%llu", (unsigned long long)r.tokens_left);
    write_span(t->text[5], r.tokens_reset_ms);
    if (r.requests_limit) {
        headers[n++] = (struct http_header){"x-ratelimit-limit-requests", t->text[0]};
        headers[n++] = (struct http_header){"x-ratelimit-remaining-requests", t->text[1]};
        headers[n++] = (struct http_header){"x-ratelimit-reset-requests", t->text[2]};
    }
    if (r.tokens_limit) {
        headers[n++] = (struct http_header){"x-ratelimit-limit-tokens", t->text[3]};
        headers[n++] = (struct http_header){"x-ratelimit-remaining-tokens", t->text[4]};
        headers[n++] = (struct http_header){"x-ratelimit-reset-tokens", t->text[5]};
    }
    return n;
}
