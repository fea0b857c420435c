/* kernels/x86/gemm_avxvnni.c - quantised products on half panels by AVX-VNNI, for processors
 * that have it and no AVX-512. */
#include <immintrin.h>
#include <string.h>

#include "kernels/gemm_init.h"
#include "kernels/panel.h"
#include "kernels/tmpl/fetch.h"
#include "kernels/tmpl/inline.h"
#include "kernels/x86/simd256.inc"

ALWAYS_INLINE vi v_dpbusd(vi sum, vi a, vi b)
{
    return _mm256_dpbusd_avx_epi32(sum, a, b);
}

ALWAYS_INLINE vi v_dpwssd(vi sum, vi a, vi b)
{
    return _mm256_dpwssd_avx_epi32(sum, a, b);
}

#include "kernels/tmpl/dot_vnni.inc"

#define ISA _avxvnni
#define TILE_WIDE 4 // accumulators for more do not fit 16 registers
#define UNPACK_FROM 16
#include "kernels/tmpl/gemm_quant.inc"

void gemm_init_avxvnni(struct kernels *k)
{
    gemm_quant_init_avxvnni(k);
}
