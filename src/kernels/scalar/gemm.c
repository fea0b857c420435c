/* kernels/scalar/gemm.c - the scalar table. */
#include "kernels/scalar/gemm.h"

#include "kernels/gemm_init.h"

void gemm_init_scalar(struct kernels *k)
{
    scalar_gemm_float_init(k);
    scalar_gemm_quant_init(k);
}
