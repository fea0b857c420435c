#include "api/query.h"

#include <string.h>

#include "base/utf8.h"

static int hex(char c)
{
    static const char digits[] = "0123456789abcdef0123456789ABCDEF";
    const char *at = c ? strchr(digits, c) : NULL;
    return at ? (int)((at - digits) % 16) : -1;
}

static int decode(const char *text, size_t n, char *out, size_t max)
{
    size_t used = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)(text[i] == '+' ? ' ' : text[i]);
        if (text[i] == '%') {
            int high = n - i > 2 ? hex(text[i + 1]) : -1, low = high < 0 ? -1 : hex(text[i + 2]);
            if (low < 0)
                return -1;
            c = (unsigned char)(high * 16 + low);
            i += 2;
        }
        if (c < 0x20 || c == 0x7f || used + 1 >= max)
            return -1;
        out[used++] = (char)c;
    }
    out[used] = '\0';
    return utf8_valid(out, used) ? 0 : -1;
}

int query_get(const char *query, const char *name, char *out, size_t max)
{
    size_t length = strlen(name);
    for (const char *at = query; *at; at += *at == '&') {
        size_t n = strcspn(at, "&");
        if (n >= length && strncmp(at, name, length) == 0 && (n == length || at[length] == '=')) {
            size_t skip = n == length ? n : length + 1;
            return decode(at + skip, n - skip, out, max) ? -1 : 1;
        }
        at += n;
    }
    return 0;
}
