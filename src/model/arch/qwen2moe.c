/* model/arch/qwen2moe.c - Qwen 1.5 and 2 with experts, and one that every token goes
 * through besides, as far as a gate of its own lets it. */
#include "model/arch/arch.h"

static const struct part parts[] = {
    ATTN_NORM,
    QKV,
    QKV_BIAS_IF(false),
    ATTN_OUTPUT,
    FFN_NORM,
    EXPERTS_FFN,
    {MATRIX("ffn_gate_inp_shexp.weight", experts.shared_gate, WIDTH, ONE)},
    SHARED_EXPERT,
};

const struct arch arch_qwen2moe = {
    .name = "qwen2moe",
    PARTS(parts),
    .rope_halves = true,
    .needs_experts = true,
    .shared_ffn_is_ffn = true,
    .expert_ffn_is_share = true,
};
