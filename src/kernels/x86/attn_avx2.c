/* kernels/x86/attn_avx2.c - attention for AVX2; what it does: tmpl/attn.inc. */
#include "kernels/attn_inline.h"
#include "kernels/math_inline.h"
#include "kernels/tmpl/inline.h"
#include "kernels/vec_init.h"
#include "kernels/x86/v16_avx2.h"

#define LEVEL(f) f##_avx2
#include "kernels/tmpl/attn.inc"

void kern_vec_init_attn_avx2(struct kernels *k)
{
    k->attn[KV_F32] = attn_f32_avx2;
    k->attn[KV_F16] = attn_f16_avx2;
    k->attn_merge = attn_merge_avx2;
}
