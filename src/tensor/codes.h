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

#include "tensor/block.h"
#include "tensor/dtype.h"

struct plane {
    uint8_t at;   /* its first byte in the block */
    uint8_t bits; /* of each code: 1, 2, 4 or 8; 0 where there is no second plane */
    uint8_t run;  /* items: 1, or a multiple of 4 */
    uint8_t up;   /* the lowest bit of the code that it has */
};

/* The planes of each type, constants for who moves bits fast. */
#define CODE_AT(type, field) offsetof(struct block_##type, field)
#define CODE_PLANE(type, field, ...)      \
    {                                     \
        CODE_AT(type, field), __VA_ARGS__ \
    }
#define CODE_PLANES_Q8_0 CODE_PLANE(q8_0, qs, 8, 32, 0)
#define CODE_PLANES_Q4_0 CODE_PLANE(q4_0, qs, 4, 16, 0)
#define CODE_PLANES_Q4_1 CODE_PLANE(q4_1, qs, 4, 16, 0)
#define CODE_PLANES_Q5_0 CODE_PLANE(q5_0, qs, 4, 16, 0), CODE_PLANE(q5_0, qh, 1, 1, 4)
#define CODE_PLANES_Q5_1 CODE_PLANE(q5_1, qs, 4, 16, 0), CODE_PLANE(q5_1, qh, 1, 1, 4)
#define CODE_PLANES_IQ4_NL CODE_PLANES_Q4_0
#define CODE_PLANES_MXFP4 CODE_PLANE(mxfp4, qs, 4, 16, 0)
#define CODE_PLANES_Q2_K CODE_PLANE(q2_k, qs, 2, 32, 0)
#define CODE_PLANES_Q3_K CODE_PLANE(q3_k, qs, 2, 32, 0), CODE_PLANE(q3_k, hmask, 1, 32, 2)
#define CODE_PLANES_Q4_K CODE_PLANE(q4_k, qs, 4, 32, 0)
#define CODE_PLANES_Q5_K CODE_PLANE(q5_k, qs, 4, 32, 0), CODE_PLANE(q5_k, qh, 1, 32, 4)
#define CODE_PLANES_Q6_K CODE_PLANE(q6_k, ql, 4, 64, 0), CODE_PLANE(q6_k, qh, 2, 32, 4)
#define CODE_PLANES_IQ4_XS CODE_PLANE(iq4_xs, qs, 4, 16, 0)

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
