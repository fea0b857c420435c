/* Attention over pages of every type, against float64 from the definition.
 *
 * Each level that this machine has is measured; that they give the same bits is
 * checkkern's to show.  Bounds are derived as in vec_test.c; what a type rounds on
 * purpose is rounded here in the same way, but for the weights in bf16, which are
 * off by 2^-9 each. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/compiler.h"
#include "base/limits.h"
#include "kernels/cpu.h"
#include "kernels/kernels.h"
#include "noise.h"
#include "tensor/half.h"

#include <math.h>

static const double u = 0x1p-24;

enum { LEVELS_MAX = 5 };

static size_t levels(struct kernels table[LEVELS_MAX])
{
    static const unsigned masks[LEVELS_MAX] = {
        0,
        CPU_AVX2,
        CPU_AVX2 | CPU_AVX512,
        CPU_AVX2 | CPU_AVX512 | CPU_VNNI,
        CPU_AVX2 | CPU_AVX512 | CPU_VNNI | CPU_BF16,
    };
    size_t n = 0;
    for (size_t i = 0; i < LEVELS_MAX; i++)
        if (!(masks[i] & ~cpu_detect()))
            kernels_init(&table[n++], masks[i]);
    return n;
}

/* One sequence of one kv head; what was never written is NaN, and the pages
 * behind the last are not there. */
struct sequence {
    enum kv_type type;
    size_t dim, tokens;
    float *k, *v; // (tokens, dim), as pages have them
    void **pages;
};

/* Blocks of 32 of an int8 and a scale, which f16 may have rounded. */
static void round_blocks(float *x, size_t dim, bool half)
{
    for (size_t at = 0; at < dim; at += 32) {
        size_t end = at + 32 < dim ? at + 32 : dim;
        float most = 0;
        for (size_t i = at; i < end; i++)
            most = fmaxf(most, fabsf(x[i]));
        float scale = half ? f32_from_f16(f16_from_f32(most / 127)) : most / 127;
        float inverse = half ? 1 / scale : 127 / most;
        for (size_t i = at; i < end; i++)
            x[i] = (float)fmin(fmax(rint((double)(x[i] * inverse)), -127), 127) * scale;
    }
}

/* The values of one token as the type keeps them. */
static void round_as(enum kv_type type, float *x, size_t dim)
{
    for (size_t i = 0; i < dim; i++)
        if (type == KV_F16)
            x[i] = f32_from_f16(f16_from_f32(x[i]));
        else if (type == KV_BF16)
            x[i] = f32_from_bf16(bf16_from_f32(x[i]));
    if (type == KV_Q8_0)
        round_blocks(x, dim, true);
}

/* A query as it meets such keys. */
static void round_query(enum kv_type type, const float *q, float scale, size_t dim, float *out)
{
    for (size_t i = 0; i < dim; i++)
        out[i] = q[i] * scale;
    if (type == KV_BF16)
        round_as(type, out, dim);
    if (type == KV_Q8_0)
        round_blocks(out, dim, false);
}

static void sequence_open(struct sequence *s, const struct kernels *table, enum kv_type type,
                          size_t dim, size_t tokens)
{
    size_t n_pages = (tokens + 15) / 16, keys = kv_keys_bytes(type, dim);
    size_t bytes = keys + kv_values_bytes(type, dim);
    *s = (struct sequence){.type = type, .dim = dim, .tokens = tokens};
    s->k = noise_new(tokens * dim);
    s->v = noise_new(tokens * dim);
    s->pages = calloc(n_pages + 4, sizeof(*s->pages));
    assert_non_null(s->pages);
    for (size_t i = 0; i < n_pages; i++) {
        s->pages[i] = aligned_alloc(KERN_ALIGN, bytes);
        assert_non_null(s->pages[i]);
        memset(s->pages[i], 0xff, bytes);
    }
    for (size_t t = 0; t < tokens; t++) {
        char *page = s->pages[t / 16];
        table->kv_write[type](page, page + keys, s->k + t * dim, s->v + t * dim, dim, t % 16);
        round_as(type, s->k + t * dim, dim);
        round_as(type, s->v + t * dim, dim);
    }
}

static void sequence_close(struct sequence *s)
{
    for (size_t i = 0; i < (s->tokens + 15) / 16; i++)
        free(s->pages[i]);
    free(s->pages), free(s->k), free(s->v);
}

/* The result of one row from the definition, and how far floats may be from it. */
static void reference(const struct sequence *s, const float *q, float scale, size_t first,
                      size_t last, double *out, double *bound)
{
    size_t n = last - first + 1;
    double *score = calloc(n, sizeof(*score)), worst = 0, most = -INFINITY, least = INFINITY;
    float rounded[MODEL_HEAD_DIM_MAX];
    assert_non_null(score);
    round_query(s->type, q, scale, s->dim, rounded);
    for (size_t i = 0; i < n; i++) {
        double size = 0;
        for (size_t d = 0; d < s->dim; d++) {
            double term = (double)rounded[d] * (double)s->k[(first + i) * s->dim + d];
            score[i] += term;
            size += fabs(term);
        }
        worst = fmax(worst, size * (double)(s->dim + 1) * u);
        most = fmax(most, score[i]);
        least = fmin(least, score[i]);
    }
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += exp(score[i] - most);
    // a weight: its score, the differences to the maxima, exp at each of them
    double weight = worst + (most - least) * u + 4 * u;
    double relative = 2 * weight + 2 * u * (double)(n + n / ATTN_BLOCK_KEYS * 6 + 16);
    if (s->type == KV_BF16) // and the weight itself, in o and in the sum
        relative += 1.01 * 2 * 0x1p-9;
    for (size_t d = 0; d < s->dim; d++) {
        double o = 0, size = 0;
        for (size_t i = 0; i < n; i++) {
            double term = exp(score[i] - most) / sum * (double)s->v[(first + i) * s->dim + d];
            o += term;
            size += fabs(term);
        }
        out[d] = o;
        bound[d] = relative * size;
    }
    free(score);
}

/* attn over all segments of the rows, then merged into out (rows, padded dim). */
static void attend(const struct kernels *table, const struct sequence *s, const float *q,
                   const uint32_t *pos, size_t rows, uint32_t window, float *out)
{
    size_t padded = (s->dim + 15) / 16 * 16;
    size_t n = (s->tokens + ATTN_SEGMENT_KEYS - 1) / ATTN_SEGMENT_KEYS;
    float *m = noise_new(n * rows), *l = noise_new(n * rows * 16);
    float *o = noise_new(n * rows * padded);
    for (size_t i = 0; i < n; i++) {
        uint32_t begin = (uint32_t)i * ATTN_SEGMENT_KEYS, end = begin + ATTN_SEGMENT_KEYS;
        struct attn_item item = {
            .q = q,
            .q_stride = s->dim,
            .pos = pos,
            .rows = rows,
            .dim = s->dim,
            .scale = 0.3f,
            .window = window,
            .key_begin = begin,
            .key_end = end < s->tokens ? end : (uint32_t)s->tokens,
            .pages = (const void *const *)s->pages,
            .keys_at = 0,
            .values_at = kv_keys_bytes(s->type, s->dim),
            .m = m + i * rows,
            .l = l + i * rows * 16,
            .o = o + i * rows * padded,
            .o_stride = padded,
        };
        table->attn[s->type](&item);
    }
    for (size_t r = 0; r < rows; r++)
        table->attn_merge(out + r * padded, s->dim, n, m + r, rows, l + r * 16, rows * 16,
                          o + r * padded, rows * padded);
    free(m), free(l), free(o);
}

static void attend_and_compare(const struct kernels *table, enum kv_type type, size_t dim,
                               size_t tokens, size_t rows, uint32_t window)
{
    struct sequence s;
    size_t padded = (dim + 15) / 16 * 16;
    sequence_open(&s, table, type, dim, tokens);
    float *q = noise_new(rows * dim), *out = noise_new(rows * padded);
    uint32_t *pos = calloc(rows, sizeof(*pos));
    double want[MODEL_HEAD_DIM_MAX], bound[MODEL_HEAD_DIM_MAX];
    assert_non_null(pos);
    for (size_t r = 0; r < rows; r++)
        pos[r] = r ? (uint32_t)uniform(0, (double)tokens) : (uint32_t)tokens - 1;
    attend(table, &s, q, pos, rows, window, out);
    for (size_t r = 0; r < rows; r++) {
        size_t first = window && pos[r] >= window ? pos[r] - window + 1 : 0;
        reference(&s, q + r * dim, 0.3f, first, pos[r], want, bound);
        for (size_t d = 0; d < dim; d++)
            assert_true(fabs((double)out[r * padded + d] - want[d]) <= bound[d]);
        for (size_t d = dim; d < padded; d++)
            assert_true(out[r * padded + d] == 0);
    }
    sequence_close(&s);
    free(q), free(out), free(pos);
}

static void attention_is_near(void **state)
{
    (void)state;
    static const struct {
        size_t dim, tokens, rows;
        uint32_t window;
    } shapes[] = {
        {64, 1, 1, 0},    {64, 300, 8, 0},   {8, 70, 5, 0},     {80, 129, 6, 0},
        {128, 64, 3, 0},  {5, 33, 7, 0},     {64, 1500, 4, 0},  {40, 2100, 2, 0},
        {64, 300, 8, 20}, {16, 2000, 9, 64}, {96, 1100, 13, 1}, {512, 90, 2, 0},
    };
    struct kernels k[LEVELS_MAX];
    for (size_t level = levels(k); level-- > 0;)
        for (int type = 0; type < KV_TYPES; type++)
            for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
                attend_and_compare(&k[level], (enum kv_type)type, shapes[i].dim, shapes[i].tokens,
                                   shapes[i].rows, shapes[i].window);
}

/* A row's result must not change with the rows beside it. */
static void compare_rows(const struct kernels *k, enum kv_type type)
{
    enum { TOKENS = 200, ROWS = 19, DIM = 40, PADDED = 48 };
    struct sequence s;
    sequence_open(&s, k, type, DIM, TOKENS);
    float *q = noise_new(ROWS * DIM), together[ROWS * PADDED], alone[PADDED];
    uint32_t pos[ROWS];
    for (size_t r = 0; r < ROWS; r++)
        pos[r] = (uint32_t)(r * 10 + r % 3); // spans begin and end at odd keys, too
    for (size_t rows = 1; rows <= ROWS; rows++) {
        attend(k, &s, q, pos, rows, 33, together);
        for (size_t r = 0; r < rows; r++) {
            attend(k, &s, q + r * DIM, pos + r, 1, 33, alone);
            assert_memory_equal(alone, together + r * PADDED, sizeof(alone));
        }
    }
    sequence_close(&s);
    free(q);
}

static void rows_do_not_touch_each_other(void **state)
{
    (void)state;
    struct kernels k[LEVELS_MAX];
    for (size_t level = levels(k); level-- > 0;)
        for (int type = 0; type < KV_TYPES; type++)
            compare_rows(&k[level], (enum kv_type)type);
}

/* What a page is copied by when a sequence takes the beginning of another's. */
static void the_first_values_are_enough(void **state)
{
    (void)state;
    enum { DIM = 40, PADDED = 48 };
    struct kernels k[LEVELS_MAX];
    kernels_init(&k[0], 0);
    for (int type = 0; type < KV_TYPES; type++) {
        const size_t keys = kv_keys_bytes((enum kv_type)type, DIM);
        struct sequence s;
        sequence_open(&s, &k[0], (enum kv_type)type, DIM, KV_PAGE_TOKENS);
        float *q = noise_new(DIM), want[PADDED], got[PADDED];
        uint8_t *all = s.pages[0], *copy = aligned_alloc(KERN_ALIGN, 2 * KERN_ALIGN * PADDED * 4);
        assert_non_null(copy);
        for (uint32_t n = 1; n <= KV_PAGE_TOKENS; n++) {
            const uint32_t pos = n - 1;
            const size_t first = kv_values_first((enum kv_type)type, DIM, n);
            assert_true(first <= kv_values_bytes((enum kv_type)type, DIM));
            s.pages[0] = all;
            attend(&k[0], &s, q, &pos, 1, 0, want);
            memset(copy, 0xff, 2 * KERN_ALIGN * PADDED * 4);
            memcpy(copy, all, keys + first);
            s.pages[0] = copy;
            attend(&k[0], &s, q, &pos, 1, 0, got);
            assert_memory_equal(want, got, sizeof(want));
        }
        s.pages[0] = all;
        sequence_close(&s);
        free(copy), free(q);
    }
}

static void a_row_without_keys_gives_zeros(void **state)
{
    (void)state;
    struct kernels k[LEVELS_MAX];
    for (size_t level = levels(k); level-- > 0;) {
        const float m[2] = {-INFINITY, -INFINITY}, l[32] = {0}, o[32] = {0};
        float out[16], zero[16] = {0};
        memset(out, 0xff, sizeof(out));
        k[level].attn_merge(out, 10, 2, m, 1, l, 16, o, 16);
        assert_memory_equal(out, zero, sizeof(out));
    }
}

/* Numbers gone bad must reach the logits, where they are looked for. */
static void compare_bad(const struct kernels *k, enum kv_type type, size_t tokens, size_t where,
                        float bad)
{
    enum { DIM = 40, PADDED = 48 };
    struct sequence s;
    size_t keys = kv_keys_bytes(type, DIM);
    sequence_open(&s, k, type, DIM, tokens);
    float *q = noise_new(DIM), *one = noise_new(2 * DIM), out[PADDED];
    uint32_t pos = (uint32_t)tokens - 1;
    char *page = s.pages[pos / 16];
    float *at[3] = {one, one + DIM, q};
    at[where][DIM - 1] = bad;
    k->kv_write[type](page, page + keys, one, one + DIM, DIM, pos % 16);
    attend(k, &s, q, &pos, 1, 0, out);
    assert_false(isfinite(out[DIM - 1]));
    sequence_close(&s);
    free(q), free(one);
}

static void bad_numbers_are_seen(void **state)
{
    (void)state;
    struct kernels k[LEVELS_MAX];
    for (size_t level = levels(k); level-- > 0;)
        for (int type = 0; type < KV_TYPES; type++)
            for (size_t tokens = 1; tokens <= 80; tokens += 79)
                for (size_t where = 0; where < 3; where++) {
                    compare_bad(&k[level], (enum kv_type)type, tokens, where, NAN);
                    if (where > 0) // of a key it can be that nobody looks at it
                        compare_bad(&k[level], (enum kv_type)type, tokens, where, INFINITY);
                }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attention_is_near),
        cmocka_unit_test(rows_do_not_touch_each_other),
        cmocka_unit_test(the_first_values_are_enough),
        cmocka_unit_test(a_row_without_keys_gives_zeros),
        cmocka_unit_test(bad_numbers_are_seen),
    };
    return cmocka_run_group_tests_name("attention", tests, NULL, NULL);
}
