#include "sched/share.h"

#include <math.h>
#include <string.h>

#include "base/assert.h"
#include "base/ckd.h"
#include "base/err.h"
#include "base/fair.h"
#include "base/mem.h"
#include "sched/sched_impl.h"

/* What tokens cost, in passes over the model's weights. */
enum { PROMPT_COST = 1, ANSWER_COST = 2 };

/* Tokens that a tenant may be behind after a pause: a question's length, which is then computed
 * before what others have queued. */
enum { CREDIT = 128 };

/* Of the budget, in percent: what one tenant may hold while others wait, by default. */
enum { KV_MOST_PERCENT = 60 };

static struct account *account_of(struct list *link)
{
    return CONTAINER_OF(link, struct account, link);
}

/* ------------------------------------------------------------------- accounts -- */

void shares_init(struct shares *s)
{
    *s = (struct shares){0};
    for (size_t i = 0; i < SHARE_BUCKETS; i++)
        list_init(&s->table[i]);
    list_init(&s->idle);
    list_init(&s->busy);
}

static struct list *bucket_of(struct shares *s, const char *tenant)
{
    return &s->table[fair_hash(tenant) % SHARE_BUCKETS];
}

static struct account *find(struct shares *s, const char *tenant)
{
    struct list *bucket = bucket_of(s, tenant);
    for (struct list *i = bucket->next; i != bucket; i = i->next) {
        struct account *a = CONTAINER_OF(i, struct account, in_table);
        if (strcmp(a->stats.tenant, tenant) == 0)
            return a;
    }
    return NULL;
}

static void wake(struct shares *s, struct account *a)
{
    list_remove(&a->idle);
    s->n_idle--;
}

static void forget(struct shares *s, struct account *a)
{
    wake(s, a);
    list_remove(&a->in_table);
    mem_free(a);
}

static void rest(struct shares *s, struct account *a)
{
    list_add_tail(&s->idle, &a->idle);
    if (++s->n_idle > TENANTS_IDLE_MAX)
        forget(s, CONTAINER_OF(s->idle.next, struct account, idle));
}

/* An idle one. */
static struct account *make(struct shares *s, const char *tenant)
{
    struct account *a = mem_zalloc(sizeof(*a));
    if (!a)
        return NULL;
    ASSERT(strlen(tenant) < sizeof(a->stats.tenant));
    memcpy(a->stats.tenant, tenant, strlen(tenant));
    list_init(&a->link);
    list_init(&a->waiting);
    list_add_tail(bucket_of(s, tenant), &a->in_table);
    list_add_tail(&s->idle, &a->idle);
    s->n_idle++;
    return a;
}

void shares_free(struct shares *s)
{
    ASSERT(list_empty(&s->busy) && s->n_waiting == 0);
    while (!list_empty(&s->idle))
        forget(s, CONTAINER_OF(s->idle.next, struct account, idle));
}

int share_enter(struct sched *s, struct sched_gen *g, struct realm_error *err)
{
    struct shares *shares = &s->shares;
    struct account *a = find(shares, g->tenant);
    if (s->queued == QUEUE_REQUESTS_MAX)
        return err_set(err, REALM_E_LIMIT, "%d requests are waiting: the queue is full",
                       QUEUE_REQUESTS_MAX);
    if (a && !fair_fits(a->queued, 1, QUEUE_REQUESTS_MAX - s->queued))
        return err_set(err, REALM_E_LIMIT,
                       "%u requests are waiting: the tenant's part of the queue is taken",
                       a->queued);
    a = a ? a : make(shares, g->tenant);
    if (!a)
        return err_nomem(err, "a tenant's account");
    if (a->gens == 0)
        wake(shares, a);
    g->account = a;
    a->gens++;
    a->queued++;
    a->stats.waiting++;
    s->queued++;
    return 0;
}

/* With the lock. */
static void set_stats(struct sched *s, struct account *a)
{
    s->stats.running = (uint32_t)s->n_running;
    a->stats.running = (uint32_t)a->n_running;
    a->stats.waiting = a->gens - a->stats.running;
}

/* With the lock: g is no longer one that never ran. */
static void begin(struct sched *s, struct sched_gen *g)
{
    g->account->queued -= !g->began;
    s->queued -= !g->began;
    g->began = true;
}

void share_leave(struct sched *s, struct sched_gen *g)
{
    struct account *a = g->account;
    a->stats.prompt_tokens += g->usage.prompt_tokens;
    a->stats.cached_tokens += g->usage.cached_tokens;
    a->stats.completion_tokens += g->usage.completion_tokens;
    begin(s, g);
    a->gens--;
    set_stats(s, a);
    g->account = NULL;
    if (a->gens == 0)
        rest(&s->shares, a);
}

size_t shares_stats(const struct shares *s, struct realm_tenant_stats *out, size_t max)
{
    size_t n = 0;
    for (size_t i = 0; i < SHARE_BUCKETS; i++) {
        for (struct list *j = s->table[i].next; j != &s->table[i]; j = j->next, n++)
            if (n < max)
                out[n] = CONTAINER_OF(j, struct account, in_table)->stats;
    }
    return n;
}

/* ---------------------------------------------------------------------- lines -- */

/* The order inside a tenant. */
static bool before(const struct sched_gen *a, const struct sched_gen *b)
{
    return a->priority != b->priority ? a->priority > b->priority : a->ticket < b->ticket;
}

static void insert(struct list *gens, struct sched_gen *g)
{
    struct list *after = gens->prev;
    while (after != gens && before(g, gen_of(after)))
        after = after->prev;
    list_add_head(after, &g->link);
}

/* Where a tenant that comes back begins: a credit below the least counter of the others that wait
 * or, when none does, of those that run, which may have come further than any that waited.  Never
 * more than a credit below where one before it began: of many that come together each would have a
 * credit more than the last, which is the least of those that wait.  Where nobody else is there, no
 * credit is needed: it would count against whoever comes next. */
static double begins_at(struct sched *s, const struct account *a, double credit)
{
    double waits = INFINITY, runs = INFINITY;
    const struct list *busy = &s->shares.busy;
    for (struct list *i = busy->next; i != busy; i = i->next) {
        const struct account *other = account_of(i);
        if (other == a)
            continue;
        if (other->n_waiting)
            waits = fmin(waits, other->counter);
        runs = fmin(runs, other->counter);
    }
    double least = waits < INFINITY ? waits : runs;
    if (least == INFINITY)
        return s->shares.floor;
    s->shares.floor = fmax(s->shares.floor, least);
    return s->shares.floor - credit;
}

void share_take(struct sched *s, struct sched_gen *g)
{
    struct account *a = g->account;
    a->weight = g->weight;
    a->kv_bytes_max = g->kv_bytes_max;
    a->stats.weight = g->weight;
    if (a->n_waiting == 0)
        a->counter = fmax(a->counter, begins_at(s, a, CREDIT * g->model->cost / a->weight));
    if (list_empty(&a->link))
        list_add_tail(&s->shares.busy, &a->link);
    list_remove(&g->link);
    insert(&a->waiting, g);
    a->n_waiting++;
    s->shares.n_waiting++;
}

/* Out of the list that it is in. */
static void take_out(struct sched *s, struct sched_gen *g)
{
    struct account *a = g->account;
    list_remove(&g->link);
    if (g->state == GEN_RUNNING) {
        a->n_running--;
        g->model->n_running--;
        s->n_running--;
    } else {
        a->n_waiting--;
        s->shares.n_waiting--;
    }
    share_hold(g);
}

void share_wait(struct sched *s, struct sched_gen *g)
{
    struct account *a = g->account;
    take_out(s, g);
    g->state = GEN_WAITING;
    insert(&a->waiting, g);
    a->n_waiting++;
    s->shares.n_waiting++;
    mutex_lock(&s->lock);
    a->stats.preempted++;
    s->stats.preempted++;
    s->stats.waiting++;
    set_stats(s, a);
    mutex_unlock(&s->lock);
}

static double prompt_cost(const struct sched_gen *g)
{
    return (double)PROMPT_COST * g->model->cost * (g->n_prompt - g->paid_prompt);
}

/* What is found in a cache is as good as paid.  It keeps its place until it has come further
 * by half of what it has to compute now, so that most of the work is not for nothing. */
void share_run(struct sched *s, struct sched_gen *g)
{
    struct account *a = g->account;
    take_out(s, g);
    g->state = GEN_RUNNING;
    insert(&g->model->running, g);
    a->n_running++;
    g->model->n_running++;
    s->n_running++;
    g->paid_prompt = (uint32_t)min_size(g->n_prompt, max_size(g->paid_prompt, g->computed));
    g->keeps_until = g->paid_prompt + g->paid_answer +
                     (uint32_t)max_size(KV_PAGE_TOKENS, (g->n_tokens - g->computed) / 2);
    a->owed += prompt_cost(g) / a->weight;
    mutex_lock(&s->lock);
    begin(s, g);
    s->stats.waiting--;
    set_stats(s, a);
    mutex_unlock(&s->lock);
}

void share_end(struct sched *s, struct sched_gen *g)
{
    struct account *a = g->account;
    take_out(s, g);
    if (a->n_waiting + a->n_running)
        return;
    list_remove(&a->link);
    s->shares.most = fmax(s->shares.most, a->counter);
    if (list_empty(&s->shares.busy))
        s->shares.floor = fmax(s->shares.floor, s->shares.most);
}

void share_hold(struct sched_gen *g)
{
    struct account *a = g->account;
    uint32_t pages = g->seq ? kv_seq_room(g->seq) / KV_PAGE_TOKENS : 0;
    if (pages == g->pages)
        return;
    uint64_t page_bytes = kv_page_bytes(g->model->kv);
    a->kv_bytes += pages * page_bytes;
    a->kv_bytes -= g->pages * page_bytes;
    mutex_lock(&g->sched->lock);
    a->stats.kv_pages += pages;
    a->stats.kv_pages -= g->pages;
    mutex_unlock(&g->sched->lock);
    g->pages = pages;
}

void share_charge(struct sched_gen *g)
{
    struct account *a = g->account;
    uint32_t prompt = (uint32_t)min_size(g->computed, g->n_prompt);
    uint32_t answer = g->n_tokens - g->n_prompt, cost = ANSWER_COST * (answer - g->paid_answer);
    if (prompt > g->paid_prompt) {
        cost += PROMPT_COST * (prompt - g->paid_prompt);
        g->paid_prompt = prompt;
    }
    g->paid_answer = answer;
    a->counter += g->model->cost * cost / a->weight;
}

/* ---------------------------------------------------------------------- turns -- */

void share_begin(struct sched *s)
{
    struct list *busy = &s->shares.busy;
    double least_waiting = INFINITY;
    s->shares.weights = 0;
    s->shares.limit = INFINITY;
    for (struct list *i = busy->next; i != busy; i = i->next) {
        struct account *a = account_of(i);
        a->owed = 0;
        a->passed = false;
        s->shares.weights += a->weight;
        if (a->n_waiting)
            least_waiting = fmin(least_waiting, a->counter);
    }
    if (least_waiting < INFINITY)
        s->shares.floor = fmax(s->shares.floor, least_waiting);
    for (struct list *i = s->models.next; i != &s->models; i = i->next) {
        struct list *running = &model_of(i)->running;
        for (struct list *j = running->next; j != running; j = j->next)
            gen_of(j)->account->owed += prompt_cost(gen_of(j)) / gen_of(j)->account->weight;
    }
}

/* By what a tenant is ordered: what it had, and what it was let in for. */
static double turn_of(const struct account *a)
{
    return a->counter + a->owed;
}

struct account *share_next(struct sched *s)
{
    struct account *first = NULL;
    struct list *busy = &s->shares.busy;
    for (struct list *i = busy->next; i != busy; i = i->next) {
        struct account *a = account_of(i);
        if (a->n_waiting && !a->passed && (!first || turn_of(a) < turn_of(first)))
            first = a;
    }
    return first && turn_of(first) <= s->shares.limit ? first : NULL;
}

/* Bytes of pages that are a's due. */
static double due_bytes(const struct sched *s, const struct account *a)
{
    double due = (double)s->budget.bytes_max * a->weight / s->shares.weights;
    return a->kv_bytes_max ? fmin(due, (double)a->kv_bytes_max) : due;
}

void share_pass(struct sched *s, struct account *a, const struct sched_gen *g, bool capped)
{
    struct shares *shares = &s->shares;
    a->passed = true;
    if (!g || (capped && a->kv_bytes_max))
        return;
    double most = turn_of(a) + ANSWER_COST * g->model->cost * g->n_tokens / a->weight;
    bool has_its_part = capped || (double)a->kv_bytes > due_bytes(s, a);
    shares->limit = fmin(shares->limit, has_its_part ? most : -INFINITY);
}

/* The first one of a tenant always may, or it could never run. */
bool share_capped(const struct sched *s, const struct sched_gen *g, uint64_t bytes)
{
    const struct account *a = g->account;
    if (a->n_running == 0 || s->shares.n_waiting == a->n_waiting)
        return false;
    double most = (double)a->kv_bytes_max;
    if (a->kv_bytes_max == 0)
        most = fmax(due_bytes(s, a), (double)s->budget.bytes_max * KV_MOST_PERCENT / 100);
    return (double)(a->kv_bytes + bytes) > most;
}

/* ----------------------------------------------------------------- giving way -- */

/* a's last one that runs, of m or (NULL) of all models; with `yields` of those that have come
 * as far as they are to come before they give way. */
static struct sched_gen *last_of(struct sched *s, const struct account *a,
                                 const struct sched_model *m, bool yields)
{
    struct sched_gen *last = NULL;
    for (struct list *i = s->models.next; i != &s->models; i = i->next) {
        if (m && model_of(i) != m)
            continue;
        struct list *running = &model_of(i)->running;
        for (struct list *j = running->next; j != running; j = j->next) {
            struct sched_gen *g = gen_of(j);
            if (g->account != a || (yields && g->paid_prompt + g->paid_answer < g->keeps_until))
                continue;
            if (!last || before(last, g))
                last = g;
        }
    }
    return last;
}

/* What its tenant has had of g's tokens, at most: so much is computed again, for nothing. */
static double cost_again(const struct sched_gen *g)
{
    return ANSWER_COST * g->model->cost * g->n_tokens / g->account->weight;
}

static void count_places(struct sched *s, const struct sched_model *m)
{
    struct list *busy = &s->shares.busy;
    for (struct list *i = busy->next; i != busy; i = i->next)
        account_of(i)->places = 0;
    for (struct list *i = m->running.next; i != &m->running; i = i->next)
        gen_of(i)->account->places++;
}

/* What a holds of what is short, as a part of its due. */
static double part_of_due(const struct sched *s, const struct account *a,
                          const struct sched_model *m, double more)
{
    if (!m)
        return ((double)a->kv_bytes + more) / due_bytes(s, a);
    return ((double)a->places + more) * s->shares.weights / (a->weight * (double)s->places_max);
}

struct sched_gen *share_yielding(struct sched *s, const struct sched_gen *g,
                                 const struct sched_model *m, uint64_t bytes)
{
    const struct account *to = g->account;
    if (m)
        count_places(s, m);
    bool has_little =
        part_of_due(s, to, m, 0) <= 0.5 && part_of_due(s, to, m, m ? 1 : (double)bytes) <= 1;
    /* As far as it is behind by a credit alone nobody computes anything again for it. */
    const double credit = CREDIT * g->model->cost / to->weight;
    struct sched_gen *found = NULL;
    double most = 1;
    struct list *busy = &s->shares.busy;
    for (struct list *i = busy->next; i != busy; i = i->next) {
        struct account *a = account_of(i);
        double part = part_of_due(s, a, m, 0), lead = turn_of(a) - turn_of(to);
        if (a == to || part <= most || lead < 0)
            continue;
        struct sched_gen *last = last_of(s, a, m, true);
        if (!last || (!has_little && lead <= credit + cost_again(last)))
            continue;
        found = last;
        most = part;
    }
    return found;
}

struct sched_gen *share_victim(struct sched *s)
{
    struct account *found = NULL;
    struct list *busy = &s->shares.busy;
    for (struct list *i = busy->next; i != busy; i = i->next) {
        struct account *a = account_of(i);
        if (!a->n_running)
            continue;
        if (!found || part_of_due(s, a, NULL, 0) > part_of_due(s, found, NULL, 0))
            found = a;
    }
    ASSERT(found);
    return last_of(s, found, NULL, false);
}

void share_each_waiting(struct sched *s, void (*fn)(void *ctx, struct sched_gen *g), void *ctx)
{
    struct list *busy = &s->shares.busy;
    for (struct list *i = busy->next, *next; i != busy; i = next) {
        struct account *a = account_of(i);
        next = i->next;
        for (struct list *j = a->waiting.next, *after; j != &a->waiting; j = after) {
            after = j->next;
            fn(ctx, gen_of(j));
        }
    }
}
