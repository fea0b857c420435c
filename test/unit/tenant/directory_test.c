/* Tenants and keys: what administration may say, and who comes in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "util.h"

static enum tenant_auth try_key(struct world *w, const char *key, size_t n)
{
    struct tenant_pass pass;
    enum tenant_auth got = tenants_auth(w->t, key, n, &pass);
    if (got == TENANT_AUTH_OK)
        tenant_pass_drop(&pass);
    return got;
}

static void change_key(struct world *w, const char *id, const char *patch)
{
    json_t *json = json_of(patch), *out;
    struct realm_error err;
    assert_int_equal(tenants_key_change(w->t, id, json, "test", &out, &err), 0);
    json_decref(json);
    json_decref(out);
}

static void test_without_keys_everybody_is_default(void **state)
{
    (void)state;
    struct world *w = world_new();
    world_open(w);
    assert_false(tenants_have_keys(w->t));
    struct tenant_pass pass = pass_of(w, NULL);
    assert_string_equal(tenant_view(&pass)->id, "default");
    assert_true(tenant_may_use(&pass, "any"));
    assert_true(tenant_pass_valid(&pass));
    tenant_pass_drop(&pass);
    assert_int_equal(try_key(w, "sk-whatever", 11), TENANT_AUTH_OK);
    world_free(w);
}

/* A01: every wrong key is told the same. */
static void test_wrong_keys(void **state)
{
    (void)state;
    struct world *w = world_new();
    char key[KEY_TEXT_MAX + 1], other[KEY_TEXT_MAX + 1];
    world_open(w);
    make_tenant(w, "{'id':'acme','weight':3,'models':['tiny']}");
    make_key(w, "acme", key);
    make_key(w, "acme", other);
    size_t n = strlen(key);
    assert_int_equal(n, 62);
    assert_int_equal(try_key(w, NULL, 0), TENANT_AUTH_MISSING);
    assert_int_equal(try_key(w, "", 0), TENANT_AUTH_WRONG);
    assert_int_equal(try_key(w, key, n - 1), TENANT_AUTH_WRONG);
    for (size_t i = 0; i < n; i++) { /* each typo */
        char wrong[KEY_TEXT_MAX + 1];
        memcpy(wrong, key, n + 1);
        wrong[i] = wrong[i] == 'a' ? 'b' : 'a';
        assert_int_equal(try_key(w, wrong, n), TENANT_AUTH_WRONG);
    }
    /* One that is well formed, of nobody. */
    struct world *far = world_new();
    char foreign[KEY_TEXT_MAX + 1];
    world_open(far);
    make_tenant(far, "{'id':'acme'}");
    make_key(far, "acme", foreign);
    assert_int_equal(try_key(w, foreign, n), TENANT_AUTH_WRONG);
    world_free(far);

    struct tenant_pass pass = pass_of(w, key);
    assert_string_equal(tenant_view(&pass)->id, "acme");
    assert_int_equal(tenant_view(&pass)->weight, 3);
    assert_true(tenant_may_use(&pass, "tiny"));
    assert_false(tenant_may_use(&pass, "other"));
    change_key(w, pass.key, "{'disabled':true}");
    assert_false(tenant_pass_valid(&pass));
    assert_int_equal(try_key(w, key, n), TENANT_AUTH_WRONG);
    change_key(w, pass.key, "{'disabled':false,'expires_at':1767268900}");
    assert_true(tenant_pass_valid(&pass));
    atomic_store(&w->wall_s, 1767268900);
    assert_false(tenant_pass_valid(&pass));
    assert_int_equal(try_key(w, key, n), TENANT_AUTH_WRONG);
    assert_int_equal(tenants_key_remove(w->t, pass.key, "test", NULL), 0);
    tenant_pass_drop(&pass);
    assert_int_equal(try_key(w, other, n), TENANT_AUTH_OK);
    world_free(w);
}

static void test_keys_live_on_and_are_not_written_down(void **state)
{
    (void)state;
    struct world *w = world_new();
    char key[KEY_TEXT_MAX + 1], path[128], secret[44];
    static char bytes[1 << 20];
    world_open(w);
    make_tenant(w, "{'id':'acme','limits':{'max_tokens':7}}");
    make_key(w, "acme", key);
    world_close(w);
    snprintf(secret, sizeof(secret), "%.43s", key + 13);
    snprintf(path, sizeof(path), "%s/realm.db", w->dir);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    size_t n = fread(bytes, 1, sizeof(bytes), f);
    fclose(f);
    assert_true(n > 4096 && n < sizeof(bytes));
    assert_null(memmem(bytes, n, secret, strlen(secret)));
    world_open(w);
    struct tenant_pass pass = pass_of(w, key);
    assert_int_equal(tenant_view(&pass)->max_tokens, 7);
    assert_int_equal(tenants_remove(w->t, "acme", "test", NULL), 0);
    assert_false(tenant_pass_valid(&pass));
    assert_string_equal(tenant_view(&pass)->id, "acme");
    tenant_pass_drop(&pass);
    assert_false(tenants_have_keys(w->t));
    world_free(w);
}

static void test_a_change_spares_who_is_in(void **state)
{
    (void)state;
    struct world *w = world_new();
    json_t *patch = json_of("{'weight':9,'models':null,'limits':{'parallel':2}}"), *out;
    struct realm_error err;
    world_open(w);
    make_tenant(w, "{'id':'default','weight':4,'models':['a'],'defaults':{'top_k':1}}");
    struct tenant_pass before = pass_of(w, NULL);
    assert_int_equal(tenants_change(w->t, "default", patch, "test", &out, &err), 0);
    assert_int_equal(json_integer_value(json_object_get(out, "weight")), 9);
    json_decref(out);
    struct tenant_pass after = tenant_pass_share(&before);
    assert_int_equal(tenant_view(&before)->weight, 4);
    assert_false(tenant_may_use(&before, "b"));
    assert_int_equal(tenant_view(&after)->weight, 9);
    assert_true(tenant_may_use(&after, "b"));
    assert_non_null(json_object_get(tenant_view(&after)->defaults, "top_k"));
    tenant_pass_drop(&before);
    tenant_pass_drop(&after);
    json_decref(patch);
    assert_int_equal(tenants_audits(w->t, 10, &out, &err), 0);
    assert_int_equal(json_array_size(json_object_get(out, "rows")), 2);
    json_decref(out);
    world_free(w);
}

static void test_what_bodies_may_not_say(void **state)
{
    (void)state;
    static const struct {
        const char *body, *word;
    } bad[] = {
        {"{}", "id"},
        {"[]", "a tenant"},
        {"{'id':'A'}", "id"},
        {"{'id':'.a'}", "id"},
        {"{'id':'acme'}", "id"},
        {"{'id':'b','weight':0}", "weight"},
        {"{'id':'b','weight':1001}", "weight"},
        {"{'id':'b','weight':1.5}", "weight"},
        {"{'id':'b','colour':1}", "colour"},
        {"{'id':'b','models':'tiny'}", "models"},
        {"{'id':'b','models':['']}", "models"},
        {"{'id':'b','defaults':3}", "defaults"},
        {"{'id':'b','limits':{'parallel':0}}", "limits.parallel"},
        {"{'id':'b','limits':{'budget_window':'year'}}", "limits.budget_window"},
        {"{'id':'b','limits':{'speed':1}}", "limits.speed"},
    };
    struct world *w = world_new();
    struct realm_error err;
    json_t *out;
    world_open(w);
    make_tenant(w, "{'id':'acme'}");
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        json_t *body = json_of(bad[i].body);
        assert_int_equal(tenants_create(w->t, body, "test", &out, &err), REALM_E_ARG);
        if (strncmp(err.message, bad[i].word, strlen(bad[i].word)) != 0)
            fail_msg("%s: %s", bad[i].body, err.message);
        json_decref(body);
    }
    assert_int_equal(tenants_get(w->t, "b", &out, &err), REALM_E_NOT_FOUND);
    assert_int_equal(tenants_key_create(w->t, "default", NULL, "", &out, &err), REALM_E_NOT_FOUND);
    assert_int_equal(tenants_list(w->t, &out, &err), 0);
    assert_int_equal(json_array_size(json_object_get(out, "tenants")), 1);
    json_decref(out);
    world_free(w);
}

static int64_t put(struct world *w, const char *model, const char *wasm)
{
    json_t *about = json_of("{'exports':['handle']}"), *out;
    struct realm_error err = {0};
    if (tenants_guest_put(w->t, "default", model, slice_of(wasm), about, "test", &out, &err))
        fail_msg("%s", err.message);
    int64_t version = json_integer_value(json_object_get(out, "version"));
    assert_int_equal(json_array_size(json_object_get(out, "exports")), 1);
    json_decref(about);
    json_decref(out);
    return version;
}

static void test_guests(void **state)
{
    (void)state;
    struct world *w = world_new();
    struct realm_error err;
    struct buf wasm;
    uint64_t version;
    json_t *out;
    world_open(w);
    make_tenant(w, "{'id':'default'}");
    int64_t first = put(w, NULL, "one"), second = put(w, NULL, "two"), own = put(w, "m", "three");
    assert_true(first < second && second < own);
    world_close(w);
    world_open(w);
    struct tenant_pass pass = pass_of(w, NULL);
    assert_true(tenant_guest(&pass, "x", &version) && (int64_t)version == second);
    assert_true(tenant_guest(&pass, "m", &version) && (int64_t)version == own);
    buf_init(&wasm, 100);
    assert_int_equal(tenants_guest_module(w->t, version, &wasm, &err), 0);
    assert_true(slice_is(buf_slice(&wasm), "three"));
    buf_free(&wasm);
    assert_int_equal(tenants_guest_rollback(w->t, "default", NULL, "test", &out, &err), 0);
    assert_int_equal(json_integer_value(json_object_get(out, "version")), first);
    json_decref(out);
    assert_int_equal(tenants_guest_rollback(w->t, "default", NULL, "", &out, &err),
                     REALM_E_NOT_FOUND);
    struct tenant_pass later = tenant_pass_share(&pass);
    assert_true(tenant_guest(&pass, "x", &version) && (int64_t)version == second);
    assert_true(tenant_guest(&later, "x", &version) && (int64_t)version == first);
    tenant_pass_drop(&pass);
    tenant_pass_drop(&later);
    assert_int_equal(tenants_guest_list(w->t, "default", &out, &err), 0);
    assert_int_equal(json_array_size(json_object_get(out, "guests")), 3);
    json_decref(out);
    assert_int_equal(tenants_guest_remove(w->t, "default", "m", "test", &err), 0);
    assert_int_equal(tenants_guest_remove(w->t, "default", "m", "test", &err), REALM_E_NOT_FOUND);
    assert_int_equal(tenants_guest_module(w->t, (uint64_t)own, &wasm, &err), REALM_E_NOT_FOUND);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_keys_everybody_is_default),
        cmocka_unit_test(test_wrong_keys),
        cmocka_unit_test(test_keys_live_on_and_are_not_written_down),
        cmocka_unit_test(test_a_change_spares_who_is_in),
        cmocka_unit_test(test_what_bodies_may_not_say),
        cmocka_unit_test(test_guests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
