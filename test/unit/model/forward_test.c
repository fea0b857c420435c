#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "model/forward_internal.h"
#include "model_file.h"

enum { TOKENS = 12, POISON = 7 /* the token whose embedding holds a NaN */ };

struct world {
    struct model *model;
    struct pool *pool;
    struct forward *forward;
    struct kv_budget budget;
    struct kv_pool *kv;
};

/* With its first block's scale infinite, where tensor names one of Q8_0. */
static void load(struct world *w, const struct model_spec *s, const char *tensor)
{
    size_t n;
    uint8_t *bytes = model_file_make(s, &n);
    struct gguf_file *f;
    struct realm_error err;
    assert_int_equal(gguf_file_from_memory(&f, bytes, n, &err), 0);
    if (tensor) {
        memcpy(bytes + gguf_file_find(f, tensor)->offset, &(uint16_t){0x7c00}, 2);
        gguf_file_close(f);
        assert_int_equal(gguf_file_from_memory(&f, bytes, n, &err), 0);
    }
    assert_int_equal(model_load(&w->model, f, NULL, &err), 0);
    gguf_file_close(f);
    free(bytes);
}

static void open_world_spoilt(struct world *w, const struct model_spec *s, size_t rows_max,
                              const char *tensor)
{
    load(w, s, tensor);
    const struct model_config *c = &w->model->config;
    const struct kv_shape shape = forward_kv_shape(c, KV_F16);
    kv_budget_init(&w->budget, UINT64_MAX);
    assert_int_equal(kv_pool_open(&w->kv, &shape, &w->budget), 0);
    assert_int_equal(pool_open(&w->pool, 2), 0);
    assert_int_equal(forward_open(&w->forward, w->model, w->pool, kernels_best(), rows_max), 0);
}

static void open_world(struct world *w, const struct model_spec *s, size_t rows_max)
{
    open_world_spoilt(w, s, rows_max, NULL);
}

static void close_world(struct world *w)
{
    forward_close(w->forward);
    pool_close(w->pool);
    kv_pool_close(w->kv);
    model_close(w->model);
}

static struct kv_seq *open_seq(struct world *w)
{
    struct kv_seq *s;
    assert_int_equal(kv_seq_open(&s, w->kv), 0);
    assert_int_equal(kv_seq_reserve(s, TOKENS), 0);
    return s;
}

static void fill(struct forward_row *rows, struct kv_seq *s, uint32_t first_token)
{
    for (uint32_t i = 0; i < TOKENS; i++)
        rows[i] = (struct forward_row){s, first_token + i, i, i == TOKENS - 1, false};
}

/* The poisoned row must be found, and must not touch those it is batched with. */
static void a_bad_row_harms_no_other_sequence(void **state)
{
    (void)state;
    struct model_spec s = model_spec_default();
    s.own_output = true; // a tied one would hold the NaN too
    s.nan_token = POISON;
    struct world w;
    open_world(&w, &s, 3 * TOKENS);
    size_t vocab = w.model->config.vocab, bad = 99;
    float want[2][256];
    struct forward_row rows[3 * TOKENS];
    for (uint32_t i = 0; i < 2; i++) {
        struct kv_seq *alone = open_seq(&w);
        fill(rows, alone, 20 + 20 * i);
        assert_int_equal(forward_step(w.forward, rows, TOKENS, NULL, NULL, &bad), 0);
        memcpy(want[i], forward_logits(w.forward, 0), vocab * sizeof(float));
        kv_seq_close(alone);
    }
    struct kv_seq *seqs[3] = {open_seq(&w), open_seq(&w), open_seq(&w)};
    fill(rows, seqs[0], 20);
    fill(rows + TOKENS, seqs[1], POISON - 2); // its third row is the bad one
    fill(rows + 2 * TOKENS, seqs[2], 40);
    assert_int_equal(forward_step(w.forward, rows, 3 * TOKENS, NULL, NULL, &bad), REALM_E_NUMERIC);
    assert_int_equal(bad, TOKENS + 2);
    for (size_t i = 0; i < 3 * TOKENS; i++)
        assert_int_equal(forward_row_bad(w.forward, i), i == TOKENS + 2);
    assert_memory_equal(forward_logits(w.forward, 0), want[0], vocab * sizeof(float));
    assert_memory_equal(forward_logits(w.forward, 2), want[1], vocab * sizeof(float));
    for (int i = 0; i < 3; i++)
        kv_seq_close(seqs[i]);
    close_world(&w);
}

static void expect_all_bad(struct world *w)
{
    struct kv_seq *seq = open_seq(w);
    struct forward_row rows[TOKENS];
    fill(rows, seq, 20);
    size_t bad = 99;
    assert_int_equal(forward_step(w->forward, rows, TOKENS, NULL, NULL, &bad), REALM_E_NUMERIC);
    assert_int_equal(bad, 0);
    for (size_t i = 0; i < TOKENS; i++)
        assert_true(forward_row_bad(w->forward, i));
    /* What a caller reads by mistake is at least finite. */
    assert_true(kernels_best()->all_finite(forward_logits(w->forward, 0), w->model->config.vocab));
    kv_seq_close(seq);
    close_world(w);
}

/* Weights that are not finite: every row is bad, logits wanted or not. */
static void a_broken_model_is_noticed(void **state)
{
    (void)state;
    static const char *const spoilt[] = {
        "blk.0.attn_q.weight",      "blk.0.attn_k.weight",   "blk.0.attn_v.weight",
        "blk.0.attn_output.weight", "blk.0.ffn_gate.weight", "blk.0.ffn_up.weight",
        "blk.0.ffn_down.weight",
    };
    struct model_spec s = model_spec_default();
    s.nan_norm = true;
    struct world w;
    open_world(&w, &s, TOKENS);
    expect_all_bad(&w);
    s = model_spec_default();
    s.type = DTYPE_Q8_0;
    for (size_t i = 0; i < sizeof(spoilt) / sizeof(spoilt[0]); i++) {
        open_world_spoilt(&w, &s, TOKENS, spoilt[i]);
        expect_all_bad(&w);
    }
}

/* No row is wanted when it is asked for the second time. */
static size_t stop_second(void *ctx, uint32_t layer)
{
    (void)layer;
    return ++*(int *)ctx == 2 ? 0 : TOKENS;
}

/* In the second layer the first rows alone. */
static size_t fewer_second(void *ctx, uint32_t layer)
{
    return layer ? *(const size_t *)ctx : TOKENS;
}

static void a_step_stops_between_layers(void **state)
{
    (void)state;
    struct model_spec s = model_spec_default();
    struct world w;
    open_world(&w, &s, TOKENS);
    struct kv_seq *seq = open_seq(&w);
    struct forward_row rows[TOKENS];
    size_t bad, vocab = w.model->config.vocab;
    float want[256];
    fill(rows, seq, 20);
    assert_int_equal(forward_step(w.forward, rows, TOKENS, NULL, NULL, &bad), 0);
    memcpy(want, forward_logits(w.forward, 0), vocab * sizeof(float));
    int asked = 0;
    assert_int_equal(forward_step(w.forward, rows, TOKENS, stop_second, &asked, &bad),
                     REALM_E_CANCELLED);
    assert_int_equal(asked, 2); // before each of the two layers
    /* The same rows again: a step that was cut short leaves nothing behind. */
    asked = 5;
    assert_int_equal(forward_step(w.forward, rows, TOKENS, stop_second, &asked, &bad), 0);
    assert_memory_equal(forward_logits(w.forward, 0), want, vocab * sizeof(float));
    kv_seq_close(seq);
    close_world(&w);
}

/* What is given up is computed by a later step as if it had never been begun. */
static void a_step_goes_on_with_its_first_rows(void **state)
{
    (void)state;
    enum { FIRST = 5 };
    struct model_spec s = model_spec_default();
    struct world w;
    open_world(&w, &s, TOKENS);
    struct kv_seq *seq = open_seq(&w);
    struct forward_row rows[TOKENS];
    size_t bad, first = FIRST, bytes = w.model->config.vocab * sizeof(float);
    float want[2][256];
    fill(rows, seq, 20);
    for (size_t i = 0; i < TOKENS; i++) {
        rows[i].wants_logits = i == FIRST - 1 || i == TOKENS - 1;
        rows[i].wants_hidden = i == TOKENS - 1;
    }
    assert_int_equal(forward_step(w.forward, rows, TOKENS, NULL, NULL, &bad), 0);
    memcpy(want[0], forward_logits(w.forward, 0), bytes);
    memcpy(want[1], forward_logits(w.forward, 1), bytes);
    memset(forward_logits(w.forward, 0), 0, bytes);
    assert_int_equal(forward_step(w.forward, rows, TOKENS, fewer_second, &first, &bad), 0);
    assert_memory_equal(forward_logits(w.forward, 0), want[0], bytes);
    assert_int_equal(forward_step(w.forward, rows + FIRST, TOKENS - FIRST, NULL, NULL, &bad), 0);
    assert_memory_equal(forward_logits(w.forward, 0), want[1], bytes);
    kv_seq_close(seq);
    close_world(&w);
}

static void a_step_allocates_nothing(void **state)
{
    (void)state;
    struct model_spec s = model_spec_default();
    struct world w;
    open_world(&w, &s, TOKENS);
    struct kv_seq *seq = open_seq(&w);
    struct forward_row rows[TOKENS];
    size_t bad;
    fill(rows, seq, 20);
    mem_fail_at(1, 1);
    int rc = forward_step(w.forward, rows, TOKENS, NULL, NULL, &bad);
    mem_fail_at(0, 0);
    assert_int_equal(rc, 0);
    kv_seq_close(seq);
    close_world(&w);
}

/* Each column of each row in one strip, which begins where a block of any kind does. */
static void strips_cover_all_columns(void **state)
{
    (void)state;
    enum { ROWS = 40, K = 6000 };
    static uint8_t seen[ROWS][K];
    size_t cut = 0;
    for (unsigned threads = 1; threads <= 4; threads++) {
        struct forward f = {0};
        assert_int_equal(pool_open(&f.pool, threads), 0);
        for (f.n = 1; f.n <= ROWS; f.n += f.n < 18 ? 1 : 11) {
            for (size_t k = 44; k <= K; k += 257) {
                size_t strips = forward_strips(&f, k);
                memset(seen, 0, sizeof(seen));
                for (size_t i = 0; i < strips; i++) {
                    const struct strip s = forward_strip(&f, k, i);
                    assert_int_equal(s.at % 256, 0);
                    assert_int_equal(s.k, k);
                    assert_true(s.n > 0 && s.at + s.n <= k);
                    for (size_t row = s.start; row < s.start + s.width; row++)
                        for (size_t at = s.at; at < s.at + s.n; at++)
                            assert_int_equal(seen[row][at]++, 0);
                }
                for (size_t row = 0; row < f.n; row++)
                    assert_null(memchr(seen[row], 0, k));
                cut += strips > tile_count(f.n);
            }
        }
        pool_close(f.pool);
    }
    assert_true(cut > 100);
}

static void failing_allocations_leave_nothing(void **state)
{
    (void)state;
    struct model_spec s = model_spec_default();
    struct world w;
    open_world(&w, &s, TOKENS);
    uint64_t live = mem_live();
    struct forward *f;
    for (uint64_t n = 1; n <= 2; n++) {
        mem_fail_at(n, 0);
        int rc = forward_open(&f, w.model, w.pool, kernels_best(), 512);
        mem_fail_at(0, 0);
        assert_int_equal(rc, REALM_E_NOMEM);
        assert_null(f);
        assert_int_equal(mem_live(), live);
    }
    assert_int_equal(forward_open(&f, w.model, w.pool, kernels_best(), 512), 0);
    assert_true(forward_bytes(f) > 512 * 256 * sizeof(float));
    forward_close(f);
    forward_close(NULL);
    close_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bad_row_harms_no_other_sequence),
        cmocka_unit_test(a_broken_model_is_noticed),
        cmocka_unit_test(a_step_stops_between_layers),
        cmocka_unit_test(a_step_goes_on_with_its_first_rows),
        cmocka_unit_test(a_step_allocates_nothing),
        cmocka_unit_test(strips_cover_all_columns),
        cmocka_unit_test(failing_allocations_leave_nothing),
    };
    return cmocka_run_group_tests_name("forward", tests, NULL, NULL);
}
