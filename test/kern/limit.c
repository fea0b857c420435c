/* test/kern/limit.c - how many int8 multiply-adds one core can do at this moment, on
 * registers alone, in as many chains as hide the latency.  Compiled three times: by vpdpbusd
 * of both widths, and by vpmaddubsw with an addition of the 16-bit pairs.
 *
 * A run takes under a millisecond, so that it can stand between the runs of what is
 * measured: a machine that others use is slower for both. */
#include "check.h"

#include <immintrin.h>
#include <time.h>

enum { ROUNDS = 20000, CHAINS = 8 };

#if defined(__AVX512VNNI__)
typedef __m512i vector;
#define LIMIT int8_limit_vnni
#define SPREAD(x) _mm512_set1_epi8(x)
#define STEP(acc, w, x) (acc) = _mm512_dpbusd_epi32(acc, w, x)
#define KEEP(v) __asm__ volatile("" : "+v"(v)) // or the compiler adds up itself
#elif defined(__AVXVNNI__)
typedef __m256i vector;
#define LIMIT int8_limit_avxvnni
#define SPREAD(x) _mm256_set1_epi8(x)
#define STEP(acc, w, x) (acc) = _mm256_dpbusd_avx_epi32(acc, w, x)
#define KEEP(v) __asm__ volatile("" : "+x"(v))
#else
typedef __m256i vector;
#define LIMIT int8_limit_avx2
#define SPREAD(x) _mm256_set1_epi8(x)
#define STEP(acc, w, x)                            \
    do {                                           \
        vector pairs = _mm256_maddubs_epi16(w, x); \
        KEEP(pairs);                               \
        (acc) = _mm256_add_epi16(acc, pairs);      \
    } while (0)
#define KEEP(v) __asm__ volatile("" : "+x"(v))
#endif

static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

double LIMIT(void)
{
    vector acc[CHAINS], w = SPREAD(3), x = SPREAD(1);
    _Pragma("GCC unroll 8") for (int c = 0; c < CHAINS; c++) acc[c] = SPREAD((char)c);
    double start = cpu_seconds();
    for (int i = 0; i < ROUNDS; i++)
        _Pragma("GCC unroll 8") for (int c = 0; c < CHAINS; c++)
        {
            STEP(acc[c], w, x);
            KEEP(acc[c]);
        }
    double ops = (double)ROUNDS * CHAINS * sizeof(vector) * 2;
    return ops / (cpu_seconds() - start) * 1e-9;
}
