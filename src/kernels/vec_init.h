/* kernels/vec_init.h - entries of the table that are no matrix products.
 *
 * For kernels.c, which calls the levels in this order, and for the files that
 * hold them.  Every level's init sets the entries it has and leaves the rest. */
#ifndef KERNELS_VEC_INIT_H
#define KERNELS_VEC_INIT_H

#include "kernels/kernels.h"

/* Everything from rms_norm on. */
void kern_vec_init_scalar(struct kernels *k);
void kern_vec_init_avx2(struct kernels *k);
void kern_vec_init_avx512(struct kernels *k);

/* The parts of the above, one per file of a level. */
void kern_vec_init_attn_scalar(struct kernels *k);
void kern_vec_init_attn_avx2(struct kernels *k);
void kern_vec_init_attn_avxvnni(struct kernels *k); /* Q8_0 */
void kern_vec_init_attn_avx512(struct kernels *k);
void kern_vec_init_attn_vnni(struct kernels *k); /* Q8_0 */
void kern_vec_init_attn_bf16(struct kernels *k); /* bf16 */
void kern_vec_init_kv_scalar(struct kernels *k);
void kern_vec_init_kv_avx2(struct kernels *k);
void kern_vec_init_kv_avx512(struct kernels *k);

#endif
