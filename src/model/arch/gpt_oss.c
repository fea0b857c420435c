/* model/arch/gpt_oss.c - gpt-oss: experts with biases and a clamped gate, a sink in each
 * head, a window in every other layer.  What its files call the norm behind attention
 * stands before the experts. */
#include "model/arch/arch.h"

#define EACH_BIAS(called, field, size)                                              \
    {                                                                               \
        .name = called, IN_LAYER(field), .k = size, .rows = EXPERTS, .vector = true \
    }

static const struct part parts[] = {
    ATTN_NORM,
    QKV,
    QKV_BIAS_IF(false),
    {VECTOR("attn_sinks.weight", sinks, HEADS)},
    ATTN_OUTPUT,
    ATTN_OUTPUT_BIAS_IF(false),
    {VECTOR("post_attention_norm.weight", ffn_norm.weight, WIDTH)},
    EXPERTS_FFN,
    {VECTOR("ffn_gate_inp.bias", experts.router_bias, EXPERTS)},
    EACH_BIAS("ffn_gate_exps.bias", experts.each.gate_bias, EXPERT_FFN),
    EACH_BIAS("ffn_up_exps.bias", experts.each.up_bias, EXPERT_FFN),
    EACH_BIAS("ffn_down_exps.bias", experts.down_bias, WIDTH),
};

const struct arch arch_gpt_oss = {
    .name = "gpt-oss",
    PARTS(parts),
    .rope_halves = true,
    .yarn_exact = true,
    .gate = GATE_CLAMPED,
    .needs_experts = true,
    .weights_sum_to_one = true,
    .window_period = 2,
    .window_required = true,
};
