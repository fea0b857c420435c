/* An engine's whole life, from realm_open to realm_close, with each allocation in
 * turn made to fail.  (test/unit/engine/torture_test.c does it to an engine that
 * stays open.) */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <libgen.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/limits.h"
#include "base/mem.h"
#include "footprint.h"
#include "realm/realm.h"

static const char *tiny_path;
static char *tiny_folder, *tiny_name;

struct life {
    const void *bytes; /* of a model that comes from memory; NULL: by its name */
    size_t n;
    uint32_t tokens[64]; /* of the answer that a healthy life gave */
    size_t n_tokens;     /* 0: not known yet */
};

static const char question[] = "What is the capital of <s>France?";

/* Text to ids and back, with its control tokens guarded. */
static int through_text(const struct realm_model *m, uint32_t *ids, size_t max, size_t *n)
{
    char guarded[128], back[256];
    size_t n_guarded, n_back;
    int status =
        realm_guard(m, question, sizeof(question) - 1, guarded, sizeof(guarded), &n_guarded);
    if (!status)
        status =
            realm_tokenize(m, guarded, n_guarded, REALM_TEXT_BOS | REALM_TEXT_SPECIAL, ids, max, n);
    if (!status)
        status = realm_detokenize(m, ids, *n, false, back, sizeof(back), &n_back);
    if (status)
        return status;
    assert_int_equal(n_back, sizeof(question) - 1);
    assert_memory_equal(back, question, n_back);
    return 0;
}

/* Reads the answer; what comes is what a healthy life got. */
static int read_answer(struct realm_gen *g, struct life *life)
{
    struct realm_event e;
    size_t n = 0;
    bool known = life->n_tokens > 0;
    for (;;) {
        int status = realm_gen_next(g, &e, NULL);
        if (status)
            return status;
        if (e.kind == REALM_EVENT_PROMPT)
            continue;
        if (e.kind == REALM_EVENT_END)
            break;
        assert_in_range(n, 0, 63);
        if (known)
            assert_int_equal(e.token, life->tokens[n]);
        life->tokens[n++] = e.token;
    }
    if (e.status)
        return e.status;
    if (known)
        assert_int_equal(n, life->n_tokens);
    life->n_tokens = n;
    return 0;
}

static int generate(struct realm_model *m, const uint32_t *ids, size_t n, struct life *life)
{
    static const uint32_t stop_ids[] = {2001, 2002};
    static const char *const stop[] = {"never said", "nor this"};
    static const struct realm_logit_bias bias[] = {{300, 0.5f}, {301, -0.5f}};
    struct realm_request request;
    struct realm_gen *g;
    realm_request_init(&request, REALM_DOOR_OPENAI);
    request.ignore_end = true;
    request.ids = ids;
    request.n_ids = n;
    request.stop_ids = stop_ids;
    request.n_stop_ids = 2;
    request.stop = stop;
    request.n_stop = 2;
    request.logprobs = true;
    request.top_logprobs = 5;
    request.prompt_logprobs = true;
    request.logit_bias = bias;
    request.n_logit_bias = 2;
    request.tenant = "somebody";
    request.sampling.max_tokens = 12;
    request.sampling.has_seed = true;
    request.sampling.seed = 7;
    request.sampling.repetition_penalty = 1.1f;
    int status = realm_gen_start(&g, m, &request, NULL);
    if (status)
        return status;
    status = read_answer(g, life);
    realm_gen_close(g);
    return status;
}

static int use_model(struct realm_model *m, struct life *life)
{
    uint32_t ids[64];
    float logprobs[64];
    struct realm_logprob next[3];
    size_t n;
    int status = through_text(m, ids, 64, &n);
    if (!status)
        status = generate(m, ids, n, life);
    if (!status)
        status = realm_score(m, ids, n, logprobs, next, 3, NULL, NULL);
    return status;
}

static int open_model(struct realm_model **m, struct realm *r, const struct life *life)
{
    struct realm_error err = {0};
    int status = life->bytes ? realm_model_open_memory(m, r, life->bytes, life->n, NULL, &err)
                             : realm_model_open_name(m, r, tiny_name, NULL, &err);
    if (status) {
        assert_null(*m);
        assert_int_equal(err.status, status);
        assert_true(err.message[0]);
    }
    return status;
}

static int live(void *ctx)
{
    struct life *life = ctx;
    struct realm *r;
    struct realm_model *m, *shared;
    struct realm_options options = {.threads = 2, .models_dir = tiny_folder};
    int status = realm_open(&r, &options, NULL);
    if (status) {
        assert_null(r);
        return status;
    }
    status = open_model(&m, r, life);
    if (status)
        goto out;
    status = realm_model_share(&shared, m);
    realm_model_close(m);
    if (status)
        goto out;
    status = use_model(shared, life);
    realm_model_pin(shared, true);
    realm_model_close(shared);
    if (!status)
        realm_clear(r);
out:
    realm_close(r);
    return status;
}

static void torture_life(struct life *life)
{
    assert_int_equal(live(life), 0);
    assert_true(life->n_tokens > 0);
    for (int for_good = 0; for_good < 2; for_good++) {
        assert_true(torture(live, life, for_good, 0) > 50);
        assert_int_equal(live(life), 0);
    }
}

static void a_life_with_a_model_by_name(void **state)
{
    (void)state;
    torture_life(&(struct life){0});
}

static void a_life_with_a_model_from_memory(void **state)
{
    (void)state;
    size_t n;
    uint8_t *bytes;
    assert_int_equal(io_read_file(io_system(), tiny_path, 64 * MiB, &bytes, &n, NULL), 0);
    torture_life(&(struct life){.bytes = bytes, .n = n});
    mem_free(bytes);
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return 2;
    tiny_path = argv[1];
    tiny_folder = strdup(tiny_path);
    tiny_name = strdup(basename(argv[1]));
    dirname(tiny_folder);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_life_with_a_model_by_name),
        cmocka_unit_test(a_life_with_a_model_from_memory),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(tiny_folder);
    free(tiny_name);
    return failed;
}
