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

static void layer_norm_scalar(float *y, const float *x, const float *w, const float *b, size_t n,
                              float eps)
{
    float sums[LANES] = {0}, squares[LANES] = {0};
    for (size_t i = 0; i < n; i++)
        sums[i % LANES] = sums[i % LANES] + x[i];
    float mean = lanes_sum(sums) / (float)n;
    for (size_t i = 0; i < n; i++)
        squares[i % LANES] = v1_fma(x[i] - mean, x[i] - mean, squares[i % LANES]);
    float factor = 1.0f / sqrtf(lanes_sum(squares) / (float)n + eps);
    for (size_t i = 0; i < n; i++)
        y[i] = v1_fma((x[i] - mean) * factor, w[i], b[i]);
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

static void rope_halves_scalar(float *x, size_t heads, size_t dim, size_t rot, const float *cs)
{
    size_t half = rot / 2;
    for (size_t h = 0; h < heads; h++) {
        float *p = x + h * dim, *q = p + half;
        for (size_t i = 0; i < half; i++) {
            float a = p[i], b = q[i], c = cs[i], s = cs[half + i];
            p[i] = v1_fma(a, c, -(b * s));
            q[i] = v1_fma(b, c, a * s);
        }
    }
}

static void silu_mul_scalar(float *y, const float *gate, const float *up, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = silu_1(gate[i]) * up[i];
}

static void gelu_mul_scalar(float *y, const float *gate, const float *up, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = gelu_1(gate[i]) * up[i];
}

static void clamped_mul_scalar(float *y, const float *gate, const float *up, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = clamped_1(gate[i], up[i]);
}

static void gelu_scalar(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = gelu_1(x[i]);
}

static void gelu_erf_scalar(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = gelu_erf_1(x[i]);
}

static void soft_cap_scalar(float *x, size_t n, float cap)
{
    for (size_t i = 0; i < n; i++)
        x[i] = soft_cap_1(x[i], cap, 2.0f / cap);
}

static void scale_scalar(float *x, size_t n, float a)
{
    for (size_t i = 0; i < n; i++)
        x[i] = x[i] * a;
}

static void add_scaled_scalar(float *y, const float *x, size_t n, float a)
{
    for (size_t i = 0; i < n; i++)
        y[i] = v1_fma(x[i], a, y[i]);
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
    k->layer_norm = layer_norm_scalar;
    k->rope = rope_scalar;
    k->rope_halves = rope_halves_scalar;
    k->silu_mul = silu_mul_scalar;
    k->gelu_mul = gelu_mul_scalar;
    k->clamped_mul = clamped_mul_scalar;
    k->gelu = gelu_scalar;
    k->gelu_erf = gelu_erf_scalar;
    k->soft_cap = soft_cap_scalar;
    k->scale = scale_scalar;
    k->add_scaled = add_scaled_scalar;
    k->add = add_scalar;
    k->exp_max = exp_max_scalar;
    k->all_finite = all_finite_scalar;
    kern_vec_init_kv_scalar(k);
    kern_vec_init_attn_scalar(k);
}
