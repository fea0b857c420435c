/* kernels/cpu.h - what the processor can do, as far as kernels care. */
#ifndef KERNELS_CPU_H
#define KERNELS_CPU_H

#include <stddef.h>

enum cpu_flags {
    CPU_AVX2 = 1,     /* avx2, fma, f16c */
    CPU_AVX512 = 2,   /* avx512 f, bw, dq, vl (and all of CPU_AVX2) */
    CPU_VNNI = 4,     /* avx512_vnni */
    CPU_BF16 = 8,     /* avx512_bf16 */
    CPU_AVXVNNI = 16, /* avx_vnni (and all of CPU_AVX2) */
};

/* Flags of this processor, as the operating system lets them be used. */
unsigned cpu_detect(void);

enum { FETCH_AHEAD = 4608 };

/* How many bytes before weights are read they should be asked for: FETCH_AHEAD, or 0 where the
 * processor's own prefetchers do as well. */
size_t cpu_fetch_ahead(void);

/* "scalar", "avx2", "avx2+vnni", "avx512", "avx512+vnni", "avx512+vnni+bf16": the highest level
 * in flags. */
const char *cpu_level_name(unsigned flags);

#endif
