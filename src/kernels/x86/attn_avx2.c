/* kernels/x86/attn_avx2.c - attention for AVX2; what it does: tmpl/attn.inc. */
#include <string.h>

#include "base/ckd.h"
#include "kernels/attn_inline.h"
#include "kernels/math_inline.h"
#include "kernels/panel.h"
#include "kernels/tmpl/inline.h"
#include "kernels/vec_init.h"
#include "kernels/x86/v16_avx2.h"

#define LEVEL(f) JOIN(f, _avx2)
#include "kernels/tmpl/attn.inc"
#include "kernels/tmpl/attn_floats.inc"
#include "kernels/tmpl/attn_merge.inc"

/* Keys of Q8_0, half a line at a time: vpmaddubsw wants one side unsigned, so signs move
 * to the query. */
#include "kernels/x86/attn_q8_half.inc"

typedef struct {
    __m256i item, size;
} q8_line;

static inline q8_sum q8_start(int32_t bias)
{
    (void)bias;
    return _mm256_setzero_si256();
}

static inline q8_line q8_load(const uint8_t *p)
{
    __m256i stored = _mm256_load_si256((const __m256i *)p);
    __m256i item = _mm256_xor_si256(stored, _mm256_set1_epi8((char)0x80));
    return (q8_line){item, _mm256_abs_epi8(item)};
}

static inline q8_sum q8_dot(q8_sum sum, q8_line line, const int8_t *q)
{
    int32_t four;
    memcpy(&four, q, 4);
    __m256i turned = _mm256_sign_epi8(_mm256_set1_epi32(four), line.item);
    __m256i pairs = _mm256_maddubs_epi16(line.size, turned);
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

#include "kernels/tmpl/attn_q8_0.inc"

void kern_vec_init_attn_avx2(struct kernels *k)
{
    k->attn[KV_F32] = attn_f32_avx2;
    k->attn[KV_F16] = attn_f16_avx2;
    k->attn[KV_BF16] = attn_bf16_avx2;
    k->attn[KV_Q8_0] = attn_q8_0_avx2;
    k->attn_merge = attn_merge_avx2;
}
