/* tenant/limits.c - who is let in, and what is reserved: the one place that counts.
 *
 * Rates are buckets that fill by a minute's worth in a minute.  A request takes its tokens when
 * they are reserved; an answer that grows further may leave the bucket owing, which the next
 * request waits out.  A budget is of a window of wall time, in UTC, which never moves back. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/err.h"
#include "base/mem.h"
#include "tenant/tenant_impl.h"

enum { MINUTE_MS = 60000, MILLI = 1000 };

/* ---- time ---- */

int64_t window_start(enum budget_window window, int64_t now_s)
{
    time_t at = (time_t)now_s;
    struct tm tm;
    if (window == WINDOW_HOUR)
        return now_s - now_s % 3600;
    if (window == WINDOW_DAY || !gmtime_r(&at, &tm))
        return now_s - now_s % 86400;
    return now_s - now_s % 86400 - (int64_t)(tm.tm_mday - 1) * 86400;
}

static int64_t window_end(enum budget_window window, int64_t start_s)
{
    if (window == WINDOW_HOUR)
        return start_s + 3600;
    if (window == WINDOW_DAY)
        return start_s + 86400;
    return window_start(WINDOW_MONTH, start_s + 32 * 86400);
}

static void roll_window(struct account *a, const struct limits *l, int64_t now_s)
{
    int64_t start = window_start(l->window, now_s);
    if (start <= a->window_s)
        return;
    a->window_s = start;
    a->spent = a->reserved = 0;
}

static int take_spent(void *ctx, sqlite3_stmt *row)
{
    *(int64_t *)ctx = sqlite3_column_int64(row, 0);
    return 0;
}

int limits_load(struct tenants *t, struct tenant *tenant, struct realm_error *err)
{
    int64_t spent = 0, start = window_start(tenant->limits.window, wall_s(t));
    int status = db_query(t->sql, "SELECT sum(tokens) FROM spent WHERE tenant = ?1 AND hour >= ?2",
                          DB_ARGS(db_text(tenant->view.id), db_int((uint64_t)start)), take_spent,
                          &spent, err);
    if (!status) {
        tenant->account->window_s = start;
        tenant->account->spent = (uint64_t)spent;
    }
    return status;
}

/* ---- buckets ---- */

static uint64_t now_ns(const struct tenants *t)
{
    return clock_ns(t->options.clock);
}

/* Fills *left, in thousandths, up to what a minute allows. */
static void fill(int64_t *left, uint64_t *then_ns, uint64_t per_min, uint64_t now)
{
    int64_t full = (int64_t)per_min * MILLI;
    if (per_min == 0) {
        *then_ns = 0; // a limit that is set later begins with a minute's worth
        return;
    }
    uint64_t passed = now > *then_ns ? now - *then_ns : 0;
    if (*then_ns == 0 || passed >= 60000000000ull) {
        int64_t owed = *left < 0 && *then_ns ? *left : 0;
        *left = owed + full < full ? owed + full : full;
    } else {
        /* per_min is at most 10^12, and passed under a minute: 10^12 * 6*10^4 fits. */
        uint64_t more = per_min * (passed / 1000000) / MINUTE_MS * MILLI +
                        per_min * (passed / 1000000) % MINUTE_MS * MILLI / MINUTE_MS;
        if (more == 0)
            return;
        *left = *left + (int64_t)more < full ? *left + (int64_t)more : full;
    }
    if (*left > full)
        *left = full;
    *then_ns = now;
}

static void fill_all(struct tenants *t, struct account *a, const struct limits *l)
{
    uint64_t now = now_ns(t);
    fill(&a->requests_left, &a->requests_ns, l->requests_per_min, now);
    fill(&a->tokens_left, &a->tokens_ns, l->tokens_per_min, now);
    roll_window(a, l, wall_s(t));
}

/* Until so many thousandths more are there. */
static uint32_t wait_ms(int64_t missing, uint64_t per_min)
{
    if (missing <= 0)
        return 0;
    uint64_t ms = (uint64_t)missing / MILLI * MINUTE_MS / per_min +
                  (uint64_t)missing % MILLI * MINUTE_MS / (per_min * MILLI) + 1;
    return ms < UINT32_MAX ? (uint32_t)ms : UINT32_MAX;
}

/* ---- refusals ---- */

static int refuse(struct tenants *t, struct tenant_refusal *why, enum tenant_limit limit,
                  uint32_t retry_ms)
{
    t->refused[limit]++;
    why->limit = limit;
    why->retry_ms = retry_ms;
    return -1;
}

#define SAY(why, ...) snprintf((why)->message, sizeof((why)->message), __VA_ARGS__)

static int refuse_budget(struct tenants *t, struct account *a, const struct limits *l,
                         struct tenant_refusal *why)
{
    static const char *const spans[] = {"an hour", "a day", "a month"};
    int64_t s = window_end(l->window, a->window_s) - wall_s(t);
    uint32_t ms = s <= 0 ? 1000 : s > UINT32_MAX / 1000 ? UINT32_MAX : (uint32_t)s * 1000;
    SAY(why, "the budget of %llu tokens %s is spent", (unsigned long long)l->budget_tokens,
        spans[l->window]);
    return refuse(t, why, TENANT_BUDGET, ms);
}

static int check_rates(struct tenants *t, struct account *a, const struct limits *l,
                       struct tenant_refusal *why)
{
    if (l->parallel && a->running >= l->parallel) {
        SAY(why, "%llu requests at once are allowed, and so many run",
            (unsigned long long)l->parallel);
        return refuse(t, why, TENANT_PARALLEL, 1000);
    }
    if (l->requests_per_min && a->requests_left < MILLI) {
        SAY(why, "%llu requests a minute are allowed", (unsigned long long)l->requests_per_min);
        return refuse(t, why, TENANT_REQUESTS,
                      wait_ms(MILLI - a->requests_left, l->requests_per_min));
    }
    if (l->tokens_per_min && a->tokens_left < MILLI) {
        SAY(why, "%llu tokens a minute are allowed", (unsigned long long)l->tokens_per_min);
        return refuse(t, why, TENANT_TOKENS, wait_ms(MILLI - a->tokens_left, l->tokens_per_min));
    }
    if (l->budget_tokens && a->spent + a->reserved >= l->budget_tokens)
        return refuse_budget(t, a, l, why);
    return 0;
}

/* ---- a request ---- */

static void copy(char *to, size_t size, const char *from)
{
    snprintf(to, size, "%s", from ? from : "");
}

int tenants_admit(struct tenant_grant **out, struct tenants *t, const struct tenant_pass *pass,
                  const struct tenant_request *request, struct tenant_refusal *why)
{
    *out = NULL;
    struct tenant_grant *g = mem_zalloc(sizeof(*g));
    mutex_lock(&t->lock);
    struct account *a = pass->tenant->account;
    const struct limits *l = &pass->tenant->limits;
    int status = 0;
    fill_all(t, a, l);
    if (!g) {
        SAY(why, "the server is short of memory");
        status = refuse(t, why, TENANT_MEMORY, 1000);
    } else if (!tenants_writable(t)) {
        SAY(why, "usage cannot be recorded at the moment");
        status = refuse(t, why, TENANT_LEDGER, 1000);
    } else {
        status = check_rates(t, a, l, why);
    }
    if (!status) {
        a->running++;
        a->requests_left -= l->requests_per_min ? MILLI : 0;
        g->tenant = pass->tenant;
        tenant_hold(g->tenant);
    }
    mutex_unlock(&t->lock);
    if (status) {
        mem_free(g);
        return status;
    }
    list_init(&g->link);
    copy(g->id, sizeof(g->id), request->id);
    copy(g->endpoint, sizeof(g->endpoint), request->endpoint);
    copy(g->key, sizeof(g->key), pass->key);
    copy(g->tenant_id, sizeof(g->tenant_id), pass->tenant->view.id);
    g->started_s = wall_s(t);
    ledger_push(t, g);
    *out = g;
    return 0;
}

/* The part of what g reserved that still counts in the account's window. */
static void give_back(struct account *a, struct tenant_grant *g)
{
    if (g->window_s == a->window_s)
        a->reserved -= g->reserved_window;
    g->reserved_window = 0;
}

int tenant_reserve(struct tenant_grant *g, uint64_t tokens, struct tenant_refusal *why)
{
    struct tenants *t = g->tenant->all;
    const struct limits *l = &g->tenant->limits;
    struct account *a = g->tenant->account;
    int status = 0;
    mutex_lock(&t->lock);
    fill_all(t, a, l);
    uint64_t more = tokens > g->reserved ? tokens - g->reserved : 0;
    uint64_t used = a->spent + a->reserved;
    if (l->budget_tokens && (used > l->budget_tokens || more > l->budget_tokens - used))
        status = more ? refuse_budget(t, a, l, why) : 0;
    else if (l->tokens_per_min && g->reserved == 0 &&
             a->tokens_left <
                 (int64_t)(more < l->tokens_per_min ? more : l->tokens_per_min) * MILLI) {
        SAY(why, "%llu tokens a minute are allowed, and this request begins with %llu",
            (unsigned long long)l->tokens_per_min, (unsigned long long)more);
        uint64_t wanted = more < l->tokens_per_min ? more : l->tokens_per_min;
        status = refuse(t, why, TENANT_TOKENS,
                        wait_ms((int64_t)wanted * MILLI - a->tokens_left, l->tokens_per_min));
    }
    if (!status && more) {
        a->tokens_left -= l->tokens_per_min ? (int64_t)more * MILLI : 0;
        if (g->window_s != a->window_s)
            g->reserved_window = 0; // those of a window that is over count nowhere
        g->window_s = a->window_s;
        g->reserved_window += more;
        a->reserved += more;
        g->reserved = tokens;
    }
    mutex_unlock(&t->lock);
    return status;
}

void tenant_note(struct tenant_grant *g, uint64_t prompt_tokens, uint64_t completion_tokens)
{
    struct tenants *t = g->tenant->all;
    mutex_lock(&t->ledger.lock);
    g->row.prompt_tokens = prompt_tokens;
    g->row.completion_tokens = completion_tokens;
    mutex_unlock(&t->ledger.lock);
    ledger_push(t, g);
}

static void settle_limits(struct tenants *t, struct tenant_grant *g, uint64_t used, bool free)
{
    struct account *a = g->tenant->account;
    const struct limits *l = &g->tenant->limits;
    fill_all(t, a, l);
    give_back(a, g);
    a->spent = a->spent + used < a->spent ? UINT64_MAX : a->spent + used;
    a->running--;
    a->requests_left += free && l->requests_per_min ? MILLI : 0;
    if (l->tokens_per_min)
        a->tokens_left += ((int64_t)g->reserved - (int64_t)used) * MILLI;
}

void tenant_settle(struct tenant_grant *g, const struct tenant_row *row,
                   void (*committed)(void *ctx, int status), void *ctx)
{
    struct tenants *t = g->tenant->all;
    mutex_lock(&t->lock);
    uint64_t used = row->prompt_tokens + row->completion_tokens;
    settle_limits(t, g, used, row->outcome == TENANT_REFUSED && used == 0);
    tenant_let_go(g->tenant);
    g->tenant = NULL;
    mutex_unlock(&t->lock);
    mutex_lock(&t->ledger.lock);
    copy(g->model, sizeof(g->model), row->model);
    copy(g->guest, sizeof(g->guest), row->guest);
    copy(g->code, sizeof(g->code), row->code);
    g->row = *row;
    g->closed = true;
    g->committed = committed;
    g->ctx = ctx;
    mutex_unlock(&t->ledger.lock);
    ledger_push(t, g);
}

/* ---- headers ---- */

void tenant_rates(const struct tenant_pass *pass, struct tenant_rates *out)
{
    struct tenants *t = pass->tenant->all;
    struct account *a = pass->tenant->account;
    const struct limits *l = &pass->tenant->limits;
    mutex_lock(&t->lock);
    fill_all(t, a, l);
    *out = (struct tenant_rates){
        .requests_limit = l->requests_per_min,
        .requests_left = a->requests_left > 0 ? (uint64_t)a->requests_left / MILLI : 0,
        .tokens_limit = l->tokens_per_min,
        .tokens_left = a->tokens_left > 0 ? (uint64_t)a->tokens_left / MILLI : 0,
    };
    if (l->requests_per_min)
        out->requests_reset_ms =
            wait_ms((int64_t)l->requests_per_min * MILLI - a->requests_left, l->requests_per_min);
    if (l->tokens_per_min)
        out->tokens_reset_ms =
            wait_ms((int64_t)l->tokens_per_min * MILLI - a->tokens_left, l->tokens_per_min);
    mutex_unlock(&t->lock);
}
