/* kernels/x86/gemm_vnni.c - quantised products by VNNI of AVX-512. */
#include <immintrin.h>
#include <string.h>

#include "kernels/gemm_init.h"
#include "kernels/panel.h"
#include "kernels/tmpl/fetch.h"
#include "kernels/tmpl/inline.h"
#include "kernels/x86/simd512.inc"

ALWAYS_INLINE vi v_dpbusd(vi sum, vi a, vi b)
{
    return _mm512_dpbusd_epi32(sum, a, b);
}

ALWAYS_INLINE vi v_dpwssd(vi sum, vi a, vi b)
{
    return _mm512_dpwssd_epi32(sum, a, b);
}

#include "kernels/tmpl/dot_vnni.inc"

#define ISA _vnni
#define TILE_WIDE 8
#define UNPACK_FROM 0 // tiles of 8 pay for it
#include "kernels/tmpl/gemm_quant.inc"

void gemm_init_vnni(struct kernels *k)
{
    gemm_quant_init_vnni(k);
}
