/* tensor/block.h - the block layouts of the quantised types as files have them. */
#ifndef TENSOR_BLOCK_H
#define TENSOR_BLOCK_H

#include <stdint.h>

enum { QK = 32, QK_K = 256 };

/* w = d * (q - 8); item i in the low nibble of qs[i], item i + 16 in its high one. */
struct block_q4_0 {
    uint16_t d; /* f16 */
    uint8_t qs[QK / 2];
};

/* w = d * q */
struct block_q8_0 {
    uint16_t d; /* f16 */
    int8_t qs[QK];
};

/* 8 sub-blocks of 32: w = d * sc * q - dmin * m.  scales packs 8 scales and 8
 * mins of 6 bits; qs holds, for each pair of sub-blocks, the even one in the low
 * nibbles of 32 bytes and the odd one in the high ones. */
struct block_q4_k {
    uint16_t d;    /* f16 */
    uint16_t dmin; /* f16 */
    uint8_t scales[12];
    uint8_t qs[QK_K / 2];
};

/* 16 sub-blocks of 16: w = d * sc * (q - 32); ql the low 4 bits, qh the high 2. */
struct block_q6_k {
    uint8_t ql[QK_K / 2];
    uint8_t qh[QK_K / 4];
    int8_t scales[QK_K / 16];
    uint16_t d; /* f16 */
};

_Static_assert(sizeof(struct block_q4_0) == 18, "Q4_0 is 18 bytes in a file");
_Static_assert(sizeof(struct block_q8_0) == 34, "Q8_0 is 34 bytes in a file");
_Static_assert(sizeof(struct block_q4_k) == 144, "Q4_K is 144 bytes in a file");
_Static_assert(sizeof(struct block_q6_k) == 210, "Q6_K is 210 bytes in a file");

#endif
