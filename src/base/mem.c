#include "base/mem.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/ckd.h"

static atomic_uint_fast64_t live;
static atomic_uint_fast64_t fail_at; /* 0: never; counts down to 1, which fails */
static atomic_bool fail_for_good;

static bool must_fail(void)
{
    uint_fast64_t n = atomic_load_explicit(&fail_at, memory_order_relaxed);
    if (LIKELY(n == 0))
        return false;
    while (n > 1 || (n == 1 && !atomic_load(&fail_for_good))) {
        if (atomic_compare_exchange_weak(&fail_at, &n, n - 1))
            break;
    }
    return n == 1;
}

void mem_fail_at(uint64_t n, int for_good)
{
    atomic_store(&fail_for_good, for_good != 0);
    atomic_store(&fail_at, n);
}

uint64_t mem_live(void)
{
    return atomic_load(&live);
}

static void *counted(void *p)
{
    if (p)
        atomic_fetch_add_explicit(&live, 1, memory_order_relaxed);
    return p;
}

void *mem_alloc(size_t size)
{
    return must_fail() ? NULL : counted(malloc(size ? size : 1));
}

void *mem_zalloc(size_t size)
{
    return must_fail() ? NULL : counted(calloc(1, size ? size : 1));
}

void *mem_array(size_t n, size_t size)
{
    size_t total;
    return ckd_mul_size(n, size, &total) ? mem_alloc(total) : NULL;
}

void *mem_zarray(size_t n, size_t size)
{
    size_t total;
    return ckd_mul_size(n, size, &total) ? mem_zalloc(total) : NULL;
}

void *mem_realloc_array(void *p, size_t n, size_t size)
{
    size_t total;
    if (!ckd_mul_size(n, size, &total) || must_fail())
        return NULL;
    void *q = realloc(p, total ? total : 1);
    return p ? q : counted(q);
}

void *mem_aligned(size_t align, size_t size)
{
    size_t total;
    if (must_fail() || !ckd_add_size(size ? size : 1, align - 1, &total))
        return NULL;
    return counted(aligned_alloc(align, total & ~(align - 1)));
}

char *mem_strndup(const char *s, size_t n)
{
    size_t total;
    char *copy = ckd_add_size(n, 1, &total) ? mem_alloc(total) : NULL;
    if (!copy)
        return NULL;
    memcpy(copy, s, n);
    copy[n] = '\0';
    return copy;
}

char *mem_strdup(const char *s)
{
    return mem_strndup(s, strlen(s));
}

void mem_free(void *p)
{
    if (p)
        atomic_fetch_sub_explicit(&live, 1, memory_order_relaxed);
    free(p);
}

void mem_wipe(void *p, size_t n)
{
    if (n)
        explicit_bzero(p, n);
}

void *mem_pages(size_t bytes)
{
    if (must_fail())
        return NULL;
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    /* Both are wishes: a kernel without them serves small, dumpable pages. */
    (void)madvise(p, bytes, MADV_HUGEPAGE);
    (void)madvise(p, bytes, MADV_DONTDUMP);
    return counted(p);
}

void mem_pages_free(void *p, size_t bytes)
{
    if (!p)
        return;
    atomic_fetch_sub_explicit(&live, 1, memory_order_relaxed);
    munmap(p, bytes);
}
