/* model/arch/bert.c - BERT, and what took over its form (RoBERTa, XLM-R, MiniLM, BGE, E5):
 * embeddings of positions, biases everywhere, GELU, norms of what the halves of a layer
 * add up to. */
#include "model/arch/arch.h"

static const struct part globals[] = {
    TEXT_EMBEDDINGS,
    {"position_embd.weight", IN_MODEL(positions), .k = WIDTH, .rows = POSITIONS},
};

static const struct part parts[] = {
    QKV,
    QKV_BIAS_IF(false),
    ATTN_OUTPUT,
    ATTN_OUTPUT_BIAS_IF(false),
    {MATRIX("ffn_up.weight", ffn.up, WIDTH, FFN)},
    {VECTOR("ffn_up.bias", ffn.up_bias, FFN)},
    {MATRIX("ffn_down.weight", ffn.down, FFN, WIDTH)},
    {VECTOR("ffn_down.bias", ffn_end.bias, WIDTH)},
    SUM_NORMS,
};

const struct arch arch_bert = {
    .name = "bert",
    PARTS(parts),
    GLOBALS(globals),
    .layer_norm = true,
    .encoder = true,
    .learned_positions = true,
    .gelu_by_erf = true,
};
