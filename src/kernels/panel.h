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
#include "tensor/codes.h"

enum { LINE_BYTES = 64 };

/* ---- weights ----
 * F32   float [k][16]
 * F16   f16 [k][16], padded to a whole line
 * BF16  bf16 [(k + 1) / 2][16][2]: pairs of k; an odd k ends with a zero
 * the others: arrays of the structs below; blocks that only fill the last are 0. */

/* Two blocks; q holds the file's int8 plus 128, for unsigned times signed products;
 * line g: k = 4g .. 4g + 3 of the block. */
struct panel_q8_0 {
    uint16_t d[2][PANEL_ROWS]; /* f16 */
    uint8_t q[2][8][PANEL_ROWS][4];
};

/* Two blocks, of IQ4_NL too; line g: k = 4g .. 4g + 3 in the low nibbles, 16 + those
 * in the high ones. */
struct panel_q4_0 {
    uint16_t d[2][PANEL_ROWS]; /* f16 */
    uint8_t q[2][4][PANEL_ROWS][4];
};

/* Two blocks; the fifth bits come first: bit g of a byte belongs to k = 4g + its
 * place in the dword.  Then lines as in panel_q4_0. */
struct panel_q5_0 {
    uint16_t d[2][PANEL_ROWS]; /* f16 */
    uint8_t q[2][5][PANEL_ROWS][4];
};

/* One block; q as in panel_q4_0, panel_q5_0. */
struct panel_q4_1 {
    uint16_t d[PANEL_ROWS], m[PANEL_ROWS]; /* f16 */
    uint8_t q[4][PANEL_ROWS][4];
};

struct panel_q5_1 {
    uint16_t d[PANEL_ROWS], m[PANEL_ROWS]; /* f16 */
    uint8_t q[5][PANEL_ROWS][4];
};

/* Four blocks; q as in panel_q4_0. */
struct panel_mxfp4 {
    uint8_t e[4][PANEL_ROWS];
    uint8_t q[4][4][PANEL_ROWS][4];
};

/* scales: the file's 12 bytes per row, cut in dwords.  q: as in panel_q4_0 and
 * panel_q5_0, for each of the 8 sub-blocks of 32. */
struct panel_q4_k {
    uint16_t d[PANEL_ROWS], dmin[PANEL_ROWS]; /* f16 */
    uint8_t scales[3][PANEL_ROWS][4];
    uint8_t q[8][4][PANEL_ROWS][4];
};

struct panel_q5_k {
    uint16_t d[PANEL_ROWS], dmin[PANEL_ROWS]; /* f16 */
    uint8_t scales[3][PANEL_ROWS][4];
    uint8_t q[8][5][PANEL_ROWS][4];
};

/* scales: the file's 16 bytes per row, cut in dwords.  A line holds a sub-block of
 * 16: k = 4g .. 4g + 3 in bits 2g, 2g + 1. */
struct panel_q2_k {
    uint16_t d[PANEL_ROWS], dmin[PANEL_ROWS]; /* f16 */
    uint8_t scales[4][PANEL_ROWS][4];
    uint8_t q[16][PANEL_ROWS][4];
};

/* scales: the file's 12 bytes per row, cut in dwords.  q: for each two sub-blocks of
 * 16 a line of third bits, bit g for k = 4g .. 4g + 3, then a line for each as in
 * panel_q2_k. */
struct panel_q3_k {
    uint16_t d[PANEL_ROWS], unused[PANEL_ROWS]; /* f16 */
    uint8_t scales[3][PANEL_ROWS][4];
    uint8_t q[8][3][PANEL_ROWS][4];
};

/* A quarter holds 4 sub-blocks of 16, of 4 lines each, in the order in which they
 * are read first: memory likes to be walked upwards.  Line g of sub-blocks 0 and 1
 * has its low 4 bits in the low and high nibbles of first[g].ql, that of 2 and 3
 * in second[g]; the high 2 bits of sub-block s are bits 2s, 2s + 1 of first[g].qh. */
struct panel_q6_k {
    uint16_t d[PANEL_ROWS], unused[PANEL_ROWS]; /* f16 */
    struct panel_q6_k_quarter {
        int8_t scales[4][PANEL_ROWS];
        struct {
            uint8_t ql[PANEL_ROWS][4];
            uint8_t qh[PANEL_ROWS][4];
        } first[4];
        uint8_t second[4][PANEL_ROWS][4];
    } quarter[4];
};

/* The scales are the file's; q as in panel_q4_0 for each of the 8 sub-blocks. */
struct panel_iq4_xs {
    uint16_t d[PANEL_ROWS], scales_h[PANEL_ROWS]; /* f16; bits */
    uint8_t scales_l[PANEL_ROWS][4];
    uint8_t q[8][4][PANEL_ROWS][4];
};

#define AS_IN_THE_FILE(type, blocks)                                      \
    _Static_assert(sizeof(struct panel_##type) ==                         \
                       (blocks)*PANEL_ROWS * sizeof(struct block_##type), \
                   "a panel takes the bytes of the file")
AS_IN_THE_FILE(q8_0, 2);
AS_IN_THE_FILE(q4_0, 2);
AS_IN_THE_FILE(q5_0, 2);
AS_IN_THE_FILE(q4_1, 1);
AS_IN_THE_FILE(q5_1, 1);
AS_IN_THE_FILE(mxfp4, 4);
AS_IN_THE_FILE(q4_k, 1);
AS_IN_THE_FILE(q5_k, 1);
AS_IN_THE_FILE(q2_k, 1);
AS_IN_THE_FILE(iq4_xs, 1);
#undef AS_IN_THE_FILE
_Static_assert(sizeof(struct panel_q6_k) == 53 * LINE_BYTES, "two bytes more a row");
_Static_assert(sizeof(struct panel_q3_k) == 28 * LINE_BYTES, "two bytes more a row");

/* How a quantised type's blocks become such a struct (panel.c). */
struct panel_type;

/* NULL for floats. */
const struct panel_type *panel_type(enum gemm_type type);

/* A block of one row as tensor/codes.h takes it apart.  One for many blocks: what is
 * local is cleared at each call. */
struct panel_block {
    struct block_scales scales;
    int8_t q[QK_K];
    uint8_t codes[QK_K], head[sizeof(struct block_q6_k)]; /* on the way to the above */
};

/* Reads block b of row r. */
void panel_block_read(struct panel_block *out, const struct panel_type *t, const void *panel,
                      size_t b, size_t r);

/* ---- activations: tiles of T tokens ----
 * ACT_F32   float [k][T]
 * ACT_BF16  bf16 [(k + 1) / 2][T][2]
 * ACT_Q8_*  a record per block, of these arrays in order; offsets and sizes below
 *           are bytes for one token, times T in the tile
 *             int8  q[block / 4][T][4]
 *             float d[T]
 *   32:       int32 bias[T]         -128 * the sum of q
 *   256:      int16 pairs[4][T][2]    sums of 32 q: blocks (0,2) (1,3) (4,6) (5,7)
 *             int16 pairs16[8][T][2]  sums of 16 q, in the same order
 *             int32 bias[16][T]       -32 * the sum of 16 q */
enum {
    ACT32_D = 32,
    ACT32_BIAS = 36,
    ACT32_BYTES = 40,
    ACT256_D = 256,
    ACT256_PAIRS = 260,
    ACT256_PAIRS16 = 276,
    ACT256_BIAS = 308,
    ACT256_BYTES = 372,
};

/* Blocks whose greatest |x| is below this become zeros, so that 127 / max is finite. */
#define ACT_TINY 0x1p-118f

#endif
