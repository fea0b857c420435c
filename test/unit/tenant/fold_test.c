/* Old rows are folded into totals: reports stay as they are, whatever happens meanwhile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/limits.h"
#include "util.h"

enum { DAY_S = 86400, DAYS = 12, TODAY_S = WALL_S + (DAYS + 1) * DAY_S };
enum { NAPS_MAX = 30000 }; /* of 2 ms */

static void nap(long ms)
{
    nanosleep(&(struct timespec){0, ms * 1000000}, NULL);
}

static uint64_t folded(struct world *w)
{
    struct tenants_stats stats;
    tenants_stats(w->t, &stats);
    return stats.folded;
}

/* Waits until n rows were. */
static void assert_folded(struct world *w, uint64_t n)
{
    for (int i = 0; i < NAPS_MAX && folded(w) < n; i++)
        nap(2);
    nap(20);
    assert_int_equal(folded(w), n);
}

static sqlite3 *connect(const struct world *w)
{
    sqlite3 *sql;
    char path[128];
    snprintf(path, sizeof(path), "%s/realm.db", w->dir);
    assert_int_equal(sqlite3_open(path, &sql), SQLITE_OK);
    sqlite3_busy_timeout(sql, 10000);
    return sql;
}

static void exec(const struct world *w, const char *text)
{
    sqlite3 *sql = connect(w);
    assert_int_equal(sqlite3_exec(sql, text, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(sql);
}

static int64_t number(const struct world *w, const char *text)
{
    sqlite3 *sql = connect(w);
    sqlite3_stmt *stmt;
    assert_int_equal(sqlite3_prepare_v2(sql, text, -1, &stmt, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    int64_t value = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    sqlite3_close(sql);
    return value;
}

/* n rows over DAYS days, tenants, keys, models, programs and outcomes, whose sums differ. */
static void add_rows(const struct world *w, int n)
{
    char text[1024];
    snprintf(text, sizeof(text),
             "WITH RECURSIVE c(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM c WHERE i < %d)"
             " INSERT INTO requests SELECT NULL, 'req_old' || i, 'tenant' || i %% 3,"
             " CASE WHEN i %% 5 < 2 THEN '' ELSE 'key' || i %% 5 END, 'chat',"
             " %d + (i * 7919) %% %d, i %% 5, NULL, 'model' || (i %% 2),"
             " CASE WHEN i %% 7 THEN '' ELSE 'model1@' || i %% 4 END,"
             " i * 31 %% 1009, i * 17 %% 101, i * 13 %% 2003, 0, 0, 0, CASE WHEN i %% 4 = 0 THEN"
             " json_array(json_object('model', 'model' || (i %% 2), 'prompt_tokens',"
             " i * 31 %% 1009 - i %% 3, 'cached_tokens', i * 17 %% 101, 'completion_tokens', 0),"
             " json_object('model', 'model2', 'prompt_tokens', i %% 3, 'cached_tokens', 0,"
             " 'completion_tokens', i * 13 %% 2003)) END FROM c",
             n - 1, WALL_S - WALL_S % DAY_S, DAYS * DAY_S);
    exec(w, text);
}

enum { REPORTS = 16 * 6 };

/* Every grouping, of all rows and of some. */
static void report_all(struct world *w, char *out[REPORTS])
{
    static const int64_t midnight = WALL_S - WALL_S % DAY_S;
    const struct tenant_usage_query asked[6] = {
        {0},
        {.tenant = "tenant1"},
        {.key = "key3", .model = "model1"},
        {.from_s = midnight + 3 * DAY_S},
        {.from_s = midnight + 2 * DAY_S, .to_s = midnight + 7 * DAY_S},
        {.model = "model0", .to_s = midnight + 5 * DAY_S},
    };
    for (int i = 0; i < REPORTS; i++) {
        struct tenant_usage_query q = asked[i / 16];
        struct realm_error err = {0};
        json_t *json;
        q.by_tenant = i & 1;
        q.by_key = i & 2;
        q.by_model = i & 4;
        q.by_day = i & 8;
        if (tenants_usage(w->t, &q, &json, &err))
            fail_msg("%s", err.message);
        out[i] = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS);
        json_decref(json);
    }
}

static void assert_same_reports(struct world *w, char *before[REPORTS])
{
    char *after[REPORTS];
    report_all(w, after);
    for (int i = 0; i < REPORTS; i++) {
        assert_string_equal(after[i], before[i]);
        free(after[i]);
    }
}

static struct world *old_world(int n)
{
    struct world *w = world_new();
    world_open(w);
    world_close(w);
    add_rows(w, n);
    atomic_store(&w->wall_s, TODAY_S);
    world_open(w);
    return w;
}

static void test_reports_stay_as_they_are(void **state)
{
    (void)state;
    enum { N = 3000 };
    struct world *w = old_world(N);
    char *before[REPORTS];
    report_all(w, before);
    assert_int_equal(folded(w), 0); /* unless somebody says so */
    for (uint32_t keep = DAYS + 2; keep > 0; keep -= keep > 3 ? 3 : 1) {
        char text[128];
        int64_t cutoff = (TODAY_S / DAY_S - keep) * (int64_t)DAY_S;
        tenants_keep(w->t, keep);
        snprintf(text, sizeof(text), "SELECT count(*) FROM requests WHERE started_at < %lld",
                 (long long)cutoff);
        for (int i = 0; i < NAPS_MAX && number(w, text); i++)
            nap(2);
        assert_same_reports(w, before);
        assert_int_equal(number(w, text), 0);
        snprintf(text, sizeof(text), "SELECT count(*) FROM totals WHERE day >= %lld",
                 (long long)cutoff);
        assert_int_equal(number(w, text), 0);
    }
    assert_folded(w, N);
    assert_int_equal(number(w, "SELECT count(*) FROM requests"), 0);
    assert_true(number(w, "SELECT count(*) FROM totals") < N / 2);
    world_close(w);
    world_open(w);
    assert_same_reports(w, before);
    for (int i = 0; i < REPORTS; i++)
        free(before[i]);
    world_free(w);
}

/* Of a folded day the parts are gone, and a report that wants one is refused. */
static void test_a_folded_day_is_not_parted(void **state)
{
    (void)state;
    struct world *w = old_world(500);
    struct realm_error err;
    json_t *out;
    char old[128];
    const struct tenant_usage_query from = {.from_s = WALL_S + DAY_S},
                                    to = {.to_s = WALL_S + DAY_S},
                                    late = {.from_s = WALL_S + 6 * DAY_S};
    assert_int_equal(tenants_usage(w->t, &from, &out, &err), 0);
    json_decref(out);
    tenants_keep(w->t, DAYS - 4);
    snprintf(old, sizeof(old), "SELECT count(*) FROM requests WHERE started_at < %lld",
             (long long)(TODAY_S / DAY_S - (DAYS - 4)) * DAY_S);
    for (int i = 0; i < NAPS_MAX && number(w, old); i++)
        nap(2);
    assert_int_equal(tenants_usage(w->t, &from, &out, &err), REALM_E_ARG);
    assert_int_equal(strncmp(err.message, "from ", 5), 0);
    assert_null(out);
    assert_int_equal(tenants_usage(w->t, &to, &out, &err), REALM_E_ARG);
    assert_int_equal(strncmp(err.message, "to ", 3), 0);
    assert_int_equal(tenants_usage(w->t, &late, &out, &err), 0);
    json_decref(out);
    world_free(w);
}

/* Requests of which each begins as soon as the last one's row is written: on the ledger's own
 * thread, so that none of the test's can come too late. */
struct chain {
    struct world *w;
    struct tenant_pass pass;
    uint64_t all; /* rows to fold */
    unsigned n, between;
    atomic_bool over;
};

static void begin_next(void *ctx, int status)
{
    static const struct tenant_part part = {"tiny", 1, 0, 1};
    static const struct tenant_row row = {
        .outcome = TENANT_OK, .guest = "", .parts = &part, .n_parts = 1};
    struct chain *c = ctx;
    uint64_t done = folded(c->w);
    char id[32];
    assert_int_equal(status, 0);
    c->between += done > 0 && done < c->all;
    if (done >= c->all) {
        atomic_store(&c->over, true);
        return;
    }
    snprintf(id, sizeof(id), "req_%u", c->n++);
    tenant_settle(admit(c->w, &c->pass, id), &row, begin_next, c);
}

/* A few at a time: requests are settled while it goes on. */
static void test_groups_go_before(void **state)
{
    (void)state;
    enum { N = 40 * LEDGER_FOLD_ROWS_MAX };
    struct world *w = old_world(N);
    struct chain c = {.w = w, .pass = pass_of(w, NULL), .all = N};
    begin_next(&c, 0);
    tenants_keep(w->t, 1);
    while (!atomic_load(&c.over))
        nap(1);
    assert_true(c.between >= 10);
    assert_int_equal(usage(w, NULL, "requests"), N + c.n);
    tenant_pass_drop(&c.pass);
    world_free(w);
}

/* Requests that run are left alone, and what ends later is added. */
static void test_open_rows_are_not_folded(void **state)
{
    (void)state;
    struct world *w = world_new();
    world_open(w);
    struct tenant_pass pass = pass_of(w, NULL);
    struct tenant_grant *g = admit(w, &pass, "req_long");
    note(g, 5, 6);
    assert_int_equal(settle(admit(w, &pass, "req_short"), TENANT_OK, 1, 1), 0);
    while (!number(w, "SELECT count(*) FROM requests WHERE outcome = -1"))
        nap(5);
    atomic_store(&w->wall_s, TODAY_S);
    tenants_keep(w->t, 3);
    assert_folded(w, 1);
    assert_int_equal(number(w, "SELECT count(*) FROM requests WHERE outcome = -1"), 1);
    assert_int_equal(usage(w, NULL, "requests"), 1);
    assert_int_equal(settle(g, TENANT_OK, 7, 8), 0);
    tenants_keep(w->t, 3);
    assert_folded(w, 2);
    assert_int_equal(usage(w, NULL, "requests"), 2);
    assert_int_equal(usage(w, NULL, "completion_tokens"), 9);
    assert_int_equal(number(w, "SELECT count(*) FROM totals"), 1);
    tenant_pass_drop(&pass);
    world_free(w);
}

/* What was spent is needed for as long as a window lasts, and then no more. */
static void test_what_was_spent_is_forgotten(void **state)
{
    (void)state;
    struct world *w = old_world(10);
    exec(w, "INSERT INTO spent SELECT tenant, started_at - started_at % 3600, 10 FROM requests"
            " WHERE true ON CONFLICT DO NOTHING");
    int64_t n = number(w, "SELECT count(*) FROM spent");
    tenants_keep(w->t, 1);
    assert_folded(w, 10);
    assert_int_equal(number(w, "SELECT count(*) FROM spent"), n);
    world_close(w);
    exec(w, "DELETE FROM totals");
    add_rows(w, 10);
    atomic_store(&w->wall_s, TODAY_S + 70 * DAY_S);
    world_open(w);
    tenants_keep(w->t, 1);
    assert_folded(w, 10);
    assert_int_equal(number(w, "SELECT count(*) FROM spent"), n); /* the clock may be wrong */
    world_close(w);
    exec(w, "DELETE FROM totals");
    add_rows(w, 10);
    exec(w,
         "WITH RECURSIVE h(n) AS (VALUES (0) UNION ALL SELECT n + 1 FROM h WHERE n < 62 * 24 - 1)"
         " INSERT INTO spent SELECT tenant, 4000003200 + n * 3600, 10 FROM h,"
         " (SELECT DISTINCT tenant FROM spent)");
    int64_t tenants = number(w, "SELECT count(DISTINCT tenant) FROM spent");
    world_open(w);
    tenants_keep(w->t, 1);
    assert_folded(w, 10);
    assert_int_equal(number(w, "SELECT count(*) FROM spent"), tenants * 62 * 24);
    world_free(w);
}

/* ---- the spool ---- */

static void spool_rows(struct world *w, int n)
{
    struct tenants_stats stats;
    world_open(w);
    struct tenant_pass pass = pass_of(w, NULL);
    struct tenant_grant *all[256];
    for (int i = 0; i < n; i++) {
        char id[32];
        snprintf(id, sizeof(id), "req_%d", i);
        all[i] = admit(w, &pass, id);
    }
    do
        tenants_stats(w->t, &stats);
    while (stats.waiting);
    exec(w, "DROP TABLE spent; CREATE TABLE spent (a)"); /* its statement fails */
    for (int i = 0; i < n; i++)
        if ((i % 7 == 3 ? settle_long : settle)(all[i], TENANT_OK, 2, 3))
            _exit(1);
}

/* A spool of n rows, every seventh of which has three slots, as a process leaves it that finds no
 * database to write. */
static void fill_spool(struct world *w, int n)
{
    in_killed_process(w, spool_rows, n);
    exec(w, "DROP TABLE spent; CREATE TABLE spent (tenant TEXT NOT NULL, hour INTEGER NOT NULL,"
            " tokens INTEGER NOT NULL, PRIMARY KEY (tenant, hour)) STRICT, WITHOUT ROWID");
}

/* A08: emptying the spool breaks off at any place: its rows, which are folded soon, do not come
 * again. */
static void test_spooled_rows_are_folded_once(void **state)
{
    (void)state;
    enum { N = 180, SLOTS = N + 2 * 26, SLOT = 1024, CHUNK = 64 };
    static uint8_t full[256 * SLOT], torn[256 * SLOT];
    struct world *w = world_new();
    world_open(w);
    world_close(w);
    fill_spool(w, N);
    spool_bytes(w, full, sizeof(full), false);
    atomic_store(&w->wall_s, TODAY_S);
    assert_int_equal(full[(SLOTS - 1) * SLOT] != 0, true);
    assert_int_equal(full[SLOTS * SLOT], 0);
    for (int left = SLOTS; left >= 0; left -= 29) {
        /* The last chunk was cleared but for its end. */
        memcpy(torn, full, sizeof(full));
        memset(torn + left * SLOT, 0, (size_t)(left % CHUNK / 2 + 1) * SLOT);
        memset(torn + (left / CHUNK + 1) * CHUNK * SLOT, 0,
               sizeof(torn) - (size_t)(left / CHUNK + 1) * CHUNK * SLOT);
        spool_bytes(w, left == SLOTS ? full : torn, sizeof(full), true);
        /* As if it had been killed just then: the rows are there. */
        exec(w, "DELETE FROM totals");
        exec(w, "DELETE FROM requests");
        char text[256];
        snprintf(text, sizeof(text),
                 "WITH RECURSIVE c(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM c WHERE i < %d)"
                 " INSERT INTO requests SELECT NULL, 'req_' || i, 'default', '', 'chat', %d, 0,"
                 " NULL, 'tiny', '', 2, 0, 3, 0, 0, 0, NULL FROM c",
                 N - 1, WALL_S);
        exec(w, text);
        for (int again = 0; again < 2; again++) {
            world_open(w);
            assert_int_equal(usage(w, NULL, "requests"), N);
            tenants_keep(w->t, 2);
            for (int i = 0; i < NAPS_MAX && number(w, "SELECT count(*) FROM requests"); i++)
                nap(2);
            assert_int_equal(usage(w, NULL, "requests"), N);
            assert_int_equal(usage(w, NULL, "prompt_tokens"), 2 * N);
            world_close(w);
        }
        /* Nothing is left that a longer spool would lead to. */
        spool_bytes(w, torn, sizeof(torn), false);
        for (size_t i = 0; i < sizeof(torn); i++)
            assert_int_equal(torn[i], 0);
    }
    world_free(w);
}

/* ---- killed ---- */

static void child_main(struct world *w, int fd, int trial)
{
    world_open(w);
    tenants_keep(w->t, 1);
    struct tenant_pass pass = pass_of(w, NULL);
    for (uint32_t i = 0;; i++) {
        char id[40];
        snprintf(id, sizeof(id), "req_%d_%u", trial, i);
        /* Of yesterday and of days before, so that each is folded soon. */
        atomic_store(&w->wall_s, TODAY_S - (int64_t)(i % 4) * DAY_S);
        struct tenant_grant *g = admit(w, &pass, id);
        atomic_store(&w->wall_s, TODAY_S);
        if (i % 8 == 0)
            tenants_keep(w->t, 1);
        if (settle(g, TENANT_OK, 2, 3) || write(fd, "", 1) != 1)
            _exit(1);
    }
}

static void test_killed_while_it_folds(void **state)
{
    (void)state;
    enum { TRIALS = 25 };
    struct world *w = world_new();
    int64_t there = 0, acknowledged = 0, all = 0;
    world_open(w);
    world_close(w);
    for (int trial = 0; trial < TRIALS; trial++) {
        int fds[2], status;
        char byte;
        assert_int_equal(pipe(fds), 0);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0)
            child_main(w, fds[1], trial);
        close(fds[1]);
        int64_t n = 0;
        while (n < 12 + trial * 7 % 31 && read(fds[0], &byte, 1) == 1)
            n++;
        nap(trial % 5);
        kill(child, SIGKILL);
        while (read(fds[0], &byte, 1) == 1)
            n++;
        close(fds[0]);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        atomic_store(&w->wall_s, TODAY_S);
        world_open(w);
        /* The one that ran is there or not; all others are there once. */
        int64_t now = usage(w, NULL, "requests"), tokens = usage(w, NULL, "prompt_tokens");
        acknowledged += n;
        assert_true(now == there + n || now == there + n + 1);
        assert_true(tokens >= 2 * acknowledged && tokens <= 2 * now);
        there = now;
        all += number(w, "SELECT coalesce(sum(requests), 0) FROM totals");
        world_close(w);
    }
    assert_true(all > 0 && all < TRIALS * there);
    print_message("# %lld rows, none lost or doubled\n", (long long)acknowledged);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reports_stay_as_they_are),
        cmocka_unit_test(test_a_folded_day_is_not_parted),
        cmocka_unit_test(test_groups_go_before),
        cmocka_unit_test(test_open_rows_are_not_folded),
        cmocka_unit_test(test_what_was_spent_is_forgotten),
        cmocka_unit_test(test_spooled_rows_are_folded_once),
        cmocka_unit_test(test_killed_while_it_folds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
