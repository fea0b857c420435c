/* model/arch/nomic_bert.c - Nomic's BERT: rope in place of embeddings of positions, a gate,
 * no biases but those of norms. */
#include "model/arch/arch.h"

static const struct part globals[] = {TEXT_EMBEDDINGS};

static const struct part parts[] = {FUSED_QKV, ATTN_OUTPUT, GATED_FFN, SUM_NORMS};

const struct arch arch_nomic_bert = {
    .name = "nomic-bert",
    PARTS(parts),
    GLOBALS(globals),
    .layer_norm = true,
    .rope_halves = true,
    .encoder = true,
};
