/* The attention of AVX-VNNI by AVX2. */
#include "avxvnni_played.h"

#define kern_vec_init_attn_avxvnni kern_vec_init_attn_avxvnni_played
#include "kernels/x86/attn_avxvnni.c"
