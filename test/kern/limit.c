/* test/kern/limit.c - how many int8 multiply-adds one core can do: vpdpbusd on
 * registers alone, in as many chains as hide its latency. */
#include "check.h"
#include "kernels/cpu.h"

#if defined(__AVX512VNNI__)

#include <immintrin.h>
#include <time.h>

enum { ROUNDS = 1000000, CHAINS = 16 };

static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

double int8_limit(void)
{
    if (!(cpu_detect() & CPU_VNNI))
        return 0;
    __m512i acc[CHAINS];
    _Pragma("GCC unroll 16") for (int i = 0; i < CHAINS; i++) acc[i] = _mm512_set1_epi32(i);
    const __m512i w = _mm512_set1_epi8(3), x = _mm512_set1_epi8(1);
    double best = 0;
    for (int run = 0; run < 10; run++) {
        double start = cpu_seconds();
        for (int i = 0; i < ROUNDS; i++)
            _Pragma("GCC unroll 16") for (int c = 0; c < CHAINS; c++)
            {
                acc[c] = _mm512_dpbusd_epi32(acc[c], w, x);
                __asm__ volatile("" : "+v"(acc[c])); // or the compiler adds up itself
            }
        double seconds = cpu_seconds() - start;
        double rate = (double)ROUNDS * CHAINS * 64 * 2 / seconds * 1e-9;
        best = rate > best ? rate : best;
    }
    return best;
}

#else

double int8_limit(void)
{
    return 0;
}

#endif
