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
#include "kernels/cpu.h"
#include "kernels/kernels.h"
#include "kernels/vec_init.h"
#include "noise.h"
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exp_is_as_near_as_it_says), cmocka_unit_test(exp_is_exact_at_its_ends),
        cmocka_unit_test(log_is_as_near_as_it_says), cmocka_unit_test(sine_and_cosine_round_well),
        cmocka_unit_test(rms_norm_is_near),          cmocka_unit_test(rope_turns_pairs),
        cmocka_unit_test(silu_and_add_are_near),     cmocka_unit_test(silu_has_its_limits),
        cmocka_unit_test(exp_max_makes_weights),     cmocka_unit_test(all_finite_sees_every_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
