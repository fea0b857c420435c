/* kernels/panel.c - weights as files have them into panels, and one row back.
 *
 * Scalar, once per load; nothing is rounded.  Rows come at any alignment. */
#include "kernels/panel.h"

#include <string.h>

#include "base/ckd.h"
#include "kernels/tmpl/inline.h"
#include "tensor/codes.h"
#include "tensor/half.h"

/* The rows that panel_pack was given. */
struct rows {
    const uint8_t *first;
    size_t row_bytes;
    size_t n;
};

/* n items of `size` bytes that follow each other in a block; in the panel each has an
 * array of 16 rows, `step` bytes apart, the first `at` bytes into the struct. */
struct move {
    uint16_t file;
    uint8_t size, n;
    uint16_t at, step;
};

/* Items go to the panel by records of lines.  A plane of tensor/codes.h stands for the
 * dwords of one row; its dword i is in line lines[i] of the record. */
struct panel_type {
    enum dtype dtype;
    uint16_t bytes;                /* of the struct */
    uint8_t blocks;                /* in it */
    uint8_t records, record_lines; /* of a block */
    uint16_t first;                /* where the first record stands */
    struct plane planes[2];        /* at: not used */
    uint8_t lines[2][8];
    struct move moves[5]; /* what stands before the codes */
};

/* Planes of a record of 32 items. */
#define EIGHTS .planes = {{0, 8, 32, 0}}, .lines = {{0, 1, 2, 3, 4, 5, 6, 7}}
#define FOURS .planes = {{0, 4, 16, 0}}, .lines = {{0, 1, 2, 3}}
#define FIVES .planes = {{0, 4, 16, 0}, {0, 1, 4, 4}}, .lines = {{1, 2, 3, 4}, {0}}

/* So many blocks in a struct, of so many records of so many lines. */
#define SHAPE(type, n_blocks, n_records, lines_each, codes_at)                      \
    .bytes = sizeof(struct panel_##type), .blocks = n_blocks, .records = n_records, \
    .record_lines = lines_each, .first = codes_at

static const struct panel_type types[GEMM_TYPES] = {
    [GEMM_Q8_0] = {DTYPE_Q8_0, SHAPE(q8_0, 2, 1, 8, 64), EIGHTS, .moves = {{0, 2, 1, 0, 0}}},
    [GEMM_Q4_0] = {DTYPE_Q4_0, SHAPE(q4_0, 2, 1, 4, 64), FOURS, .moves = {{0, 2, 1, 0, 0}}},
    [GEMM_Q4_1] = {DTYPE_Q4_1, SHAPE(q4_1, 1, 1, 4, 64), FOURS, .moves = {{0, 2, 2, 0, 32}}},
    [GEMM_Q5_0] = {DTYPE_Q5_0, SHAPE(q5_0, 2, 1, 5, 64), FIVES, .moves = {{0, 2, 1, 0, 0}}},
    [GEMM_Q5_1] = {DTYPE_Q5_1, SHAPE(q5_1, 1, 1, 5, 64), FIVES, .moves = {{0, 2, 2, 0, 32}}},
    [GEMM_IQ4_NL] = {DTYPE_IQ4_NL, SHAPE(q4_0, 2, 1, 4, 64), FOURS, .moves = {{0, 2, 1, 0, 0}}},
    [GEMM_MXFP4] = {DTYPE_MXFP4, SHAPE(mxfp4, 4, 1, 4, 64), FOURS, .moves = {{0, 1, 1, 0, 0}}},
    [GEMM_Q2_K] = {DTYPE_Q2_K, SHAPE(q2_k, 1, 16, 1, 5 * 64), .planes = {{0, 2, 4, 0}},
                   .lines = {{0}}, .moves = {{80, 2, 2, 0, 32}, {0, 4, 4, 64, 64}}},
    [GEMM_Q3_K] = {DTYPE_Q3_K, SHAPE(q3_k, 1, 8, 3, 4 * 64), .planes = {{0, 2, 4, 0}, {0, 1, 4, 2}},
                   .lines = {{1, 2}, {0}}, .moves = {{108, 2, 1, 0, 0}, {96, 4, 3, 64, 64}}},
    [GEMM_Q4_K] = {DTYPE_Q4_K, SHAPE(q4_k, 1, 8, 4, 4 * 64), FOURS,
                   .moves = {{0, 2, 2, 0, 32}, {4, 4, 3, 64, 64}}},
    [GEMM_Q5_K] = {DTYPE_Q5_K, SHAPE(q5_k, 1, 8, 5, 4 * 64), FIVES,
                   .moves = {{0, 2, 2, 0, 32}, {4, 4, 3, 64, 64}}},
    [GEMM_Q6_K] = {DTYPE_Q6_K, SHAPE(q6_k, 1, 4, 13, 64), .planes = {{0, 4, 16, 0}, {0, 2, 16, 4}},
                   .lines = {{1, 3, 5, 7, 9, 10, 11, 12}, {2, 4, 6, 8}},
                   .moves = {{208, 2, 1, 0, 0},
                             {192, 1, 4, 64, 16},
                             {196, 1, 4, 14 * 64, 16},
                             {200, 1, 4, 27 * 64, 16},
                             {204, 1, 4, 40 * 64, 16}}},
    [GEMM_IQ4_XS] = {DTYPE_IQ4_XS, SHAPE(iq4_xs, 1, 8, 4, 2 * 64), FOURS,
                     .moves = {{0, 2, 2, 0, 32}, {4, 4, 1, 64, 0}}},
};

const struct panel_type *panel_type(enum gemm_type type)
{
    return types[type].bytes ? &types[type] : NULL;
}

enum gemm_type gemm_type_of(enum dtype type)
{
    switch (type) {
    case DTYPE_F32:
        return GEMM_F32;
    case DTYPE_F16:
        return GEMM_F16;
    case DTYPE_BF16:
        return GEMM_BF16;
    default:
        for (enum gemm_type i = 0; i < GEMM_TYPES; i++)
            if (types[i].bytes && types[i].dtype == type)
                return i;
    }
    return GEMM_TYPES;
}

enum act_kind act_kind_of(enum gemm_type type)
{
    if (types[type].bytes)
        return code_type(types[type].dtype)->items == QK ? ACT_Q8_32 : ACT_Q8_256;
    return type == GEMM_BF16 ? ACT_BF16 : ACT_F32;
}

size_t panel_bytes(enum gemm_type type, size_t k)
{
    const struct panel_type *t = &types[type];
    if (!t->bytes)
        return type == GEMM_F32 ? k * LINE_BYTES : (k + 1) / 2 * LINE_BYTES;
    const size_t blocks = k / code_type(t->dtype)->items;
    return (blocks + t->blocks - 1) / t->blocks * t->bytes;
}

size_t act_at(enum act_kind kind, size_t k)
{
    static const uint8_t bytes[ACT_KINDS] = {[ACT_F32] = 4, [ACT_BF16] = 2};
    if (kind == ACT_Q8_32)
        return k / QK * ACT32_BYTES;
    if (kind == ACT_Q8_256)
        return k / QK_K * ACT256_BYTES;
    return (k + k % 2) * bytes[kind];
}

size_t act_bytes(enum act_kind kind, size_t k)
{
    return round_up(act_at(kind, k), KERN_ALIGN);
}

static const uint8_t *row_at(const struct rows *rows, size_t r, size_t byte)
{
    return rows->first + r * rows->row_bytes + byte;
}

static void pack_f32(uint8_t *panel, const struct rows *rows, size_t k)
{
    float *out = (float *)(void *)panel;
    for (size_t i = 0; i < k; i++)
        for (size_t r = 0; r < rows->n; r++)
            memcpy(&out[i * PANEL_ROWS + r], row_at(rows, r, i * 4), 4);
}

static void pack_f16(uint8_t *panel, const struct rows *rows, size_t k)
{
    uint16_t *out = (uint16_t *)(void *)panel;
    for (size_t i = 0; i < k; i++)
        for (size_t r = 0; r < rows->n; r++)
            memcpy(&out[i * PANEL_ROWS + r], row_at(rows, r, i * 2), 2);
}

static void pack_bf16(uint8_t *panel, const struct rows *rows, size_t k)
{
    uint16_t *out = (uint16_t *)(void *)panel;
    for (size_t i = 0; i < k; i++)
        for (size_t r = 0; r < rows->n; r++)
            memcpy(&out[(i / 2 * PANEL_ROWS + r) * 2 + i % 2], row_at(rows, r, i * 2), 2);
}

/* Where dword i of a plane stands, of row r, in a record of block b of the struct. */
ALWAYS_INLINE uint32_t *dword_at(const struct panel_type *t, const void *group, size_t b,
                                 size_t record, const uint8_t *lines, size_t i, size_t r)
{
    size_t line = (b * t->records + record) * t->record_lines + lines[i];
    return (uint32_t *)((uint8_t *)group + t->first + line * LINE_BYTES) + r;
}

ALWAYS_INLINE size_t plane_dwords(const struct plane *p, size_t items)
{
    return items * p->bits / 32;
}

static uint32_t load_u32(const uint8_t *p)
{
    uint32_t word;
    memcpy(&word, p, 4);
    return word;
}

/* Four items as a byte each, in the low bits; below the 4: those of other items. */
ALWAYS_INLINE uint32_t four_items(const struct plane *p, const uint8_t *bytes, const size_t item)
{
    const size_t run = item / p->run, runs = 8 / p->bits;
    if (p->run == 1) // bits: one to each byte
        return (load_u32(bytes) >> item & 15) * 0x00204081u;
    return load_u32(bytes + run / runs * p->run + item % p->run) >> run % runs * p->bits;
}

ALWAYS_INLINE uint32_t plane_mask(const struct plane *p)
{
    return ((1u << p->bits) - 1) * 0x01010101u;
}

/* The first of the four items that dword w of a plane holds for its n-th run of bits. */
ALWAYS_INLINE size_t item_of(const struct plane *p, const size_t w, const size_t n)
{
    return (4 * w / p->run * (8 / p->bits) + n) * p->run + 4 * w % p->run;
}

/* Dword w of plane `to`, whose first item is `first` of the file's plane `from`. */
ALWAYS_INLINE uint32_t dword_moved(const struct plane *to, const struct plane *from,
                                   const uint8_t *bytes, const size_t first, const size_t w)
{
    uint32_t word = 0;
    EACH (n, 8u / to->bits)
        word |= (four_items(from, bytes, first + item_of(to, w, n)) & plane_mask(to))
                << n * to->bits;
    return word;
}

/* The codes of one block of one row into its lines.  All but pointers are constants. */
ALWAYS_INLINE void codes_put(const struct panel_type *t, const struct plane *file,
                             const size_t items, void *group, size_t b, size_t r,
                             const uint8_t *block)
{
    const size_t planes = t->planes[1].bits ? 2 : 1;
    const uint32_t flip = t->dtype == DTYPE_Q8_0 ? 0x80808080u : 0; // signed in the file
    EACH (record, t->records)
        EACH (i, planes)
            EACH (w, plane_dwords(&t->planes[i], items / t->records))
                *dword_at(t, group, b, record, t->lines[i], w, r) =
                    flip ^ dword_moved(&t->planes[i], &file[i], block + file[i].at,
                                       record * (items / t->records), w);
}

/* The bits that dword w of a plane has of its codes; the second plane adds to the first. */
ALWAYS_INLINE void dword_spread(const struct plane *p, uint32_t word, const size_t w,
                                const bool second, uint8_t *codes)
{
    EACH (n, 8u / p->bits) {
        uint8_t *four = codes + item_of(p, w, n);
        const uint32_t bits = (word >> n * p->bits & plane_mask(p)) << p->up;
        const uint32_t all = second ? load_u32(four) | bits : bits;
        memcpy(four, &all, 4);
    }
}

/* And back from the lines. */
ALWAYS_INLINE void codes_get(const struct panel_type *t, const size_t items, const void *group,
                             size_t b, size_t r, uint8_t *codes)
{
    const size_t planes = t->planes[1].bits ? 2 : 1;
    EACH (record, t->records)
        EACH (i, planes)
            EACH (w, plane_dwords(&t->planes[i], items / t->records))
                dword_spread(&t->planes[i], *dword_at(t, group, b, record, t->lines[i], w, r), w, i,
                             codes + record * (items / t->records));
}

/* What stands before the codes: blocks of one struct have their arrays side by side. */
ALWAYS_INLINE void moves_put(const struct panel_type *t, void *group, size_t b, size_t r,
                             const uint8_t *block)
{
    EACH (j, 5)
        EACH (i, t->moves[j].n) {
            const struct move *m = &t->moves[j];
            memcpy((uint8_t *)group + m->at + i * m->step + (b * PANEL_ROWS + r) * m->size,
                   block + m->file + i * m->size, m->size);
        }
}

ALWAYS_INLINE void moves_get(const struct panel_type *t, const void *group, size_t b, size_t r,
                             uint8_t *block)
{
    EACH (j, 5)
        EACH (i, t->moves[j].n) {
            const struct move *m = &t->moves[j];
            memcpy(block + m->file + i * m->size,
                   (const uint8_t *)group + m->at + i * m->step + (b * PANEL_ROWS + r) * m->size,
                   m->size);
        }
}

ALWAYS_INLINE void pack_blocks(const struct panel_type *t, const struct plane *file,
                               const size_t block_bytes, const size_t items, uint8_t *panel,
                               const struct rows *rows, size_t k)
{
    for (size_t b = 0; b < k / items; b++)
        for (size_t r = 0; r < rows->n; r++) {
            const uint8_t *block = row_at(rows, r, b * block_bytes);
            uint8_t *group = panel + b / t->blocks * t->bytes;
            codes_put(t, file, items, group, b % t->blocks, r, block);
            moves_put(t, group, b % t->blocks, r, block);
        }
}

ALWAYS_INLINE void block_read(const struct panel_type *t, const size_t items,
                              struct panel_block *out, const uint8_t *panel, size_t b, size_t r)
{
    const uint8_t *group = panel + b / t->blocks * t->bytes;
    codes_get(t, items, group, b % t->blocks, r, out->codes);
    moves_get(t, group, b % t->blocks, r, out->head);
}

/* Both for each type, so that a compiler knows where every bit goes. */
#define PACK(name, TYPE, items)                                                                 \
    static void pack_##name(uint8_t *panel, const struct rows *rows, size_t k)                  \
    {                                                                                           \
        static const struct plane file[2] = {CODE_PLANES_##TYPE};                               \
        pack_blocks(&types[GEMM_##TYPE], file, sizeof(struct block_##name), items, panel, rows, \
                    k);                                                                         \
    }                                                                                           \
    static void read_##name(struct panel_block *out, const uint8_t *panel, size_t b, size_t r)  \
    {                                                                                           \
        block_read(&types[GEMM_##TYPE], items, out, panel, b, r);                               \
    }
#define block_iq4_nl block_q4_0
PACK(q8_0, Q8_0, QK)
PACK(q4_0, Q4_0, QK)
PACK(q4_1, Q4_1, QK)
PACK(q5_0, Q5_0, QK)
PACK(q5_1, Q5_1, QK)
PACK(iq4_nl, IQ4_NL, QK)
PACK(mxfp4, MXFP4, QK)
PACK(q2_k, Q2_K, QK_K)
PACK(q3_k, Q3_K, QK_K)
PACK(q4_k, Q4_K, QK_K)
PACK(q5_k, Q5_K, QK_K)
PACK(q6_k, Q6_K, QK_K)
PACK(iq4_xs, IQ4_XS, QK_K)

void panel_block_read(struct panel_block *out, const struct panel_type *t, const void *panel,
                      size_t b, size_t r)
{
    static void (*const read[GEMM_TYPES])(struct panel_block *, const uint8_t *, size_t, size_t) = {
        [GEMM_Q8_0] = read_q8_0,     [GEMM_Q4_0] = read_q4_0, [GEMM_Q4_1] = read_q4_1,
        [GEMM_Q5_0] = read_q5_0,     [GEMM_Q5_1] = read_q5_1, [GEMM_IQ4_NL] = read_iq4_nl,
        [GEMM_MXFP4] = read_mxfp4,   [GEMM_Q2_K] = read_q2_k, [GEMM_Q3_K] = read_q3_k,
        [GEMM_Q4_K] = read_q4_k,     [GEMM_Q5_K] = read_q5_k, [GEMM_Q6_K] = read_q6_k,
        [GEMM_IQ4_XS] = read_iq4_xs,
    };
    read[t - types](out, panel, b, r);
    code_integers(code_type(t->dtype), out->codes, out->q);
    block_scales(t->dtype, out->head, &out->scales);
}

void panel_pack(enum gemm_type type, void *panel, const void *rows, size_t row_bytes, size_t n_rows,
                size_t k)
{
    static void (*const pack[GEMM_TYPES])(uint8_t * panel, const struct rows *rows, size_t k) = {
        [GEMM_F32] = pack_f32,       [GEMM_F16] = pack_f16,   [GEMM_BF16] = pack_bf16,
        [GEMM_Q8_0] = pack_q8_0,     [GEMM_Q4_0] = pack_q4_0, [GEMM_Q4_1] = pack_q4_1,
        [GEMM_Q5_0] = pack_q5_0,     [GEMM_Q5_1] = pack_q5_1, [GEMM_IQ4_NL] = pack_iq4_nl,
        [GEMM_MXFP4] = pack_mxfp4,   [GEMM_Q2_K] = pack_q2_k, [GEMM_Q3_K] = pack_q3_k,
        [GEMM_Q4_K] = pack_q4_k,     [GEMM_Q5_K] = pack_q5_k, [GEMM_Q6_K] = pack_q6_k,
        [GEMM_IQ4_XS] = pack_iq4_xs,
    };
    const struct rows from = {rows, row_bytes, n_rows};
    memset(panel, 0, panel_bytes(type, k)); // absent rows and blocks
    pack[type](panel, &from, k);
}

static void unpack_blocks(const struct panel_type *t, const void *panel, size_t r, size_t k,
                          float *out)
{
    const struct code_type *code = code_type(t->dtype);
    struct panel_block block;
    for (size_t b = 0; b < k / code->items; b++) {
        panel_block_read(&block, t, panel, b, r);
        block_values(code, &block.scales, block.q, out + b * code->items);
    }
}

void panel_unpack_row(enum gemm_type type, const void *panel, size_t r, size_t k, float *out)
{
    const float *f32 = panel;
    const uint16_t *half = panel;
    if (types[type].bytes)
        unpack_blocks(&types[type], panel, r, k, out);
    else if (type == GEMM_F32)
        for (size_t i = 0; i < k; i++)
            out[i] = f32[i * PANEL_ROWS + r];
    else if (type == GEMM_F16)
        for (size_t i = 0; i < k; i++)
            out[i] = f32_from_f16(half[i * PANEL_ROWS + r]);
    else
        for (size_t i = 0; i < k; i++)
            out[i] = f32_from_bf16(half[(i / 2 * PANEL_ROWS + r) * 2 + i % 2]);
}
