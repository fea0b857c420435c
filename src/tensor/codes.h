/* tensor/codes.h - the blocks of the quantised types taken apart.
 *
 * An item is an unsigned code of 2 to 8 bits, which stands for an integer q: the
 * code less an offset, or the code's place in a table.  A block is cut into
 * sub-blocks with an integer scale and an integer min each, and
 *     w = d * sc * q - min * m
 * is the exact value, each operation rounded to f32, in this order.
 *
 * The bits of the codes lie in one or two planes.  A plane holds the codes of
 * `run` consecutive items in as many consecutive bytes; the next run takes the
 * next higher bits of the same bytes, until they are full. */
#ifndef TENSOR_CODES_H
#define TENSOR_CODES_H

#include <stddef.h>
#include <stdint.h>

#include "tensor/dtype.h"

struct plane {
    uint8_t at;   /* its first byte in the block */
    uint8_t bits; /* of each code: 1, 2, 4 or 8; 0 where there is no second plane */
    uint8_t run;  /* items: 1, or a multiple of 4 */
    uint8_t up;   /* the lowest bit of the code that it has */
};

struct code_type {
    uint16_t items;       /* of a block: 32 or 256 */
    uint8_t sub_items;    /* of a sub-block: 16 or 32 */
    uint8_t offset;       /* q = code - offset */
    const int8_t *values; /* or values[code]; NULL: by the offset */
    struct plane planes[2];
};

/* What comes before the codes. */
struct block_scales {
    float d, min;
    int8_t sc[16];
    uint8_t m[16];
};

extern const int8_t code_values_iq4[16];
extern const int8_t code_values_mxfp4[16]; /* doubled */

/* type: a quantised one that runs. */
const struct code_type *code_type(enum dtype type);

/* Sets the bits that a plane has of the codes of `items` items; other bits stay.
 * bytes: of the plane, any alignment. */
void plane_read(const struct plane *p, const uint8_t *bytes, size_t items, uint8_t *codes);

/* The same back: bits of the bytes that were 0. */
void plane_write(const struct plane *p, uint8_t *bytes, size_t items, const uint8_t *codes);

/* All codes of one block as a file has it, at any alignment. */
void block_codes(enum dtype type, const void *block, uint8_t *codes);

/* Writes codes into a block whose items are all bits 0. */
void block_set_codes(enum dtype type, void *block, const uint8_t *codes);

/* The integers that the codes of a block stand for. */
void code_integers(const struct code_type *type, const uint8_t *codes, int8_t *q);

void block_scales(enum dtype type, const void *block, struct block_scales *out);

/* Values of a block from its parts. */
void block_values(const struct code_type *type, const struct block_scales *s, const int8_t *q,
                  float *out);

/* 2^(e - 128) as an f32, subnormal for the lowest two. */
float e8m0_half(uint8_t e);

/* Eight scales and eight mins of 6 bits in the 12 bytes of Q4_K and Q5_K: those of
 * the first four sub-blocks lie in the low bits of bytes 0 to 3 and 4 to 7; the
 * others have their low 4 bits in bytes 8 to 11 and their high 2 bits on top of
 * the first eight bytes. */
void scales6_unpack(const uint8_t *packed, uint8_t *sc, uint8_t *m);
void scales6_pack(uint8_t *packed, const uint8_t *sc, const uint8_t *m);

#endif
