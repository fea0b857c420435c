/* tensor/block.h - the block layouts of the quantised types as files have them.
 *
 * Which bits of which bytes an item takes is said by the planes of tensor/codes.c. */
#ifndef TENSOR_BLOCK_H
#define TENSOR_BLOCK_H

#include <stdint.h>

enum { QK = 32, QK_K = 256 };

/* w = d * (q - 8).  IQ4_NL has the same bytes: w = d * value(q). */
struct block_q4_0 {
    uint16_t d; /* f16 */
    uint8_t qs[QK / 2];
};

/* w = d * q + m */
struct block_q4_1 {
    uint16_t d, m; /* f16 */
    uint8_t qs[QK / 2];
};

/* w = d * (q - 16); qh the fifth bits */
struct block_q5_0 {
    uint16_t d; /* f16 */
    uint8_t qh[QK / 8];
    uint8_t qs[QK / 2];
};

/* w = d * q + m */
struct block_q5_1 {
    uint16_t d, m; /* f16 */
    uint8_t qh[QK / 8];
    uint8_t qs[QK / 2];
};

/* w = d * q */
struct block_q8_0 {
    uint16_t d; /* f16 */
    int8_t qs[QK];
};

/* w = 2^(e - 128) * value(q); values are doubled, which halves the scale */
struct block_mxfp4 {
    uint8_t e;
    uint8_t qs[QK / 2];
};

/* 16 sub-blocks of 16: w = d * sc * q - dmin * m; a byte of scales has sc in its
 * low nibble and m in its high one. */
struct block_q2_k {
    uint8_t scales[QK_K / 16];
    uint8_t qs[QK_K / 4];
    uint16_t d, dmin; /* f16 */
};

/* 16 sub-blocks of 16: w = d * (sc - 32) * (q - 4); hmask the third bits.  scales:
 * of sub-blocks 0 to 7 the low 4 bits in the low nibbles of bytes 0 to 7, of 8 to 15
 * in the high ones; the high 2 bits of s in byte 8 + s % 4, from bit s / 4 * 2 on. */
struct block_q3_k {
    uint8_t hmask[QK_K / 8];
    uint8_t qs[QK_K / 4];
    uint8_t scales[12];
    uint16_t d; /* f16 */
};

/* 8 sub-blocks of 32: w = d * sc * q - dmin * m.  scales packs 8 scales and 8
 * mins of 6 bits: codes.c says how. */
struct block_q4_k {
    uint16_t d, dmin; /* f16 */
    uint8_t scales[12];
    uint8_t qs[QK_K / 2];
};

/* As Q4_K, with the fifth bits in qh. */
struct block_q5_k {
    uint16_t d, dmin; /* f16 */
    uint8_t scales[12];
    uint8_t qh[QK_K / 8];
    uint8_t qs[QK_K / 2];
};

/* 16 sub-blocks of 16: w = d * sc * (q - 32); ql the low 4 bits, qh the high 2. */
struct block_q6_k {
    uint8_t ql[QK_K / 2];
    uint8_t qh[QK_K / 4];
    int8_t scales[QK_K / 16];
    uint16_t d; /* f16 */
};

/* 8 sub-blocks of 32: w = d * (sc - 32) * value(q).  The low 4 bits of scale s are
 * a nibble of scales_l, even s in the low ones, its high 2 bits 2s, 2s + 1 of scales_h. */
struct block_iq4_xs {
    uint16_t d; /* f16 */
    uint16_t scales_h;
    uint8_t scales_l[QK_K / 64];
    uint8_t qs[QK_K / 2];
};

_Static_assert(sizeof(struct block_q4_0) == 18, "Q4_0 and IQ4_NL are 18 bytes in a file");
_Static_assert(sizeof(struct block_q4_1) == 20, "Q4_1 is 20 bytes in a file");
_Static_assert(sizeof(struct block_q5_0) == 22, "Q5_0 is 22 bytes in a file");
_Static_assert(sizeof(struct block_q5_1) == 24, "Q5_1 is 24 bytes in a file");
_Static_assert(sizeof(struct block_q8_0) == 34, "Q8_0 is 34 bytes in a file");
_Static_assert(sizeof(struct block_mxfp4) == 17, "MXFP4 is 17 bytes in a file");
_Static_assert(sizeof(struct block_q2_k) == 84, "Q2_K is 84 bytes in a file");
_Static_assert(sizeof(struct block_q3_k) == 110, "Q3_K is 110 bytes in a file");
_Static_assert(sizeof(struct block_q4_k) == 144, "Q4_K is 144 bytes in a file");
_Static_assert(sizeof(struct block_q5_k) == 176, "Q5_K is 176 bytes in a file");
_Static_assert(sizeof(struct block_q6_k) == 210, "Q6_K is 210 bytes in a file");
_Static_assert(sizeof(struct block_iq4_xs) == 136, "IQ4_XS is 136 bytes in a file");

#endif
