/* tensor/quant.h - rows of f32 to each type and back, in plain scalar code.
 *
 * For conversion tools, for embedding rows and as what tests compare with; the
 * engine computes from packed panels (kernels/). */
#ifndef TENSOR_QUANT_H
#define TENSOR_QUANT_H

#include <stdint.h>

#include "base/compiler.h"
#include "tensor/dtype.h"

/* Exact values of one row of k items.  k: a multiple of the type's block. */
void dequantize_row(enum dtype type, const void *row, float *out, uint64_t k);

/* Rounds a row; at least as accurate as the reference formulas by RMSE.  Values
 * that are not finite make the block's values 0 and the result REALM_E_NUMERIC. */
MUST_USE int quantize_row(enum dtype type, const float *row, void *out, uint64_t k);

#endif
