/* kernels/x86/gemm_vnni.c - quantised products by vpdpbusd, which multiplies u8
 * weights by int8 activations and adds four products to an int32 at once.
 * Sums start at the bias, which undoes what makes the weights unsigned. */
#include <immintrin.h>
#include <string.h>

#include "kernels/gemm_init.h"
#include "kernels/panel.h"
#include "kernels/tmpl/fetch.h"
#include "kernels/tmpl/inline.h"
#include "kernels/x86/simd512.inc"

typedef vi w8; // plus 128

#define DOT_RUN(bits) 8
#define W8_UNSIGNED 1

ALWAYS_INLINE vi v_madd16add(vi sum, vi a, vi b)
{
    return _mm512_dpwssd_epi32(sum, a, b);
}

ALWAYS_INLINE vi dot8_bias(const void *bias)
{
    return v_bcast(bias);
}

ALWAYS_INLINE w8 w8_make(vi stored)
{
    return stored;
}

ALWAYS_INLINE vi dot_begin(vi sum)
{
    return sum;
}

ALWAYS_INLINE vi dot_end(vi sum, vi part, vi by)
{
    (void)sum, (void)by;
    return part;
}

ALWAYS_INLINE vi dot_scaled_begin(vi sum)
{
    (void)sum;
    return v_set32(0);
}

ALWAYS_INLINE vi dot7(vi part, vi w, vi x)
{
    return _mm512_dpbusd_epi32(part, w, x);
}

#define dot8 dot7

/* The lowest byte of each dword, signed. */
ALWAYS_INLINE vi scale_wide(vi quad)
{
    return v_sra32(v_sll32(quad, 24), 24);
}

ALWAYS_INLINE vi dot_wide_end(vi sum, vi part, vi by)
{
    return v_add32(sum, _mm512_mullo_epi32(part, by));
}

/* For parts of 16 bits: the upper half of what they are multiplied by is 0. */
ALWAYS_INLINE vi scale_small(vi quad)
{
    return v_srl32(v_sll32(v_sra16(v_sll16(quad, 8), 8), 16), 16);
}

ALWAYS_INLINE vi dot_small_end(vi sum, vi part, vi by)
{
    return v_madd16add(sum, part, by);
}

#define ISA _vnni
#define TILE_WIDE 8
#define UNPACK_FROM 0 // tiles of 8 pay for it
#include "kernels/tmpl/gemm_quant.inc"

void gemm_init_vnni(struct kernels *k)
{
    gemm_quant_init_vnni(k);
}
