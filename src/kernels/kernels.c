/* kernels/kernels.c - the ladder: scalar everywhere, then each level over it. */
#include "kernels/kernels.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/compiler.h"
#include "kernels/cpu.h"
#include "kernels/gemm_init.h"
#include "kernels/vec_init.h"

struct cpu_fetch gemm_fetch;

static struct kernels best;
static unsigned best_flags;
static pthread_once_t best_once = PTHREAD_ONCE_INIT;

void kernels_init(struct kernels *k, unsigned cpu_mask)
{
    gemm_init_scalar(k);
    act_init_scalar(k);
    kern_vec_init_scalar(k);
#if defined(__x86_64__)
    if (!(cpu_mask & CPU_AVX2))
        return;
    gemm_init_avx2(k);
    act_init_avx2(k);
    kern_vec_init_avx2(k);
    if (cpu_mask & CPU_AVXVNNI) {
        gemm_init_avxvnni(k);
        kern_vec_init_attn_avxvnni(k);
    }
    if (!(cpu_mask & CPU_AVX512))
        return;
    gemm_init_avx512(k);
    act_init_avx512(k);
    kern_vec_init_avx512(k);
    if (cpu_mask & CPU_VNNI) {
        gemm_init_vnni(k);
        kern_vec_init_attn_vnni(k);
    }
    if (cpu_mask & CPU_BF16) {
        gemm_init_bf16(k);
        kern_vec_init_attn_bf16(k);
    }
#else
    (void)cpu_mask;
#endif
}

/* What REALM_CPU allows; everything when it is unset or names no level. */
static unsigned mask_from_environment(void)
{
    static const struct {
        const char *name;
        unsigned mask;
    } levels[] = {
        {"scalar", 0},
        {"avx2", CPU_AVX2},
        {"avxvnni", CPU_AVX2 | CPU_AVXVNNI},
        {"avx512", CPU_AVX2 | CPU_AVX512},
        {"vnni", CPU_AVX2 | CPU_AVX512 | CPU_VNNI},
    };
    const char *wanted = getenv("REALM_CPU");
    for (size_t i = 0; wanted && i < ARRAY_LEN(levels); i++)
        if (strcmp(wanted, levels[i].name) == 0)
            return levels[i].mask;
    return ~0u;
}

static void best_init(void)
{
    best_flags = cpu_detect() & mask_from_environment();
    kernels_init(&best, best_flags);
    gemm_fetch = cpu_fetch(best_flags);
}

const struct kernels *kernels_best(void)
{
    pthread_once(&best_once, best_init);
    return &best;
}

unsigned kernels_best_flags(void)
{
    pthread_once(&best_once, best_init);
    return best_flags;
}
