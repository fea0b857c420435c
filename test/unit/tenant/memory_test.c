/* Memory that runs out, within SQLite and jansson too: both allocate through base/mem here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "util.h"

/* ---- SQLite's allocator: each block has its size in front ---- */

enum { HEAD = 16 };

static void *sql_alloc(int n)
{
    char *p = mem_alloc((size_t)n + HEAD);
    if (!p)
        return NULL;
    memcpy(p, &n, sizeof(n));
    return p + HEAD;
}

static void sql_free(void *p)
{
    if (p)
        mem_free((char *)p - HEAD);
}

static void *sql_realloc(void *p, int n)
{
    char *q = mem_realloc_array((char *)p - HEAD, (size_t)n + HEAD, 1);
    if (!q)
        return NULL;
    memcpy(q, &n, sizeof(n));
    return q + HEAD;
}

static int sql_size(void *p)
{
    int n = 0;
    if (p)
        memcpy(&n, (char *)p - HEAD, sizeof(n));
    return n;
}

static int sql_round(int n)
{
    return (n + 7) & ~7;
}

static int sql_init(void *ctx)
{
    (void)ctx;
    return SQLITE_OK;
}

static void sql_shutdown(void *ctx)
{
    (void)ctx;
}

/* Fails when base/mem does; its texts are freed by free, so they are not counted. */
static void *json_alloc(size_t n)
{
    void *p = mem_alloc(n);
    mem_free(p);
    return p ? malloc(n) : NULL;
}

/* ---- a life ---- */

static int allowed(int status)
{
    if (status != 0 && status != REALM_E_NOMEM && status != REALM_E_IO)
        fail_msg("status %d", status);
    return status;
}

static int change(struct world *w, const json_t *body)
{
    struct realm_error err;
    json_t *out;
    int status = allowed(tenants_create(w->t, body, "test", &out, &err));
    if (status)
        return status;
    json_decref(out);
    if (!(status = allowed(tenants_key_create(w->t, "other", NULL, "test", &out, &err))))
        json_decref(out);
    int other = allowed(tenants_list(w->t, &out, &err));
    if (!other)
        json_decref(out);
    if (allowed(tenants_remove(w->t, "other", "test", &err))) {
        mem_fail_at(0, 0);
        assert_int_equal(tenants_remove(w->t, "other", "test", &err), 0);
    }
    return status ? status : other;
}

/* An acknowledged row counts in *acked. */
static int live(struct world *w, const char *key, const json_t *body, unsigned n, unsigned *acked)
{
    struct realm_error err;
    struct tenant_pass pass;
    struct tenant_grant *g;
    struct tenant_refusal why;
    char id[32];
    int status = allowed(world_try(w, &err));
    if (status)
        return status;
    snprintf(id, sizeof(id), "req_%u", n);
    const struct tenant_request request = {id, "chat"};
    assert_int_equal(tenants_auth(w->t, key, strlen(key), &pass), TENANT_AUTH_OK);
    if (tenants_admit(&g, w->t, &pass, &request, &why))
        status = REALM_E_NOMEM;
    else
        *acked += settle(g, TENANT_OK, 5, 5) == 0;
    tenant_pass_drop(&pass);
    int changed = change(w, body);
    world_close(w);
    return status ? status : changed;
}

static void torture(int for_good)
{
    struct world *w = world_new();
    char key[KEY_TEXT_MAX + 1];
    json_t *body = json_of("{'id':'other','models':['a'],'defaults':{'top_k':1}}");
    unsigned failed = 0, acked = 0, whole = 0;
    world_open(w);
    make_tenant(w, "{'id':'acme','models':['a'],'defaults':{'top_k':1}}");
    make_key(w, "acme", key);
    world_close(w);
    sqlite3_shutdown();
    uint64_t before = mem_live();
    for (unsigned n = 1; whole < 3 && n < 200000; n += 1 + n / 20) {
        mem_fail_at(n, for_good);
        int status = live(w, key, body, n, &acked);
        mem_fail_at(0, 0);
        sqlite3_shutdown();
        assert_int_equal(mem_live(), before);
        failed += status != 0;
        whole = status ? 0 : whole + 1;
    }
    assert_true(failed > 20);
    world_open(w);
    assert_int_equal(usage(w, NULL, "requests"), acked);
    assert_int_equal(usage(w, NULL, "prompt_tokens"), 5 * acked);
    json_decref(body);
    world_free(w);
}

static void test_memory_runs_out_once(void **state)
{
    (void)state;
    torture(0);
}

static void test_memory_runs_out_for_good(void **state)
{
    (void)state;
    torture(1);
}

int main(void)
{
    static const sqlite3_mem_methods methods = {
        .xMalloc = sql_alloc,
        .xFree = sql_free,
        .xRealloc = sql_realloc,
        .xSize = sql_size,
        .xRoundup = sql_round,
        .xInit = sql_init,
        .xShutdown = sql_shutdown,
    };
    if (sqlite3_config(SQLITE_CONFIG_MALLOC, &methods))
        return 1;
    json_set_alloc_funcs(json_alloc, free);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory_runs_out_once),
        cmocka_unit_test(test_memory_runs_out_for_good),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
