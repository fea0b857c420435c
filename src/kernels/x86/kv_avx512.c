/* kernels/x86/kv_avx512.c - writing into pages for AVX512; what it does: tmpl/kv.inc. */
#include <string.h>

#include "kernels/attn_inline.h"
#include "kernels/math_inline.h"
#include "kernels/vec_init.h"
#include "kernels/x86/v16_avx512.h"

#define LEVEL(f) f##_avx512
#include "kernels/tmpl/kv.inc"

void kern_vec_init_kv_avx512(struct kernels *k)
{
    k->kv_write[KV_F16] = kv_write_f16_avx512;
    k->kv_write[KV_BF16] = kv_write_bf16_avx512;
}
