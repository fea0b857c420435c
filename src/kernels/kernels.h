/* kernels/kernels.h - the arithmetic of a model, as a table of functions.
 *
 * Kernels are leaves: primitive arguments, no allocation, no threads, no
 * globals, no errors.  Each entry exists in scalar C and for the instruction
 * sets where it pays; all of one entry give the same bits.
 *
 * The rule behind that: the float operations that make ONE output are written
 * down once (docs/kernels.md), in order, and every tile and level does exactly
 * these.  No sum is split over k, lanes are output rows, fused multiply-adds are
 * explicit.  So a result depends neither on the batch around it nor on threads.
 *
 * Matrix products.  A weight matrix W (rows, k) is repacked when it is loaded
 * into panels of 16 rows; the last panel is filled with zero rows.  Activations
 * (tokens, k) are converted once per step into tiles of 8, 4, 2 or 1 tokens.
 */
#ifndef KERNELS_KERNELS_H
#define KERNELS_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tensor/dtype.h"

enum {
    PANEL_ROWS = 16,
    TILE_TOKENS = 8, /* the widest tile */
    KERN_ALIGN = 64, /* of panels, tiles, scratch and KV blocks, in bytes */
    KV_PAGE_TOKENS = 16,
    ATTN_BLOCK_KEYS = 64,     /* four pages: the unit in which keys are walked */
    ATTN_SEGMENT_KEYS = 1024, /* longer contexts are cut here, and merged in order */
    ATTN_DIM_PAD = 16,        /* rows of V and of outputs are padded to this many floats */
};

/* What a product takes its activations as. */
enum act_kind {
    ACT_F32,    /* as they are: F32 and F16 weights */
    ACT_BF16,   /* rounded to bf16, in pairs: BF16 weights */
    ACT_Q8_32,  /* int8, one f32 scale for 32: types in blocks of 32; k % 32 == 0 */
    ACT_Q8_256, /* int8, one f32 scale for 256, with sums: blocks of 256; k % 256 == 0 */
    ACT_KINDS
};

enum kv_type { KV_F32, KV_F16, KV_BF16, KV_Q8_0, KV_TYPES };

/* Slots of the gemm table. */
enum gemm_type {
    GEMM_F32,
    GEMM_F16,
    GEMM_BF16,
    GEMM_Q8_0,
    GEMM_Q4_0,
    GEMM_Q4_1,
    GEMM_Q5_0,
    GEMM_Q5_1,
    GEMM_IQ4_NL,
    GEMM_MXFP4,
    GEMM_Q2_K,
    GEMM_Q3_K,
    GEMM_Q4_K,
    GEMM_Q5_K,
    GEMM_Q6_K,
    GEMM_IQ4_XS,
    GEMM_TYPES
};

enum gemm_type gemm_type_of(enum dtype type);
enum act_kind act_kind_of(enum gemm_type type);

/* ---- panels: the layout of weights in memory (kernels/panel.c; scalar only) ---- */

/* Bytes of one panel of rows of k items; a multiple of KERN_ALIGN. */
size_t panel_bytes(enum gemm_type type, size_t k);

/* Packs n_rows (1 to 16) rows as the file has them, row_bytes apart, into one panel. */
void panel_pack(enum gemm_type type, void *panel, const void *rows, size_t row_bytes, size_t n_rows,
                size_t k);

/* The exact values of row r (0 to 15) of a panel: embedding rows are read so. */
void panel_unpack_row(enum gemm_type type, const void *panel, size_t r, size_t k, float *out);

/* ---- tiles: the layout of activations ---- */

/* Bytes that one token takes in any tile; a tile of T tokens takes T times as
 * many, so the tile whose first token is t0 starts t0 * act_bytes into the buffer.
 * A multiple of KERN_ALIGN. */
size_t act_bytes(enum act_kind kind, size_t k);
/* Where item k of a token begins, a multiple of its block, in a tile of one token; in one of T
 * tokens T times as far on. */
size_t act_at(enum act_kind kind, size_t k);

/* Tokens are cut into tiles of 8 from the front, then 4, 2, 1 for what is left.
 * Width of the tile that begins at token t0 of n. */
static inline size_t tile_width(size_t t0, size_t n)
{
    size_t left = n - t0;
    return left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1;
}

/* How many tiles n tokens make. */
static inline size_t tile_count(size_t n)
{
    size_t tiles = n / TILE_TOKENS;
    for (size_t rest = n % TILE_TOKENS; rest; rest &= rest - 1)
        tiles++;
    return tiles;
}

/* ---- attention ---- */

/* Bytes of the keys (values) of one layer and kv head in one page. */
size_t kv_keys_bytes(enum kv_type type, size_t dim);
size_t kv_values_bytes(enum kv_type type, size_t dim);

/* Bytes at the beginning of the values within which those of the first tokens (0 to
 * 16) lie. */
size_t kv_values_first(enum kv_type type, size_t dim, size_t tokens);

/* One work item: some query rows of one sequence that read one kv head, against
 * the keys of one segment.
 *
 * The result of a row is kept unnormalised, so that segments can be merged:
 *   m  the greatest score, l  16 partial sums of exp(score - m) by key % 16,
 *   o  sum of exp(score - m) * V.  A row that sees no key has m = -inf, l = o = 0. */
struct attn_item {
    const float *q;           /* query row i at q + i * q_stride, dim floats */
    size_t q_stride;          /* in floats */
    const uint32_t *pos;      /* of query row i: it sees keys 0 .. pos[i] */
    size_t rows;              /* 1 or more */
    size_t dim;               /* of a head, 1 to MODEL_HEAD_DIM_MAX */
    float scale;              /* of scores, usually 1 / sqrt(dim); folded into q */
    float soft_cap;           /* 0, or scores s become soft_cap * tanh(s / soft_cap) */
    uint32_t window;          /* 0, or a row sees only keys > pos - window */
    uint32_t key_begin;       /* multiple of ATTN_SEGMENT_KEYS */
    uint32_t key_end;         /* at most key_begin + ATTN_SEGMENT_KEYS; keys below are written */
    const void *const *pages; /* of the sequence, by position / 16 */
    size_t keys_at;           /* offset in a page of this layer's and head's keys */
    size_t values_at;         /* and values */
    float *m;                 /* (rows) */
    float *l;                 /* (rows, 16) */
    float *o;                 /* (rows, o_stride); o_stride >= dim rounded up to 16 */
    size_t o_stride;
};

struct kernels {
    /* y[t * y_stride + p * 16 + r] = sum over k of W[16 p + r, k] * x[t, k]
     *   panels  consecutive panels of one matrix, n_panels >= 1
     *   acts    tiles of `tokens` tokens (>= 1), of act_kind_of(type)
     *   y       f32; overlaps nothing.  k > 0. */
    void (*gemm[GEMM_TYPES])(float *y, size_t y_stride, const void *panels, size_t n_panels,
                             const void *acts, size_t k, size_t tokens);

    /* One tile of `width` tokens (8, 4, 2 or 1) from rows of x, x_stride floats
     * apart.  Values must be finite: see all_finite. */
    void (*act_pack[ACT_KINDS])(void *tile, const float *x, size_t x_stride, size_t k,
                                size_t width);

    /* y = x / sqrt(mean(x^2) + eps) * w, over n; y may be x. */
    void (*rms_norm)(float *y, const float *x, const float *w, size_t n, float eps);

    /* y = (x - mean) / sqrt(mean of its square + eps) * w + b, over n; y may be x. */
    void (*layer_norm)(float *y, const float *x, const float *w, const float *b, size_t n,
                       float eps);

    /* Rotates adjacent pairs (x[2i], x[2i+1]) of each head's first `rot` items by
     * the angles whose cos and sin stand in cs[2i], cs[2i+1]; heads are dim apart. */
    void (*rope)(float *x, size_t heads, size_t dim, size_t rot, const float *cs);

    /* The same for pairs (x[i], x[rot / 2 + i]), cos and sin in cs[i], cs[rot / 2 + i]. */
    void (*rope_halves)(float *x, size_t heads, size_t dim, size_t rot, const float *cs);

    /* y = silu(gate) * up, or gelu(gate) * up (the approximation by tanh), or
     * x / (1 + exp(-1.702 x)) * (up + 1) for x = gate up to 7, up within 7; y may be
     * either. */
    void (*silu_mul)(float *y, const float *gate, const float *up, size_t n);
    void (*gelu_mul)(float *y, const float *gate, const float *up, size_t n);
    void (*clamped_mul)(float *y, const float *gate, const float *up, size_t n);

    /* x = gelu(x): the approximation by tanh, and the thing itself, by the error function */
    void (*gelu)(float *x, size_t n);
    void (*gelu_erf)(float *x, size_t n);

    /* x = cap * tanh(x / cap) */
    void (*soft_cap)(float *x, size_t n, float cap);

    /* y += x, x *= a, y += x * a */
    void (*add)(float *y, const float *x, size_t n);
    void (*scale)(float *x, size_t n, float a);
    void (*add_scaled)(float *y, const float *x, size_t n, float a);

    /* p = exp(x - max) for the greatest x; returns the sum of p and sets *max.
     * p may be x.  With -inf among x (not all), those p are 0. */
    float (*exp_max)(float *p, const float *x, size_t n, float *max);

    /* Whether all n values are finite. */
    bool (*all_finite)(const float *x, size_t n);

    /* Writes k and v (dim floats each) of one token into slot 0 to 15 of a page. */
    void (*kv_write[KV_TYPES])(void *keys, void *values, const float *k, const float *v, size_t dim,
                               size_t slot);

    void (*attn[KV_TYPES])(const struct attn_item *item);

    /* out (dim floats, dim rounded up to 16 writable) of one query row from its n
     * segments in order; segment s at m[s * m_stride], l[s * l_stride], o[s * o_stride]. */
    void (*attn_merge)(float *out, size_t dim, size_t n, const float *m, size_t m_stride,
                       const float *l, size_t l_stride, const float *o, size_t o_stride);
};

/* Fills every entry with scalar code, then with the best that cpu_mask (enum
 * cpu_flags, already cut to what the machine has) allows. */
void kernels_init(struct kernels *k, unsigned cpu_mask);

/* The table for cpu_detect(), filled once; REALM_CPU=scalar|avx2|avxvnni|avx512|vnni in
 * the environment lowers it.  Any thread. */
const struct kernels *kernels_best(void);
/* The flags (enum cpu_flags) that it was filled for. */
unsigned kernels_best_flags(void);

/* sin and cos of angle radians (|angle| up to 2^23), the same bits everywhere. */
void kern_sincos(double angle, float *sine, float *cosine);

/* exp and log of ours, the same bits everywhere: exp of a double (|x| up to 700) for tables,
 * log for them and for the sampler's logprobs. */
float kern_expf(float x);
double kern_exp(double x);
double kern_log(double x);

#endif
