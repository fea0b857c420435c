/* kernels/scalar/gemm.h - the scalar products, by kind of weights. */
#ifndef KERNELS_SCALAR_GEMM_H
#define KERNELS_SCALAR_GEMM_H

struct kernels;

void scalar_gemm_float_init(struct kernels *k); /* F32, F16, BF16 */
void scalar_gemm_quant_init(struct kernels *k); /* all others */

#endif
