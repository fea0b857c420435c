/* model/arch/llama.c - Llama, and what took over its form: Mistral (with a window, of
 * old), Mixtral (with experts), and many by other names. */
#include "model/arch/arch.h"

static const struct part parts[] = {
    ATTN_NORM, QKV,       QKV_BIAS_IF(true), ATTN_OUTPUT, ATTN_OUTPUT_BIAS_IF(true),
    FFN_NORM,  GATED_FFN, EXPERTS_FFN,
};

const struct arch arch_llama = {
    .name = "llama",
    PARTS(parts),
    .weights_sum_to_one = true,
    .window_period = 1,
};
