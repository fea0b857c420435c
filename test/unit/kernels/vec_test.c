/* The entries that are no matrix products, against float64 from the definition.
 *
 * Each level that this machine has is measured; that they give the same bits is
 * checkkern's to show.  Bounds are derived: u is half a unit in the last place of
 * 1, and a chain of n float operations is off by at most n u of the sum of its
 * terms' magnitudes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/limits.h"
#include "base/rng.h"
#include "kernels/cpu.h"
#include "kernels/kernels.h"
#include "kernels/vec_init.h"
#include "tensor/half.h"

#include <math.h>

static const double u = 0x1p-24;

enum { LEVELS_MAX = 3 };

static size_t levels(struct kernels table[LEVELS_MAX])
{
    unsigned cpu = cpu_detect();
    size_t n = 0;
    kern_vec_init_scalar(&table[n++]);
#if defined(__x86_64__)
    if (cpu & CPU_AVX2) {
        kern_vec_init_scalar(&table[n]);
        kern_vec_init_avx2(&table[n++]);
    }
    if (cpu & CPU_AVX512) {
        kern_vec_init_scalar(&table[n]);
        kern_vec_init_avx512(&table[n++]);
    }
#endif
    (void)cpu;
    return n;
}

static uint64_t draws;

static double uniform(double low, double high)
{
    return low + (high - low) * rng_unit(2024, 7, draws++);
}

/* Of about the spread of a normal one. */
static float noise(void)
{
    return (float)(uniform(-1, 1) + uniform(-1, 1) + uniform(-1, 1));
}

static float *noise_new(size_t n)
{
    float *x = calloc(n, sizeof(*x));
    assert_non_null(x);
    for (size_t i = 0; i < n; i++)
        x[i] = noise();
    return x;
}

/* |a - b| in units of the last place that a float (double) near b has. */
static double ulps_f32(double a, double b)
{
    int e = ilogb(b) < -126 ? -126 : ilogb(b);
    return fabs(a - b) / ldexp(1, e - 23);
}

static double ulps_f64(double a, double b)
{
    return fabs(a - b) / ldexp(1, ilogb(b) - 52);
}

static void exp_is_as_near_as_it_says(void **state)
{
    (void)state;
    double worst = 0;
    for (uint32_t bits = 0; bits < 0xff800000; bits += 4099) {
        float x = f32_from_bits(bits);
        if (x >= -87.0f && x <= 0x1.62e42ep+6f)
            worst = fmax(worst, ulps_f32((double)kern_expf(x), exp((double)x)));
    }
    assert_true(worst <= 1.1);
    assert_true(worst > 0.5); // else nothing was measured
}

static void exp_is_exact_at_its_ends(void **state)
{
    (void)state;
    assert_true(kern_expf(0.0f) == 1.0f && kern_expf(-0.0f) == 1.0f);
    assert_int_equal(f32_bits(kern_expf(-INFINITY)), 0);
    assert_int_equal(f32_bits(kern_expf(-87.1f)), 0);
    assert_int_equal(f32_bits(kern_expf(-3e38f)), 0);
    assert_true(kern_expf(-87.0f) >= 0x1p-126f);
    assert_true(kern_expf(0x1.62e42ep+6f) < INFINITY);
    assert_true(kern_expf(0x1.62e43p+6f) == INFINITY && kern_expf(INFINITY) == INFINITY);
    assert_true(isnan(kern_expf(NAN)));
}

static void exp_of_a_double_is_as_near_as_it_says(void **state)
{
    (void)state;
    for (int i = 0; i < 200000; i++) {
        double limit = i & 1 ? 700 : 30, x = uniform(-limit, limit);
        assert_true(ulps_f64(kern_exp(x), exp(x)) <= 2);
    }
    assert_true(kern_exp(0) == 1);
}

static void log_is_as_near_as_it_says(void **state)
{
    (void)state;
    for (int i = 0; i < 200000; i++) {
        double x = i & 1 ? exp(uniform(-700, 700)) : uniform(0.3, 3);
        assert_true(ulps_f64(kern_log(x), log(x)) <= 1.1);
    }
    for (double x = 0x1p-1074; x < 0x1p-1020; x *= 3)
        assert_true(ulps_f64(kern_log(x), log(x)) <= 1.1);
    assert_true(kern_log(1) == 0);
    assert_true(kern_log(0) == -INFINITY && kern_log(INFINITY) == INFINITY);
    assert_true(isnan(kern_log(-1)) && isnan(kern_log(NAN)));
}

static void sine_and_cosine_round_well(void **state)
{
    (void)state;
    float s, c;
    for (int i = 0; i < 400000; i++) {
        double limit = ldexp(1, i % 24), a = uniform(-limit, limit);
        if (i % 16 == 0) // where one of them is next to zero
            a = (double)(float)(floor(a) * 1.5707963267948966);
        kern_sincos(a, &s, &c);
        assert_true(ulps_f32((double)s, sin(a)) <= 0.5001);
        assert_true(ulps_f32((double)c, cos(a)) <= 0.5001);
    }
    kern_sincos(0, &s, &c);
    assert_true(s == 0 && c == 1);
}

static const size_t sizes[] = {1, 2, 15, 16, 17, 31, 48, 100, 172, 2048, 5633};

static void rms_norm_is_near(void **state)
{
    (void)state;
    struct kernels k[LEVELS_MAX];
    for (size_t level = levels(k); level-- > 0;)
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            size_t n = sizes[i];
            float *x = noise_new(n), *w = noise_new(n), *y = noise_new(n);
            double sum = 0;
            for (size_t j = 0; j < n; j++)
                sum += (double)x[j] * (double)x[j];
            k[level].rms_norm(y, x, w, n, 1e-5f);
            // the sum, halved by the root; then four roundings of the factor and two products
            double bound = ((double)n / 16 + 5) / 2 * u + 6 * u;
            for (size_t j = 0; j < n; j++) {
                double want = (double)x[j] / sqrt(sum / (double)n + 1e-5) * (double)w[j];
                assert_true(fabs((double)y[j] - want) <= bound * fabs(want));
            }
            k[level].rms_norm(x, x, w, n, 1e-5f);
            assert_memory_equal(x, y, n * sizeof(*x));
            free(x), free(w), free(y);
        }
}

static void rope_turns_pairs(void **state)
{
    (void)state;
    enum { HEADS = 3 };
    static const size_t dims[][2] = {{8, 8}, {10, 6}, {64, 64}, {80, 20}, {128, 128}, {34, 34}};
    struct kernels k[LEVELS_MAX];
    for (size_t level = levels(k); level-- > 0;)
        for (size_t i = 0; i < sizeof(dims) / sizeof(dims[0]); i++) {
            size_t dim = dims[i][0], rot = dims[i][1];
            float *x = noise_new(HEADS * dim), *was = noise_new(HEADS * dim), *cs = noise_new(rot);
            memcpy(was, x, HEADS * dim * sizeof(*x));
            k[level].rope(x, HEADS, dim, rot, cs);
            for (size_t j = 0; j < HEADS * dim; j++) {
                size_t at = j % dim, pair = at & ~(size_t)1;
                double want = (double)was[j], size = 0;
                if (at < rot) {
                    double c = (double)cs[pair], s = (double)cs[pair + 1];
                    double other = (double)was[j ^ 1];
                    want = (double)was[j] * c + (at & 1 ? other * s : -other * s);
                    size = fabs((double)was[j] * c) + fabs(other * s);
                }
                assert_true(fabs((double)x[j] - want) <= 2 * u * size);
            }
            free(x), free(was), free(cs);
        }
}

static void silu_and_add_are_near(void **state)
{
    (void)state;
    struct kernels k[LEVELS_MAX];
    for (size_t level = levels(k); level-- > 0;)
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            size_t n = sizes[i];
            float *g = noise_new(n), *up = noise_new(n), *y = noise_new(n);
            for (size_t j = 0; j < n; j++)
                g[j] *= 20;
            k[level].silu_mul(y, g, up, n);
            for (size_t j = 0; j < n; j++) {
                double want = (double)g[j] / (1 + exp(-(double)g[j])) * (double)up[j];
                assert_true(fabs((double)y[j] - want) <= 8 * u * fabs(want));
            }
            k[level].add(y, up, n);
            k[level].silu_mul(g, g, up, n);
            for (size_t j = 0; j < n; j++)
                assert_true(y[j] == g[j] + up[j]);
            free(g), free(up), free(y);
        }
}

static void silu_has_its_limits(void **state)
{
    (void)state;
    struct kernels k[LEVELS_MAX];
    for (size_t level = levels(k); level-- > 0;) {
        float gate[4] = {-300.0f, 300.0f, NAN, 0.0f}, up[4] = {2, 2, 2, 2}, y[4];
        k[level].silu_mul(y, gate, up, 4);
        assert_true(y[0] == 0 && y[1] == 600 && isnan(y[2]) && y[3] == 0);
    }
}

static void exp_max_makes_weights(void **state)
{
    (void)state;
    struct kernels k[LEVELS_MAX];
    for (size_t level = levels(k); level-- > 0;)
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            size_t n = sizes[i];
            float *x = noise_new(n), *p = noise_new(n), max, most = -INFINITY;
            for (size_t j = 0; j < n; j++)
                x[j] = n > 1 && j % 5 == 1 ? -INFINITY : x[j] * 30;
            for (size_t j = 0; j < n; j++)
                most = x[j] > most ? x[j] : most;
            float sum = k[level].exp_max(p, x, n, &max);
            assert_true(max == most);
            double want = 0;
            for (size_t j = 0; j < n; j++) {
                double e = exp((double)x[j] - (double)most);
                want += e;
                // two ulps, and the rounding of the difference; below e^-87 there is nothing
                double bound = (4 + fabs((double)x[j] - (double)most)) * u;
                assert_true(fabs((double)p[j] - e) <= (e < 1.7e-38 ? e : bound * e));
                if (x[j] == -INFINITY)
                    assert_int_equal(f32_bits(p[j]), 0);
            }
            assert_true(fabs((double)sum - want) <= ((double)n / 16 + 200) * u * want);
            free(x), free(p);
        }
}

static void all_finite_sees_every_place(void **state)
{
    (void)state;
    static const float bad[] = {INFINITY, -INFINITY, NAN};
    struct kernels k[LEVELS_MAX];
    for (size_t level = levels(k); level-- > 0;)
        for (size_t n = 1; n < 70; n++) {
            float x[70];
            for (size_t i = 0; i < n; i++)
                x[i] = i & 1 ? 3.4e38f : -1e-45f;
            assert_true(k[level].all_finite(x, n));
            for (size_t i = 0; i < n; i++) {
                float was = x[i];
                x[i] = bad[i % 3];
                assert_false(k[level].all_finite(x, n));
                x[i] = was;
            }
        }
}

/* ---- attention ---- */

/* One sequence of one kv head; what was never written is NaN, and the pages
 * behind the last are not there. */
struct sequence {
    enum kv_type type;
    size_t dim, tokens;
    float *k, *v; // (tokens, dim), as they were before rounding
    void **pages;
};

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
    }
}

static void sequence_close(struct sequence *s)
{
    for (size_t i = 0; i < (s->tokens + 15) / 16; i++)
        free(s->pages[i]);
    free(s->pages), free(s->k), free(s->v);
}

static double stored(const struct sequence *s, float x)
{
    return (double)(s->type == KV_F16 ? f32_from_f16(f16_from_f32(x)) : x);
}

/* The result of one row from the definition, and how far floats may be from it. */
static void reference(const struct sequence *s, const float *q, float scale, size_t first,
                      size_t last, double *out, double *bound)
{
    size_t n = last - first + 1;
    double *score = calloc(n, sizeof(*score)), worst = 0, most = -INFINITY, least = INFINITY;
    assert_non_null(score);
    for (size_t i = 0; i < n; i++) {
        double size = 0;
        for (size_t d = 0; d < s->dim; d++) {
            double term = (double)q[d] * stored(s, s->k[(first + i) * s->dim + d]) * (double)scale;
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
    for (size_t d = 0; d < s->dim; d++) {
        double o = 0, size = 0;
        for (size_t i = 0; i < n; i++) {
            double term = exp(score[i] - most) / sum * stored(s, s->v[(first + i) * s->dim + d]);
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
static void rows_do_not_touch_each_other(void **state)
{
    (void)state;
    enum { TOKENS = 200, ROWS = 19, DIM = 40, PADDED = 48 };
    struct kernels k[LEVELS_MAX];
    for (size_t level = levels(k); level-- > 0;) {
        struct sequence s;
        sequence_open(&s, &k[level], KV_F16, DIM, TOKENS);
        float *q = noise_new(ROWS * DIM), together[ROWS * PADDED], alone[PADDED];
        uint32_t pos[ROWS];
        for (size_t r = 0; r < ROWS; r++)
            pos[r] = (uint32_t)(r * 10);
        for (size_t rows = 1; rows <= ROWS; rows++) {
            attend(&k[level], &s, q, pos, rows, 33, together);
            for (size_t r = 0; r < rows; r++) {
                attend(&k[level], &s, q + r * DIM, pos + r, 1, 33, alone);
                assert_memory_equal(alone, together + r * PADDED, sizeof(alone));
            }
        }
        sequence_close(&s);
        free(q);
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
static void a_nan_among_the_keys_is_seen(void **state)
{
    (void)state;
    struct kernels k[LEVELS_MAX];
    for (size_t level = levels(k); level-- > 0;)
        for (size_t tokens = 1; tokens <= 80; tokens += 79) {
            struct sequence s;
            sequence_open(&s, &k[level], KV_F32, 16, tokens);
            float *q = noise_new(16), out[16];
            uint32_t pos = (uint32_t)tokens - 1;
            ((float *)s.pages[pos / 16])[pos % 16] = NAN;
            attend(&k[level], &s, q, &pos, 1, 0, out);
            for (size_t d = 0; d < 16; d++)
                assert_true(isnan(out[d]));
            sequence_close(&s);
            free(q);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exp_is_as_near_as_it_says),
        cmocka_unit_test(exp_is_exact_at_its_ends),
        cmocka_unit_test(exp_of_a_double_is_as_near_as_it_says),
        cmocka_unit_test(log_is_as_near_as_it_says),
        cmocka_unit_test(sine_and_cosine_round_well),
        cmocka_unit_test(rms_norm_is_near),
        cmocka_unit_test(rope_turns_pairs),
        cmocka_unit_test(silu_and_add_are_near),
        cmocka_unit_test(silu_has_its_limits),
        cmocka_unit_test(exp_max_makes_weights),
        cmocka_unit_test(all_finite_sees_every_place),
        cmocka_unit_test(attention_is_near),
        cmocka_unit_test(rows_do_not_touch_each_other),
        cmocka_unit_test(a_row_without_keys_gives_zeros),
        cmocka_unit_test(a_nan_among_the_keys_is_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
