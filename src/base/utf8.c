#include "base/utf8.h"

/* Range of the second byte after lead byte c, and the length; 0 for no lead. */
static int lead(uint8_t c, uint8_t *low, uint8_t *high)
{
    *low = 0x80;
    *high = 0xBF;
    if (c < 0x80)
        return 1;
    if (c >= 0xC2 && c <= 0xDF)
        return 2;
    if (c >= 0xE0 && c <= 0xEF) {
        if (c == 0xE0)
            *low = 0xA0;
        if (c == 0xED)
            *high = 0x9F;
        return 3;
    }
    if (c >= 0xF0 && c <= 0xF4) {
        if (c == 0xF0)
            *low = 0x90;
        if (c == 0xF4)
            *high = 0x8F;
        return 4;
    }
    return 0;
}

/* Bytes at p that are a correct beginning of a character; *need its length. */
static size_t good_prefix(const uint8_t *p, size_t n, int *need)
{
    uint8_t low, high;
    *need = lead(p[0], &low, &high);
    if (*need == 0)
        return 0;
    size_t i = 1;
    for (; i < (size_t)*need && i < n; i++) {
        if (p[i] < low || p[i] > high)
            break;
        low = 0x80;
        high = 0xBF;
    }
    return i;
}

int utf8_decode(const uint8_t *p, size_t n, uint32_t *cp)
{
    if (n == 0)
        return -1;
    int need;
    size_t good = good_prefix(p, n, &need);
    if (need == 0)
        return 0;
    if (good < (size_t)need)
        return good == n ? -1 : 0;
    static const uint8_t lead_mask[5] = {0, 0x7F, 0x1F, 0x0F, 0x07};
    uint32_t value = p[0] & lead_mask[need];
    for (int i = 1; i < need; i++)
        value = value << 6 | (p[i] & 0x3Fu);
    *cp = value;
    return need;
}

size_t utf8_bad_run(const uint8_t *p, size_t n)
{
    int need;
    size_t good = good_prefix(p, n, &need);
    return good ? good : 1;
}

bool utf8_valid(const void *text, size_t n)
{
    const uint8_t *p = text;
    for (size_t i = 0; i < n;) {
        uint32_t cp;
        int len = utf8_decode(p + i, n - i, &cp);
        if (len <= 0)
            return false;
        i += (size_t)len;
    }
    return true;
}

size_t utf8_encode(uint32_t cp, uint8_t out[4])
{
    if (cp < 0x80) {
        out[0] = (uint8_t)cp;
        return 1;
    }
    if (cp < 0x800) {
        out[0] = (uint8_t)(0xC0 | cp >> 6);
        out[1] = (uint8_t)(0x80 | (cp & 0x3F));
        return 2;
    }
    if (cp < 0x10000) {
        out[0] = (uint8_t)(0xE0 | cp >> 12);
        out[1] = (uint8_t)(0x80 | (cp >> 6 & 0x3F));
        out[2] = (uint8_t)(0x80 | (cp & 0x3F));
        return 3;
    }
    out[0] = (uint8_t)(0xF0 | cp >> 18);
    out[1] = (uint8_t)(0x80 | (cp >> 12 & 0x3F));
    out[2] = (uint8_t)(0x80 | (cp >> 6 & 0x3F));
    out[3] = (uint8_t)(0x80 | (cp & 0x3F));
    return 4;
}

size_t utf8_whole(const void *text, size_t n)
{
    const uint8_t *p = text;
    /* A character that is still open began within the last three bytes. */
    for (size_t back = 1; back <= 3 && back <= n; back++) {
        uint32_t cp;
        if ((p[n - back] & 0xC0) == 0x80)
            continue;
        return utf8_decode(p + n - back, back, &cp) < 0 ? n - back : n;
    }
    return n;
}

bool utf8_is_space(uint32_t cp)
{
    return cp == ' ' || (cp >= '\t' && cp <= '\r') || cp == 0x85 || cp == 0xA0 || cp == 0x1680 ||
           (cp >= 0x2000 && cp <= 0x200A) || cp == 0x2028 || cp == 0x2029 || cp == 0x202F ||
           cp == 0x205F || cp == 0x3000;
}
