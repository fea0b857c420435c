/* The ledger: reports, rows left open, and a disk that is full. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tenant/tenant_impl.h"
#include "util.h"

static json_t *rows_of(struct world *w)
{
    json_t *out;
    struct realm_error err = {0};
    if (tenants_requests(w->t, NULL, 1000, &out, &err))
        fail_msg("%s", err.message);
    json_t *rows = json_incref(json_object_get(out, "rows"));
    json_decref(out);
    return rows;
}

static void assert_outcome(const json_t *rows, size_t at, const char *id, const char *outcome)
{
    const json_t *row = json_array_get(rows, at);
    assert_string_equal(json_string_value(json_object_get(row, "request_id")), id);
    assert_string_equal(json_string_value(json_object_get(row, "outcome")), outcome);
}

static void test_reports(void **state)
{
    (void)state;
    struct world *w = world_new();
    struct realm_error err;
    json_t *out;
    world_open(w);
    struct tenant_pass pass = pass_of(w, NULL);
    for (int i = 0; i < 6; i++) {
        char id[16];
        snprintf(id, sizeof(id), "req_%d", i);
        atomic_store(&w->wall_s, WALL_S + i / 3 * 86400);
        assert_int_equal(settle(admit(w, &pass, id), TENANT_OK, 10, (uint64_t)i), 0);
    }
    struct tenant_grant *running = admit(w, &pass, "req_runs");
    const struct tenant_usage_query query = {.by_tenant = true, .by_model = true, .by_day = true};
    assert_int_equal(tenants_usage(w->t, &query, &out, &err), 0);
    json_t *rows = json_object_get(out, "rows");
    assert_int_equal(json_array_size(rows), 2);
    const json_t *row = json_array_get(rows, 1);
    assert_string_equal(json_string_value(json_object_get(row, "day")), "2026-01-02");
    assert_string_equal(json_string_value(json_object_get(row, "model")), "tiny");
    assert_int_equal(json_integer_value(json_object_get(row, "completion_tokens")), 12);
    json_decref(out);
    const struct tenant_usage_query none = {.from_s = WALL_S + 1, .to_s = WALL_S + 86400};
    assert_int_equal(tenants_usage(w->t, &none, &out, &err), 0);
    row = json_array_get(json_object_get(out, "rows"), 0);
    assert_int_equal(json_integer_value(json_object_get(row, "requests")), 0);
    json_decref(out);
    rows = rows_of(w);
    assert_int_equal(json_array_size(rows), 6);
    assert_outcome(rows, 0, "req_5", "ok");
    json_decref(rows);
    assert_int_equal(settle(running, TENANT_FAILED, 0, 0), 0);
    tenant_pass_drop(&pass);
    world_free(w);
}

/* A report that takes long holds up no request that wants a program. */
static void test_modules_do_not_wait_for_reports(void **state)
{
    (void)state;
    static const uint8_t wasm[] = "module";
    struct world *w = world_new();
    struct realm_error err = {0};
    struct buf module;
    json_t *out;
    world_open(w);
    make_tenant(w, "{'id':'acme'}");
    assert_int_equal(
        tenants_guest_put(w->t, "acme", NULL, (struct slice){wasm, 6}, NULL, "test", &out, &err),
        0);
    json_decref(out);
    buf_init(&module, 64);
    mutex_lock(&w->t->reports.lock);
    assert_int_equal(tenants_guest_module(w->t, 1, &module, &err), 0);
    mutex_unlock(&w->t->reports.lock);
    assert_int_equal(module.n, 6);
    buf_free(&module);
    world_free(w);
}

static void note_one(struct world *w, int tokens)
{
    struct tenants_stats stats;
    world_open(w);
    struct tenant_pass pass = pass_of(w, NULL);
    struct tenant_grant *g = admit(w, &pass, "req_open");
    note(g, 30, (uint64_t)tokens);
    do {
        nanosleep(&(struct timespec){0, 20000000}, NULL);
        tenants_stats(w->t, &stats);
    } while (stats.waiting);
}

/* A process that is killed with a request that was noted. */
static void leave_open(struct world *w)
{
    in_killed_process(w, note_one, 7);
}

static void test_rows_left_open_are_interrupted(void **state)
{
    (void)state;
    struct world *w = world_new();
    world_open(w);
    make_tenant(w, "{'id':'default','limits':{'budget_tokens':37}}");
    world_close(w);
    leave_open(w);
    world_open(w);
    json_t *rows = rows_of(w);
    assert_int_equal(json_array_size(rows), 1);
    assert_outcome(rows, 0, "req_open", "interrupted");
    json_decref(rows);
    assert_int_equal(usage(w, NULL, "prompt_tokens"), 30);
    assert_int_equal(usage(w, NULL, "completion_tokens"), 7);
    struct tenant_pass pass = pass_of(w, NULL);
    assert_null(admit(w, &pass, "req_next")); /* it was charged */
    tenant_pass_drop(&pass);
    world_free(w);
}

static bool becomes_written(struct world *w)
{
    struct tenants_stats stats;
    for (int i = 0; i < 1500; i++) { // 30 s, where a quarter of one is promised
        tenants_stats(w->t, &stats);
        if (stats.waiting == 0)
            return true;
        nanosleep(&(struct timespec){0, 20000000}, NULL);
    }
    return false;
}

/* Exactly so many tokens were charged: a budget of as many is spent, one more is not. */
static void assert_spent(struct world *w, int tokens)
{
    struct tenant_pass pass = pass_of(w, NULL);
    for (int more = 0; more < 2; more++) {
        char patch[80];
        struct realm_error err;
        json_t *out;
        snprintf(patch, sizeof(patch), "{'limits':{'budget_tokens':%d}}", tokens + more);
        json_t *json = json_of(patch);
        assert_int_equal(tenants_change(w->t, "default", json, "test", &out, &err), 0);
        json_decref(out);
        json_decref(json);
        struct tenant_grant *g = admit(w, &pass, "req_spent");
        assert_true((g != NULL) == (more == 1));
        if (g)
            assert_int_equal(settle(g, TENANT_REFUSED, 0, 0), 0);
    }
    tenant_pass_drop(&pass);
}

static void note_two(struct world *w, int tokens)
{
    const struct tenant_part parts[] = {{"tiny", 20, 5, 1}, {"dear", 10, 0, (uint64_t)tokens}};
    world_open(w);
    struct tenant_pass pass = pass_of(w, NULL);
    struct tenant_grant *g = admit(w, &pass, "req_open");
    tenant_note(g, parts, 1);
    assert_true(becomes_written(w));
    tenant_note(g, parts, 2);
    assert_true(becomes_written(w));
}

/* A program that called a model beside the one that its request names. */
static void test_models_are_told_apart(void **state)
{
    (void)state;
    static const struct tenant_part parts[] = {{"tiny", 0, 0, 0}, {"dear", 100, 60, 50}};
    struct world *w = world_new();
    world_open(w);
    make_tenant(w, "{'id':'default'}");
    world_close(w);
    in_killed_process(w, note_two, 7);
    world_open(w);
    struct tenant_pass pass = pass_of(w, NULL);
    assert_int_equal(settle_parts(admit(w, &pass, "req_2"), TENANT_OK, parts, 2), 0);
    assert_int_equal(settle(admit(w, &pass, "req_3"), TENANT_OK, 1, 1), 0);
    assert_spent(w, 190); // by all models; its own request is a fourth
    for (int folded = 0; folded < 2; folded++) {
        assert_int_equal(usage_of(w, NULL, "tiny", "requests"), 4);
        assert_int_equal(usage_of(w, NULL, "tiny", "prompt_tokens"), 21);
        assert_int_equal(usage_of(w, NULL, "tiny", "cached_tokens"), 5);
        assert_int_equal(usage_of(w, NULL, "tiny", "completion_tokens"), 2);
        assert_int_equal(usage_of(w, NULL, "dear", "requests"), 0);
        assert_int_equal(usage_of(w, NULL, "dear", "prompt_tokens"), 110);
        assert_int_equal(usage_of(w, NULL, "dear", "cached_tokens"), 60);
        assert_int_equal(usage_of(w, NULL, "dear", "completion_tokens"), 57);
        assert_int_equal(usage(w, NULL, "completion_tokens"), 59);
        json_t *rows = rows_of(w);
        assert_int_equal(json_array_size(rows), folded ? 0 : 4);
        assert_true(json_is_null(json_object_get(json_array_get(rows, 0), "parts")) || folded);
        const json_t *open = json_array_get(rows, 3);
        assert_int_equal(json_array_size(json_object_get(open, "parts")), folded ? 0 : 2);
        assert_int_equal(json_integer_value(json_object_get(open, "prompt_tokens")),
                         folded ? 0 : 30);
        json_decref(rows);
        atomic_store(&w->wall_s, WALL_S + 10 * 86400);
        tenants_keep(w->t, 5);
        struct tenants_stats stats;
        do
            tenants_stats(w->t, &stats);
        while (stats.folded < 4);
    }
    tenant_pass_drop(&pass);
    world_free(w);
}

/* Whether the thread sleeps for good, or is to wake soon because it has just written. */
static void test_a_row_is_in_soon_after_its_request_begins(void **state)
{
    (void)state;
    struct world *w = world_new();
    world_open(w);
    struct tenant_pass pass = pass_of(w, NULL);
    for (int i = 0; i < 3; i++) {
        char id[32];
        snprintf(id, sizeof(id), "req_%d", i);
        struct tenant_grant *g = admit(w, &pass, id);
        assert_true(becomes_written(w));
        assert_int_equal(settle(g, TENANT_OK, 1, 1), 0);
        if (i == 1)
            nanosleep(&(struct timespec){0, 600000000}, NULL);
    }
    tenant_pass_drop(&pass);
    world_free(w);
}

/* full: no file grows beyond what the log has, which to SQLite is a full disk. */
static void set_full(const struct world *w, bool full)
{
    struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
    char path[128];
    struct stat st;
    snprintf(path, sizeof(path), "%s/realm.db-wal", w->dir);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    assert_int_equal(stat(path, &st), 0);
    limit.rlim_cur = full ? (rlim_t)st.st_size : limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static bool is_writable(struct world *w)
{
    struct tenants_stats stats;
    tenants_stats(w->t, &stats);
    return stats.writable;
}

static bool becomes_writable(struct world *w, bool writable)
{
    for (int i = 0; i < 3000 && is_writable(w) != writable; i++)
        nanosleep(&(struct timespec){0, 10000000}, NULL);
    return is_writable(w) == writable;
}

/* The spool, which is shorter than the log, is not stopped. */
static void fill_disk(struct world *w)
{
    struct tenant_refusal why;
    struct tenant_grant *late;
    const struct tenant_request request = {"req_late", "chat"};
    struct tenant_pass pass = pass_of(w, NULL);
    struct tenant_grant *g = admit(w, &pass, "req_a"), *h = admit(w, &pass, "req_b");
    struct tenants_stats stats;
    do
        tenants_stats(w->t, &stats);
    while (stats.waiting);
    set_full(w, true);
    assert_int_equal(settle_long(g, TENANT_OK, 3, 4), 0);
    assert_true(becomes_writable(w, false));
    assert_int_equal(tenants_admit(&late, w->t, &pass, &request, &why), -1);
    assert_int_equal(why.limit, TENANT_LEDGER);
    assert_int_equal(settle(h, TENANT_OK, 5, 6), 0);
    tenant_pass_drop(&pass);
}

/* A write-ahead log longer than the spool, which then fits below the limit. */
static void grow_log(struct world *w)
{
    static uint8_t wasm[4 << 20];
    json_t *out;
    struct realm_error err = {0};
    make_tenant(w, "{'id':'default'}");
    for (int i = 0; i < 3; i++) {
        if (tenants_guest_put(w->t, "default", NULL, (struct slice){wasm, sizeof(wasm)}, NULL,
                              "test", &out, &err))
            fail_msg("%s", err.message);
        json_decref(out);
    }
}

/* The log begins anew at its start after a checkpoint; a reader that stays keeps it growing. */
static void test_a_full_disk_loses_nothing(void **state)
{
    (void)state;
    struct world *w = world_new();
    struct tenants_stats stats;
    signal(SIGXFSZ, SIG_IGN);
    world_open(w);
    char path[128];
    snprintf(path, sizeof(path), "%s/realm.db", w->dir);
    sqlite3 *reader;
    assert_int_equal(sqlite3_open(path, &reader), SQLITE_OK);
    assert_int_equal(sqlite3_exec(reader, "BEGIN; SELECT count(*) FROM requests", NULL, NULL, NULL),
                     SQLITE_OK);
    grow_log(w);
    fill_disk(w);
    set_full(w, false);
    assert_true(becomes_writable(w, true)); /* by itself */
    assert_int_equal(usage(w, NULL, "requests"), 2);
    assert_int_equal(usage(w, NULL, "prompt_tokens"), 8);
    assert_int_equal(usage_of(w, NULL, long_model(7), "completion_tokens"), 4);
    sqlite3_close(reader);
    tenants_stats(w->t, &stats);
    assert_int_equal(stats.refused[TENANT_LEDGER], 1);
    struct tenant_pass pass = pass_of(w, NULL);
    assert_int_equal(settle(admit(w, &pass, "req_c"), TENANT_OK, 1, 1), 0);
    tenant_pass_drop(&pass);
    world_close(w);
    world_open(w);
    assert_int_equal(usage(w, NULL, "requests"), 3);
    assert_int_equal(usage(w, NULL, "prompt_tokens"), 9);
    world_free(w);
}

/* In a child, which ends without a word while the disk is full. */
static void die_full(struct world *w)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        sqlite3 *reader;
        char path[128];
        signal(SIGXFSZ, SIG_IGN);
        world_open(w);
        snprintf(path, sizeof(path), "%s/realm.db", w->dir);
        sqlite3_open(path, &reader);
        sqlite3_exec(reader, "BEGIN; SELECT count(*) FROM requests", NULL, NULL, NULL);
        grow_log(w);
        fill_disk(w);
        raise(SIGKILL);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* A08: a row that comes twice is one row. */
static void test_the_spool_is_replayed(void **state)
{
    (void)state;
    static uint8_t before[8 << 20];
    struct world *w = world_new();
    die_full(w);
    spool_bytes(w, before, sizeof(before), false);
    for (int i = 0; i < 2; i++) {
        /* The second time as if it had been killed before the spool was emptied. */
        spool_bytes(w, before, sizeof(before), true);
        world_open(w);
        json_t *rows = rows_of(w);
        assert_int_equal(json_array_size(rows), 2);
        assert_outcome(rows, 0, "req_b", "ok");
        assert_outcome(rows, 1, "req_a", "ok");
        json_decref(rows);
        world_close(w);
    }
    world_open(w);
    assert_int_equal(usage_of(w, NULL, long_model(7), "requests"), 0);
    assert_int_equal(usage_of(w, NULL, long_model(7), "completion_tokens"), 4);
    assert_int_equal(usage_of(w, NULL, "tiny", "completion_tokens"), 6);
    assert_int_equal(usage_of(w, NULL, "tiny", "requests"), 2);
    assert_spent(w, 18);
    world_free(w);
}

static void test_nothing_is_acknowledged_that_is_not_written(void **state)
{
    (void)state;
    struct world *w = world_new();
    signal(SIGXFSZ, SIG_IGN);
    world_open(w);
    struct rlimit limit;
    struct tenant_pass pass = pass_of(w, NULL);
    struct tenant_grant *g = admit(w, &pass, "req_a");
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = 0; /* not even the spool */
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    int status = settle(g, TENANT_OK, 3, 4);
    set_full(w, false);
    assert_int_equal(status, REALM_E_IO);
    tenant_pass_drop(&pass);
    assert_true(becomes_writable(w, true));
    world_free(w);
}

/* Writes until nothing fits any more. */
static void fill(const struct world *w)
{
    static const char bytes[4096];
    char path[128];
    snprintf(path, sizeof(path), "%s/filler", w->dir);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    while (write(fd, bytes, sizeof(bytes)) > 0)
        ;
    close(fd);
}

static void test_a_small_file_system_that_is_full(void **state)
{
    (void)state;
    struct world *w = world_new();
    struct realm_error err;
    json_t *body = json_of("{'id':'late'}"), *out;
    char path[128];
    if (mount("realm-test", w->dir, "tmpfs", 0, "size=12m")) {
        print_message("# skipped: no file system can be mounted here\n");
        json_decref(body);
        world_free(w);
        skip();
    }
    world_open(w);
    struct tenant_pass pass = pass_of(w, NULL);
    struct tenant_grant *g = admit(w, &pass, "req_a");
    fill(w);
    for (int i = 0; i < 1000 && is_writable(w); i++) {
        /* What room there is in the log's last page is used up first. */
        char id[32];
        snprintf(id, sizeof(id), "req_fill%d", i);
        struct tenant_grant *h = admit(w, &pass, id);
        if (h)
            assert_int_equal(settle(h, TENANT_OK, 1, 0), 0);
    }
    assert_false(is_writable(w));
    assert_int_equal(settle(g, TENANT_OK, 1000, 0), 0);
    assert_int_equal(tenants_create(w->t, body, "test", &out, &err), REALM_E_IO);
    assert_true(usage(w, NULL, "prompt_tokens") < 1000);
    snprintf(path, sizeof(path), "%s/filler", w->dir);
    assert_int_equal(unlink(path), 0);
    assert_true(becomes_writable(w, true));
    assert_true(usage(w, NULL, "prompt_tokens") == 999 + usage(w, NULL, "requests"));
    assert_int_equal(tenants_create(w->t, body, "test", &out, &err), 0);
    json_decref(out);
    json_decref(body);
    tenant_pass_drop(&pass);
    world_close(w);
    assert_int_equal(umount(w->dir), 0);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reports),
        cmocka_unit_test(test_modules_do_not_wait_for_reports),
        cmocka_unit_test(test_rows_left_open_are_interrupted),
        cmocka_unit_test(test_models_are_told_apart),
        cmocka_unit_test(test_a_row_is_in_soon_after_its_request_begins),
        cmocka_unit_test(test_a_full_disk_loses_nothing),
        cmocka_unit_test(test_the_spool_is_replayed),
        cmocka_unit_test(test_nothing_is_acknowledged_that_is_not_written),
        cmocka_unit_test(test_a_small_file_system_that_is_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
