#include "tenant/limits.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { MINUTE_US = 60000000, PARALLEL_RETRY_MS = 1000 };

static uint64_t plus(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static uint64_t minus(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

static int refuse(struct tenant_refusal *why, enum tenant_limit limit, uint64_t retry_ms,
                  const char *fmt, ...) PRINTF_LIKE(4, 5);

static int refuse(struct tenant_refusal *why, enum tenant_limit limit, uint64_t retry_ms,
                  const char *fmt, ...)
{
    va_list args;
    *why = (struct tenant_refusal){.limit = limit};
    why->retry_ms = retry_ms > UINT32_MAX ? UINT32_MAX : (uint32_t)retry_ms;
    va_start(args, fmt);
    vsnprintf(why->message, sizeof(why->message), fmt, args);
    va_end(args);
    return -1;
}

/* ---- rates ---- */

static void bucket_refill(struct bucket *b, uint64_t per_min, uint64_t now_us)
{
    uint64_t passed = minus(now_us, b->at_us);
    b->at_us = now_us > b->at_us ? now_us : b->at_us;
    if (per_min == 0) {
        b->spent = b->rest = 0;
        return;
    }
    /* What is owed may be more than a minute's. */
    uint64_t minutes = passed / MINUTE_US;
    b->spent = minutes > b->spent / per_min ? 0 : b->spent - minutes * per_min;
    uint64_t parts = b->rest + passed % MINUTE_US * per_min;
    b->spent = minus(b->spent, parts / MINUTE_US);
    b->rest = b->spent ? parts % MINUTE_US : 0;
}

static uint64_t bucket_left(const struct bucket *b, uint64_t per_min)
{
    return minus(per_min, b->spent);
}

/* Until so many have come back, rounded up. */
static uint64_t ms_until(uint64_t tokens, uint64_t per_min)
{
    double ms = (double)tokens * 60000.0 / (double)per_min;
    return ms >= (double)UINT32_MAX ? UINT32_MAX : (uint64_t)ceil(ms);
}

/* Milliseconds until `want` are there; 0: they are; UINT64_MAX: they never will be. */
static uint64_t bucket_wait(const struct bucket *b, uint64_t per_min, uint64_t want)
{
    if (want > per_min)
        return UINT64_MAX;
    uint64_t missing = minus(plus(b->spent, want), per_min); // with what is owed
    return missing ? ms_until(missing, per_min) : 0;
}

/* ---- windows ---- */

int64_t limits_window_start(enum budget_window window, int64_t at_s)
{
    int64_t span = window == BUDGET_HOUR ? 3600 : 86400;
    int64_t start = at_s - ((at_s % span) + span) % span;
    if (window != BUDGET_MONTH)
        return start;
    struct tm tm;
    time_t at = (time_t)start;
    if (!gmtime_r(&at, &tm))
        return start;
    return start - (int64_t)(tm.tm_mday - 1) * 86400;
}

static int64_t window_end(enum budget_window window, int64_t start_s)
{
    static const int64_t spans[] = {3600, 86400, (int64_t)31 * 86400};
    return limits_window_start(window, start_s + spans[window]);
}

void limits_roll(struct counters *c, int64_t wall_s)
{
    for (int i = 0; i < BUDGET_WINDOWS; i++) {
        struct window *w = c->windows[i];
        int64_t start = limits_window_start((enum budget_window)i, wall_s);
        /* The one before is looked for, too: a clock that was put forward comes back. */
        if (start <= w[0].start_s && start != w[1].start_s)
            continue;
        struct window next = start == w[1].start_s ? w[1] : (struct window){.start_s = start};
        w[1] = w[0];
        w[0] = next;
    }
}

/* NULL: it is longer gone than one window. */
static struct window *window_of(struct counters *c, const struct taken *t, enum budget_window i)
{
    for (int age = 0; age < 2; age++)
        if (c->windows[i][age].start_s == t->start_s[i])
            return &c->windows[i][age];
    return NULL;
}

static int refuse_budget(const struct window *w, const struct spec *s, int64_t wall_s,
                         struct tenant_refusal *why)
{
    int64_t left_s = window_end((enum budget_window)s->budget_window, w->start_s) - wall_s;
    return refuse(why, TENANT_BUDGET, left_s > 0 ? (uint64_t)left_s * 1000 : 1000,
                  "the budget of %" PRIu64 " tokens per %s is spent", s->budget_tokens,
                  budget_window_names[s->budget_window]);
}

/* ---- the life of a request ---- */

static int refuse_rate(const struct bucket *b, enum tenant_limit limit, uint64_t per_min,
                       uint64_t want, struct tenant_refusal *why)
{
    const char *what = limit == TENANT_REQUESTS ? "requests" : "tokens";
    uint64_t wait = bucket_wait(b, per_min, want);
    if (wait == 0)
        return 0;
    if (wait == UINT64_MAX)
        return refuse(why, limit, 0, "%" PRIu64 " %s are over the limit of %" PRIu64 " per minute",
                      want, what, per_min);
    return refuse(why, limit, wait, "the limit of %" PRIu64 " %s per minute is reached", per_min,
                  what);
}

static void refill(struct counters *c, const struct spec *s, struct limits_now now)
{
    bucket_refill(&c->requests, s->requests_per_min, now.us);
    bucket_refill(&c->tokens, s->tokens_per_min, now.us);
    limits_roll(c, now.wall_s);
}

int limits_admit(struct counters *c, const struct spec *s, struct limits_now now, struct taken *out,
                 struct tenant_refusal *why)
{
    const struct window *w = c->windows[s->budget_window];
    refill(c, s, now);
    if ((s->parallel && c->running >= s->parallel) || c->running == UINT32_MAX)
        return refuse(why, TENANT_PARALLEL, PARALLEL_RETRY_MS,
                      "the limit of %" PRIu64 " requests at once is reached", s->parallel);
    if (s->requests_per_min &&
        refuse_rate(&c->requests, TENANT_REQUESTS, s->requests_per_min, 1, why))
        return -1;
    if (s->tokens_per_min && refuse_rate(&c->tokens, TENANT_TOKENS, s->tokens_per_min, 1, why))
        return -1;
    if (s->budget_tokens && plus(w->used, w->reserved) >= s->budget_tokens)
        return refuse_budget(w, s, now.wall_s, why);
    c->running++;
    c->requests.spent = s->requests_per_min ? plus(c->requests.spent, 1) : 0;
    *out = (struct taken){0};
    for (int i = 0; i < BUDGET_WINDOWS; i++)
        out->start_s[i] = c->windows[i][0].start_s;
    return 0;
}

int limits_reserve(struct counters *c, const struct spec *s, struct limits_now now,
                   struct taken *taken, uint64_t tokens, uint64_t rated, struct tenant_refusal *why)
{
    uint64_t more = minus(tokens, taken->tokens);
    uint64_t now_rated = minus(rated < tokens ? rated : tokens, taken->tokens);
    refill(c, s, now);
    const struct window *w = window_of(c, taken, (enum budget_window)s->budget_window);
    bool budgeted = s->budget_tokens && w;
    uint64_t budget_left = budgeted ? minus(s->budget_tokens, plus(w->used, w->reserved)) : 0;
    why->left = budgeted ? minus(budget_left, more) : UINT64_MAX;
    if (more == 0)
        return 0;
    if (s->tokens_per_min && now_rated &&
        refuse_rate(&c->tokens, TENANT_TOKENS, s->tokens_per_min, now_rated, why)) {
        why->left = bucket_left(&c->tokens, s->tokens_per_min);
        if (budgeted && budget_left < why->left)
            why->left = budget_left;
        return -1;
    }
    if (budgeted && more > budget_left) {
        (void)refuse_budget(w, s, now.wall_s, why);
        why->left = budget_left;
        return -1;
    }
    c->tokens.spent = s->tokens_per_min ? plus(c->tokens.spent, more) : 0;
    for (int i = 0; i < BUDGET_WINDOWS; i++) {
        struct window *each = window_of(c, taken, (enum budget_window)i);
        if (each)
            each->reserved = plus(each->reserved, more);
    }
    taken->tokens = plus(taken->tokens, more);
    return 0;
}

void limits_settle(struct counters *c, const struct spec *s, struct limits_now now,
                   const struct taken *taken, uint64_t used, bool free_of_charge)
{
    refill(c, s, now);
    c->running -= c->running > 0;
    if (free_of_charge)
        c->requests.spent = minus(c->requests.spent, 1);
    c->tokens.spent = minus(c->tokens.spent, minus(taken->tokens, used));
    if (s->tokens_per_min)
        c->tokens.spent = plus(c->tokens.spent, minus(used, taken->tokens));
    for (int i = 0; i < BUDGET_WINDOWS; i++) {
        struct window *w = window_of(c, taken, (enum budget_window)i);
        if (!w)
            continue;
        w->reserved = minus(w->reserved, taken->tokens);
        w->used = plus(w->used, used);
    }
}

void limits_rates(struct counters *c, const struct spec *s, struct limits_now now,
                  struct tenant_rates *out)
{
    refill(c, s, now);
    *out = (struct tenant_rates){
        .requests_limit = s->requests_per_min,
        .requests_left = bucket_left(&c->requests, s->requests_per_min),
        .tokens_limit = s->tokens_per_min,
        .tokens_left = bucket_left(&c->tokens, s->tokens_per_min),
    };
    if (s->requests_per_min && c->requests.spent)
        out->requests_reset_ms = (uint32_t)ms_until(c->requests.spent, s->requests_per_min);
    if (s->tokens_per_min && c->tokens.spent)
        out->tokens_reset_ms = (uint32_t)ms_until(c->tokens.spent, s->tokens_per_min);
}
