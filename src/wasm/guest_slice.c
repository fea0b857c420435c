#include "wasm/guest_slice.h"

#include <string.h>

bool guest_copy_in(const struct guest_memory *m, uint32_t at, void *dst, size_t n)
{
    if (!guest_has(m, at, n))
        return false;
    if (n)
        memcpy(dst, m->base + at, n);
    return true;
}

bool guest_copy_out(const struct guest_memory *m, uint32_t at, const void *src, size_t n)
{
    if (!guest_has(m, at, n))
        return false;
    if (n)
        memcpy(m->base + at, src, n);
    return true;
}

bool guest_strlen(const struct guest_memory *m, uint32_t at, size_t max, size_t *n)
{
    if (at >= m->size)
        return false;
    uint64_t left = m->size - at;
    if (left > max)
        left = max;
    const uint8_t *end = memchr(m->base + at, 0, (size_t)left);
    if (!end)
        return false;
    *n = (size_t)(end - (m->base + at));
    return true;
}
