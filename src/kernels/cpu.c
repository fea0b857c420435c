/* kernels/cpu.c - asks the processor, and the system through xgetbv, what may be used. */
#include "kernels/cpu.h"

#include "base/compiler.h"

#include <stdbool.h>
#include <stdint.h>

#if defined(__x86_64__)
#include <cpuid.h>

enum {
    XCR0_YMM = 0x06, /* register files that the system saves */
    XCR0_ZMM = 0xe6,
    LEAF7_1_AVX_VNNI = 1 << 4, /* in eax; not every cpuid.h names these */
    LEAF7_1_AVX512_BF16 = 1 << 5,
};

static bool has(uint32_t word, uint32_t bits)
{
    return (word & bits) == bits;
}

unsigned cpu_detect(void)
{
    uint32_t a, b, c, d, b7, c7;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !has(c, bit_OSXSAVE | bit_AVX | bit_FMA | bit_F16C) ||
        !has(cpu_xcr0(), XCR0_YMM))
        return 0;
    if (!__get_cpuid_count(7, 0, &a, &b7, &c7, &d) || !has(b7, bit_AVX2))
        return 0;
    unsigned flags = CPU_AVX2;
    if (!__get_cpuid_count(7, 1, &a, &b, &c, &d))
        a = 0;
    if (has(a, LEAF7_1_AVX_VNNI))
        flags |= CPU_AVXVNNI;
    if (!has(b7, bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL) ||
        !has(cpu_xcr0(), XCR0_ZMM))
        return flags;
    flags |= CPU_AVX512;
    if (has(c7, bit_AVX512VNNI))
        flags |= CPU_VNNI;
    if (has(a, LEAF7_1_AVX512_BF16))
        flags |= CPU_BF16;
    return flags;
}

/* Intel's prefetchers begin anew in each 4 KiB and lose what products could do meanwhile. Those of
 * AMD keep up with AVX2's products, and not with those of AVX-512. */
struct cpu_fetch cpu_fetch(unsigned flags)
{
    uint32_t a, b, c, d;
    bool intel = __get_cpuid(0, &a, &b, &c, &d) && b == signature_INTEL_ebx &&
                 d == signature_INTEL_edx && c == signature_INTEL_ecx;
    if (intel)
        return (struct cpu_fetch){.ahead = 4608};
    if (flags & CPU_AVX512)
        return (struct cpu_fetch){.ahead = 9216, .to_l1 = true};
    return (struct cpu_fetch){0};
}

#else

unsigned cpu_detect(void)
{
    return 0;
}

struct cpu_fetch cpu_fetch(unsigned flags)
{
    (void)flags;
    return (struct cpu_fetch){0};
}

#endif

const char *cpu_level_name(unsigned flags)
{
    if (!(flags & CPU_AVX2))
        return "scalar";
    if (!(flags & CPU_AVX512))
        return flags & CPU_AVXVNNI ? "avx2+vnni" : "avx2";
    if (!(flags & CPU_VNNI))
        return "avx512";
    return flags & CPU_BF16 ? "avx512+vnni+bf16" : "avx512+vnni";
}
