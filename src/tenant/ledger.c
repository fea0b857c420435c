#include "tenant/ledger.h"

#include <stdatomic.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/thread.h"
#include "tenant/ledger_rows.h"

static const uint64_t MS_NS = 1000000, RETRY_NS = 500000000;
/* How long after all that is old was folded it is looked again, and after that failed. */
static const uint64_t FOLD_NS = 60000000000, FOLD_FAILED_NS = 3600000000000;

/* Folding takes this part of the thread's time, so that groups do not wait for it. */
enum { FOLD_SHARE = 5, DAY_S = 86400 };

/* A row as it is when its group is taken. */
struct member {
    struct ledger_entry *entry;
    struct ledger_row row;
};

struct ledger {
    struct thread thread;
    char path[CONF_TEXT_MAX + 16];
    int64_t (*wall_s)(void *ctx);
    void *ctx;
    atomic_bool writable;
    atomic_uint_fast32_t waiting; /* rows that are queued or in the group */

    struct mutex lock; /* guards all to the next blank line, and rows that are in */
    struct cond wake;
    struct list queue;
    uint32_t n_queued;
    uint32_t n_open;  /* begun and not ended */
    uint64_t due_ns;  /* when the next group is to be written at the latest */
    uint64_t wake_ns; /* until when the thread sleeps; 0: it looks at due_ns by itself */
    bool closing;
    uint32_t keep_days; /* 0: for ever */
    uint64_t fold_ns;   /* when it is looked for old rows */
    uint64_t rows, commits, commit_ns, folded;

    /* Of the thread: */
    struct rows db;
    struct spool spool;
    struct member group[LEDGER_GROUP_ROWS_MAX];
    size_t n_group;
    uint64_t retry_ns;
};

static uint64_t now_ns(void)
{
    return clock_ns(clock_system());
}

/* ---- the queue ---- */

/* With the lock. */
static void enqueue(struct ledger *l, struct ledger_entry *e, uint64_t within_ms)
{
    uint64_t due = now_ns() + within_ms * MS_NS;
    if (!e->queued) {
        e->queued = true;
        list_add_tail(&l->queue, &e->link);
        l->n_queued++;
        atomic_fetch_add(&l->waiting, 1);
    }
    if (due < l->due_ns)
        l->due_ns = due;
    if (l->due_ns < l->wake_ns || (l->wake_ns && l->n_queued >= LEDGER_GROUP_ROWS_MAX)) {
        l->wake_ns = 0;
        cond_signal(&l->wake);
    }
}

static void copy_row(struct ledger_row *to, const struct ledger_row *from)
{
    memcpy(to, from, ledger_row_bytes(from));
}

void ledger_begin(struct ledger *l, struct ledger_entry *e)
{
    mutex_lock(&l->lock);
    l->n_open++;
    enqueue(l, e, LEDGER_NOTE_MS_MAX); // one that ends soon is written once
    mutex_unlock(&l->lock);
}

void ledger_note(struct ledger *l, struct ledger_entry *e, const struct ledger_row *row)
{
    mutex_lock(&l->lock);
    copy_row(&e->row, row);
    enqueue(l, e, LEDGER_NOTE_MS_MAX);
    mutex_unlock(&l->lock);
}

void ledger_end(struct ledger *l, struct ledger_entry *e, const struct ledger_row *row)
{
    mutex_lock(&l->lock);
    copy_row(&e->row, row);
    l->n_open--;
    enqueue(l, e, l->n_open ? LEDGER_GROUP_MS_MAX : 0); // nobody else's row could join it
    mutex_unlock(&l->lock);
}

bool ledger_writable(const struct ledger *l)
{
    return atomic_load(&l->writable);
}

bool ledger_has_room(const struct ledger *l)
{
    return atomic_load(&l->waiting) < LEDGER_WAITING_MAX;
}

void ledger_stats(struct ledger *l, struct tenants_stats *out)
{
    mutex_lock(&l->lock);
    out->rows = l->rows;
    out->commits = l->commits;
    out->commit_ns = l->commit_ns;
    out->folded = l->folded;
    mutex_unlock(&l->lock);
    out->waiting = (uint32_t)atomic_load(&l->waiting);
    out->writable = ledger_writable(l);
}

/* ---- a group ---- */

/* With the lock.  closed_alone: rows of requests that run stay where they are. */
static void take_group(struct ledger *l, bool closed_alone)
{
    struct list *next;
    l->n_group = 0;
    for (struct list *i = l->queue.next; i != &l->queue; i = next) {
        struct ledger_entry *e = CONTAINER_OF(i, struct ledger_entry, link);
        next = i->next;
        if (l->n_group == LEDGER_GROUP_ROWS_MAX)
            break;
        if (closed_alone && e->row.outcome == OUTCOME_RUNS)
            continue;
        list_remove(i);
        e->queued = false;
        l->n_queued--;
        l->group[l->n_group].entry = e;
        copy_row(&l->group[l->n_group++].row, &e->row);
    }
    l->due_ns = list_empty(&l->queue) ? UINT64_MAX : now_ns();
}

static int write_group(struct ledger *l, struct realm_error *err)
{
    int status = db_exec(l->db.sql, "BEGIN IMMEDIATE", err);
    for (size_t i = 0; i < l->n_group && !status; i++)
        status = rows_write(&l->db, &l->group[i].row, err);
    if (!status)
        status = db_exec(l->db.sql, "COMMIT", err);
    return status;
}

/* Tells whoever waits for the row; the entry is gone afterwards. */
static void finish(struct ledger *l, struct member *m, int status)
{
    struct ledger_entry *e = m->entry;
    atomic_fetch_sub(&l->waiting, 1);
    if (m->row.outcome == OUTCOME_RUNS)
        return;
    if (e->committed)
        e->committed(e->ctx, status);
    e->done(e);
}

static void finish_group(struct ledger *l)
{
    for (size_t i = 0; i < l->n_group; i++)
        finish(l, &l->group[i], 0);
    l->n_group = 0;
}

/* What is closed goes to the spool; what runs goes back and waits. */
static void spool_group(struct ledger *l)
{
    for (size_t i = 0; i < l->n_group; i++) {
        struct member *m = &l->group[i];
        if (m->row.outcome != OUTCOME_RUNS) {
            finish(l, m, spool_add(&l->spool, &m->row));
            continue;
        }
        atomic_fetch_sub(&l->waiting, 1);
        mutex_lock(&l->lock);
        enqueue(l, m->entry, LEDGER_NOTE_MS_MAX);
        mutex_unlock(&l->lock);
    }
    l->n_group = 0;
}

static void fail(struct ledger *l, const struct realm_error *err)
{
    if (atomic_exchange(&l->writable, false))
        log_line(LOG_ERROR, "the ledger cannot be written, new requests are refused: %s",
                 err->message);
    /* With what the failure left in a connection nothing more is done. */
    rows_close(&l->db);
    l->retry_ns = now_ns() + RETRY_NS;
}

static void try_again(struct ledger *l)
{
    struct realm_error err = {0};
    int status = rows_open(&l->db, l->path, &err);
    if (!status)
        status = rows_replay(&l->db, &l->spool, &err);
    if (status) {
        fail(l, &err);
        return;
    }
    atomic_store(&l->writable, true);
    log_line(LOG_WARN, "the ledger can be written again");
}

/* ---- old rows ---- */

void ledger_keep(struct ledger *l, uint32_t days)
{
    mutex_lock(&l->lock);
    l->keep_days = days;
    l->fold_ns = days ? now_ns() : UINT64_MAX;
    cond_signal(&l->wake);
    mutex_unlock(&l->lock);
}

/* With the lock: when to look again, unless something else was said meanwhile. */
static void fold_later(struct ledger *l, uint32_t days, uint32_t folded, uint64_t start_ns)
{
    uint64_t now = now_ns();
    l->folded += folded;
    if (l->keep_days == days)
        l->fold_ns = folded == LEDGER_FOLD_ROWS_MAX ? now + (now - start_ns) * (FOLD_SHARE - 1)
                                                    : now + FOLD_NS;
}

/* By whole days, so that no row waits for an hour. */
static void fold(struct ledger *l, uint32_t days)
{
    struct realm_error err = {0};
    uint64_t start = now_ns();
    int64_t today = l->wall_s(l->ctx) / DAY_S;
    uint32_t folded;
    int status =
        rows_fold(&l->db, (today - (int64_t)days) * DAY_S, LEDGER_FOLD_ROWS_MAX, &folded, &err);
    mutex_lock(&l->lock);
    fold_later(l, days, status ? 0 : folded, start);
    if (status)
        l->fold_ns = now_ns() + FOLD_FAILED_NS;
    mutex_unlock(&l->lock);
    if (!status)
        return;
    log_line(LOG_WARN, "old rows of the ledger cannot be folded: %s", err.message);
    rows_close(&l->db);
    if (rows_open(&l->db, l->path, &err))
        fail(l, &err);
}

/* ---- the thread ---- */

static void note_commit(struct ledger *l, size_t rows, uint64_t ns)
{
    mutex_lock(&l->lock);
    l->rows += rows;
    l->commits++;
    l->commit_ns += ns;
    mutex_unlock(&l->lock);
}

static void work(struct ledger *l)
{
    struct realm_error err = {0};
    uint64_t start = now_ns();
    size_t closed = 0;
    if (!ledger_writable(l)) {
        spool_group(l);
        return;
    }
    if (l->n_group == 0)
        return;
    for (size_t i = 0; i < l->n_group; i++)
        closed += l->group[i].row.outcome != OUTCOME_RUNS;
    if (write_group(l, &err)) {
        fail(l, &err);
        spool_group(l);
        return;
    }
    note_commit(l, closed, now_ns() - start);
    finish_group(l);
}

/* With the lock, until somebody signals or then. */
static void sleep_until(struct ledger *l, uint64_t until)
{
    l->wake_ns = until;
    if (until == UINT64_MAX)
        cond_wait(&l->wake, &l->lock);
    else
        (void)cond_wait_until(&l->wake, &l->lock, until);
    l->wake_ns = 0;
}

/* With the lock: sleeps until there is something to do.  After a group the thread wakes once by
 * itself before it sleeps for good: a request that begins meanwhile has a row that is due later
 * than that, and need not spend its first step's time on waking anybody. */
static void await(struct ledger *l)
{
    uint64_t linger = now_ns() + LEDGER_NOTE_MS_MAX * MS_NS;
    while (!l->closing) {
        uint64_t now = now_ns(), until = l->due_ns;
        bool broken = !ledger_writable(l);
        uint64_t other = broken ? l->retry_ns : l->fold_ns;
        if (other < until)
            until = other;
        if (until <= now || (!broken && l->n_queued >= LEDGER_GROUP_ROWS_MAX))
            return;
        sleep_until(l, linger > now && linger < until ? linger : until);
    }
}

static void run(void *arg)
{
    struct ledger *l = arg;
    mutex_lock(&l->lock);
    for (;;) {
        await(l);
        bool broken = !ledger_writable(l), last = l->closing;
        if (broken && (last || now_ns() >= l->retry_ns)) {
            mutex_unlock(&l->lock);
            try_again(l);
            mutex_lock(&l->lock);
            broken = !ledger_writable(l);
        }
        take_group(l, broken);
        /* Rows that run and cannot be written wait for the next try. */
        if (broken)
            l->due_ns = UINT64_MAX;
        bool empty = l->n_group == 0;
        uint32_t fold_days = !last && now_ns() >= l->fold_ns ? l->keep_days : 0;
        mutex_unlock(&l->lock);
        work(l);
        if (fold_days && ledger_writable(l))
            fold(l, fold_days);
        mutex_lock(&l->lock);
        if (last && empty)
            break;
    }
    mutex_unlock(&l->lock);
}

/* ---- opening ---- */

static int open_rows(struct ledger *l, const char *dir, struct realm_error *err)
{
    int status = spool_open(&l->spool, dir, err);
    if (!status)
        status = rows_open(&l->db, l->path, err);
    if (!status)
        status = rows_replay(&l->db, &l->spool, err);
    if (!status)
        status = rows_interrupt(&l->db, err);
    return status;
}

static void discard(struct ledger *l)
{
    rows_close(&l->db);
    spool_close(&l->spool);
    mem_free(l);
}

static int start(struct ledger *l, struct realm_error *err)
{
    if (mutex_init(&l->lock))
        return err_set(err, REALM_E_SYS, "the ledger has no lock");
    if (cond_init(&l->wake)) {
        mutex_destroy(&l->lock);
        return err_set(err, REALM_E_SYS, "the ledger has no lock");
    }
    if (thread_start(&l->thread, "realm-ledger", 0, run, l)) {
        cond_destroy(&l->wake);
        mutex_destroy(&l->lock);
        return err_set(err, REALM_E_SYS, "the ledger's thread does not start");
    }
    return 0;
}

int ledger_open(struct ledger **out, const struct ledger_options *options, struct realm_error *err)
{
    struct ledger *l = mem_zalloc(sizeof(*l));
    *out = NULL;
    if (!l)
        return err_nomem(err, "the ledger");
    memcpy(l->path, options->path, strnlen(options->path, sizeof(l->path) - 1));
    l->wall_s = options->wall_s;
    l->ctx = options->ctx;
    list_init(&l->queue);
    l->due_ns = UINT64_MAX;
    l->keep_days = options->keep_days;
    l->fold_ns = options->keep_days ? 0 : UINT64_MAX;
    l->spool.fd = -1;
    atomic_init(&l->writable, true);
    int status = open_rows(l, options->dir, err);
    if (!status)
        status = start(l, err);
    if (status)
        discard(l);
    else
        *out = l;
    return status;
}

void ledger_close(struct ledger *l)
{
    if (!l)
        return;
    mutex_lock(&l->lock);
    l->closing = true;
    cond_signal(&l->wake);
    mutex_unlock(&l->lock);
    thread_join(&l->thread);
    cond_destroy(&l->wake);
    mutex_destroy(&l->lock);
    discard(l);
}
