/* test/unit/model/invariance_test.c - logits and hidden state of a row are the same
 * bits alone and in every batch, for every cut of the prompt, on any number of
 * threads, at each instruction set.  An encoder's texts are not cut, and have no logits.
 *
 *   invariance [FILE...]   of models in GGUF files instead
 *
 * With REALM_TEST_REORDER=1 products of more than one token add their two halves
 * separately: then this test must fail. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "kernels/cpu.h"
#include "kernels/panel.h"
#include "model/forward_internal.h"
#include "model_file.h"

enum {
    STREAMS = 4, /* of tokens; stream 0 is the one that is watched */
    LENGTH = 70,
    OTHER_LENGTH = 8, /* of streams 1 to 3 */
    OTHERS_MAX = 63,
    ROWS_MAX = 2304,
    LONG = 2100,
    RANDOM_CUTS = 2,
};

struct world {
    struct model *model;
    struct pool *pool;
    struct kernels kernels;
    struct forward *forward;
    struct kv_budget budget;
    struct kv_pool *kv;
    float *want[STREAMS];   /* (positions, vocab): each stream alone, in one step */
    float *hidden[STREAMS]; /* (positions, width): the same */
};

/* ---- products that add in another order ---- */

static struct kernels real;

static void reordered(enum gemm_type type, float *y, size_t y_stride, const void *panels,
                      size_t n_panels, const void *acts, size_t k, size_t tokens)
{
    enum act_kind kind = act_kind_of(type);
    size_t unit = kind == ACT_Q8_256 ? 256 : 128, half = k / 2 / unit * unit;
    if (tokens == 1 || !half) {
        real.gemm[type](y, y_stride, panels, n_panels, acts, k, tokens);
        return;
    }
    for (size_t t0 = 0, width; t0 < tokens; t0 += width) {
        width = tile_width(t0, tokens);
        const uint8_t *tile = (const uint8_t *)acts + t0 * act_bytes(kind, k);
        for (size_t p = 0; p < n_panels; p++) {
            const uint8_t *panel = (const uint8_t *)panels + p * panel_bytes(type, k);
            float a[TILE_TOKENS * PANEL_ROWS], b[TILE_TOKENS * PANEL_ROWS];
            real.gemm[type](a, PANEL_ROWS, panel, 1, tile, half, width);
            real.gemm[type](b, PANEL_ROWS, panel + panel_bytes(type, half), 1,
                            tile + width * act_at(kind, half), k - half, width);
            for (size_t i = 0; i < width * PANEL_ROWS; i++)
                y[(t0 + i / PANEL_ROWS) * y_stride + p * PANEL_ROWS + i % PANEL_ROWS] = a[i] + b[i];
        }
    }
}

#define REORDERED(type)                                                                 \
    static void reordered_##type(float *y, size_t stride, const void *panels, size_t n, \
                                 const void *acts, size_t k, size_t tokens)             \
    {                                                                                   \
        reordered(GEMM_##type, y, stride, panels, n, acts, k, tokens);                  \
    }
#define FLOATS(X) X(F32) X(F16) X(BF16)
#define BY_32(X) X(Q8_0) X(Q4_0) X(Q4_1) X(Q5_0) X(Q5_1) X(IQ4_NL) X(MXFP4)
#define BY_256(X) X(Q2_K) X(Q3_K) X(Q4_K) X(Q5_K) X(Q6_K) X(IQ4_XS)
#define TYPES(X) FLOATS(X) BY_32(X) BY_256(X)
TYPES(REORDERED)

static void reorder(struct kernels *k)
{
    real = *k;
#define REORDER(type) k->gemm[GEMM_##type] = reordered_##type;
    TYPES(REORDER)
}

/* ---- a model and its surroundings ---- */

static struct model *load(struct gguf_file *f)
{
    struct model *m;
    struct realm_error err = {0};
    if (model_load(&m, f, NULL, &err))
        fail_msg("%s", err.message);
    gguf_file_close(f);
    return m;
}

static struct model *make(const struct model_spec *s)
{
    size_t n;
    uint8_t *bytes = model_file_make(s, &n);
    struct gguf_file *f;
    struct realm_error err = {0};
    assert_int_equal(gguf_file_from_memory(&f, bytes, n, &err), 0);
    free(bytes);
    return load(f);
}

static struct model *open_file(const char *path)
{
    struct gguf_file *f;
    struct realm_error err = {0};
    if (gguf_file_open(&f, io_system(), path, 0, &err))
        fail_msg("%s", err.message);
    return load(f);
}

/* The model belongs to the world from here on. */
static void open_world(struct world *w, struct model *m, enum kv_type kv, unsigned cpu,
                       unsigned threads, size_t part_bytes)
{
    memset(w, 0, sizeof(*w));
    w->model = m;
    kernels_init(&w->kernels, cpu);
    if (getenv("REALM_TEST_REORDER"))
        reorder(&w->kernels);
    assert_int_equal(pool_open(&w->pool, threads), 0);
    const struct model_config *c = &w->model->config;
    assert_int_equal(forward_open_sized(&w->forward, w->model, w->pool, &w->kernels,
                                        forward_rows_max(c), part_bytes),
                     0);
    kv_budget_init(&w->budget, UINT64_MAX);
    const struct kv_shape shape = forward_kv_shape(c, kv);
    assert_int_equal(kv_pool_open(&w->kv, &shape, &w->budget), 0);
}

static void close_world(struct world *w)
{
    for (size_t i = 0; i < STREAMS; i++) {
        free(w->want[i]);
        free(w->hidden[i]);
    }
    kv_pool_close(w->kv);
    forward_close(w->forward);
    pool_close(w->pool);
    model_close(w->model);
}

static uint32_t token_of(const struct world *w, size_t stream, uint32_t pos)
{
    uint32_t r[4];
    rng_philox(99, stream, pos, r);
    return r[0] % w->model->config.vocab;
}

/* A sequence whose pages are full of NaN: nothing may be read that was not written. */
static struct kv_seq *open_seq(struct world *w, uint32_t tokens)
{
    struct kv_seq *s;
    assert_int_equal(kv_seq_open(&s, w->kv), 0);
    assert_int_equal(kv_seq_reserve(s, tokens), 0);
    for (uint32_t pos = 0; pos < tokens; pos += KV_PAGE_TOKENS)
        memset(kv_seq_page(s, pos), 0xff, kv_page_bytes(w->kv));
    return s;
}

struct batch {
    struct forward_row rows[ROWS_MAX];
    size_t stream[ROWS_MAX];
    size_t n, wanted;
};

static void add_rows(const struct world *w, struct batch *b, struct kv_seq *s, size_t stream,
                     uint32_t pos, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        assert_true(b->n < ROWS_MAX);
        bool wanted = b->wanted < FORWARD_LOGITS_MAX && !w->model->config.encoder;
        b->rows[b->n] =
            (struct forward_row){s, token_of(w, stream, pos + i), pos + i, wanted, true};
        b->stream[b->n++] = stream;
        b->wanted += wanted;
    }
}

static void run(struct world *w, struct batch *b)
{
    size_t bad;
    assert_int_equal(forward_step(w->forward, b->rows, b->n, NULL, NULL, &bad), 0);
}

/* Most rows want both, some one alone; others each time. */
static void vary_wishes(struct batch *b)
{
    static unsigned turn;
    turn++;
    for (size_t i = 0; i < b->n; i++) {
        b->rows[i].wants_logits &= (i + turn) % 4 != 0;
        b->rows[i].wants_hidden = (i + turn) % 4 != 1;
    }
}

/* Runs the batch, compares every row with what it wanted, and empties it. */
static void run_and_compare(struct world *w, struct batch *b, const char *what)
{
    size_t vocab = w->model->config.vocab, width = w->model->config.width, j = 0;
    vary_wishes(b);
    run(w, b);
    for (size_t i = 0; i < b->n; i++) {
        const float *hidden = w->hidden[b->stream[i]] + b->rows[i].pos * width;
        if (b->rows[i].wants_hidden &&
            memcmp(forward_hidden(w->forward, i), hidden, width * sizeof(float)) != 0)
            fail_msg("%s: stream %zu, position %u has another hidden state than alone", what,
                     b->stream[i], b->rows[i].pos);
        if (!b->rows[i].wants_logits)
            continue;
        const float *want = w->want[b->stream[i]] + b->rows[i].pos * vocab;
        if (memcmp(forward_logits(w->forward, j++), want, vocab * sizeof(float)) != 0)
            fail_msg("%s: stream %zu, position %u has other logits than alone", what, b->stream[i],
                     b->rows[i].pos);
    }
    b->n = b->wanted = 0;
}

/* Of a sequence that may be cut. */
static uint32_t stream_length(size_t stream)
{
    return stream ? OTHER_LENGTH : LENGTH;
}

static void make_reference(struct world *w, size_t stream, uint32_t length)
{
    static struct batch b;
    size_t vocab = w->model->config.vocab, width = w->model->config.width;
    struct kv_seq *s = open_seq(w, length);
    w->want[stream] = malloc(length * vocab * sizeof(float));
    w->hidden[stream] = malloc(length * width * sizeof(float));
    assert_true(w->want[stream] && w->hidden[stream]);
    b.n = b.wanted = 0;
    add_rows(w, &b, s, stream, 0, length);
    run(w, &b);
    for (uint32_t i = 0; i < length; i++) {
        if (!w->model->config.encoder)
            memcpy(w->want[stream] + i * vocab, forward_logits(w->forward, i),
                   vocab * sizeof(float));
        memcpy(w->hidden[stream] + i * width, forward_hidden(w->forward, i), width * sizeof(float));
    }
    kv_seq_close(s);
}

static void compare_chunks(struct world *w, uint32_t chunk)
{
    static struct batch b;
    char what[64];
    snprintf(what, sizeof(what), "alone in chunks of %u", chunk);
    struct kv_seq *s = open_seq(w, LENGTH);
    for (uint32_t pos = 0; pos < LENGTH; pos += chunk) {
        add_rows(w, &b, s, 0, pos, chunk < LENGTH - pos ? chunk : LENGTH - pos);
        run_and_compare(w, &b, what);
    }
    kv_seq_close(s);
}

/* In chunks of 1 to 33 as the seed has them, beside the other streams in theirs. */
static void compare_at_random(struct world *w, uint64_t seed)
{
    static struct batch b;
    struct kv_seq *seqs[STREAMS];
    uint32_t at[STREAMS] = {0}, r[4], drawn = 0;
    char what[64];
    snprintf(what, sizeof(what), "in random chunks, seed %llu", (unsigned long long)seed);
    for (size_t i = 0; i < STREAMS; i++)
        seqs[i] = open_seq(w, stream_length(i));
    while (at[0] < LENGTH) {
        rng_philox(seed, 7, drawn++, r);
        for (size_t j = 0; j < STREAMS; j++) {
            size_t i = (j + r[3]) % STREAMS;
            uint32_t left = stream_length(i) - at[i], n = 1 + (r[0] >> 8 * i & 0xff) % 33;
            if (!left || (i && r[1] >> i & 1)) // its turn passes
                continue;
            n = n < left ? n : left;
            add_rows(w, &b, seqs[i], i, at[i], n);
            at[i] += n;
        }
        run_and_compare(w, &b, what);
    }
    for (size_t i = 0; i < STREAMS; i++)
        kv_seq_close(seqs[i]);
}

/* The watched sequence in chunks of 5, among others that come one after the
 * other with prompts of 1 to 5 tokens and go on for two more. */
static void compare_with_others(struct world *w, size_t others)
{
    enum { CHUNK = 5, STEPS = LENGTH / CHUNK };
    static struct batch b;
    struct kv_seq *watched = open_seq(w, LENGTH), *seqs[OTHERS_MAX];
    char what[64];
    snprintf(what, sizeof(what), "with %zu others", others);
    for (size_t i = 0; i < others; i++)
        seqs[i] = open_seq(w, OTHER_LENGTH);
    for (size_t step = 0; step < STEPS; step++) {
        for (size_t i = 0; i < others; i++) {
            size_t first = i % (STEPS - 2), prompt = 1 + i * 2 % 5;
            if (i == step * 3 % others)
                add_rows(w, &b, watched, 0, (uint32_t)step * CHUNK, CHUNK);
            if (step == first)
                add_rows(w, &b, seqs[i], 1 + i % 3, 0, (uint32_t)prompt);
            else if (step > first && step <= first + 2)
                add_rows(w, &b, seqs[i], 1 + i % 3, (uint32_t)(prompt + step - first - 1), 1);
        }
        run_and_compare(w, &b, what);
    }
    for (size_t i = 0; i < others; i++)
        kv_seq_close(seqs[i]);
    kv_seq_close(watched);
}

static const unsigned levels[] = {
    0,
    CPU_AVX2,
    CPU_AVX2 | CPU_AVXVNNI,
    CPU_AVX2 | CPU_AVX512,
    CPU_AVX2 | CPU_AVX512 | CPU_VNNI,
    CPU_AVX2 | CPU_AVX512 | CPU_VNNI | CPU_BF16,
};

static uint32_t length_of(size_t stream)
{
    static const uint32_t of_texts[STREAMS] = {LENGTH, OTHER_LENGTH, OTHER_LENGTH - 3, 1};
    return of_texts[stream];
}

/* The watched text among others, all of them whole. */
static void compare_texts(struct world *w, size_t others)
{
    static struct batch b;
    struct kv_seq *seqs[OTHERS_MAX + 1];
    char what[64];
    snprintf(what, sizeof(what), "with %zu other texts", others);
    for (size_t i = 0; i <= others; i++) {
        size_t stream = i == others / 2 ? 0 : 1 + i % 3;
        seqs[i] = open_seq(w, length_of(stream));
        add_rows(w, &b, seqs[i], stream, 0, length_of(stream));
    }
    run_and_compare(w, &b, what);
    for (size_t i = 0; i <= others; i++)
        kv_seq_close(seqs[i]);
}

static void compare_level(struct model *m, enum kv_type kv, unsigned level)
{
    static const uint32_t chunks[] = {1, 5, 64, LENGTH};
    static const size_t others[] = {1, 2, 7, 31, 63};
    bool whole = m->config.encoder;
    struct world w;
    open_world(&w, m, kv, level, 1, 32 << 20);
    for (size_t i = 0; i < STREAMS; i++)
        make_reference(&w, i, whole ? length_of(i) : stream_length(i));
    for (unsigned threads = 1; threads <= 2; threads++) {
        if (threads == 2) {
            forward_close(w.forward);
            pool_close(w.pool);
            assert_int_equal(pool_open(&w.pool, threads), 0);
            assert_int_equal(forward_open(&w.forward, w.model, w.pool, &w.kernels,
                                          forward_rows_max(&w.model->config)),
                             0);
        }
        for (size_t i = 0; !whole && i < sizeof(chunks) / sizeof(chunks[0]); i++)
            compare_chunks(&w, chunks[i]);
        for (uint64_t seed = 0; !whole && seed < RANDOM_CUTS; seed++)
            compare_at_random(&w, threads * 100 + seed);
        for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
            if (whole)
                compare_texts(&w, others[i]);
            else
                compare_with_others(&w, others[i]);
        }
    }
    close_world(&w);
}

static void compare_levels(const struct model_spec *s, enum kv_type kv, size_t first)
{
    for (size_t i = first; i < sizeof(levels) / sizeof(levels[0]); i++) {
        if (levels[i] & ~cpu_detect())
            print_message("# %s: this processor has no %s\n", dtype_info(s->type)->name,
                          cpu_level_name(levels[i]));
        else
            compare_level(make(s), kv, levels[i]);
    }
}

static void a_type_is_invariant(void **state)
{
    struct model_spec s = model_spec_default();
    s.type = *(const enum dtype *)*state;
    s.own_output = s.type == DTYPE_Q4_K;
    compare_levels(&s, s.type == DTYPE_F32 ? KV_F32 : KV_F16, 0);
}

/* Scalar code takes each row alone: there is nothing that could differ. */
static void keys_and_values_are_invariant(void **state)
{
    (void)state;
    struct model_spec s = model_spec_default();
    s.type = DTYPE_Q8_0;
    compare_levels(&s, KV_BF16, 1);
    compare_levels(&s, KV_Q8_0, 1);
}

/* The same products; what they see is another matter. */
static void an_encoder_is_invariant(void **state)
{
    (void)state;
#define DTYPE(type) DTYPE_##type,
    static const enum dtype types[] = {TYPES(DTYPE)};
    struct model_spec s = model_spec_default();
    s.encoder = true;
    s.kv_heads = s.heads;
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        s.type = types[i];
        compare_level(make(&s), KV_F16, cpu_detect());
    }
    s.type = DTYPE_Q4_K;
    compare_level(make(&s), KV_F16, 0);
}

/* More keys than a segment, and partial results for some rows at a time alone.  The two
 * are the same model. */
static void compare_long(struct model *one, struct model *same, enum kv_type kv)
{
    static struct batch b;
    struct world w, v;
    open_world(&w, one, kv, cpu_detect(), 1, 32 << 20);
    open_world(&v, same, kv, cpu_detect(), 3, 1 << 16);
    size_t bytes = w.model->config.vocab * sizeof(float);
    float *want = malloc(bytes);
    assert_non_null(want);
    struct kv_seq *alone = open_seq(&w, LONG), *other = open_seq(&v, LONG),
                  *third = open_seq(&v, LONG);
    for (uint32_t pos = 0; pos < LONG; pos++) {
        bool last = pos + 60 >= LONG || (pos > 1000 && pos < 1040);
        add_rows(&w, &b, alone, 0, pos, 1);
        if (b.n < 250 && !last)
            continue;
        /* w: 250 rows at once, later one by one; v: two sequences, other chunks. */
        run(&w, &b);
        size_t n = b.n;
        memcpy(want, forward_logits(w.forward, b.wanted - 1), bytes);
        b.n = b.wanted = 0;
        for (size_t i = 0; i < n; i += 97) {
            uint32_t m = (uint32_t)(n - i < 97 ? n - i : 97), at = pos + 1 - (uint32_t)(n - i);
            add_rows(&v, &b, other, 0, at, m);
            add_rows(&v, &b, third, 0, at, m);
            run(&v, &b);
            if (i + 97 >= n) {
                assert_memory_equal(forward_logits(v.forward, b.wanted - 1), want, bytes);
                assert_memory_equal(forward_logits(v.forward, m - 1), want, bytes);
            }
            b.n = b.wanted = 0;
        }
    }
    kv_seq_close(alone);
    kv_seq_close(other);
    kv_seq_close(third);
    close_world(&w);
    close_world(&v);
    free(want);
}

/* A text of more than a segment, alone and behind another, in several rounds. */
static void compare_long_text(struct model *one, struct model *same)
{
    static struct batch b;
    struct world w, v;
    open_world(&w, one, KV_F16, cpu_detect(), 1, 32 << 20);
    open_world(&v, same, KV_F16, cpu_detect(), 3, 1 << 16);
    uint32_t length = w.model->config.context - OTHER_LENGTH;
    size_t width = w.model->config.width;
    struct kv_seq *alone = open_seq(&w, length), *first = open_seq(&v, OTHER_LENGTH),
                  *second = open_seq(&v, length);
    assert_true(length > ATTN_SEGMENT_KEYS);
    add_rows(&w, &b, alone, 0, 0, length);
    run(&w, &b);
    b.n = b.wanted = 0;
    add_rows(&v, &b, first, 1, 0, OTHER_LENGTH);
    add_rows(&v, &b, second, 0, 0, length);
    run(&v, &b);
    b.n = b.wanted = 0;
    for (uint32_t i = 0; i < length; i++)
        assert_memory_equal(forward_hidden(v.forward, OTHER_LENGTH + i),
                            forward_hidden(w.forward, i), width * sizeof(float));
    kv_seq_close(alone);
    kv_seq_close(first);
    kv_seq_close(second);
    close_world(&w);
    close_world(&v);
}

/* Odd shapes: heads of 8, ffn and vocabulary no multiple of 16. */
static void long_contexts_are_invariant(void **state)
{
    (void)state;
    struct model_spec s = model_spec_default();
    s.width = 40;
    s.ffn = 1068;
    s.heads = 5;
    s.kv_heads = 1;
    s.vocab = 37;
    s.context = 4096;
    for (int kv = KV_F16; kv < KV_TYPES; kv++)
        compare_long(make(&s), make(&s), (enum kv_type)kv);
    s.encoder = true;
    s.kv_heads = s.heads;
    s.context = LONG;
    compare_long_text(make(&s), make(&s));
}

static void a_file_is_invariant(void **state)
{
    const char *path = *state; // its context is LONG or more
    struct model *m = open_file(path);
    bool encoder = m->config.encoder;
    compare_level(m, KV_F16, cpu_detect());
    if (encoder)
        compare_long_text(open_file(path), open_file(path));
    else
        compare_long(open_file(path), open_file(path), KV_F16);
}

static int compare_files(char **paths, size_t n)
{
    int failed = 0;
    for (size_t i = 0; i < n; i++) {
        const struct CMUnitTest test[] = {{paths[i], a_file_is_invariant, NULL, NULL, paths[i]}};
        failed += cmocka_run_group_tests_name(paths[i], test, NULL, NULL);
    }
    return failed;
}

int main(int argc, char **argv)
{
    if (argc > 1)
        return compare_files(argv + 1, (size_t)argc - 1);
    static enum dtype types[] = {TYPES(DTYPE)};
    size_t n = 0;
#define TEST(type) {#type, a_type_is_invariant, NULL, NULL, &types[n++]},
    const struct CMUnitTest tests[] = {
        TYPES(TEST) cmocka_unit_test(keys_and_values_are_invariant),
        cmocka_unit_test(an_encoder_is_invariant),
        cmocka_unit_test(long_contexts_are_invariant),
    };
    int failed = cmocka_run_group_tests_name("invariance", tests, NULL, NULL);
    /* Another order must show with every type. */
    if (getenv("REALM_TEST_REORDER"))
        return failed >= (int)(sizeof(types) / sizeof(types[0]));
    return failed;
}
