#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "model/model.h"
#include "model_file.h"
#include "tensor/quant.h"

static int plan_of(const struct model_spec *s, struct model_plan *plan, struct realm_error *err)
{
    size_t n;
    uint8_t *bytes = model_file_make(s, &n);
    struct gguf_file *f;
    if (gguf_file_from_memory(&f, bytes, n, err))
        fail_msg("%s", err->message);
    free(bytes);
    int rc = model_plan(plan, f, err);
    struct model *m;
    struct realm_error again = {0};
    /* Loading must refuse what planning refuses, in the same words. */
    assert_int_equal(model_load(&m, f, NULL, &again), rc);
    if (rc)
        assert_string_equal(again.message, err->message);
    assert_int_equal(m == NULL, rc != 0);
    model_close(m);
    gguf_file_close(f);
    return rc;
}

static void expect(const struct model_spec *s, int status, const char *part)
{
    struct model_plan plan;
    struct realm_error err = {0};
    uint64_t live = mem_live();
    int rc = plan_of(s, &plan, &err);
    if (rc != status || !strstr(err.message, part))
        fail_msg("%s %s: status %d, want %d; '%s', want '%s'", s->key ? s->key : "",
                 s->tensor ? s->tensor : "", rc, status, err.message, part);
    assert_int_equal(mem_live(), live);
}

static void a_model_has_what_its_file_says(void **state)
{
    (void)state;
    struct model_spec s = model_spec_default();
    s.type = DTYPE_Q8_0;
    s.own_output = s.rope_factors = true;
    size_t n;
    uint8_t *bytes = model_file_make(&s, &n);
    struct gguf_file *f;
    struct model *m;
    struct model_plan plan;
    struct realm_error err;
    assert_int_equal(gguf_file_from_memory(&f, bytes, n, &err), 0);
    assert_int_equal(model_plan(&plan, f, &err), 0);
    assert_int_equal(model_load(&m, f, NULL, &err), 0);
    const struct model_config *c = &m->config;
    assert_memory_equal(c, &plan.config, sizeof(*c));
    assert_string_equal(c->architecture, "llama");
    assert_string_equal(c->name, "random");
    assert_int_equal(c->vocab, 203);
    assert_int_equal(c->head_dim, 64);
    assert_int_equal(c->rope_dim, 64);
    assert_true(c->rope_has_factors && !c->tied);
    assert_true(plan.bytes >= m->memory_bytes);
    assert_int_equal(m->tensors, gguf_file_tensors(f));
    /* Every row of every matrix, as the file has it. */
    const struct {
        const char *name;
        const struct matrix *matrix;
    } all[] = {
        {"token_embd.weight", &m->embed},
        {"output.weight", &m->output},
        {"blk.0.attn_k.weight", &m->layers[0].k},
        {"blk.1.ffn_down.weight", &m->layers[1].ffn.down},
    };
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        const struct matrix *w = all[i].matrix;
        const struct gguf_tensor *t = gguf_file_find(f, all[i].name);
        assert_int_equal(w->rows, t->dims[1]);
        for (size_t r = 0; r < w->rows; r++) {
            float want[1024], got[1024];
            dequantize_row(DTYPE_Q8_0, bytes + t->offset + r * (t->bytes / w->rows), want, w->k);
            panel_unpack_row(w->type, w->data + r / 16 * w->panel_bytes, r % 16, w->k, got);
            assert_memory_equal(got, want, w->k * sizeof(float));
        }
    }
    const struct gguf_tensor *norm = gguf_file_find(f, "blk.1.ffn_norm.weight");
    assert_memory_equal(m->layers[1].ffn_norm.weight, bytes + norm->offset, norm->bytes);
    model_close(m);
    gguf_file_close(f);
    free(bytes);
}

/* By the caller alone, and by more threads than some tensors have pieces. */
static void many_threads_load_the_same(void **state)
{
    (void)state;
    static const enum dtype types[] = {DTYPE_F32, DTYPE_Q8_0, DTYPE_Q4_K};
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        struct model_spec s = model_spec_default();
        struct model_load_options options = {.threads = 5};
        s.type = types[i];
        size_t n;
        uint8_t *bytes = model_file_make(&s, &n);
        struct gguf_file *f;
        struct model *alone, *together;
        struct realm_error err;
        assert_int_equal(gguf_file_from_memory(&f, bytes, n, &err), 0);
        assert_int_equal(model_load(&alone, f, NULL, &err), 0);
        assert_int_equal(model_load(&together, f, &options, &err), 0);
        assert_int_equal(alone->memory_bytes, together->memory_bytes);
        assert_memory_equal(alone->memory, together->memory, (size_t)alone->memory_bytes);
        model_close(alone);
        model_close(together);
        gguf_file_close(f);
        free(bytes);
    }
}

static void a_tied_output_shares_its_data(void **state)
{
    (void)state;
    struct model_spec s = model_spec_default(), own = s;
    own.own_output = true;
    struct model_plan tied_plan, own_plan;
    struct realm_error err;
    assert_int_equal(plan_of(&s, &tied_plan, &err), 0);
    assert_int_equal(plan_of(&own, &own_plan, &err), 0);
    assert_true(tied_plan.config.tied);
    assert_int_equal(own_plan.bytes - tied_plan.bytes, 208 * 256 * 4); // rows padded to 16
}

/* Every known key with every type that it must not have. */
static void keys_of_a_wrong_type_are_refused(void **state)
{
    (void)state;
    enum { INT, FLOAT, STRING, BOOL };
    static const struct {
        const char *key;
        int kind;
    } keys[] = {
        {"general.architecture", STRING},
        {"general.name", STRING},
        {"llama.context_length", INT},
        {"llama.embedding_length", INT},
        {"llama.block_count", INT},
        {"llama.feed_forward_length", INT},
        {"llama.attention.head_count", INT},
        {"llama.attention.head_count_kv", INT},
        {"llama.attention.key_length", INT},
        {"llama.attention.value_length", INT},
        {"llama.rope.dimension_count", INT},
        {"llama.vocab_size", INT},
        {"llama.expert_count", INT},
        {"llama.attention.layer_norm_rms_epsilon", FLOAT},
        {"llama.rope.freq_base", FLOAT},
        {"llama.rope.scaling.factor", FLOAT},
        {"llama.rope.scale_linear", FLOAT},
        {"llama.rope.scaling.type", STRING},
        {"tokenizer.chat_template", STRING},
        {"llama.expert_used_count", INT},
        {"llama.expert_feed_forward_length", INT},
        {"llama.expert_shared_feed_forward_length", INT},
        {"llama.expert_weights_scale", FLOAT},
        {"llama.rope.freq_base_swa", FLOAT},
        {"llama.rope.scaling.original_context_length", INT},
        {"llama.rope.scaling.attn_factor", FLOAT},
        {"llama.rope.scaling.yarn_ext_factor", FLOAT},
        {"llama.rope.scaling.yarn_attn_factor", FLOAT},
        {"llama.rope.scaling.yarn_beta_fast", FLOAT},
        {"llama.rope.scaling.yarn_beta_slow", FLOAT},
        {"llama.attention.sliding_window", INT},
        {"llama.attention.causal", BOOL},
        {"llama.pooling_type", INT},
    };
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        for (int type = 0; type < GGUF_TYPES; type++) {
            bool is_int = type <= GGUF_I32 || type == GGUF_U64 || type == GGUF_I64;
            bool is_float = type == GGUF_F32 || type == GGUF_F64;
            if (keys[i].kind == INT      ? is_int
                : keys[i].kind == FLOAT  ? is_float
                : keys[i].kind == STRING ? type == GGUF_STRING
                                         : type == GGUF_BOOL)
                continue;
            struct model_spec s = model_spec_default();
            s.key = keys[i].key;
            s.key_type = type;
            s.key_number = 1;
            expect(&s, REALM_E_FORMAT, keys[i].key);
        }
    }
}

static void numbers_out_of_range_are_refused(void **state)
{
    (void)state;
    enum { INTS = 14 }; /* come first */
    static const struct {
        const char *key;
        double values[4]; /* 0 ends them but in front */
        int n;
    } keys[] = {
        {"llama.context_length", {0, 4194305, 2147483648.0}, 3},
        {"llama.embedding_length", {0, 65537}, 2},
        {"llama.block_count", {0, 513, 2147483648.0}, 3},
        {"llama.feed_forward_length", {0, 262145}, 2},
        {"llama.attention.head_count", {0, 513}, 2},
        {"llama.attention.head_count_kv", {0, 513}, 2},
        {"llama.attention.key_length", {0, 513}, 2},
        {"llama.rope.dimension_count", {0, 1, 513}, 3},
        {"llama.vocab_size", {0, 202, 204, 2097153}, 4},
        {"llama.rope.scaling.original_context_length", {0, 1, 4194305}, 3},
        {"llama.expert_count", {1025, 4294967296.0}, 2},
        {"llama.expert_used_count", {65, 4294967296.0}, 2},
        {"llama.expert_feed_forward_length", {0, 262145}, 2},
        {"llama.expert_shared_feed_forward_length", {262145}, 1},
        {"llama.attention.layer_norm_rms_epsilon", {0, -1, 1}, 3},
        {"llama.rope.freq_base", {0, -1, 1e13}, 3},
        {"llama.rope.scaling.factor", {0, -1, 1e7}, 3},
        {"llama.rope.scale_linear", {0, -1, 1e7}, 3},
        {"llama.rope.freq_base_swa", {0, -1, 1e13}, 3},
        {"llama.rope.scaling.attn_factor", {0, -1, 1e4}, 3},
        {"llama.rope.scaling.yarn_ext_factor", {0, 0.5, 2}, 3},
        {"llama.rope.scaling.yarn_beta_fast", {0, -1, 1e7}, 3},
        {"llama.rope.scaling.yarn_beta_slow", {0, -1, 1e7}, 3},
        {"llama.expert_weights_scale", {0, -1, 1e7}, 3},
    };
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        for (int j = 0; j < keys[i].n; j++) {
            struct model_spec s = model_spec_default();
            s.key = keys[i].key;
            s.key_type = i < INTS ? GGUF_U64 : GGUF_F32;
            s.key_number = keys[i].values[j];
            expect(&s, REALM_E_FORMAT, keys[i].key);
        }
        struct model_spec s = model_spec_default();
        s.key = keys[i].key;
        s.key_type = GGUF_F32;
        s.key_number = __builtin_nan("");
        expect(&s, REALM_E_FORMAT, s.key); // of an integer it is the wrong type
    }
}

static void missing_keys_are_named(void **state)
{
    (void)state;
    static const char *const keys[] = {
        "general.architecture",
        "llama.context_length",
        "llama.embedding_length",
        "llama.block_count",
        "llama.feed_forward_length",
        "llama.attention.head_count",
        "llama.attention.layer_norm_rms_epsilon",
    };
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        struct model_spec s = model_spec_default();
        s.key = keys[i];
        s.key_type = KEY_ABSENT;
        expect(&s, REALM_E_FORMAT, keys[i]);
    }
    struct model_spec s = model_spec_default();
    struct model_plan plan;
    struct realm_error err;
    s.key_type = KEY_ABSENT;
    s.key = "llama.vocab_size";
    assert_int_equal(plan_of(&s, &plan, &err), 0);
    s.key = "general.name";
    assert_int_equal(plan_of(&s, &plan, &err), 0);
    assert_string_equal(plan.config.name, "");
}

static void spoil(const char *key, int type, double number, const char *text, int status,
                  const char *part)
{
    struct model_spec s = model_spec_default();
    s.key = key;
    s.key_type = type;
    s.key_number = number;
    s.key_text = text;
    expect(&s, status, part);
}

static void what_we_do_not_run_is_named(void **state)
{
    (void)state;
    const int no = REALM_E_UNSUPPORTED;
    spoil("general.architecture", GGUF_STRING, 0, "mamba", no, "'mamba'");
    spoil("llama.rope.scaling.type", GGUF_STRING, 0, "dynamic", no, "'dynamic'");
    spoil("llama.attention.value_length", GGUF_U32, 32, NULL, no, "value_length");
    spoil("llama.rope.scaling.type", GGUF_STRING, 0, "none", 0, "");
    spoil("llama.rope.scaling.type", GGUF_STRING, 0, "linear", 0, "");
    spoil("llama.expert_count", GGUF_U32, 0, NULL, 0, "");
    spoil("llama.attention.value_length", GGUF_U32, 64, NULL, 0, "");
}

/* What a step's scratch is sized by, 64 times as large for nothing. */
static void experts_that_are_not_there_count_for_nothing(void **state)
{
    (void)state;
    static const char *const keys[] = {"llama.expert_used_count",
                                       "llama.expert_feed_forward_length",
                                       "llama.expert_shared_feed_forward_length"};
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        struct model_spec s = model_spec_default();
        struct model_plan plan;
        struct realm_error err;
        s.key = keys[i];
        s.key_type = GGUF_U32;
        s.key_number = 64;
        assert_int_equal(plan_of(&s, &plan, &err), 0);
        assert_int_equal(plan.config.experts_used, 0);
        assert_int_equal(plan.config.expert_ffn, 0);
        assert_int_equal(plan.config.shared_ffn, 0);
    }
}

/* What rows see follows from the architecture, how they are pooled from the file. */
static void encoders_say_what_they_are(void **state)
{
    (void)state;
    const int no = REALM_E_UNSUPPORTED;
    static const struct {
        const char *key;
        int type;
        double number;
        int status;
        const char *part;
    } keys[] = {
        {"bert.attention.causal", GGUF_BOOL, 1, REALM_E_UNSUPPORTED, "causal is true"},
        {"bert.attention.causal", GGUF_U32, 0, REALM_E_FORMAT, "causal"},
        {"bert.pooling_type", GGUF_U32, 2, 0, ""},
        {"bert.pooling_type", GGUF_U32, 4, REALM_E_UNSUPPORTED, "pooling_type is 4"},
        {"bert.pooling_type", GGUF_STRING, 0, REALM_E_FORMAT, "pooling_type"},
        {"bert.context_length", GGUF_U32, 8193, REALM_E_UNSUPPORTED, "up to 8192 tokens"},
        {"bert.context_length", GGUF_U32, 255, REALM_E_FORMAT, "position_embd.weight has shape"},
        {"bert.attention.layer_norm_epsilon", KEY_ABSENT, 0, REALM_E_FORMAT, "layer_norm_epsilon"},
        {"tokenizer.ggml.token_type_count", GGUF_U32, 3, REALM_E_FORMAT, "256x2x1x1, want 256x3"},
        {"tokenizer.ggml.token_type_count", GGUF_U32, 257, REALM_E_FORMAT, "257 types"},
    };
    struct model_spec s = model_spec_default();
    s.encoder = true;
    s.kv_heads = s.heads;
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        s.key = keys[i].key;
        s.key_type = keys[i].type;
        s.key_number = keys[i].number;
        expect(&s, keys[i].status, keys[i].part);
    }
    struct model_plan plan;
    struct realm_error err;
    s.key = "bert.pooling_type";
    s.key_type = GGUF_U32;
    s.key_number = 2;
    assert_int_equal(plan_of(&s, &plan, &err), 0);
    assert_true(plan.config.encoder && plan.config.pooling == REALM_POOL_CLS);
    assert_false(plan.config.tied);
    spoil("llama.attention.causal", GGUF_BOOL, 1, NULL, 0, "");
    spoil("llama.pooling_type", GGUF_U32, 3, NULL, 0, "");
    spoil("llama.pooling_type", GGUF_U32, 4, NULL, no, "pooling_type is 4");
}

static void numbers_must_fit_each_other(void **state)
{
    (void)state;
    const int bad = REALM_E_FORMAT;
    spoil("llama.attention.head_count", GGUF_U32, 6, NULL, bad, "256 does not split into 6");
    spoil("llama.attention.head_count_kv", GGUF_U32, 3, NULL, bad, "4 heads cannot share 3");
    spoil("llama.rope.dimension_count", GGUF_U32, 63, NULL, bad, "63");
    spoil("llama.rope.dimension_count", GGUF_U32, 66, NULL, bad, "66");
    spoil("llama.attention.key_length", GGUF_U32, 32, NULL, bad, "attn_q.weight has shape 256x256");
    spoil("llama.block_count", GGUF_U32, 3, NULL, bad, "blk.2.attn_norm.weight is missing");
    spoil("llama.block_count", GGUF_U32, 1, NULL, REALM_E_UNSUPPORTED, "blk.1.");
    spoil("llama.feed_forward_length", GGUF_U32, 256, NULL, bad, "want 256x256");
}

static void tensors_are_checked_by_name_type_and_shape(void **state)
{
    (void)state;
    static const char *const names[] = {
        "token_embd.weight",        "output_norm.weight",    "blk.0.attn_norm.weight",
        "blk.1.attn_q.weight",      "blk.0.attn_k.weight",   "blk.0.attn_v.weight",
        "blk.0.attn_output.weight", "blk.1.ffn_norm.weight", "blk.0.ffn_gate.weight",
        "blk.0.ffn_up.weight",      "blk.1.ffn_down.weight",
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct model_spec s = model_spec_default();
        s.tensor = names[i];
        s.tensor_rows = 48;
        expect(&s, REALM_E_FORMAT, names[i]);
        s.tensor_rows = 0;
        s.tensor_absent = true;
        expect(&s, REALM_E_FORMAT, names[i]);
    }
    struct model_spec s = model_spec_default();
    s.tensor = "blk.0.attn_norm.weight";
    s.tensor_type = DTYPE_F16 + 1;
    expect(&s, REALM_E_UNSUPPORTED, "blk.0.attn_norm.weight has type F16");
}

static void tensors_that_we_would_ignore_are_refused(void **state)
{
    (void)state;
    static const char *const names[] = {
        "blk.0.ffn_up.bias",
        "blk.0.ffn_up_exps.weight",
        "output_norm.bias",
        "blk.0.attn_q_norm.weight",
        "output.bias",
        "blk.2.attn_q.weight",
        "blk.00.ffn_up.weight",
        "blk. 0.ffn_up.weight",
        "blk.0x.ffn_up.weight",
        "blk.0.attn_q.weight2",
        "x",
        "blk.0.",
        "rope_freqs.weigh",
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct model_spec s = model_spec_default();
        s.extra_tensor = names[i];
        expect(&s, REALM_E_UNSUPPORTED, names[i]);
    }
}

static void a_vocabulary_is_no_model(void **state)
{
    (void)state;
    static const uint8_t empty[] = "GGUF\3\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    struct gguf_file *f;
    struct model_plan plan;
    struct realm_error err;
    assert_int_equal(gguf_file_from_memory(&f, empty, 24, &err), 0);
    assert_int_equal(model_plan(&plan, f, &err), REALM_E_UNSUPPORTED);
    assert_non_null(strstr(err.message, "no weights"));
    gguf_file_close(f);
}

/* ---- reading ---- */

struct gate {
    uint64_t calls, stop_at, last, total;
};

static bool count_calls(void *ctx, uint64_t bytes_read, uint64_t bytes_total)
{
    struct gate *g = ctx;
    assert_true(bytes_read > g->last && bytes_read <= bytes_total);
    g->last = bytes_read;
    g->total = bytes_total;
    return ++g->calls != g->stop_at;
}

static struct gguf_file *open_default(void)
{
    struct model_spec s = model_spec_default();
    size_t n;
    uint8_t *bytes = model_file_make(&s, &n);
    struct gguf_file *f;
    struct realm_error err;
    assert_int_equal(gguf_file_from_memory(&f, bytes, n, &err), 0);
    free(bytes);
    return f;
}

static void loading_can_be_cancelled_between_pieces(void **state)
{
    (void)state;
    struct gguf_file *f = open_default();
    struct realm_error err;
    struct model *m;
    struct gate g = {0};
    const struct model_load_options options = {.progress = count_calls, .ctx = &g};
    assert_int_equal(model_load(&m, f, &options, &err), 0);
    model_close(m);
    assert_int_equal(g.last, g.total);
    uint64_t calls = g.calls, live = mem_live();
    for (uint64_t i = 1; i <= calls; i++) {
        g = (struct gate){.stop_at = i};
        assert_int_equal(model_load(&m, f, &options, &err), REALM_E_CANCELLED);
        assert_null(m);
        assert_int_equal(g.calls, i);
        assert_int_equal(mem_live(), live);
    }
    gguf_file_close(f);
}

static void failing_allocations_leave_nothing(void **state)
{
    (void)state;
    struct gguf_file *f = open_default();
    uint64_t live = mem_live();
    bool done = false;
    for (uint64_t n = 1; !done; n++) {
        struct realm_error err;
        struct model *m;
        mem_fail_at(n, 0);
        int rc = model_load(&m, f, NULL, &err);
        mem_fail_at(0, 0);
        assert_true(rc == 0 || rc == REALM_E_NOMEM);
        model_close(m);
        assert_int_equal(mem_live(), live);
        done = rc == 0;
    }
    gguf_file_close(f);
}

/* A file that fails, or ends, at the n-th read. */
struct flaky {
    const uint8_t *data;
    size_t n;
    uint64_t reads, bad_at;
    bool ends;
};

static int flaky_open(void *ctx, const char *path, unsigned flags, int *fd, uint64_t *size)
{
    (void)path;
    (void)flags;
    *fd = 1;
    *size = ((struct flaky *)ctx)->n;
    return 0;
}

static int64_t flaky_read(void *ctx, int fd, void *dst, size_t n, uint64_t offset)
{
    (void)fd;
    struct flaky *f = ctx;
    if (++f->reads >= f->bad_at)
        return f->ends ? 0 : REALM_E_IO;
    size_t left = offset < f->n ? f->n - offset : 0, part = n < left ? n : left;
    part = part > 100000 ? 100000 : part; // short reads are no errors
    memcpy(dst, f->data + offset, part);
    return (int64_t)part;
}

static void flaky_close(void *ctx, int fd)
{
    (void)ctx;
    (void)fd;
}

static void reads_that_fail_or_come_short_are_errors(void **state)
{
    (void)state;
    struct model_spec s = model_spec_default();
    struct flaky flaky = {.bad_at = UINT64_MAX};
    struct realm_error err;
    uint8_t *bytes = model_file_make(&s, &flaky.n);
    flaky.data = bytes;
    const struct io io = {flaky_open, flaky_read, flaky_close, &flaky};
    struct gguf_file *f;
    struct model *m;
    assert_int_equal(gguf_file_open(&f, &io, "m.gguf", 0, &err), 0);
    uint64_t before = flaky.reads;
    assert_int_equal(model_load(&m, f, NULL, &err), 0);
    model_close(m);
    uint64_t reads = flaky.reads - before, live = mem_live();
    for (uint64_t i = 1; i <= reads; i++) {
        flaky.ends = i % 2;
        flaky.reads = 0;
        flaky.bad_at = i;
        assert_int_equal(model_load(&m, f, NULL, &err), REALM_E_IO);
        assert_null(m);
        assert_int_equal(mem_live(), live);
    }
    gguf_file_close(f);
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_model_has_what_its_file_says),
        cmocka_unit_test(many_threads_load_the_same),
        cmocka_unit_test(a_tied_output_shares_its_data),
        cmocka_unit_test(keys_of_a_wrong_type_are_refused),
        cmocka_unit_test(numbers_out_of_range_are_refused),
        cmocka_unit_test(missing_keys_are_named),
        cmocka_unit_test(what_we_do_not_run_is_named),
        cmocka_unit_test(experts_that_are_not_there_count_for_nothing),
        cmocka_unit_test(encoders_say_what_they_are),
        cmocka_unit_test(numbers_must_fit_each_other),
        cmocka_unit_test(tensors_are_checked_by_name_type_and_shape),
        cmocka_unit_test(tensors_that_we_would_ignore_are_refused),
        cmocka_unit_test(a_vocabulary_is_no_model),
        cmocka_unit_test(loading_can_be_cancelled_between_pieces),
        cmocka_unit_test(failing_allocations_leave_nothing),
        cmocka_unit_test(reads_that_fail_or_come_short_are_errors),
    };
    return cmocka_run_group_tests_name("load", tests, NULL, NULL);
}
