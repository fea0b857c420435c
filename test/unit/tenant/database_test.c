/* The database: its mode, its versions, damage, and each allocation made to fail. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/map.h"
#include "base/mem.h"
#include "tenant/db.h"
#include "util.h"

static const char *path_of(const struct world *w, const char *name)
{
    static char path[128];
    snprintf(path, sizeof(path), "%s/%s", w->dir, name);
    return path;
}

static void exec(const struct world *w, const char *text)
{
    sqlite3 *sql;
    assert_int_equal(sqlite3_open(path_of(w, "realm.db"), &sql), SQLITE_OK);
    assert_int_equal(sqlite3_exec(sql, text, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(sql);
}

static uint64_t digest(const struct world *w)
{
    static const uint64_t key[2];
    uint8_t *p;
    size_t n;
    assert_int_equal(io_read_file(io_system(), path_of(w, "realm.db"), 1 << 24, &p, &n, NULL), 0);
    uint64_t sum = map_hash(key, p, n);
    mem_free(p);
    return sum;
}

static void test_files_are_private(void **state)
{
    (void)state;
    static const char *const names[] = {"realm.db", "realm.db-wal", "pepper", "realm.spool"};
    struct world *w = world_new();
    struct stat st;
    world_open(w);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        assert_int_equal(stat(path_of(w, names[i]), &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
    }
    world_free(w);
}

static void test_an_older_one_moves_up(void **state)
{
    (void)state;
    struct world *w = world_new();
    exec(w, db_versions[0]);
    exec(w, "PRAGMA application_id=1380732209; PRAGMA user_version=1;"
            "INSERT INTO tenants VALUES ('default', 2, NULL, NULL, 0, 0, 0, 100, 1, 0, 0, 1);"
            "INSERT INTO requests VALUES (1, 'req_1', 'default', '', 'chat', 1767268700, 0, NULL,"
            " 'tiny', '', 60, 0, 39, 0, 0, 0),"
            " (2, 'req_2', 'default', '', 'chat', 1767268700, -1, NULL, '', '', 1, 0, 0, 0, 0, 0)");
    world_open(w);
    struct tenant_pass pass = pass_of(w, NULL);
    assert_int_equal(tenant_view(&pass)->weight, 2);
    /* What was spent is known, the row left open too. */
    assert_null(admit(w, &pass, "req_3"));
    assert_int_equal(usage(w, "default", "requests"), 2);
    tenant_pass_drop(&pass);
    world_free(w);
}

/* Version 2, which had no totals: rows, programs and what was spent are as they were. */
static void test_version_2_moves_up(void **state)
{
    (void)state;
    struct world *w = world_new();
    struct tenants_stats stats;
    exec(w, db_versions[0]);
    exec(w, db_versions[1]);
    exec(w, "PRAGMA application_id=1380732209; PRAGMA user_version=2;"
            "INSERT INTO tenants VALUES ('default', 2, NULL, NULL, 0, 0, 0, 100, 1, 0, 0, 1);"
            "INSERT INTO spent VALUES ('default', 1767268800, 99);"
            "INSERT INTO guests VALUES (7, 'default', '', 'x', NULL, 0, 1, x'00');"
            "INSERT INTO requests VALUES (1, 'req_1', 'default', '', 'chat', 1767268700, 0, NULL,"
            " 'tiny', '', 60, 0, 39, 0, 0, 0),"
            " (2, 'req_2', 'default', '', 'chat', 1767268700, -1, NULL, '', '', 1, 0, 0, 0, 0, 0)");
    world_open(w);
    struct tenant_pass pass = pass_of(w, NULL);
    uint64_t version;
    assert_null(admit(w, &pass, "req_3")); /* 99 and 1 of 100 are spent */
    assert_true(tenant_guest(&pass, "tiny", &version) && version == 7);
    assert_int_equal(usage(w, NULL, "requests"), 2);
    atomic_store(&w->wall_s, WALL_S + 10 * 86400);
    tenants_keep(w->t, 5);
    do
        tenants_stats(w->t, &stats);
    while (stats.folded < 2);
    assert_int_equal(usage(w, NULL, "requests"), 2);
    assert_int_equal(usage(w, NULL, "prompt_tokens"), 61);
    tenant_pass_drop(&pass);
    world_free(w);
}

/* Version 3, in which a row was of one model: rows, an open one, and totals are as they were. */
static void test_version_3_moves_up(void **state)
{
    (void)state;
    struct world *w = world_new();
    for (int i = 0; i < 3; i++)
        exec(w, db_versions[i]);
    exec(w, "PRAGMA application_id=1380732209; PRAGMA user_version=3;"
            "INSERT INTO totals VALUES ('default', 1767139200, '', 'dear', '', 5, 10, 0, 20);"
            "INSERT INTO requests VALUES (1, 'req_1', 'default', '', 'chat', 1767268700, 0, NULL,"
            " 'tiny', '', 60, 6, 39, 0, 0, 0),"
            " (2, 'req_2', 'default', '', 'chat', 1767268700, -1, NULL, 'tiny', '', 1, 0, 0, 0, 0,"
            " 0)");
    world_open(w);
    struct tenant_pass pass = pass_of(w, NULL);
    const struct tenant_part parts[] = {{"tiny", 1, 0, 0}, {"dear", 2, 0, 3}};
    assert_int_equal(settle_parts(admit(w, &pass, "req_3"), TENANT_OK, parts, 2), 0);
    tenant_pass_drop(&pass);
    world_close(w);
    world_open(w);
    assert_int_equal(usage_of(w, NULL, "tiny", "requests"), 3);
    assert_int_equal(usage_of(w, NULL, "tiny", "prompt_tokens"), 62);
    assert_int_equal(usage_of(w, NULL, "tiny", "cached_tokens"), 6);
    assert_int_equal(usage_of(w, NULL, "dear", "requests"), 5);
    assert_int_equal(usage_of(w, NULL, "dear", "completion_tokens"), 23);
    world_free(w);
}

static void test_a_newer_one_is_left_alone(void **state)
{
    (void)state;
    struct world *w = world_new();
    struct realm_error err;
    world_open(w);
    world_close(w);
    exec(w, "PRAGMA user_version=77");
    uint64_t before = digest(w);
    assert_int_equal(world_try(w, &err), REALM_E_FORMAT);
    assert_non_null(strstr(err.message, "version 77"));
    char mine[32];
    snprintf(mine, sizeof(mine), "up to %d", db_version);
    assert_non_null(strstr(err.message, mine));
    assert_true(before == digest(w));
    world_free(w);
}

static void test_a_strange_one_is_refused(void **state)
{
    (void)state;
    struct world *w = world_new();
    struct realm_error err;
    exec(w, "CREATE TABLE t (a)");
    assert_int_equal(world_try(w, &err), REALM_E_FORMAT);
    assert_int_equal(truncate(path_of(w, "realm.db"), 0), 0);
    FILE *f = fopen(path_of(w, "realm.db"), "wb");
    for (int i = 0; i < 5000; i++)
        fputc(i % 251, f);
    fclose(f);
    assert_int_equal(world_try(w, &err), REALM_E_FORMAT);
    assert_non_null(strstr(err.message, "realm.db"));
    world_free(w);
}

static void test_a_damaged_one_is_refused(void **state)
{
    (void)state;
    struct world *w = world_new();
    struct realm_error err;
    world_open(w);
    make_tenant(w, "{'id':'acme'}");
    world_close(w);
    struct stat st;
    assert_int_equal(stat(path_of(w, "realm.db"), &st), 0);
    int found = 0;
    for (long at = 4096; at < st.st_size; at += 4096) {
        FILE *f = fopen(path_of(w, "realm.db"), "r+b");
        assert_int_equal(fseek(f, at, SEEK_SET), 0);
        int was = fgetc(f);
        fseek(f, at, SEEK_SET);
        fputc(0x77, f); /* no type of page */
        fclose(f);
        found += world_try(w, &err) == REALM_E_FORMAT;
        world_close(w);
        f = fopen(path_of(w, "realm.db"), "r+b");
        fseek(f, at, SEEK_SET);
        fputc(was, f);
        fclose(f);
    }
    assert_int_equal(found, st.st_size / 4096 - 1);
    world_open(w);
    world_free(w);
}

static void test_keys_without_their_pepper(void **state)
{
    (void)state;
    struct world *w = world_new();
    struct realm_error err;
    char key[KEY_TEXT_MAX + 1];
    world_open(w);
    make_tenant(w, "{'id':'acme'}");
    make_key(w, "acme", key);
    world_close(w);
    assert_int_equal(unlink(path_of(w, "pepper")), 0);
    assert_int_equal(world_try(w, &err), REALM_E_IO);
    assert_non_null(strstr(err.message, "pepper"));
    world_free(w);
}

/* ---- memory ---- */

static int live(struct world *w, const char *key, unsigned n)
{
    struct realm_error err;
    struct tenant_pass pass;
    struct tenant_grant *g;
    struct tenant_refusal why;
    char id[32];
    int status = world_try(w, &err);
    if (status)
        return status;
    snprintf(id, sizeof(id), "req_%u", n);
    const struct tenant_request request = {id, "chat"};
    assert_int_equal(tenants_auth(w->t, key, strlen(key), &pass), TENANT_AUTH_OK);
    if (tenants_admit(&g, w->t, &pass, &request, &why)) {
        assert_int_equal(why.limit, TENANT_MEMORY);
        status = REALM_E_NOMEM;
    } else {
        assert_int_equal(tenant_reserve(g, 10, 10, &why), 0);
        assert_int_equal(settle(g, TENANT_OK, 5, 5), 0);
    }
    tenant_pass_drop(&pass);
    json_t *out;
    json_t *body = json_of("{'id':'other'}");
    int made = tenants_create(w->t, body, "test", &out, &err);
    json_decref(body);
    if (!made) {
        json_decref(out);
        made = tenants_key_create(w->t, "other", NULL, "test", &out, &err);
        if (!made)
            json_decref(out);
        int removed = tenants_remove(w->t, "other", "test", &err);
        if (removed == REALM_E_NOMEM)
            removed = tenants_remove(w->t, "other", "test", &err);
        assert_int_equal(removed, 0);
    }
    world_close(w);
    return status ? status : made;
}

static void test_each_allocation_may_fail(void **state)
{
    (void)state;
    struct world *w = world_new();
    char key[KEY_TEXT_MAX + 1];
    world_open(w);
    make_tenant(w, "{'id':'acme','models':['a'],'defaults':{'top_k':1}}");
    make_key(w, "acme", key);
    world_close(w);
    uint64_t before = mem_live();
    unsigned failed = 0;
    for (unsigned n = 1; n < 200; n++) {
        mem_fail_at(n, 0);
        int status = live(w, key, n);
        mem_fail_at(0, 0);
        assert_true(status == 0 || status == REALM_E_NOMEM);
        assert_int_equal(mem_live(), before);
        failed += status != 0;
        if (status == 0)
            break;
    }
    assert_true(failed >= 8);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files_are_private),
        cmocka_unit_test(test_an_older_one_moves_up),
        cmocka_unit_test(test_version_2_moves_up),
        cmocka_unit_test(test_version_3_moves_up),
        cmocka_unit_test(test_a_newer_one_is_left_alone),
        cmocka_unit_test(test_a_strange_one_is_refused),
        cmocka_unit_test(test_a_damaged_one_is_refused),
        cmocka_unit_test(test_keys_without_their_pepper),
        cmocka_unit_test(test_each_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
