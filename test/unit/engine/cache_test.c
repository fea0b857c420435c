/* What of a prompt is found in the cache: for the same tenant, for others, and of the part that
 * is declared public. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "util.h"

enum { PAGE = 16 };

static const char system_text[] =
    "You are a helpful guide who knows all the streets and all the houses of the old town by the "
    "sea, and who answers each question in one short sentence, without saying anything twice.\n";
static const char question[] = "Where is the house with the green door? The secret word is amber.";
static const char other_question[] = "Where is the boat with the red sail? Nobody has told us yet.";

static struct realm_request from(const char *tenant, const char *text, size_t shared_bytes)
{
    struct realm_request request = request_for(text, 12);
    request.tenant = tenant;
    request.shared_bytes = shared_bytes;
    request.logprobs = true;
    return request;
}

static uint32_t cached(struct realm_model *m, const char *tenant, const char *text,
                       size_t shared_bytes, struct answer *a)
{
    struct realm_request request = from(tenant, text, shared_bytes);
    ask(m, &request, a);
    assert_int_equal(a->status, 0);
    return a->usage.cached_tokens;
}

static void the_second_time_one_token_is_computed(void **state)
{
    (void)state;
    static struct answer first, again;
    for (int type = REALM_KV_F16; type <= REALM_KV_Q8_0; type++) {
        struct realm *r = open_engine(&(struct realm_options){.kv_type = (enum realm_kv_type)type});
        struct realm_model *m = open_tiny(r);
        assert_int_equal(cached(m, "a", system_text, 0, &first), 0);
        struct realm_stats before = stats_of(r);
        assert_int_equal(before.kv_pages, 0);
        assert_true(before.kv_cached_pages > 0);
        assert_int_equal(cached(m, "a", system_text, 0, &again), first.usage.prompt_tokens - 1);
        assert_same_answer(&first, &again);
        struct realm_stats after = stats_of(r);
        assert_int_equal(after.prompt_rows, before.prompt_rows + 1);
        assert_int_equal(after.kv_cached_pages, before.kv_cached_pages);
        assert_int_equal(after.cached_tokens, first.usage.prompt_tokens - 1);

        assert_int_equal(cached(m, "b", system_text, 0, &again), 0);
        assert_same_answer(&first, &again);
        assert_int_equal(cached(m, NULL, system_text, 0, &again), 0);
        assert_int_equal(cached(m, "default", system_text, 0, &again),
                         first.usage.prompt_tokens - 1);
        /* With the model all of it goes. */
        realm_model_close(m);
        realm_clear(r);
        assert_int_equal(stats_of(r).kv_cached_pages, 0);
        assert_int_equal(stats_of(r).kv_bytes, 0);
        m = open_tiny(r);
        assert_int_equal(cached(m, "a", system_text, 0, &again), 0);
        assert_same_answer(&first, &again);
        realm_model_close(m);
        realm_close(r);
    }
}

static void whole_pages_of_the_declared_part_alone_are_shared(void **state)
{
    (void)state;
    static struct answer a;
    char one[512], two[512];
    uint32_t ids[256];
    size_t n, most = strlen(system_text);
    snprintf(one, sizeof(one), "%s%s", system_text, question);
    snprintf(two, sizeof(two), "%s%s", system_text, other_question);
    for (size_t bytes = 0; bytes <= most; bytes += 17) {
        struct realm *r = open_engine(NULL);
        struct realm_model *m = open_tiny(r);
        assert_int_equal(realm_tokenize(m, one, bytes, REALM_TEXT_BOS, ids, 256, &n), 0);
        assert_int_equal(cached(m, "a", one, bytes, &a), 0);
        uint32_t found = cached(m, "b", two, bytes, &a);
        /* The last ids of the part may read otherwise when more follows. */
        assert_int_equal(found % PAGE, 0);
        assert_in_range(found, n > 4 ? (n - 4) / PAGE * PAGE : 0, n / PAGE * PAGE);
        assert_int_equal(cached(m, "c", one, 0, &a), 0);
        realm_model_close(m);
        realm_close(r);
    }
    /* A declaration that is longer than the text, or ends inside a character. */
    struct realm *r = open_engine(NULL);
    struct realm_model *m = open_tiny(r);
    assert_int_equal(cached(m, "a", one, SIZE_MAX, &a), 0);
    assert_int_equal(cached(m, "b", one, SIZE_MAX, &a), a.usage.prompt_tokens / PAGE * PAGE);
    snprintf(one, sizeof(one), "%s\xc3\xa4\xe2\x82\xac", system_text);
    for (size_t bytes = most; bytes < most + 6; bytes++)
        (void)cached(m, "c", one, bytes, &a);
    realm_model_close(m);
    realm_close(r);
}

/* Where each position's own result is wanted, each is computed. */
static void what_is_wanted_of_the_prompt_is_there(void **state)
{
    (void)state;
    static struct answer a;
    float first[128], again[128];
    uint32_t ids[128];
    size_t n;
    struct realm *r = open_engine(NULL);
    struct realm_model *m = open_tiny(r);
    assert_int_equal(
        realm_tokenize(m, system_text, strlen(system_text), REALM_TEXT_BOS, ids, 128, &n), 0);
    assert_int_equal(realm_score(m, ids, n, first, NULL, 0, NULL, NULL), 0);
    assert_int_equal(cached(m, NULL, system_text, 0, &a), n - 1); // scoring leaves its pages
    assert_int_equal(realm_score(m, ids, n, again, NULL, 0, NULL, NULL), 0);
    assert_memory_equal(first, again, n * sizeof(*first));
    realm_model_close(m);
    realm_close(r);
}

static bool at_once(void *ctx)
{
    (void)ctx;
    return true;
}

/* I08: what ends before it is computed leaves its caller's memory alone, whoever used the
 * engine's own before. */
static void what_was_not_computed_is_not_told(void **state)
{
    (void)state;
    enum { NEXT = 8 };
    float untouched[128], told[128];
    struct realm_logprob untouched_next[NEXT], next[NEXT];
    uint32_t ids[128];
    size_t n;
    struct realm *r = open_engine(NULL);
    struct realm_model *m = open_tiny(r);
    const struct realm_wait gone = {.cancelled = at_once};
    assert_int_equal(
        realm_tokenize(m, system_text, strlen(system_text), REALM_TEXT_BOS, ids, 128, &n), 0);
    assert_int_equal(realm_score(m, ids, n, told, next, NEXT, NULL, NULL), 0);
    assert_true(told[1] < 0 && next[0].logprob < 0);
    memset(untouched, 42, sizeof(untouched));
    memset(untouched_next, 42, sizeof(untouched_next));
    memset(told, 42, sizeof(told));
    memset(next, 42, sizeof(next));
    assert_int_equal(realm_score(m, ids, n, told, next, NEXT, &gone, NULL), REALM_E_CANCELLED);
    ids[n - 1] = UINT32_MAX;
    assert_true(realm_score(m, ids, n, told, next, NEXT, NULL, NULL) < 0);
    /* The first has none in any case. */
    assert_memory_equal(told + 1, untouched + 1, sizeof(told) - sizeof(*told));
    assert_memory_equal(next, untouched_next, sizeof(next));
    realm_model_close(m);
    realm_close(r);
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return 2;
    tiny_path = argv[1];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_second_time_one_token_is_computed),
        cmocka_unit_test(whole_pages_of_the_declared_part_alone_are_shared),
        cmocka_unit_test(what_is_wanted_of_the_prompt_is_there),
        cmocka_unit_test(what_was_not_computed_is_not_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
