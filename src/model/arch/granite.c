/* model/arch/granite.c - Granite: Llama with multipliers; with experts by another name, and
 * perhaps one that every token goes through besides. */
#include "model/arch/arch.h"

static const struct part parts[] = {
    ATTN_NORM, QKV, QKV_BIAS_IF(true), ATTN_OUTPUT, ATTN_OUTPUT_BIAS_IF(true), FFN_NORM, GATED_FFN,
};

static const struct part moe_parts[] = {
    ATTN_NORM, QKV, ATTN_OUTPUT, FFN_NORM, EXPERTS_FFN, SHARED_EXPERT,
};

#define AT(field) offsetof(struct model_config, field)

static const struct float_key keys[] = {
    {"embedding_scale", AT(embedding_scale), 1e-6f, 1e6f, 1, false},
    {"residual_scale", AT(residual_scale), 1e-6f, 1e6f, 1, false},
    {"attention.scale", AT(score_scale), 1e-6f, 1e6f, 0, false},
    {"logit_scale", AT(logit_divisor), 1e-6f, 1e6f, 1, true},
};

const struct arch arch_granite = {
    .name = "granite",
    PARTS(parts),
    KEYS(keys),
    .finetuned_is_rope = true,
};

const struct arch arch_granitemoe = {
    .name = "granitemoe",
    PARTS(moe_parts),
    KEYS(keys),
    .finetuned_is_rope = true,
    .needs_experts = true,
    .weights_sum_to_one = true,
};
