/* The products of AVX-VNNI by AVX2. */
#include "avxvnni_played.h"

#define gemm_init_avxvnni gemm_init_avxvnni_played
#include "kernels/x86/gemm_avxvnni.c"
