/* kernels/scalar/vec.c - the vector entries in plain C: what they mean. */
#include "kernels/math_inline.h"
#include "kernels/vec_init.h"

static void rms_norm_scalar(float *y, const float *x, const float *w, size_t n, float eps)
{
    float squares[LANES] = {0};
    for (size_t i = 0; i < n; i++)
        squares[i % LANES] = v1_fma(x[i], x[i], squares[i % LANES]);
    float mean = lanes_sum(squares) / (float)n;
    float factor = 1.0f / sqrtf(mean + eps);
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] * factor * w[i];
}

static void rope_scalar(float *x, size_t heads, size_t dim, size_t rot, const float *cs)
{
    for (size_t h = 0; h < heads; h++) {
        float *p = x + h * dim;
        for (size_t i = 0; i < rot; i += 2) {
            float a = p[i], b = p[i + 1], c = cs[i], s = cs[i + 1];
            p[i] = v1_fma(a, c, -(b * s));
            p[i + 1] = v1_fma(b, c, a * s);
        }
    }
}

static void silu_mul_scalar(float *y, const float *gate, const float *up, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = gate[i] / (1.0f + exp_1(-gate[i])) * up[i];
}

static void add_scalar(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = y[i] + x[i];
}

static float exp_max_scalar(float *p, const float *x, size_t n, float *max)
{
    float most[LANES], sums[LANES] = {0};
    for (size_t i = 0; i < LANES; i++)
        most[i] = -INFINITY;
    for (size_t i = 0; i < n; i++)
        most[i % LANES] = v1_max(x[i], most[i % LANES]);
    float m = lanes_max(most);
    for (size_t i = 0; i < n; i++) {
        p[i] = exp_1(x[i] - m);
        sums[i % LANES] = sums[i % LANES] + p[i];
    }
    *max = m;
    return lanes_sum(sums);
}

static bool all_finite_scalar(const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if ((f32_bits(x[i]) & 0x7f800000) == 0x7f800000)
            return false;
    return true;
}

void kern_vec_init_scalar(struct kernels *k)
{
    k->rms_norm = rms_norm_scalar;
    k->rope = rope_scalar;
    k->silu_mul = silu_mul_scalar;
    k->add = add_scalar;
    k->exp_max = exp_max_scalar;
    k->all_finite = all_finite_scalar;
    kern_vec_init_kv_scalar(k);
    kern_vec_init_attn_scalar(k);
}
