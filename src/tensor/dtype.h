/* tensor/dtype.h - the types that weights are stored in.
 *
 * The numbers are GGUF's.  A type cuts each row into blocks of block_items
 * values that take block_bytes; a row is a whole number of blocks. */
#ifndef TENSOR_DTYPE_H
#define TENSOR_DTYPE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"

enum dtype {
    DTYPE_F32 = 0,
    DTYPE_F16 = 1,
    DTYPE_Q4_0 = 2,
    DTYPE_Q4_1 = 3,
    DTYPE_Q5_0 = 6,
    DTYPE_Q5_1 = 7,
    DTYPE_Q8_0 = 8,
    DTYPE_Q2_K = 10,
    DTYPE_Q3_K = 11,
    DTYPE_Q4_K = 12,
    DTYPE_Q5_K = 13,
    DTYPE_Q6_K = 14,
    DTYPE_IQ4_NL = 20,
    DTYPE_IQ4_XS = 23,
    DTYPE_BF16 = 30,
    DTYPE_MXFP4 = 39,
};

struct dtype_info {
    const char *name; /* "Q4_K" */
    uint32_t block_items;
    uint32_t block_bytes;
    bool runs; /* this build computes with it */
};

/* Any number GGUF knows, also those that this build only names (runs false);
 * NULL for a number that GGUF does not know. */
const struct dtype_info *dtype_info(uint32_t type);

/* Bytes of a row of k items; false when k is no multiple of block_items or the
 * result overflows. */
MUST_USE bool dtype_row_bytes(uint32_t type, uint64_t k, uint64_t *out);

#endif
