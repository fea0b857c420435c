/* kernels/panel.h - the layouts that panel.c, act_pack and the products share.
 *
 * For kernels/ and its tests alone.  Everywhere "line" is 64 bytes: 16 rows of 4
 * bytes that stand for 4 consecutive k, so that a vector lane is an output row.
 * A line is read whole (16 lanes) or as two halves of 8 rows.  docs/kernels.md
 * draws the same layouts and says which float operations are made from them.
 */
#ifndef KERNELS_PANEL_H
#define KERNELS_PANEL_H

#include <stdint.h>

#include "kernels/kernels.h"
#include "tensor/block.h"

enum { LINE_BYTES = 64 };

/* ---- weights ----
 * F32   float [k][16]
 * F16   f16 [k][16], padded to a whole line
 * BF16  bf16 [(k + 1) / 2][16][2]: pairs of k; an odd k ends with a zero
 * the others: arrays of the structs below, blocks of 32 in pairs (the second of
 * an odd count is zero), blocks of 256 one by one. */

/* Two blocks; q holds the file's int8 plus 128, for unsigned times signed products. */
struct panel_q8_0 {
    uint16_t d[2][PANEL_ROWS];      /* f16 */
    uint8_t q[2][8][PANEL_ROWS][4]; /* line g: k = 4g .. 4g + 3 of the block */
};

/* Two blocks; line g: k = 4g .. 4g + 3 in the low nibbles, 16 + those in the high ones. */
struct panel_q4_0 {
    uint16_t d[2][PANEL_ROWS]; /* f16 */
    uint8_t q[2][4][PANEL_ROWS][4];
};

/* scales: the file's 12 bytes per row, cut in dwords.  q: as in panel_q4_0, for
 * each of the 8 sub-blocks of 32. */
struct panel_q4_k {
    uint16_t d[PANEL_ROWS];    /* f16 */
    uint16_t dmin[PANEL_ROWS]; /* f16 */
    uint8_t scales[3][PANEL_ROWS][4];
    uint8_t q[8][4][PANEL_ROWS][4];
};

/* A quarter holds 4 sub-blocks of 16, of 4 lines each, in the order in which they
 * are read first: memory likes to be walked upwards.  Line g of sub-blocks 0 and 1
 * has its low 4 bits in the low and high nibbles of first[g].ql, that of 2 and 3
 * in second[g]; the high 2 bits of sub-block s are bits 2s, 2s + 1 of first[g].qh. */
struct panel_q6_k {
    float d[PANEL_ROWS];
    struct panel_q6_k_quarter {
        int8_t scales[4][PANEL_ROWS];
        struct {
            uint8_t ql[PANEL_ROWS][4];
            uint8_t qh[PANEL_ROWS][4];
        } first[4];
        uint8_t second[4][PANEL_ROWS][4];
    } quarter[4];
};

_Static_assert(sizeof(struct panel_q8_0) == 2 * 16 * sizeof(struct block_q8_0), "as in the file");
_Static_assert(sizeof(struct panel_q4_0) == 2 * 16 * sizeof(struct block_q4_0), "as in the file");
_Static_assert(sizeof(struct panel_q4_k) == 16 * sizeof(struct block_q4_k), "as in the file");
_Static_assert(sizeof(struct panel_q6_k) == 53 * LINE_BYTES, "d is f32: two bytes more a row");

/* Scale and min of sub-block s (0 to 7) of row r, 0 to 63. */
static inline int panel_q4_k_scale(const struct panel_q4_k *p, size_t r, size_t s)
{
    if (s < 4)
        return p->scales[0][r][s] & 63;
    return (p->scales[2][r][s - 4] & 15) | p->scales[0][r][s - 4] >> 6 << 4;
}

static inline int panel_q4_k_min(const struct panel_q4_k *p, size_t r, size_t s)
{
    if (s < 4)
        return p->scales[1][r][s] & 63;
    return p->scales[2][r][s - 4] >> 4 | p->scales[1][r][s - 4] >> 6 << 4;
}

/* Scale of sub-block s (0 to 15) of row r. */
static inline int panel_q6_k_scale(const struct panel_q6_k *p, size_t r, size_t s)
{
    return p->quarter[s / 4].scales[s % 4][r];
}

/* Item i (0 to 255) of row r, 0 to 63. */
static inline int panel_q6_k_item(const struct panel_q6_k *p, size_t r, size_t i)
{
    const struct panel_q6_k_quarter *quarter = &p->quarter[i / 64];
    size_t s = i / 16 % 4, g = i % 16 / 4;
    int low = s < 2 ? quarter->first[g].ql[r][i % 4] : quarter->second[g][r][i % 4];
    int high = quarter->first[g].qh[r][i % 4];
    return (low >> s % 2 * 4 & 15) | (high >> 2 * s & 3) << 4;
}

/* ---- activations: tiles of T tokens ----
 * ACT_F32   float [k][T]
 * ACT_BF16  bf16 [(k + 1) / 2][T][2]
 * ACT_Q8_*  a record per block, of these arrays in order; offsets and sizes below
 *           are bytes for one token, times T in the tile
 *             int8  q[block / 4][T][4]
 *             float d[T]
 *   32:       int32 bias[T]         -128 * the sum of q
 *   256:      int16 pairs[4][T][2]  sums of 32 q: blocks (0,2) (1,3) (4,6) (5,7)
 *             int32 bias[16][T]     -32 * the sum of 16 q */
enum {
    ACT32_D = 32,
    ACT32_BIAS = 36,
    ACT32_BYTES = 40,
    ACT256_D = 256,
    ACT256_PAIRS = 260,
    ACT256_BIAS = 276,
    ACT256_BYTES = 340,
};

/* Blocks whose greatest |x| is below this become zeros, so that 127 / max is finite. */
#define ACT_TINY 0x1p-118f

#endif
