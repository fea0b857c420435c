/* kernels/x86/vec_avx512.c - the vector entries for AVX512; what they do: tmpl/vec.inc. */
#include "kernels/math_inline.h"
#include "kernels/vec_init.h"
#include "kernels/x86/v16_avx512.h"

#define LEVEL_(f) f##_avx512
#define LEVEL(f) LEVEL_(f)
#include "kernels/tmpl/vec.inc"

void kern_vec_init_avx512(struct kernels *k)
{
    k->rms_norm = rms_norm_avx512;
    k->layer_norm = layer_norm_avx512;
    k->rope = rope_avx512;
    k->rope_halves = rope_halves_avx512;
    k->silu_mul = silu_mul_avx512;
    k->gelu_mul = gelu_mul_avx512;
    k->clamped_mul = clamped_mul_avx512;
    k->gelu = gelu_avx512;
    k->gelu_erf = gelu_erf_avx512;
    k->soft_cap = soft_cap_avx512;
    k->exp_max = exp_max_avx512;
    k->all_finite = all_finite_avx512;
    kern_vec_init_kv_avx512(k);
    kern_vec_init_attn_avx512(k);
}
