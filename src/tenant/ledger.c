/* tenant/ledger.c - rows of requests, written by one thread in groups.
 *
 * Rows that end wait for nobody: whatever has piled up while the last group was committed is the
 * next one.  Rows that only begin, or tell how far they are, go with the next group or wait
 * OPEN_WAIT_NS.  Where the database fails, rows that end go to the spool, which is replayed into
 * it when it works again, now or at the next start. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "tenant/tenant_impl.h"

enum { GROUP_MAX = 256 };
static const uint64_t OPEN_WAIT_NS = 50000000, RETRY_NS = 1000000000;

const char *const outcome_names[TENANT_OUTCOMES] = {"ok", "cancelled", "refused", "failed",
                                                    "interrupted"};

static uint64_t now_ns(void)
{
    return clock_ns(clock_system());
}

/* ---- statements ---- */

static const char INSERT[] =
    "INSERT INTO requests (id, tenant, key, endpoint, started_at, outcome, code, model, guest, "
    "prompt_tokens, cached_tokens, completion_tokens, queued_ms, first_token_ms, total_ms) "
    "VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15) ";
static const char END[] =
    "ON CONFLICT(id) DO UPDATE SET outcome=?6, code=?7, model=?8, guest=?9, prompt_tokens=?10, "
    "cached_tokens=?11, completion_tokens=?12, queued_ms=?13, first_token_ms=?14, total_ms=?15 "
    "WHERE outcome = -1";
static const char NOTE[] = "ON CONFLICT(id) DO UPDATE SET prompt_tokens=?10, "
                           "completion_tokens=?12 WHERE outcome = -1";

static int write_row(sqlite3 *sql, const struct tenant_grant *g, bool closed)
{
    char text[1024];
    const struct tenant_row *r = &g->row;
    int64_t outcome = closed ? (int64_t)r->outcome : -1;
    snprintf(text, sizeof(text), "%s%s", INSERT, closed ? END : NOTE);
    return db_run(sql, text,
                  DB_ARGS(db_text(g->id), db_text(g->tenant_id), db_text(g->key),
                          db_text(g->endpoint), db_int((uint64_t)g->started_s),
                          db_int((uint64_t)outcome), db_text(g->code[0] ? g->code : NULL),
                          db_text(g->model), db_text(g->guest), db_int(r->prompt_tokens),
                          db_int(r->cached_tokens), db_int(r->completion_tokens),
                          db_int(r->queued_ms), db_int(r->first_token_ms), db_int(r->total_ms)),
                  NULL);
}

/* Once for each row that ends: a row that had ended before changes nothing. */
static int write_end(sqlite3 *sql, const struct tenant_grant *g)
{
    int status = write_row(sql, g, true);
    uint64_t tokens = g->row.prompt_tokens + g->row.completion_tokens;
    if (status || sqlite3_changes(sql) == 0 || tokens == 0)
        return status;
    return db_run(sql,
                  "INSERT INTO spent VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET "
                  "tokens = tokens + ?3",
                  DB_ARGS(db_text(g->tenant_id),
                          db_int((uint64_t)(g->started_s - g->started_s % 3600)), db_int(tokens)),
                  NULL);
}

/* ---- groups ---- */

/* What is to be written of a grant, as it stood when the group was taken. */
struct item {
    struct tenant_grant *grant;
    struct tenant_grant copy; /* of one that goes on: its owner may change it meanwhile */
    bool closed;
};

static bool is_due(const struct ledger *l, uint64_t now)
{
    for (struct list *i = l->queue.next; i != &l->queue; i = i->next) {
        const struct tenant_grant *g = CONTAINER_OF(i, struct tenant_grant, link);
        if (g->closed || now - g->queued_ns >= OPEN_WAIT_NS)
            return true;
    }
    return false;
}

/* Under the lock. */
static size_t take_group(struct ledger *l, struct item *items)
{
    size_t n = 0;
    while (!list_empty(&l->queue) && n < GROUP_MAX) {
        struct tenant_grant *g = CONTAINER_OF(l->queue.next, struct tenant_grant, link);
        list_remove(&g->link);
        g->queued = false;
        l->n_queue--;
        items[n++] = (struct item){g, *g, g->closed};
    }
    return n;
}

static int write_group(sqlite3 *sql, struct item *items, size_t n)
{
    int status = db_exec(sql, "BEGIN IMMEDIATE", NULL);
    for (size_t i = 0; i < n && !status; i++)
        status = items[i].closed ? write_end(sql, &items[i].copy)
                                 : write_row(sql, &items[i].copy, false);
    if (!status)
        status = db_exec(sql, "COMMIT", NULL);
    if (status)
        db_rollback(sql);
    return status;
}

static void tell(struct tenant_grant *g, int status)
{
    if (!g->spooled && g->committed)
        g->committed(g->ctx, status);
    g->spooled = true;
}

static void note_group(struct ledger *l, const struct item *items, size_t n, uint64_t ns)
{
    mutex_lock(&l->lock);
    for (size_t i = 0; i < n; i++)
        l->rows += items[i].closed;
    l->commits++;
    l->commit_ns += ns;
    mutex_unlock(&l->lock);
}

/* Into the queue again; rows are told apart by their ids, not by their order. */
static void put_back(struct ledger *l, struct item *items, size_t n)
{
    mutex_lock(&l->lock);
    for (size_t i = 0; i < n; i++) {
        struct tenant_grant *g = items[i].grant;
        if (g->queued)
            continue; // it was pushed meanwhile
        g->queued = true;
        l->n_queue++;
        list_add_tail(&l->queue, &g->link);
    }
    mutex_unlock(&l->lock);
}

/* ---- failing, and coming back ---- */

/* Those that end are told once their row is in the spool; it goes to the database later. */
static void spool_group(struct ledger *l, struct item *items, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct tenant_grant *g = items[i].grant;
        if (!items[i].closed || g->spooled)
            continue;
        int status = l->spool < 0 || l->spooled == SPOOL_ROWS
                         ? REALM_E_IO
                         : spool_write(l->spool, l->spooled, &items[i].copy);
        l->spooled += status == 0;
        tell(g, status ? REALM_E_IO : 0);
    }
}

static void fail(struct ledger *l, struct item *items, size_t n)
{
    if (atomic_exchange(&l->writable, false))
        log_line(LOG_ERROR, "the ledger cannot be written (%s): requests are refused until it can",
                 l->sql ? sqlite3_errmsg(l->sql) : "it cannot be opened");
    db_close(l->sql); // what failed to reach the disk is not to be taken for written
    l->sql = NULL;
    spool_group(l, items, n);
    put_back(l, items, n);
}

static int try_open(struct ledger *l)
{
    struct realm_error err;
    if (l->sql)
        return 0;
    int status = db_connect(&l->sql, l->all->db_path, false, &err);
    if (status) {
        db_close(l->sql);
        l->sql = NULL;
    }
    return status;
}

static void recovered(struct ledger *l)
{
    mutex_lock(&l->lock);
    bool all = list_empty(&l->queue);
    mutex_unlock(&l->lock);
    if (l->spooled && (!all || spool_clear(l->spool, l->spooled)))
        return; // what is in it is written, but not all is that was told of
    l->spooled = 0;
    if (!atomic_exchange(&l->writable, true))
        log_line(LOG_INFO, "the ledger can be written again");
}

static void finish_group(struct item *items, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!items[i].closed)
            continue;
        tell(items[i].grant, 0);
        mem_free(items[i].grant);
    }
}

static bool commit_group(struct ledger *l, struct item *items, size_t n)
{
    uint64_t start = now_ns();
    if (try_open(l) || write_group(l->sql, items, n)) {
        fail(l, items, n);
        return false;
    }
    note_group(l, items, n, now_ns() - start);
    finish_group(items, n);
    recovered(l);
    return true;
}

/* ---- the thread ---- */

/* Waits for a group that is due; 0 at the end, when nothing is left. */
static size_t wait_for_group(struct ledger *l, struct item *items)
{
    mutex_lock(&l->lock);
    while (!l->closing && !is_due(l, now_ns())) {
        if (list_empty(&l->queue))
            cond_wait(&l->changed, &l->lock);
        else
            (void)cond_wait_until(&l->changed, &l->lock, now_ns() + OPEN_WAIT_NS);
    }
    size_t n = take_group(l, items);
    mutex_unlock(&l->lock);
    return n;
}

/* All that is in the queue now goes to the spool, as far as it ends. */
static void spool_all(struct ledger *l, struct item *items)
{
    mutex_lock(&l->lock);
    size_t left = l->n_queue;
    mutex_unlock(&l->lock);
    while (left > 0) {
        mutex_lock(&l->lock);
        size_t n = take_group(l, items);
        mutex_unlock(&l->lock);
        spool_group(l, items, n);
        put_back(l, items, n);
        left -= n < left ? n : left;
        if (n == 0)
            return;
    }
}

/* New rows are spooled and told while the database rests. */
static void rest(struct ledger *l, struct item *items)
{
    uint64_t until = now_ns() + RETRY_NS;
    bool closing = false;
    while (!closing && now_ns() < until) {
        spool_all(l, items);
        mutex_lock(&l->lock);
        closing = l->closing;
        if (!closing)
            (void)cond_wait_until(&l->changed, &l->lock, until);
        mutex_unlock(&l->lock);
    }
}

/* At the end what cannot be written is in the spool, or was told of as lost. */
static void give_up(struct ledger *l, struct item *items)
{
    size_t n;
    spool_all(l, items);
    do {
        mutex_lock(&l->lock);
        n = take_group(l, items);
        mutex_unlock(&l->lock);
        for (size_t i = 0; i < n; i++)
            if (items[i].closed)
                mem_free(items[i].grant);
    } while (n > 0);
}

static void run(void *arg)
{
    struct ledger *l = arg;
    struct item *items = l->items;
    size_t n;
    while ((n = wait_for_group(l, items)) > 0) {
        if (commit_group(l, items, n))
            continue;
        mutex_lock(&l->lock);
        bool closing = l->closing;
        mutex_unlock(&l->lock);
        if (closing) {
            give_up(l, items);
            return;
        }
        rest(l, items);
    }
}

void ledger_push(struct tenants *t, struct tenant_grant *g)
{
    struct ledger *l = &t->ledger;
    mutex_lock(&l->lock);
    if (!g->queued) {
        g->queued = true;
        g->queued_ns = now_ns();
        l->n_queue++;
        list_add_tail(&l->queue, &g->link);
    }
    cond_signal(&l->changed);
    mutex_unlock(&l->lock);
}

bool tenants_writable(const struct tenants *t)
{
    return atomic_load(&t->ledger.writable);
}

/* ---- opening ---- */

static int replay_one(void *ctx, struct tenant_grant *g)
{
    return write_end(ctx, g);
}

/* What an earlier process could not write, and what it left running. */
static int settle_past(struct ledger *l, struct realm_error *err)
{
    size_t rows = 0;
    int status = db_exec(l->sql, "BEGIN IMMEDIATE", err);
    if (!status && l->spool >= 0)
        status = spool_replay(l->spool, replay_one, l->sql, &rows);
    if (!status)
        status = db_exec(l->sql,
                         "INSERT INTO spent SELECT tenant, started_at - started_at % 3600, "
                         "sum(prompt_tokens + completion_tokens) FROM requests WHERE outcome = -1 "
                         "GROUP BY 1, 2 HAVING sum(prompt_tokens + completion_tokens) > 0 "
                         "ON CONFLICT DO UPDATE SET tokens = tokens + excluded.tokens;"
                         "UPDATE requests SET outcome = 4, code = 'interrupted' WHERE outcome = -1;"
                         "COMMIT",
                         err);
    if (status) {
        db_rollback(l->sql);
        return status;
    }
    if (rows)
        log_line(LOG_INFO, "the ledger: %zu rows of the spool are taken over", rows);
    return rows && spool_clear(l->spool, rows)
               ? err_set(err, REALM_E_IO, "the ledger's spool cannot be cleared")
               : 0;
}

static int start(struct ledger *l, struct realm_error *err)
{
    if (mutex_init(&l->lock))
        return err_set(err, REALM_E_SYS, "the ledger cannot have a lock");
    if (cond_init(&l->changed))
        goto no_cond;
    atomic_store(&l->writable, true);
    if (thread_start(&l->thread, "realm-ledger", 0, run, l))
        goto no_thread;
    return 0;

no_thread:
    cond_destroy(&l->changed);
no_cond:
    mutex_destroy(&l->lock);
    return err_set(err, REALM_E_SYS, "the ledger's thread cannot be started");
}

int ledger_open(struct tenants *t, struct realm_error *err)
{
    struct ledger *l = &t->ledger;
    l->all = t;
    l->spool = -1;
    list_init(&l->queue);
    l->items = mem_array(GROUP_MAX, sizeof(*l->items));
    if (!l->items)
        return err_nomem(err, "the ledger");
    int status = db_connect(&l->sql, t->db_path, false, err);
    if (!status) {
        l->spool = spool_open(t->spool_path);
        if (l->spool < 0)
            log_line(LOG_WARN, "the ledger has no spool: %s cannot be made", t->spool_path);
        status = settle_past(l, err);
    }
    if (!status)
        status = start(l, err);
    if (!status)
        return 0;
    db_close(l->sql);
    if (l->spool >= 0)
        close(l->spool);
    mem_free(l->items);
    l->items = NULL;
    return status;
}

void ledger_close(struct ledger *l)
{
    if (!l->items)
        return;
    mutex_lock(&l->lock);
    l->closing = true;
    cond_signal(&l->changed);
    mutex_unlock(&l->lock);
    thread_join(&l->thread);
    db_close(l->sql);
    if (l->spool >= 0)
        close(l->spool);
    cond_destroy(&l->changed);
    mutex_destroy(&l->lock);
    mem_free(l->items);
}
