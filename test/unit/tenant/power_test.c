/* X07: the power fails at any moment, in the middle of whatever is being written: the database is
 * whole, and what was acknowledged is in it, once.  The argument: how many trials, 100 without. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <time.h>
#include <unistd.h>

#include "base/thread.h"
#include "power_disk.h"

/* DAY_REQUESTS: of one lane, after which it is the next day, so that rows are old some time. */
enum { LANES = 4, TRIALS_OF_A_WORLD = 75, CHANGES_MAX = 100, DAY_REQUESTS = 8 };

static unsigned trials = 100;

/* Requests, and in the last lane tenants, one after the other. */
struct lane {
    struct thread thread;
    struct world *w;
    uint32_t number;
    atomic_uint acked;
    uint32_t acked_then; /* when the power failed */
};

static struct lane lanes[LANES];
static atomic_bool stops;

static void nap(void)
{
    nanosleep(&(struct timespec){0, 200000}, NULL);
}

static void make_one_tenant(struct world *w, uint32_t i)
{
    char body[64];
    snprintf(body, sizeof(body), "{'id':'t%u'}", i);
    make_tenant(w, body);
}

static void make_one_request(struct lane *lane, uint32_t i)
{
    struct tenant_pass pass = pass_of(lane->w, NULL);
    char id[40];
    snprintf(id, sizeof(id), "req_%u_%u", lane->number, i);
    struct tenant_grant *g = admit(lane->w, &pass, id);
    assert_non_null(g);
    assert_int_equal(settle(g, TENANT_OK, 2, 3), 0);
    tenant_pass_drop(&pass);
}

static void produce(void *arg)
{
    struct lane *lane = arg;
    for (uint32_t i = 0; !atomic_load(&stops); i++) {
        if (lane->number + 1 == LANES)
            make_one_tenant(lane->w, i);
        else
            make_one_request(lane, i);
        atomic_store(&lane->acked, i + 1);
        if (lane->number == 0 && i % DAY_REQUESTS == DAY_REQUESTS - 1) {
            atomic_fetch_add(&lane->w->wall_s, 86400);
            tenants_keep(lane->w->t, 1);
        }
        while (power_failed() && !atomic_load(&stops)) // what was left is looked at
            nap();
    }
}

/* Lanes that are acknowledged meanwhile may be counted or not. */
static void note_acked(void *ctx)
{
    (void)ctx;
    for (int i = 0; i < LANES; i++)
        lanes[i].acked_then = atomic_load(&lanes[i].acked);
}

/* ---- what is left ---- */

static void number(sqlite3 *sql, const char *text, int64_t *out)
{
    struct realm_error err = {0};
    if (db_number(sql, text, NULL, 0, out, &err))
        fail_msg("%s: %s", text, err.message);
}

static sqlite3 *database(const struct world *w)
{
    sqlite3 *sql;
    char path[128];
    snprintf(path, sizeof(path), "%s/realm.db", w->dir);
    assert_int_equal(sqlite3_open(path, &sql), SQLITE_OK);
    return sql;
}

/* Of a lane's rows those that are folded are the oldest: the newest that was acknowledged is a row
 * of its own unless it is old, too. */
static void check_lane(sqlite3 *sql, const struct lane *lane)
{
    char text[160];
    int64_t n;
    if (lane->acked_then == 0)
        return;
    bool makes_tenants = lane->number + 1 == LANES;
    snprintf(text, sizeof(text),
             makes_tenants
                 ? "SELECT count(*) FROM tenants WHERE id = 't%u'"
                 : "SELECT count(*) + (SELECT count(*) > 0 FROM totals)"
                   " FROM requests WHERE outcome = 0 AND id LIKE 'req!_%u!_%u' ESCAPE '!'",
             makes_tenants ? lane->acked_then - 1 : lane->number, lane->acked_then - 1);
    number(sql, text, &n);
    assert_in_range(n, 1, 2);
}

/* All that was acknowledged is counted, and of what was not no more than was under way. */
static void check(struct world *w)
{
    int64_t least = 0, most = 0, spent, prompt;
    struct realm_error err = {0};
    if (world_try(w, &err))
        fail_msg("%s", err.message);
    prompt = usage(w, NULL, "prompt_tokens");
    const int64_t completion = usage(w, NULL, "completion_tokens");
    world_close(w);
    sqlite3 *sql = database(w);
    number(sql, "SELECT coalesce(sum(tokens), 0) FROM spent", &spent);
    for (int i = 0; i < LANES; i++) {
        check_lane(sql, &lanes[i]);
        if (i + 1 == LANES)
            break;
        least += lanes[i].acked_then;
        most += lanes[i].acked_then + 1; // the one whose acknowledgement was on its way
    }
    sqlite3_close(sql);
    assert_in_range(prompt, 2 * least, 2 * most);
    assert_int_equal(2 * completion, 3 * prompt);
    assert_int_equal(spent, prompt + completion);
}

/* ---- trials ---- */

static void await_failure(void)
{
    while (!power_failed())
        nap();
}

static void start(struct world *w)
{
    atomic_store(&stops, false);
    for (uint32_t i = 0; i < LANES; i++) {
        lanes[i] = (struct lane){.w = w, .number = i};
        assert_int_equal(thread_start(&lanes[i].thread, "lane", 0, produce, &lanes[i]), 0);
    }
}

static void stop(void)
{
    atomic_store(&stops, true);
    for (int i = 0; i < LANES; i++)
        thread_join(&lanes[i].thread);
}

static void test_the_power_fails(void **state)
{
    (void)state;
    struct world *after = world_new();
    srand(trials);
    for (unsigned n = 0; n < trials;) {
        struct world *w = world_new();
        power_watch(w);
        world_open(w);
        start(w);
        for (unsigned i = 0; i < TRIALS_OF_A_WORLD && n < trials; i++, n++) {
            power_fail_after(1 + (unsigned)rand() % CHANGES_MAX, note_acked, NULL);
            await_failure();
            power_leave(after);
            check(after);
        }
        stop();
        world_free(w);
    }
    world_free(after);
}

static void nothing(void *ctx)
{
    (void)ctx;
}

/* The only database in w's folder: one of the first version, or none. */
static void begin_with(struct world *w, bool old)
{
    static const char *const endings[] = {"", "-wal", "-shm"};
    char path[128];
    for (size_t i = 0; i < ARRAY_LEN(endings); i++) {
        snprintf(path, sizeof(path), "%s/realm.db%s", w->dir, endings[i]);
        (void)unlink(path);
    }
    if (!old)
        return;
    sqlite3 *sql = database(w);
    assert_int_equal(sqlite3_exec(sql, db_versions[0], NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_exec(sql,
                                  "PRAGMA application_id=1380732209; PRAGMA user_version=1;"
                                  "INSERT INTO requests VALUES (1, 'req_1', 'default', '', 'chat',"
                                  " 1767268700, 0, NULL, 'tiny', '', 60, 0, 39, 0, 0, 0)",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    sqlite3_close(sql);
}

/* After each change that a start and an end make to the database. */
static unsigned fail_at_each_change(struct world *w, struct world *after, bool old)
{
    int64_t version;
    for (unsigned changes = 1;; changes++) {
        begin_with(w, old);
        power_watch(w);
        power_fail_after(changes, nothing, NULL);
        world_open(w);
        world_close(w);
        if (!power_failed())
            return changes - 1;
        power_leave(after);
        world_open(after);
        assert_int_equal(usage(after, NULL, "requests"), old);
        world_close(after);
        sqlite3 *sql = database(after);
        number(sql, "PRAGMA user_version", &version);
        assert_int_equal(version, db_version);
        sqlite3_close(sql);
    }
}

static void test_the_power_fails_at_the_start(void **state)
{
    (void)state;
    struct world *w = world_new(), *after = world_new();
    const unsigned made = fail_at_each_change(w, after, false);
    const unsigned moved = fail_at_each_change(w, after, true);
    print_message("# %u changes make a database, %u move one up\n", made, moved);
    assert_true(made > 10 && moved > 10);
    world_free(w);
    world_free(after);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        trials = (unsigned)strtoul(argv[1], NULL, 10);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_power_fails),
        cmocka_unit_test(test_the_power_fails_at_the_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
