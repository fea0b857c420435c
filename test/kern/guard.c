/* test/kern/guard.c - memory that faults when somebody reads past its end, and
 * comparisons that say where two results part. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/ckd.h"
#include "check.h"

enum { PAGE = 4096 };

static const uint32_t canary = 0x7fa5c0de; /* a signalling NaN */

static uint8_t *mapping(void *p, size_t bytes, size_t *size)
{
    *size = round_up(bytes, PAGE) + 2 * PAGE;
    return (uint8_t *)p + bytes + PAGE - *size;
}

void *guarded(size_t bytes)
{
    size_t size = round_up(bytes, PAGE) + 2 * PAGE;
    uint8_t *start = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED ||
        mprotect(start + PAGE, size - 2 * PAGE, PROT_READ | PROT_WRITE) != 0) {
        perror("guarded memory");
        exit(2);
    }
    uint8_t *p = start + size - PAGE - bytes;
    for (size_t i = 0; i < bytes; i++)
        p[i] = (uint8_t)(canary >> i % 4 * 8);
    return p;
}

float *guarded_floats(size_t n)
{
    return guarded(n * sizeof(float));
}

void guarded_free(void *p, size_t bytes)
{
    size_t size;
    uint8_t *start = mapping(p, bytes, &size);
    munmap(start, size);
}

bool check_same(const void *want, const void *got, size_t bytes, size_t item_size, const char *fmt,
                ...)
{
    const uint8_t *a = want, *b = got;
    if (memcmp(a, b, bytes) == 0)
        return true;
    size_t i = 0;
    while (a[i] == b[i])
        i++;
    i -= i % item_size;
    printf("# ");
    va_list args;
    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);
    printf(": item %zu of %zu is", i / item_size, bytes / item_size);
    for (size_t j = item_size; j-- > 0;)
        printf("%s%02x", j == item_size - 1 ? " " : "", b[i + j]);
    printf(", not");
    for (size_t j = item_size; j-- > 0;)
        printf("%s%02x", j == item_size - 1 ? " " : "", a[i + j]);
    printf("\n");
    return false;
}

bool check_canary(const void *p, size_t bytes, const char *what)
{
    for (size_t i = 0; i + 4 <= bytes; i += 4)
        if (memcmp((const uint8_t *)p + i, &canary, 4) != 0) {
            printf("# %s: written %zu bytes past its end\n", what, i);
            return false;
        }
    return true;
}
