/* model/arch/gemma3.c - Gemma 3: as Gemma 2, but with norms of queries and keys in place
 * of soft caps, and a window with a rope of its own in five layers of six, or none at all. */
#include "model/arch/arch.h"

static const struct part parts[] = {
    ATTN_NORM, QKV, QK_NORM(HEAD_DIM, HEAD_DIM), ATTN_OUTPUT, FFN_NORM, GATED_FFN, POST_NORMS,
};

static const struct float_key keys[] = {
    {"final_logit_softcapping", offsetof(struct model_config, logit_cap), 1e-3f, 1e6f, 0, false},
};

const struct arch arch_gemma3 = {
    .name = "gemma3",
    PARTS(parts),
    KEYS(keys),
    .rope_halves = true,
    .embedding_by_root = true,
    .gate = GATE_GELU,
    .window_period = 6,
    .window_zero_is_none = true,
    .window_unscaled = true,
    .window_base = 10000,
    .by_width_layers = 62, /* the 27 B one */
};
