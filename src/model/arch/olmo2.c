/* model/arch/olmo2.c - OLMo 2 and 3: norms behind each half of a layer and none before,
 * queries and keys normed over all heads at once. */
#include "model/arch/arch.h"

static const struct part parts[] = {
    QKV, QK_NORM(Q_WIDTH, KV_WIDTH), ATTN_OUTPUT, GATED_FFN, POST_NORMS,
};

const struct arch arch_olmo2 = {
    .name = "olmo2",
    PARTS(parts),
    .rope_halves = true,
    .qk_norm_whole = true,
    .window_period = 4, /* OLMo 3 */
    .window_unscaled = true,
};
