/* base/compiler.h - the only place for what C11 does not have. */
#ifndef BASE_COMPILER_H
#define BASE_COMPILER_H

#include <stddef.h>
#include <stdint.h>

#define MUST_USE __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, first) __attribute__((format(printf, fmt, first)))
#define NORETURN __attribute__((noreturn))
#define UNUSED __attribute__((unused))
#define ALIGNED(n) __attribute__((aligned(n)))
#define ALWAYS_INLINE static inline __attribute__((always_inline))
#define NOINLINE __attribute__((noinline))
#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

#define CACHE_LINE 64

#if defined(__x86_64__)

/* What a thread that looks again and again does in between. */
#define CPU_RELAX() __builtin_ia32_pause()

/* The register files that the system saves (XCR0's low half).  Only where cpuid says
 * OSXSAVE. */
static inline uint32_t cpu_xcr0(void)
{
    uint32_t low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

#else
#define CPU_RELAX() ((void)0)
#endif

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED
#endif
#endif

/* A function compiled for several instruction sets, the best taken when the program
 * starts.  For code outside kernels/ whose results do not depend on the choice. */
#ifdef SANITIZED
#define CPU_CLONES
#else
#define CPU_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#endif

#endif
