/* model/arch/olmoe.c - OLMoE: experts, queries and keys normed over all heads at once. */
#include "model/arch/arch.h"

static const struct part parts[] = {
    ATTN_NORM, QKV, QK_NORM(Q_WIDTH, KV_WIDTH), ATTN_OUTPUT, FFN_NORM, EXPERTS_FFN,
};

const struct arch arch_olmoe = {
    .name = "olmoe",
    PARTS(parts),
    .rope_halves = true,
    .qk_norm_whole = true,
    .needs_experts = true,
};
