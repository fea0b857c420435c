/* kernels/x86/vec_avx2.c - the vector entries for AVX2; what they do: tmpl/vec.inc. */
#include "kernels/math_inline.h"
#include "kernels/vec_init.h"
#include "kernels/x86/v16_avx2.h"

#define LEVEL(f) f##_avx2
#include "kernels/tmpl/vec.inc"

/* Bound by its loads and stores: there is none for wider registers. */
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

void kern_vec_init_avx2(struct kernels *k)
{
    k->rms_norm = rms_norm_avx2;
    k->rope = rope_avx2;
    k->silu_mul = silu_mul_avx2;
    k->add = add_avx2;
    k->exp_max = exp_max_avx2;
    k->all_finite = all_finite_avx2;
    kern_vec_init_kv_avx2(k);
    kern_vec_init_attn_avx2(k);
}
