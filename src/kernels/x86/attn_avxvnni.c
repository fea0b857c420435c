/* kernels/x86/attn_avxvnni.c - attention over Q8_0 by AVX-VNNI, which multiplies what is unsigned
 * in pages by int8, for processors without AVX-512; what it does: tmpl/attn.inc. */
#include <string.h>

#include "base/ckd.h"
#include "kernels/attn_inline.h"
#include "kernels/math_inline.h"
#include "kernels/panel.h"
#include "kernels/tmpl/inline.h"
#include "kernels/vec_init.h"
#include "kernels/x86/v16_avx2.h"

#define LEVEL(f) JOIN(f, _avxvnni)
#include "kernels/tmpl/attn.inc"
#include "kernels/x86/attn_q8_half.inc"

typedef __m256i q8_line;

static inline q8_sum q8_start(int32_t bias)
{
    return _mm256_set1_epi32(bias);
}

static inline q8_line q8_load(const uint8_t *p)
{
    return _mm256_load_si256((const __m256i *)p);
}

static inline q8_sum q8_dot(q8_sum sum, q8_line line, const int8_t *q)
{
    int32_t four;
    memcpy(&four, q, 4);
    return _mm256_dpbusd_avx_epi32(sum, line, _mm256_set1_epi32(four));
}

#include "kernels/tmpl/attn_q8_0.inc"

void kern_vec_init_attn_avxvnni(struct kernels *k)
{
    k->attn[KV_Q8_0] = attn_q8_0_avxvnni;
}
