/* model/arch/gemma.c - Gemma 1: Llama with GELU and scaled embeddings. */
#include "model/arch/arch.h"

static const struct part parts[] = {
    ATTN_NORM, QKV, ATTN_OUTPUT, FFN_NORM, GATED_FFN,
};

const struct arch arch_gemma = {
    .name = "gemma",
    PARTS(parts),
    .rope_halves = true,
    .embedding_by_root = true,
    .gate = GATE_GELU,
};
