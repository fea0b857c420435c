/* model/arch/phi3.c - Phi 3, 3.5, 4: queries, keys and values in one tensor, gate and up
 * in another. */
#include "model/arch/arch.h"

static const struct part parts[] = {
    ATTN_NORM,
    FUSED_QKV,
    ATTN_OUTPUT,
    FFN_NORM,
    {MATRIX("ffn_up.weight", ffn.gate, WIDTH, FFN), .of = FFN_TWICE},
    {MATRIX("ffn_up.weight", ffn.up, WIDTH, FFN), .of = FFN_TWICE, .first = FFN},
    {MATRIX("ffn_down.weight", ffn.down, FFN, WIDTH)},
};

const struct arch arch_phi3 = {
    .name = "phi3",
    PARTS(parts),
    .rope_halves = true,
    .window_period = 1,
    .window_zero_is_none = true, /* Phi 4 */
};
