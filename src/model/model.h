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
#include "realm/status.h"
#include "text/vocab.h"

struct model_config {
    char architecture[32]; /* "llama" */
    char name[128];        /* general.name, or "" */
    uint32_t vocab;        /* tokens */
    uint32_t width;        /* of the residual stream ("embedding length") */
    uint32_t layers;
    uint32_t heads;
    uint32_t kv_heads; /* divides heads */
    uint32_t head_dim;
    uint32_t rope_dim; /* leading items of a head that rotate; even */
    uint32_t ffn;
    uint32_t context; /* tokens */
    float norm_eps;
    float rope_base;
    float rope_scale;      /* linear: positions are divided by it; 1 otherwise */
    bool rope_has_factors; /* Llama-3: a divisor per pair, tensor rope_freqs.weight */
    bool tied;             /* the output matrix is the embedding */
};

/* A matrix (rows, k) as panels. */
struct matrix {
    enum gemm_type type;
    size_t rows, k;
    size_t panel_bytes; /* of one panel of 16 rows */
    size_t panels;
    uint8_t *data;
};

struct model_layer {
    float *attn_norm;         /* (width) */
    float *ffn_norm;          /* (width) */
    struct matrix q, k, v, o; /* (heads*dim, width) (kv_heads*dim, width) x2 (width, heads*dim) */
    struct matrix gate, up, down; /* (ffn, width) x2, (width, ffn) */
};

struct model {
    struct model_config config;
    struct vocab *vocab;   /* NULL: the file has no tokenizer */
    char *chat_template;   /* NULL: none */
    struct matrix embed;   /* (vocab, width) */
    struct matrix output;  /* (vocab, width); data shared with embed when tied */
    float *output_norm;    /* (width) */
    float *rope_factors;   /* (rope_dim / 2), or NULL: none */
    double *rope_inv_freq; /* (rope_dim / 2): the angle of pair i at position p is p * this */
    struct model_layer *layers;
    void *memory; /* all weights */
    uint64_t memory_bytes;
    uint64_t params;     /* weights, embeddings included */
    uint32_t tensors;    /* in the file */
    uint64_t file_bytes; /* tensor data as the file has it */
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
    /* Called between pieces with the bytes read so far; returning false ends the
     * load with REALM_E_CANCELLED.  May be NULL. */
    bool (*progress)(void *ctx, uint64_t bytes_read, uint64_t bytes_total);
    void *ctx;
};

MUST_USE int model_load(struct model **out, const struct gguf_file *f,
                        const struct model_load_options *options, struct realm_error *err);
void model_close(struct model *m);

#endif
