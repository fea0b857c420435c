/* model/arch/starcoder2.c - StarCoder 2: LayerNorms, biases everywhere, no gate. */
#include "model/arch/arch.h"

static const struct part parts[] = {
    ATTN_NORM,
    ATTN_NORM_BIAS,
    QKV,
    QKV_BIAS_IF(false),
    ATTN_OUTPUT,
    ATTN_OUTPUT_BIAS_IF(false),
    FFN_NORM,
    FFN_NORM_BIAS,
    {MATRIX("ffn_up.weight", ffn.up, WIDTH, FFN)},
    {VECTOR("ffn_up.bias", ffn.up_bias, FFN)},
    {MATRIX("ffn_down.weight", ffn.down, FFN, WIDTH)},
    {VECTOR("ffn_down.bias", ffn_end.bias, WIDTH)},
};

const struct arch arch_starcoder2 = {
    .name = "starcoder2",
    PARTS(parts),
    .layer_norm = true,
    .rope_halves = true,
    .window_period = 1,
};
