/* The curves of activations and the sums beside them, against float64 from the
 * definition, at each level that this machine has.
 *
 * u is half a unit in the last place of 1.  exp is off by 3 u of its value at most, and
 * what it is given by u of it, so exp(x) by |x| u more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <math.h>

#include "base/rng.h"
#include "kernels/cpu.h"
#include "kernels/kernels.h"

enum { N = 4096 + 13, CHANNELS = 3 };

static const double u = 0x1p-24;

/* Items from -40 to 40, most of them small, and the ends of what there is. */
struct data {
    float x[N], y[N], z[N], out[N];
};

static void fill(struct data *d)
{
    static const float ends[] = {0.0f, -0.0f, 1e-30f, -1e-30f, 300.0f, -300.0f, 7.0f, -7.0f};
    for (size_t i = 0; i < N; i++) {
        double t = 2 * rng_unit(11, 1, i) - 1;
        d->x[i] = (float)(40 * t * t * t);
        d->y[i] = (float)(20 * rng_unit(11, 2, i) - 10);
        d->z[i] = (float)(2 * rng_unit(11, 3, i) - 1);
    }
    memcpy(d->x, ends, sizeof(ends));
}

static const unsigned levels[] = {0, CPU_AVX2, CPU_AVX2 | CPU_AVX512};

/* Calls check with the table of each level. */
static void at_each_level(void (*check)(const struct kernels *k, struct data *d))
{
    struct data *d = calloc(1, sizeof(*d));
    assert_non_null(d);
    for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
        struct kernels k;
        if (levels[i] & ~cpu_detect())
            continue;
        kernels_init(&k, levels[i]);
        fill(d);
        check(&k, d);
    }
    free(d);
}

static double gelu(double x)
{
    return x / 2 * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}

/* Far below 0 the result is next to 0, where 1 + tanh is off by a part of 1. */
static void near_gelu(float got, double x, double by)
{
    double want = gelu(x) * by, inside = fabs(1.6 * x + 0.0714 * x * x * x);
    double bound = (12 + 4 * inside) * u * fabs(want) + 1e-15 * fabs(x * by);
    assert_true(fabs((double)got - want) <= bound);
}

static void check_gelu(const struct kernels *k, struct data *d)
{
    memcpy(d->out, d->x, sizeof(d->x));
    k->gelu(d->out, N);
    for (size_t i = 0; i < N; i++)
        near_gelu(d->out[i], (double)d->x[i], 1);
    k->gelu_mul(d->out, d->x, d->y, N);
    for (size_t i = 0; i < N; i++)
        near_gelu(d->out[i], (double)d->x[i], (double)d->y[i]);
}

static void gelu_is_near(void **state)
{
    (void)state;
    at_each_level(check_gelu);
}

/* From the definition, whose tail is erfc's. */
static void check_gelu_erf(const struct kernels *k, struct data *d)
{
    memcpy(d->out, d->x, sizeof(d->x));
    k->gelu_erf(d->out, N);
    for (size_t i = 0; i < N; i++) {
        double x = (double)d->x[i], want = x * erfc(-x / sqrt(2)) / 2;
        double bound = (12 + x * x) * u * fabs(want) + 1e-36 * fabs(x);
        assert_true(fabs((double)d->out[i] - want) <= bound);
    }
    float bad[1] = {NAN};
    k->gelu_erf(bad, 1);
    assert_true(isnan(bad[0]));
}

static void gelu_erf_is_near(void **state)
{
    (void)state;
    at_each_level(check_gelu_erf);
}

static void check_clamped(const struct kernels *k, struct data *d)
{
    k->clamped_mul(d->out, d->x, d->y, N);
    for (size_t i = 0; i < N; i++) {
        double x = fmin((double)d->x[i], 7), y = fmax(fmin((double)d->y[i], 7), -7);
        double want = x / (1 + exp(-1.702 * x)) * (y + 1);
        double bound = (10 + 4 * fabs(x)) * u * fabs(x / (1 + exp(-1.702 * x))) * (fabs(y) + 1);
        assert_true(fabs((double)d->out[i] - want) <= bound + 1e-36);
    }
    float bad[3] = {NAN, 1, 0}, up[3] = {0, NAN, 0};
    k->clamped_mul(bad, bad, up, 3);
    assert_true(isnan(bad[0]) && isnan(bad[1]) && bad[2] == 0);
}

static void clamped_gates_are_near(void **state)
{
    (void)state;
    at_each_level(check_clamped);
}

/* Near 0 it is off by a part of the cap, not of itself: 1 less something next to 1. */
static void check_soft_cap(const struct kernels *k, struct data *d)
{
    static const float caps[] = {30, 50, 2.5f, 0.001f};
    for (size_t c = 0; c < sizeof(caps) / sizeof(caps[0]); c++) {
        double cap = (double)caps[c];
        memcpy(d->out, d->x, sizeof(d->x));
        k->soft_cap(d->out, N, caps[c]);
        for (size_t i = 0; i < N; i++) {
            double want = cap * tanh((double)d->x[i] / cap);
            assert_true(fabs((double)d->out[i] - want) <= 8 * u * cap);
            assert_true(fabs((double)d->out[i]) <= cap);
        }
    }
    float bad = NAN;
    k->soft_cap(&bad, 1, 30);
    assert_true(isnan(bad));
}

static void soft_caps_are_near(void **state)
{
    (void)state;
    at_each_level(check_soft_cap);
}

static void check_layer_norm(const struct kernels *k, struct data *d)
{
    for (size_t n = 1; n <= N; n = n * 3 + 1) {
        double sum = 0, squares = 0, size = 0;
        for (size_t i = 0; i < n; i++)
            sum += (double)d->y[i], size += fabs((double)d->y[i]);
        for (size_t i = 0; i < n; i++)
            squares += ((double)d->y[i] - sum / (double)n) * ((double)d->y[i] - sum / (double)n);
        k->layer_norm(d->out, d->y, d->x, d->z, n, 1e-5f);
        double root = sqrt(squares / (double)n + 1e-5), mean = sum / (double)n;
        double steps = (double)n / 16 + 8; // of a chain, and of its tree
        for (size_t i = 0; i < n; i++) {
            double part = ((double)d->y[i] - mean) / root;
            double want = part * (double)d->x[i] + (double)d->z[i];
            double off = steps * u * (size / (double)n / root + 2 * fabs(part)) + 8 * u;
            assert_true(fabs((double)d->out[i] - want) <=
                        off * fabs((double)d->x[i]) + 2 * u * fabs(want) + 1e-30);
        }
    }
}

static void layer_norm_is_near(void **state)
{
    (void)state;
    at_each_level(check_layer_norm);
}

static void check_halves(const struct kernels *k, struct data *d)
{
    static const size_t dims[][2] = {{8, 8}, {10, 6}, {64, 64}, {80, 20}, {128, 128}, {34, 34}};
    for (size_t i = 0; i < sizeof(dims) / sizeof(dims[0]); i++) {
        size_t dim = dims[i][0], rot = dims[i][1], half = rot / 2;
        memcpy(d->out, d->y, sizeof(d->y));
        k->rope_halves(d->out, CHANNELS, dim, rot, d->z);
        for (size_t j = 0; j < CHANNELS * dim; j++) {
            size_t at = j % dim, pair = at % half;
            double want = (double)d->y[j], size = 0;
            if (at < rot) {
                double c = (double)d->z[pair], s = (double)d->z[half + pair];
                double other = (double)d->y[at < half ? j + half : j - half];
                want = (double)d->y[j] * c + (at < half ? -other * s : other * s);
                size = fabs((double)d->y[j] * c) + fabs(other * s);
            }
            assert_true(fabs((double)d->out[j] - want) <= 2 * u * size);
        }
    }
}

static void rope_turns_halves(void **state)
{
    (void)state;
    at_each_level(check_halves);
}

static void check_sums(const struct kernels *k, struct data *d)
{
    memcpy(d->out, d->y, sizeof(d->y));
    k->add_scaled(d->out, d->x, N, 0.3f);
    for (size_t i = 0; i < N; i++)
        assert_true(d->out[i] == fmaf(d->x[i], 0.3f, d->y[i]));
    k->scale(d->out, N, 0.7f);
    for (size_t i = 0; i < N; i++)
        assert_true(d->out[i] == fmaf(d->x[i], 0.3f, d->y[i]) * 0.7f);
}

static void sums_are_exact(void **state)
{
    (void)state;
    at_each_level(check_sums);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gelu_is_near),           cmocka_unit_test(gelu_erf_is_near),
        cmocka_unit_test(clamped_gates_are_near), cmocka_unit_test(soft_caps_are_near),
        cmocka_unit_test(layer_norm_is_near),     cmocka_unit_test(rope_turns_halves),
        cmocka_unit_test(sums_are_exact),
    };
    return cmocka_run_group_tests_name("curves", tests, NULL, NULL);
}
