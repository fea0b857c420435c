/* kernels/cpu.h - what the processor can do, as far as kernels care. */
#ifndef KERNELS_CPU_H
#define KERNELS_CPU_H

#include <stdbool.h>
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

/* How weights are asked for before a product reads them. */
struct cpu_fetch {
    /* So many bytes before, where a tile asks for what it takes itself; 0: not at all, the
     * processor's own prefetchers do as well. */
    size_t ahead;
    bool to_l1; /* into the first-level cache; else into the second */
};

/* The best for this processor's kernels of these flags, as far as it was measured:
 * docs/kernels.md. */
struct cpu_fetch cpu_fetch(unsigned flags);

/* "scalar", "avx2", "avx2+vnni", "avx512", "avx512+vnni", "avx512+vnni+bf16": the highest level
 * in flags. */
const char *cpu_level_name(unsigned flags);

#endif
