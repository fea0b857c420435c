/* model/arch/qwen2.c - Qwen 2 and 2.5: queries, keys and values have biases. */
#include "model/arch/arch.h"

static const struct part parts[] = {
    ATTN_NORM, QKV, QKV_BIAS_IF(false), ATTN_OUTPUT, FFN_NORM, GATED_FFN,
};

const struct arch arch_qwen2 = {
    .name = "qwen2",
    PARTS(parts),
    .rope_halves = true,
};
