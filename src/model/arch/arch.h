/* model/arch/arch.h - what tells one architecture from another.
 *
 * An architecture is a table of facts; loading and the forward pass read it and
 * have no code of their own for any.  What a layer does follows from the tensors
 * it has: a norm, a bias or a matrix that is not there is left out. */
#ifndef MODEL_ARCH_ARCH_H
#define MODEL_ARCH_ARCH_H

#include "base/bytes.h"
#include "model/model.h"

/* The sizes that shapes are made of. */
enum size_kind {
    NONE,
    ONE,
    WIDTH,
    VOCAB,
    HEADS,
    HEAD_DIM,
    Q_WIDTH,
    KV_WIDTH,
    QK_WIDTH,  /* queries and keys */
    QKV_WIDTH, /* with values */
    FFN,
    FFN_TWICE,
    EXPERTS,
    EXPERT_FFN,
    SHARED_FFN,
    ROPE_PAIRS,
    POSITIONS,
    TOKEN_TYPES,
};

/* A tensor of each layer or of the model itself, or some rows of one. */
struct part {
    const char *name;     /* within "blk.N." */
    size_t at;            /* in struct model_layer (of the model itself: in struct model): a
                           * struct matrix or a float pointer */
    enum size_kind k;     /* of a row; of a vector without rows, its length */
    enum size_kind rows;  /* ONE in a vector */
    enum size_kind of;    /* the tensor's rows where it has more than these, else NONE */
    enum size_kind first; /* of them, the first that is ours; NONE: 0 */
    bool vector;          /* plain floats */
    bool optional;
    const char *each; /* one for each expert; old files have them apart, "EACH.E.weight" */
    bool if_dense;    /* in models without experts alone */
    bool if_experts;  /* in models with experts alone */
    bool if_shared;   /* in models with one that all tokens use alone */
};

/* A key with its range, after "NAME.". */
struct float_key {
    const char *key;
    size_t at; /* in struct model_config: a float */
    float min, max;
    float otherwise; /* without the key */
    bool required;
};

enum gate { GATE_SILU, GATE_GELU, GATE_CLAMPED };

struct arch {
    const char *name;
    const struct part *parts;
    size_t n_parts;
    const struct part *globals; /* outside of layers; NULL: what most have */
    size_t n_globals;
    const struct float_key *keys; /* beside those that all have */
    size_t n_keys;

    bool layer_norm;        /* norms are LayerNorms with a bias, not RMS norms */
    bool rope_halves;       /* item i of a head turns with i + half, not with its neighbour */
    bool qk_norm_whole;     /* norms of queries and keys go over all heads at once */
    bool embedding_by_root; /* embeddings are multiplied by the root of the width */
    bool finetuned_is_rope; /* rope.scaling.finetuned false means no rope */
    bool yarn_exact;        /* YaRN's ramp begins and ends between pairs */
    bool encoder;           /* a row sees the whole text, and nothing is generated */
    bool learned_positions; /* they have embeddings, not ropes */
    bool gelu_by_erf;       /* not by tanh, where there is no gate matrix */
    enum gate gate;         /* without a gate matrix: GELU */

    /* Experts. */
    bool needs_experts;
    bool weights_sum_to_one;  /* of the chosen experts, by default */
    bool shared_ffn_is_ffn;   /* without its key; else there is no shared expert then */
    bool expert_ffn_is_share; /* without its key: the ffn divided by the experts used */

    /* Sliding windows: 0 none; n: in all layers but each n-th, 1: in all. */
    uint32_t window_period;
    uint32_t window_default; /* 0: none without the key */
    bool window_required;
    bool window_zero_is_none;
    bool window_unscaled; /* layers with a window take rope without scaling */
    float window_base;    /* and this base; 0: the model's */

    uint32_t by_width_layers; /* with so many layers, scores are scaled by width / heads */
};

#define PARTS(list) .parts = list, .n_parts = ARRAY_LEN(list)
#define GLOBALS(list) .globals = list, .n_globals = ARRAY_LEN(list)
#define KEYS(list) .keys = list, .n_keys = ARRAY_LEN(list)

#define IN_MODEL(field) .at = offsetof(struct model, field)
#define IN_LAYER(field) .at = offsetof(struct model_layer, field)
#define VECTOR(called, field, size) \
    .name = called, IN_LAYER(field), .k = size, .rows = ONE, .vector = true
#define MATRIX(called, field, from, to) .name = called, IN_LAYER(field), .k = from, .rows = to
/* One for each expert, by its name where these have a tensor together or alone. */
#define EXPERTS_MATRIX(called, alone, field, from, to) \
    MATRIX(called, experts.each.field, from, to), .each = alone, .if_experts = true

/* What most have.  Each stands for one or more parts of a list. */
#define PART(...)   \
    {               \
        __VA_ARGS__ \
    }
#define ATTN_NORM PART(VECTOR("attn_norm.weight", attn_norm.weight, WIDTH))
#define ATTN_NORM_BIAS PART(VECTOR("attn_norm.bias", attn_norm.bias, WIDTH))
#define QKV                                                \
    PART(MATRIX("attn_q.weight", q, WIDTH, Q_WIDTH)),      \
        PART(MATRIX("attn_k.weight", k, WIDTH, KV_WIDTH)), \
        PART(MATRIX("attn_v.weight", v, WIDTH, KV_WIDTH))
#define FUSED_QKV                                                                               \
    PART(MATRIX("attn_qkv.weight", q, WIDTH, Q_WIDTH), .of = QKV_WIDTH),                        \
        PART(MATRIX("attn_qkv.weight", k, WIDTH, KV_WIDTH), .of = QKV_WIDTH, .first = Q_WIDTH), \
        PART(MATRIX("attn_qkv.weight", v, WIDTH, KV_WIDTH), .of = QKV_WIDTH, .first = QK_WIDTH)
#define QKV_BIAS_IF(may_lack)                                                \
    PART(VECTOR("attn_q.bias", q_bias, Q_WIDTH), .optional = may_lack),      \
        PART(VECTOR("attn_k.bias", k_bias, KV_WIDTH), .optional = may_lack), \
        PART(VECTOR("attn_v.bias", v_bias, KV_WIDTH), .optional = may_lack)
#define QK_NORM(q_size, k_size)                                \
    PART(VECTOR("attn_q_norm.weight", q_norm.weight, q_size)), \
        PART(VECTOR("attn_k_norm.weight", k_norm.weight, k_size))
#define ATTN_OUTPUT PART(MATRIX("attn_output.weight", o, Q_WIDTH, WIDTH))
#define ATTN_OUTPUT_BIAS_IF(may_lack) \
    PART(VECTOR("attn_output.bias", attn_end.bias, WIDTH), .optional = may_lack)
#define FFN_NORM PART(VECTOR("ffn_norm.weight", ffn_norm.weight, WIDTH))
#define FFN_NORM_BIAS PART(VECTOR("ffn_norm.bias", ffn_norm.bias, WIDTH))
#define POST_NORMS                                                           \
    PART(VECTOR("post_attention_norm.weight", attn_end.norm.weight, WIDTH)), \
        PART(VECTOR("post_ffw_norm.weight", ffn_end.norm.weight, WIDTH))
#define GATED_FFN                                                            \
    PART(MATRIX("ffn_gate.weight", ffn.gate, WIDTH, FFN), .if_dense = true), \
        PART(MATRIX("ffn_up.weight", ffn.up, WIDTH, FFN), .if_dense = true), \
        PART(MATRIX("ffn_down.weight", ffn.down, FFN, WIDTH), .if_dense = true)
#define EXPERTS_FFN                                                                          \
    PART(MATRIX("ffn_gate_inp.weight", experts.router, WIDTH, EXPERTS), .if_experts = true), \
        PART(EXPERTS_MATRIX("ffn_gate_exps.weight", "ffn_gate", gate, WIDTH, EXPERT_FFN)),   \
        PART(EXPERTS_MATRIX("ffn_up_exps.weight", "ffn_up", up, WIDTH, EXPERT_FFN)),         \
        PART(EXPERTS_MATRIX("ffn_down_exps.weight", "ffn_down", down, EXPERT_FFN, WIDTH))
#define SHARED_EXPERT                                                                 \
    PART(MATRIX("ffn_gate_shexp.weight", experts.shared.gate, WIDTH, SHARED_FFN),     \
         .if_shared = true),                                                          \
        PART(MATRIX("ffn_up_shexp.weight", experts.shared.up, WIDTH, SHARED_FFN),     \
             .if_shared = true),                                                      \
        PART(MATRIX("ffn_down_shexp.weight", experts.shared.down, SHARED_FFN, WIDTH), \
             .if_shared = true)

/* An encoder's embeddings and, behind the sums of its halves of layers, norms. */
#define TEXT_EMBEDDINGS                                                                         \
    PART("token_embd.weight", IN_MODEL(embed), .k = WIDTH, .rows = VOCAB),                      \
        PART("token_types.weight", IN_MODEL(types), .k = WIDTH, .rows = ONE, .of = TOKEN_TYPES, \
             .optional = true),                                                                 \
        PART("token_embd_norm.weight", IN_MODEL(embed_norm.weight), .k = WIDTH, .rows = ONE,    \
             .vector = true),                                                                   \
        PART("token_embd_norm.bias", IN_MODEL(embed_norm.bias), .k = WIDTH, .rows = ONE,        \
             .vector = true)
#define SUM_NORMS                                                                 \
    PART(VECTOR("attn_output_norm.weight", attn_end.sum_norm.weight, WIDTH)),     \
        PART(VECTOR("attn_output_norm.bias", attn_end.sum_norm.bias, WIDTH)),     \
        PART(VECTOR("layer_output_norm.weight", ffn_end.sum_norm.weight, WIDTH)), \
        PART(VECTOR("layer_output_norm.bias", ffn_end.sum_norm.bias, WIDTH))

/* arch.c: by its name, or NULL. */
const struct arch *arch_find(struct slice name);

#endif
