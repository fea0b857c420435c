/* model/arch/gemma2.c - Gemma 2: norms before and behind each half of a layer, scores
 * and logits under soft caps, a window in every other layer.  Its files have the 1
 * added to the norms' weights. */
#include "model/arch/arch.h"

static const struct part parts[] = {
    ATTN_NORM, QKV, ATTN_OUTPUT, FFN_NORM, GATED_FFN, POST_NORMS,
};

static const struct float_key keys[] = {
    {"attn_logit_softcapping", offsetof(struct model_config, score_cap), 1e-3f, 1e6f, 50, false},
    {"final_logit_softcapping", offsetof(struct model_config, logit_cap), 1e-3f, 1e6f, 30, false},
};

const struct arch arch_gemma2 = {
    .name = "gemma2",
    PARTS(parts),
    KEYS(keys),
    .rope_halves = true,
    .embedding_by_root = true,
    .gate = GATE_GELU,
    .window_period = 2,
    .window_default = 4096,
    .by_width_layers = 46, /* the 27 B one */
};
