/* model/arch/qwen3.c - Qwen 3: each head's queries and keys are normed. */
#include "model/arch/arch.h"

static const struct part parts[] = {
    ATTN_NORM, QKV, QK_NORM(HEAD_DIM, HEAD_DIM), ATTN_OUTPUT, FFN_NORM, GATED_FFN,
};

const struct arch arch_qwen3 = {
    .name = "qwen3",
    PARTS(parts),
    .rope_halves = true,
};
