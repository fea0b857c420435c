/* model/model.h - a loaded model: configuration, vocabulary, weights.
 *
 * Immutable once loaded and shared by all threads.  Loading happens in two
 * steps, so that a caller can reserve the bytes before the first weight is read:
 * model_plan checks the header whole (keys, tensors, their types and shapes),
 * model_load reads the weights in pieces and packs them into panels. */
#ifndef MODEL_MODEL_H
#define MODEL_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "gguf/file.h"
#include "kernels/kernels.h"
#include "realm/realm.h"
#include "text/vocab.h"

struct arch;

enum rope_scaling { ROPE_PLAIN, ROPE_LINEAR, ROPE_YARN };

struct model_config {
    const struct arch *arch;
    const char *architecture; /* its name */
    char name[128];           /* general.name, or "" */
    uint32_t vocab;           /* tokens */
    uint32_t width;           /* of the residual stream ("embedding length") */
    uint32_t layers;
    uint32_t heads;
    uint32_t kv_heads; /* divides heads */
    uint32_t head_dim;
    uint32_t rope_dim; /* leading items of a head that rotate; even */
    uint32_t ffn;
    uint32_t context; /* tokens */
    float norm_eps;

    /* Of the positions. */
    float rope_base;
    float rope_base_window; /* of layers with a window */
    enum rope_scaling rope_scaling;
    float rope_scale;           /* positions are divided by it; 1 otherwise */
    uint32_t rope_original;     /* tokens of context before they were stretched; 0: not said */
    float rope_magnitude;       /* of queries and keys by scaling; 0: not said */
    float yarn_unity;           /* factors that may be written and must be 1 */
    float yarn_fast, yarn_slow; /* turns within rope_original where YaRN begins and ends */
    bool rope_has_factors;      /* Llama-3: a divisor per pair, tensor rope_freqs.weight */
    bool rope_is_long;          /* LongRoPE: the same, by the length of the context, tensors
                              * rope_factors_long.weight and rope_factors_short.weight */

    /* Experts; 0 where the model has none. */
    uint32_t experts;
    uint32_t experts_used; /* by each token */
    uint32_t expert_ffn;
    uint32_t shared_ffn; /* of the one that all tokens use; 0: there is none */
    float expert_scale;  /* of their sum */
    bool experts_sum_to_one;

    uint32_t window;       /* keys that a row sees in layers with a window; 0: none has one */
    float score_scale;     /* of attention's scores */
    float score_cap;       /* 0: none */
    float logit_cap;       /* 0: none */
    float logit_divisor;   /* 1: none */
    float embedding_scale; /* 1: none */
    float residual_scale;  /* of what a layer adds; 1: none */
    bool tied;             /* the output matrix is the embedding */

    bool encoder;               /* a row sees the whole text, and nothing is generated */
    uint32_t token_types;       /* of an encoder: that tokens may be of; all are of the first */
    enum realm_pooling pooling; /* of embeddings, as the file says; NONE: it does not */
};

/* Matrices (rows, k) as panels, one for each expert or one alone. */
struct matrix {
    enum gemm_type type;
    size_t rows, k;     /* rows 0: the model has no such matrix */
    size_t panel_bytes; /* of one panel of 16 rows */
    size_t panels;      /* of one matrix */
    size_t count;
    uint8_t *data;
};

/* A vector that is NULL is left out, here and below.  With a bias a norm is a
 * LayerNorm, else an RMS norm. */
struct norm {
    float *weight, *bias;
};

/* What is done to half a layer's result before it is added to the residual stream, and to
 * the sum. */
struct branch_end {
    float *bias; /* of the last product */
    struct norm norm;
    struct norm sum_norm; /* of the stream with it */
};

struct ffn {
    struct matrix gate, up, down; /* (ffn, width) x2, (width, ffn) */
    float *gate_bias, *up_bias;   /* (count, ffn) */
};

struct experts {
    struct matrix router; /* (experts, width) */
    float *router_bias;   /* (experts) */
    struct ffn each;
    float *down_bias; /* (experts, width) */
    struct ffn shared;
    struct matrix shared_gate; /* (1, width), or none: it is open */
};

struct model_layer {
    struct norm attn_norm, ffn_norm; /* (width) */
    struct matrix q, k, v, o; /* (heads*dim, width) (kv_heads*dim, width) x2 (width, heads*dim) */
    float *q_bias, *k_bias, *v_bias;
    struct norm q_norm, k_norm; /* (dim), or over all heads (heads*dim) (kv_heads*dim) */
    float *sinks;               /* (heads): a score without a value */
    struct branch_end attn_end, ffn_end;
    struct ffn ffn; /* or, in a model with experts, */
    struct experts experts;
    uint32_t window; /* keys that a row sees at most; 0: all before it */
    uint32_t rope;   /* which of the model's */
};

enum { ROPES_MAX = 2 };

/* Angles: pair i at position p turns by p * inv_freq[i], and grows by magnitude. */
struct rope {
    double *inv_freq; /* (rope_dim / 2) */
    float magnitude;
};

struct model {
    struct model_config config;
    struct vocab *vocab;           /* NULL: the file has no tokenizer */
    char *chat_template;           /* NULL: none */
    struct matrix embed;           /* (vocab, width) */
    struct matrix types;           /* (1, width): of the first type of token; or none */
    struct matrix positions;       /* (context, width), or none */
    struct norm embed_norm;        /* (width): of the sum of these */
    struct matrix output;          /* (vocab, width); data shared with embed when tied */
    struct norm output_norm;       /* (width) */
    float *rope_factors;           /* (rope_dim / 2), or NULL: none */
    float *rope_long, *rope_short; /* the same, LongRoPE's */
    struct rope ropes[ROPES_MAX];  /* of all layers; or of those without a window, and with one */
    uint32_t n_ropes;
    struct model_layer *layers;
    void *memory; /* all weights */
    uint64_t memory_bytes;
    uint64_t params;                  /* weights, embeddings included */
    uint64_t idle_params, idle_bytes; /* of these and of memory, experts that a token leaves out */
    uint32_t tensors;                 /* in the file */
    uint64_t file_bytes;              /* tensor data as the file has it */
};

/* What loading will take. */
struct model_plan {
    struct model_config config;
    uint64_t bytes; /* weights packed, vocabulary, tables */
};

/* Checks that this build can run the file, its vocabulary included.
 * REALM_E_FORMAT (names the key or tensor, expected and found);
 * REALM_E_UNSUPPORTED (architecture, weight type, rope kind or tensor, by name; a
 * file without weights); REALM_E_NOMEM. */
MUST_USE int model_plan(struct model_plan *out, const struct gguf_file *f, struct realm_error *err);

struct model_load_options {
    /* Called by the caller's thread between pieces with the bytes read so far; returning
     * false ends the load with REALM_E_CANCELLED.  May be NULL. */
    bool (*progress)(void *ctx, uint64_t bytes_read, uint64_t bytes_total);
    void *ctx;
    unsigned threads; /* that read and pack; 0: the caller alone */
};

MUST_USE int model_load(struct model **out, const struct gguf_file *f,
                        const struct model_load_options *options, struct realm_error *err);
void model_close(struct model *m);

#endif
