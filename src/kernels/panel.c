/* kernels/panel.c - weights as files have them into panels, and one row back.
 *
 * Scalar, once per load; nothing is rounded.  Rows come at any alignment. */
#include "kernels/panel.h"

#include <string.h>

#include "base/ckd.h"
#include "tensor/half.h"

/* The rows that panel_pack was given. */
struct rows {
    const uint8_t *first;
    size_t row_bytes;
    size_t n;
};

enum gemm_type gemm_type_of(enum dtype type)
{
    switch (type) {
    case DTYPE_F32:
        return GEMM_F32;
    case DTYPE_F16:
        return GEMM_F16;
    case DTYPE_BF16:
        return GEMM_BF16;
    case DTYPE_Q8_0:
        return GEMM_Q8_0;
    case DTYPE_Q4_0:
        return GEMM_Q4_0;
    case DTYPE_Q4_K:
        return GEMM_Q4_K;
    case DTYPE_Q6_K:
        return GEMM_Q6_K;
    }
    return GEMM_TYPES;
}

enum act_kind act_kind_of(enum gemm_type type)
{
    static const enum act_kind kinds[GEMM_TYPES] = {
        [GEMM_F32] = ACT_F32,     [GEMM_F16] = ACT_F32,    [GEMM_BF16] = ACT_BF16,
        [GEMM_Q8_0] = ACT_Q8_32,  [GEMM_Q4_0] = ACT_Q8_32, [GEMM_Q4_K] = ACT_Q8_256,
        [GEMM_Q6_K] = ACT_Q8_256,
    };
    return kinds[type];
}

size_t panel_bytes(enum gemm_type type, size_t k)
{
    switch (type) {
    case GEMM_F32:
        return k * LINE_BYTES;
    case GEMM_F16:
    case GEMM_BF16:
        return (k + 1) / 2 * LINE_BYTES;
    case GEMM_Q8_0:
        return (k / QK + 1) / 2 * sizeof(struct panel_q8_0);
    case GEMM_Q4_0:
        return (k / QK + 1) / 2 * sizeof(struct panel_q4_0);
    case GEMM_Q4_K:
        return k / QK_K * sizeof(struct panel_q4_k);
    case GEMM_Q6_K:
        return k / QK_K * sizeof(struct panel_q6_k);
    case GEMM_TYPES:
        break;
    }
    return 0;
}

size_t act_bytes(enum act_kind kind, size_t k)
{
    static const uint8_t bytes[ACT_KINDS] = {[ACT_F32] = 4, [ACT_BF16] = 2};
    if (kind == ACT_Q8_32)
        return round_up(k / QK * ACT32_BYTES, KERN_ALIGN);
    if (kind == ACT_Q8_256)
        return round_up(k / QK_K * ACT256_BYTES, KERN_ALIGN);
    return round_up((k + k % 2) * bytes[kind], KERN_ALIGN);
}

static const uint8_t *row_at(const struct rows *rows, size_t r, size_t byte)
{
    return rows->first + r * rows->row_bytes + byte;
}

static uint32_t load_u32(const uint8_t *p)
{
    uint32_t word;
    memcpy(&word, p, 4);
    return word;
}

static void store_u32(uint8_t *p, uint32_t word)
{
    memcpy(p, &word, 4);
}

static void pack_f32(float *out, const struct rows *rows, size_t k)
{
    for (size_t i = 0; i < k; i++)
        for (size_t r = 0; r < rows->n; r++)
            memcpy(&out[i * PANEL_ROWS + r], row_at(rows, r, i * 4), 4);
}

static void pack_f16(uint16_t *out, const struct rows *rows, size_t k)
{
    for (size_t i = 0; i < k; i++)
        for (size_t r = 0; r < rows->n; r++)
            memcpy(&out[i * PANEL_ROWS + r], row_at(rows, r, i * 2), 2);
}

static void pack_bf16(uint16_t *out, const struct rows *rows, size_t k)
{
    for (size_t i = 0; i < k; i++)
        for (size_t r = 0; r < rows->n; r++)
            memcpy(&out[(i / 2 * PANEL_ROWS + r) * 2 + i % 2], row_at(rows, r, i * 2), 2);
}

static void put_q8_0(struct panel_q8_0 *p, size_t b, size_t r, const struct block_q8_0 *block)
{
    p->d[b][r] = block->d;
    for (size_t g = 0; g < 8; g++) // int8 plus 128: the top bit flips
        store_u32(p->q[b][g][r], load_u32((const uint8_t *)block->qs + 4 * g) ^ 0x80808080);
}

static void put_q4_0(struct panel_q4_0 *p, size_t b, size_t r, const struct block_q4_0 *block)
{
    p->d[b][r] = block->d;
    for (size_t g = 0; g < 4; g++)
        store_u32(p->q[b][g][r], load_u32(block->qs + 4 * g));
}

static void put_q4_k(struct panel_q4_k *p, size_t r, const struct block_q4_k *block)
{
    const uint32_t low = 0x0f0f0f0f;
    p->d[r] = block->d;
    p->dmin[r] = block->dmin;
    for (size_t i = 0; i < 3; i++)
        store_u32(p->scales[i][r], load_u32(block->scales + 4 * i));
    for (size_t s = 0; s < 8; s++)
        for (size_t g = 0; g < 4; g++) {
            const uint8_t *qs = block->qs + s / 2 * 32 + 4 * g;
            uint32_t first = load_u32(qs) >> s % 2 * 4 & low;
            uint32_t second = load_u32(qs + 16) >> s % 2 * 4 & low;
            store_u32(p->q[s][g][r], first | second << 4);
        }
}

/* The file keeps each half of a block (128) in ql[64], items 0 to 63 in the low
 * nibbles, and in qh[32], items 0 to 31 in the lowest two bits. */
static void put_q6_k(struct panel_q6_k *p, size_t r, const struct block_q6_k *block)
{
    p->d[r] = f32_from_f16(block->d);
    for (size_t s = 0; s < 16; s++)
        p->quarter[s / 4].scales[s % 4][r] = block->scales[s];
    for (size_t i = 0; i < QK_K; i += 4) {
        struct panel_q6_k_quarter *quarter = &p->quarter[i / 64];
        size_t s = i / 16 % 4, g = i % 16 / 4, half = i / 128, at = i % 128;
        uint8_t *ql = s < 2 ? quarter->first[g].ql[r] : quarter->second[g][r];
        uint8_t *qh = quarter->first[g].qh[r];
        uint32_t low = load_u32(block->ql + half * 64 + at % 64) >> at / 64 * 4 & 0x0f0f0f0f;
        uint32_t high = load_u32(block->qh + half * 32 + at % 32) >> at / 32 * 2 & 0x03030303;
        store_u32(ql, load_u32(ql) | low << s % 2 * 4);
        store_u32(qh, load_u32(qh) | high << 2 * s);
    }
}

static void pack_q8_0(struct panel_q8_0 *out, const struct rows *rows, size_t k)
{
    for (size_t b = 0; b < k / QK; b++)
        for (size_t r = 0; r < rows->n; r++) {
            struct block_q8_0 block;
            memcpy(&block, row_at(rows, r, b * sizeof(block)), sizeof(block));
            put_q8_0(&out[b / 2], b % 2, r, &block);
        }
}

static void pack_q4_0(struct panel_q4_0 *out, const struct rows *rows, size_t k)
{
    for (size_t b = 0; b < k / QK; b++)
        for (size_t r = 0; r < rows->n; r++) {
            struct block_q4_0 block;
            memcpy(&block, row_at(rows, r, b * sizeof(block)), sizeof(block));
            put_q4_0(&out[b / 2], b % 2, r, &block);
        }
}

static void pack_q4_k(struct panel_q4_k *out, const struct rows *rows, size_t k)
{
    for (size_t b = 0; b < k / QK_K; b++)
        for (size_t r = 0; r < rows->n; r++) {
            struct block_q4_k block;
            memcpy(&block, row_at(rows, r, b * sizeof(block)), sizeof(block));
            put_q4_k(&out[b], r, &block);
        }
}

static void pack_q6_k(struct panel_q6_k *out, const struct rows *rows, size_t k)
{
    for (size_t b = 0; b < k / QK_K; b++)
        for (size_t r = 0; r < rows->n; r++) {
            struct block_q6_k block;
            memcpy(&block, row_at(rows, r, b * sizeof(block)), sizeof(block));
            put_q6_k(&out[b], r, &block);
        }
}

void panel_pack(enum gemm_type type, void *panel, const void *rows, size_t row_bytes, size_t n_rows,
                size_t k)
{
    const struct rows from = {rows, row_bytes, n_rows};
    memset(panel, 0, panel_bytes(type, k)); // absent rows and blocks
    switch (type) {
    case GEMM_F32:
        pack_f32(panel, &from, k);
        break;
    case GEMM_F16:
        pack_f16(panel, &from, k);
        break;
    case GEMM_BF16:
        pack_bf16(panel, &from, k);
        break;
    case GEMM_Q8_0:
        pack_q8_0(panel, &from, k);
        break;
    case GEMM_Q4_0:
        pack_q4_0(panel, &from, k);
        break;
    case GEMM_Q4_K:
        pack_q4_k(panel, &from, k);
        break;
    case GEMM_Q6_K:
        pack_q6_k(panel, &from, k);
        break;
    case GEMM_TYPES:
        break;
    }
}

static void unpack_q8_0(const struct panel_q8_0 *panel, size_t r, size_t k, float *out)
{
    for (size_t b = 0; b < k / QK; b++) {
        const struct panel_q8_0 *p = &panel[b / 2];
        float d = f32_from_f16(p->d[b % 2][r]);
        for (size_t i = 0; i < QK; i++)
            out[b * QK + i] = d * (float)(p->q[b % 2][i / 4][r][i % 4] - 128);
    }
}

static void unpack_q4_0(const struct panel_q4_0 *panel, size_t r, size_t k, float *out)
{
    for (size_t b = 0; b < k / QK; b++) {
        const struct panel_q4_0 *p = &panel[b / 2];
        float d = f32_from_f16(p->d[b % 2][r]);
        for (size_t i = 0; i < QK; i++) {
            int q = p->q[b % 2][i % 16 / 4][r][i % 4] >> i / 16 * 4 & 15;
            out[b * QK + i] = d * (float)(q - 8);
        }
    }
}

static void unpack_q4_k(const struct panel_q4_k *panel, size_t r, size_t k, float *out)
{
    for (const struct panel_q4_k *p = panel; p < panel + k / QK_K; p++) {
        float d = f32_from_f16(p->d[r]), dmin = f32_from_f16(p->dmin[r]);
        for (size_t s = 0; s < 8; s++) {
            float scale = d * (float)panel_q4_k_scale(p, r, s);
            float min = dmin * (float)panel_q4_k_min(p, r, s);
            for (size_t i = 0; i < 32; i++) {
                int q = p->q[s][i % 16 / 4][r][i % 4] >> i / 16 * 4 & 15;
                *out++ = scale * (float)q - min;
            }
        }
    }
}

static void unpack_q6_k(const struct panel_q6_k *panel, size_t r, size_t k, float *out)
{
    for (const struct panel_q6_k *p = panel; p < panel + k / QK_K; p++)
        for (size_t i = 0; i < QK_K; i++)
            *out++ = p->d[r] * (float)panel_q6_k_scale(p, r, i / 16) *
                     (float)(panel_q6_k_item(p, r, i) - 32);
}

void panel_unpack_row(enum gemm_type type, const void *panel, size_t r, size_t k, float *out)
{
    const float *f32 = panel;
    const uint16_t *half = panel;
    switch (type) {
    case GEMM_F32:
        for (size_t i = 0; i < k; i++)
            out[i] = f32[i * PANEL_ROWS + r];
        break;
    case GEMM_F16:
        for (size_t i = 0; i < k; i++)
            out[i] = f32_from_f16(half[i * PANEL_ROWS + r]);
        break;
    case GEMM_BF16:
        for (size_t i = 0; i < k; i++)
            out[i] = f32_from_bf16(half[(i / 2 * PANEL_ROWS + r) * 2 + i % 2]);
        break;
    case GEMM_Q8_0:
        unpack_q8_0(panel, r, k, out);
        break;
    case GEMM_Q4_0:
        unpack_q4_0(panel, r, k, out);
        break;
    case GEMM_Q4_K:
        unpack_q4_k(panel, r, k, out);
        break;
    case GEMM_Q6_K:
        unpack_q6_k(panel, r, k, out);
        break;
    case GEMM_TYPES:
        break;
    }
}
