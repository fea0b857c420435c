/* kernels/x86/attn_avx512.c - attention for AVX512; what it does: tmpl/attn.inc. */
#include "base/ckd.h"
#include "kernels/attn_inline.h"
#include "kernels/math_inline.h"
#include "kernels/tmpl/inline.h"
#include "kernels/vec_init.h"
#include "kernels/x86/v16_avx512.h"

#define LEVEL(f) JOIN(f, _avx512)
#include "kernels/tmpl/attn.inc"
#include "kernels/tmpl/attn_floats.inc"
#include "kernels/tmpl/attn_merge.inc"

void kern_vec_init_attn_avx512(struct kernels *k)
{
    k->attn[KV_F32] = attn_f32_avx512;
    k->attn[KV_F16] = attn_f16_avx512;
    k->attn[KV_BF16] = attn_bf16_avx512;
    k->attn_merge = attn_merge_avx512;
}
