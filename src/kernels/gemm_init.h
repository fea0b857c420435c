/* kernels/gemm_init.h - which level brings which products and packs: each function
 * overwrites the entries that its instruction set does better. */
#ifndef KERNELS_GEMM_INIT_H
#define KERNELS_GEMM_INIT_H

#include "kernels/cpu.h"

struct kernels;

/* How products ask for weights before they get to them: not at all until kernels_best says what
 * is best for this processor.  Results are the same. */
extern struct cpu_fetch gemm_fetch;

void gemm_init_scalar(struct kernels *k); /* every entry of gemm */
void gemm_init_avx2(struct kernels *k);
void gemm_init_avxvnni(struct kernels *k);
void gemm_init_avx512(struct kernels *k);
void gemm_init_vnni(struct kernels *k);
void gemm_init_bf16(struct kernels *k);

void act_init_scalar(struct kernels *k); /* every entry of act_pack */
void act_init_avx2(struct kernels *k);
void act_init_avx512(struct kernels *k);

#endif
