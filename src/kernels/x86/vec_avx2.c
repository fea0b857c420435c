/* kernels/x86/vec_avx2.c - the vector entries for AVX2; what they do: tmpl/vec.inc. */
#include "kernels/math_inline.h"
#include "kernels/vec_init.h"
#include "kernels/x86/v16_avx2.h"

#define LEVEL_(f) f##_avx2
#define LEVEL(f) LEVEL_(f)
#include "kernels/tmpl/vec.inc"

/* Bound by their loads and stores: there are none for wider registers. */
static void add_avx2(float *y, const float *x, size_t n)
{
    size_t rest = n % LANES, whole = n - rest;
    for (size_t i = 0; i < whole; i += LANES)
        v16_store(y + i, v16_add(v16_load(y + i), v16_load(x + i)));
    if (!rest)
        return;
    v16 last = v16_add(v16_load_n(y + whole, rest), v16_load_n(x + whole, rest));
    v16_store_n(y + whole, last, rest);
}

static void scale_avx2(float *x, size_t n, float a)
{
    size_t rest = n % LANES, whole = n - rest;
    for (size_t i = 0; i < whole; i += LANES)
        v16_store(x + i, v16_mul(v16_load(x + i), v16_set1(a)));
    if (rest)
        v16_store_n(x + whole, v16_mul(v16_load_n(x + whole, rest), v16_set1(a)), rest);
}

static void add_scaled_avx2(float *y, const float *x, size_t n, float a)
{
    size_t rest = n % LANES, whole = n - rest;
    for (size_t i = 0; i < whole; i += LANES)
        v16_store(y + i, v16_fma(v16_load(x + i), v16_set1(a), v16_load(y + i)));
    if (!rest)
        return;
    v16 last = v16_fma(v16_load_n(x + whole, rest), v16_set1(a), v16_load_n(y + whole, rest));
    v16_store_n(y + whole, last, rest);
}

void kern_vec_init_avx2(struct kernels *k)
{
    k->rms_norm = rms_norm_avx2;
    k->layer_norm = layer_norm_avx2;
    k->rope = rope_avx2;
    k->rope_halves = rope_halves_avx2;
    k->silu_mul = silu_mul_avx2;
    k->gelu_mul = gelu_mul_avx2;
    k->clamped_mul = clamped_mul_avx2;
    k->gelu = gelu_avx2;
    k->gelu_erf = gelu_erf_avx2;
    k->soft_cap = soft_cap_avx2;
    k->add = add_avx2;
    k->scale = scale_avx2;
    k->add_scaled = add_scaled_avx2;
    k->exp_max = exp_max_avx2;
    k->all_finite = all_finite_avx2;
    kern_vec_init_kv_avx2(k);
    kern_vec_init_attn_avx2(k);
}
