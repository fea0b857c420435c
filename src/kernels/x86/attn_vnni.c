/* kernels/x86/attn_vnni.c - attention over Q8_0 by vpdpbusd, which multiplies what is
 * unsigned in pages by int8; what it does: tmpl/attn.inc. */
#include <string.h>

#include "base/ckd.h"
#include "kernels/attn_inline.h"
#include "kernels/math_inline.h"
#include "kernels/panel.h"
#include "kernels/tmpl/inline.h"
#include "kernels/vec_init.h"
#include "kernels/x86/v16_avx512.h"

#define LEVEL(f) JOIN(f, _vnni)
#include "kernels/tmpl/attn.inc"

/* From 20 sums on gcc 12 copies them around. */
#define Q8_TILE_WIDTH(rows) ((rows) <= 4 ? 4 : 2)
#define Q8_LANES 16

typedef __m512i q8_sum;
typedef __m512i q8_line;

static inline q8_sum q8_start(int32_t bias)
{
    return _mm512_set1_epi32(bias);
}

static inline q8_line q8_load(const uint8_t *p)
{
    return _mm512_load_si512(p);
}

static inline q8_sum q8_dot(q8_sum sum, q8_line line, const int8_t *q)
{
    int32_t four;
    memcpy(&four, q, 4);
    return _mm512_dpbusd_epi32(sum, line, _mm512_set1_epi32(four));
}

static inline void q8_add(float *s, bool begins, q8_sum sum, const uint16_t *scales, float d)
{
    v16 block = v16_mul(_mm512_cvtepi32_ps(sum), v16_load_f16(scales));
    v16_store(s, v16_fma(block, v16_set1(d), begins ? v16_set1(0) : v16_load(s)));
}

#include "kernels/tmpl/attn_q8_0.inc"

void kern_vec_init_attn_vnni(struct kernels *k)
{
    k->attn[KV_Q8_0] = attn_q8_0_vnni;
}
