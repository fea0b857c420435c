/* kernels/gemm_init.h - which level brings which products and packs: each function
 * overwrites the entries that its instruction set does better. */
#ifndef KERNELS_GEMM_INIT_H
#define KERNELS_GEMM_INIT_H

#include <stddef.h>

struct kernels;

/* Products ask for weights so many bytes before they get to them; 0: they do not.  Set by
 * kernels_init; results are the same. */
extern size_t gemm_ahead;

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
