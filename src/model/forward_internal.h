/* model/forward_internal.h - the scratch of a forward pass and its phases.
 *
 * A phase hands its items to the pool.  Within a phase every row, tile, strip or
 * panel has one owner; between phases everything is visible to all. */
#ifndef MODEL_FORWARD_INTERNAL_H
#define MODEL_FORWARD_INTERNAL_H

#include <stdatomic.h>

#include "model/arch/arch.h"
#include "model/forward.h"

/* Neighbouring rows of one sequence, and where their attention is kept. */
struct run {
    struct kv_seq *seq;
    size_t row0, rows;
    uint32_t sees0;  /* of its first row */
    size_t segment0; /* the first that its first row sees */
    size_t segments; /* from there to the last that its last row sees */
    size_t groups;   /* of query rows: work items per head and segment */
    size_t item0;    /* its first work item */
    size_t slot0;    /* its first partial result */
};

struct forward {
    const struct model *model;
    const struct kernels *kernels;
    struct pool *pool;
    size_t rows_max;
    size_t logits_max;
    void *memory;
    size_t memory_bytes;

    /* Row strides in floats; multiples of 16, for products write whole panels. */
    size_t width_stride;
    size_t q_stride;
    size_t kv_stride;
    size_t att_stride; /* and room for the last head's padding */
    size_t ffn_stride; /* of the longest feed forward, the experts' too */
    size_t experts_stride;
    size_t logits_stride;
    size_t dim_stride; /* of one head */
    size_t entries;    /* rows that all experts take together, at most; 0: no experts */

    float *x;              /* (rows, width): the residual stream */
    float *branch;         /* (rows, width): what the last product adds to it */
    float *q;              /* (rows, heads * dim) */
    float *k, *v;          /* (rows, kv_heads * dim) */
    float *q_heads;        /* (kv_heads, rows, heads / kv_heads, dim): as attention walks them */
    float *att;            /* (rows, heads * dim) */
    float *gate, *up;      /* (rows or entries, ffn) */
    float *cs;             /* (rows, ropes, rope_dim): cos and sin of each pair */
    float *norm;           /* (threads, TILE_TOKENS, width) */
    float *logits;         /* (logits_max, vocab) */
    void *acts[ACT_KINDS]; /* packed rows; NULL for kinds that no matrix wants */
    float *part_m, *part_l, *part_o; /* (slots), (slots, 16), (slots, dim): of segments */
    size_t slots;
    struct stretch *stretches; /* (threads): of the products that run */
    uint32_t *sees;            /* (rows, heads / kv_heads): the last position that it does */
    struct run *runs;          /* (rows) of one round of attention */
    uint32_t *run_of;          /* (rows) */
    uint32_t *logits_row;      /* (logits_max): the row that wants them */
    atomic_bool *bad; /* (rows): a value was not finite; its experts and strips may tell at once */

    /* Experts.  An entry is a row at one of its experts; those of an expert stand together. */
    float *router;          /* (rows, experts) */
    float *shared;          /* (rows, width) and (rows, 16), of which the first item counts: */
    float *shared_gate;     /* of the expert that all rows use */
    float *expert_out;      /* (entries, width) */
    uint32_t *chosen;       /* (rows, experts_used): experts, the likeliest first */
    float *shares;          /* (rows, experts_used): and their weights */
    uint32_t *entry_of;     /* (rows, experts_used) */
    uint32_t *row_of;       /* (entries) */
    uint32_t *expert_first; /* (experts + 1): its first entry */
    struct tile *tiles;     /* (entries) */
    size_t n_tiles;
    struct product *products; /* (2 * experts) */

    /* Of the step that runs. */
    const struct forward_row *rows;
    size_t n;
    size_t n_logits, n_hidden;
    const struct model_layer *layer;
    uint32_t layer_index;
};

/* forward_open with the bytes that partial results of attention may take (it
 * takes what one row needs, if that is more). */
MUST_USE int forward_open_sized(struct forward **out, const struct model *m, struct pool *pool,
                                const struct kernels *kernels, size_t rows_max, size_t part_bytes);

/* A product y = x W^T over packed rows. */
struct product {
    const struct matrix *w;
    float *y;
    size_t y_stride;
    size_t rows;
    size_t first; /* of them in acts, where a tile begins */
    size_t index; /* of w's matrices */
};

/* Entries of one expert that are packed together. */
struct tile {
    uint32_t expert;
    uint32_t first; /* entry */
    uint32_t width;
};

/* Columns of a tile's rows, which are packed by themselves. */
struct strip {
    size_t start, width; /* the tile's rows */
    size_t k;            /* columns that a row has */
    size_t at, n;        /* those of the strip */
};

/* product.c */

size_t forward_stretch_bytes(void);

/* Computes the products in one phase. */
void forward_products(struct forward *f, const struct product *products, size_t n);
/* The act_kinds, as bits, that the matrices want, those that are there. */
unsigned forward_kinds(const struct matrix *const *matrices, size_t n);
/* Where the i-th tile begins that rows are cut into. */
size_t forward_tile_start(size_t tile, size_t rows);
/* All columns of the tile. */
struct strip forward_whole(size_t start, size_t width, size_t k);
/* How many strips of rows with k columns a phase has, few tiles being cut so that there are some
 * for every thread; and the i-th of them. */
size_t forward_strips(const struct forward *f, size_t k);
struct strip forward_strip(const struct forward *f, size_t k, size_t i);
/* Packs a strip for each kind; x: its first row's first column. */
void forward_pack(struct forward *f, unsigned kinds, const struct strip *strip, const float *x,
                  size_t x_stride);
/* Marks a row whose n values are not all finite and makes them 0, so that it
 * cannot harm its neighbours. */
void forward_guard(struct forward *f, size_t row, float *values, size_t n);

/* norm.c */

/* The norm of a row. */
void forward_norm(const struct forward *f, float *y, const float *x, const struct norm *norm,
                  size_t n);
/* x += branch of a row, brought to its end. */
void forward_absorb(struct forward *f, size_t row, const struct branch_end *end);
/* Phase: x += branch (unless end is NULL: x is fresh), norm, pack; with keep, what was
 * packed is in branch, too. */
void forward_norm_pack(struct forward *f, const struct branch_end *end, const struct norm *norm,
                       unsigned kinds, bool keep);

/* attention.c: from packed rows of x to branch. */
void forward_attention(struct forward *f);

/* ffn.c: the same. */
void forward_ffn(struct forward *f);
/* From packed rows of x to y. */
void forward_dense(struct forward *f, const struct ffn *ffn, size_t size, float *y);
/* What comes of a strip's columns of a row (or entry) of f's gate and up, under the biases of one
 * expert (or the only one): in gate, or in up where there is no gate. */
float *forward_gate(const struct forward *f, const struct ffn *ffn, size_t expert, size_t row,
                    const struct strip *strip);

/* experts.c: the same, by experts. */
void forward_experts(struct forward *f);

#endif
