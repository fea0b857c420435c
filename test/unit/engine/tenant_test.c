/* What the engine knows of tenants: queues that end, numbers for each of them, checks of what
 * is said of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/limits.h"
#include "util.h"

static const char PROMPT[] = "The capital of France is";

/* Keys and values of 640 tokens. */
static const struct realm_options narrow = {.kv_bytes_max = 40 * 5 * 2 * 2 * 64 * 16 * 2,
                                            .bytes_max = 1 << 30};

/* Those that run already are out of the queue.  room: one more tenant's request is taken then. */
static void fill_queue(unsigned tenants, const char *sentence, bool room)
{
    enum { MANY = 2 * QUEUE_REQUESTS_MAX };
    static struct realm_gen *gens[MANY];
    struct realm *r = open_engine(&narrow);
    struct realm_model *m = open_tiny(r);
    struct realm_error err;
    struct realm_request request = request_for(PROMPT, 600);
    struct gate gate = {0};
    char tenant[16];
    size_t n = 0;
    int status = 0;
    request.tenant = tenant;
    gate_hold(&request, &gate); // at the first one's first token; the others come after it
    while (!status && n < MANY) {
        snprintf(tenant, sizeof(tenant), "t%u", (unsigned)(n % tenants));
        status = realm_gen_start(&gens[n++], m, &request, &err);
        gate_await(&gate);
    }
    assert_int_equal(status, REALM_E_LIMIT);
    assert_non_null(strstr(err.message, sentence));
    request.tenant = "another";
    struct realm_gen *other = NULL;
    assert_true(!room || realm_gen_start(&other, m, &request, &err) == 0);
    for (size_t i = 0; i < n; i++)
        if (gens[i])
            realm_gen_cancel(gens[i]);
    gate_let_go(&gate);
    realm_gen_close(other);
    for (size_t i = 0; i < n; i++)
        realm_gen_close(gens[i]);
    assert_int_equal(stats_of(r).waiting + stats_of(r).running, 0);
    assert_int_equal(stats_of(r).kv_pages, 0);
    realm_model_close(m);
    realm_close(r);
}

static void the_queue_has_an_end(void **state)
{
    (void)state;
    fill_queue(2 * QUEUE_REQUESTS_MAX, "2048 requests are waiting: the queue is full", false);
}

static void a_tenants_queue_has_an_end(void **state)
{
    (void)state;
    fill_queue(1, "1024 requests are waiting: the tenant's part of the queue is taken", true);
    fill_queue(16, "requests are waiting: the tenant's part of the queue is taken", true);
}

static void tenants_are_counted_one_by_one(void **state)
{
    (void)state;
    static struct answer got;
    static const char *const NAMES[] = {"blue", "green", "blue"};
    struct realm *r = open_engine(NULL);
    struct realm_model *m = open_tiny(r);
    struct realm_request request = request_for(PROMPT, 5);
    for (size_t i = 0; i < 3; i++) {
        struct realm_gen *g;
        request.tenant = NAMES[i];
        request.weight = 2 + (uint32_t)i;
        assert_int_equal(realm_gen_start(&g, m, &request, NULL), 0);
        read_answer(g, &got);
    }
    struct realm_stats all = stats_of(r);
    struct realm_tenant_stats s[3];
    assert_int_equal(realm_tenant_stats(r, s, 1), 2);
    assert_int_equal(realm_tenant_stats(r, s, 3), 2);
    bool first = strcmp(s[0].tenant, "blue") == 0;
    const struct realm_tenant_stats *blue = &s[!first], *green = &s[first];
    assert_string_equal(blue->tenant, "blue");
    assert_string_equal(green->tenant, "green");
    assert_int_equal(blue->weight, 4);
    assert_int_equal(green->weight, 3);
    assert_int_equal(blue->completion_tokens, 10);
    assert_int_equal(green->completion_tokens, 5);
    assert_int_equal(blue->prompt_tokens, 2 * green->prompt_tokens);
    assert_int_equal(blue->prompt_tokens + green->prompt_tokens, all.prompt_tokens);
    assert_int_equal(blue->running + blue->waiting + blue->kv_pages, 0);
    realm_model_close(m);
    realm_close(r);
}

static void what_is_said_of_a_tenant_is_checked(void **state)
{
    (void)state;
    struct realm *r = open_engine(NULL);
    struct realm_model *m = open_tiny(r);
    struct realm_gen *g;
    struct realm_error err;
    struct realm_request request = request_for(PROMPT, 5);
    request.weight = 1001;
    assert_int_equal(realm_gen_start(&g, m, &request, &err), REALM_E_ARG);
    assert_non_null(strstr(err.message, "weight"));
    request.weight = 1000;
    request.priority = -101;
    assert_int_equal(realm_gen_start(&g, m, &request, &err), REALM_E_ARG);
    assert_non_null(strstr(err.message, "priority"));
    request.priority = -100;
    request.tenant = "";
    assert_int_equal(realm_gen_start(&g, m, &request, &err), REALM_E_ARG);
    request.tenant = "sixty-five-bytes-sixty-five-bytes-sixty-five-bytes-sixty-five-byt";
    assert_int_equal(realm_gen_start(&g, m, &request, &err), REALM_E_ARG);
    assert_non_null(strstr(err.message, "tenant"));
    request.tenant++;
    assert_int_equal(realm_gen_start(&g, m, &request, &err), 0);
    realm_gen_close(g);
    realm_model_close(m);
    realm_close(r);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_queue_has_an_end),
        cmocka_unit_test(a_tenants_queue_has_an_end),
        cmocka_unit_test(tenants_are_counted_one_by_one),
        cmocka_unit_test(what_is_said_of_a_tenant_is_checked),
    };
    tiny_path = argc > 1 ? argv[1] : NULL;
    return cmocka_run_group_tests_name("engine/tenant", tests, NULL, NULL);
}
