/* kernels/x86/gemm_vnni.c - quantised products by vpdpbusd, which multiplies u8
 * weights by int8 activations and adds four products to an int32 at once.
 * Sums start at the bias, which undoes what makes the weights unsigned. */
#include <immintrin.h>
#include <string.h>

#include "kernels/gemm_init.h"
#include "kernels/panel.h"
#include "kernels/tmpl/inline.h"
#include "kernels/x86/simd512.inc"

typedef vi w8;

ALWAYS_INLINE vi v_madd16add(vi sum, vi a, vi b)
{
    return _mm512_dpwssd_epi32(sum, a, b);
}

ALWAYS_INLINE vi dot4_begin(vi bias)
{
    return bias;
}

ALWAYS_INLINE vi dot4(vi sum, vi w, vi x)
{
    return _mm512_dpbusd_epi32(sum, w, x);
}

ALWAYS_INLINE vi dot4_end(vi sum, vi bias)
{
    (void)bias;
    return sum;
}

ALWAYS_INLINE vi dot6(vi sum, vi w0, vi x0, vi w1, vi x1)
{
    return _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(sum, w0, x0), w1, x1);
}

ALWAYS_INLINE w8 w8_load(const void *p)
{
    return v_load(p);
}

ALWAYS_INLINE vi dot8_begin(const void *bias)
{
    return v_bcast(bias);
}

ALWAYS_INLINE vi dot8(vi sum, w8 w, vi x)
{
    return _mm512_dpbusd_epi32(sum, w, x);
}

#define ISA _vnni
#define TILE_WIDE 8
#include "kernels/tmpl/gemm_quant.inc"

void gemm_init_vnni(struct kernels *k)
{
    k->gemm[GEMM_Q8_0] = gemm_q8_0_vnni;
    k->gemm[GEMM_Q4_0] = gemm_q4_0_vnni;
    k->gemm[GEMM_Q4_K] = gemm_q4_k_vnni;
    k->gemm[GEMM_Q6_K] = gemm_q6_k_vnni;
}
