/* model/arch/qwen3moe.c - Qwen 3 with experts. */
#include "model/arch/arch.h"

static const struct part parts[] = {
    ATTN_NORM, QKV, QK_NORM(HEAD_DIM, HEAD_DIM), ATTN_OUTPUT, FFN_NORM, EXPERTS_FFN,
};

const struct arch arch_qwen3moe = {
    .name = "qwen3moe",
    PARTS(parts),
    .rope_halves = true,
    .needs_experts = true,
    .weights_sum_to_one = true,
    .expert_ffn_is_share = true,
};
