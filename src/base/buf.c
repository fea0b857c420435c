#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/ckd.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "realm/status.h"

enum { BUF_FIRST = 64 };

void buf_init(struct buf *b, size_t max)
{
    *b = (struct buf){.max = max};
}

void buf_free(struct buf *b)
{
    mem_free(b->p);
    buf_init(b, b->max);
}

int buf_reserve(struct buf *b, size_t more)
{
    size_t want;
    if (!ckd_add_size(b->n, more, &want) || want > b->max)
        return REALM_E_LIMIT;
    /* One byte beyond n stays free for the NUL of buf_cstr. */
    if (want < b->cap)
        return 0;
    size_t cap = max_size(b->cap ? b->cap : BUF_FIRST, BUF_FIRST);
    while (cap <= want)
        cap = cap > SIZE_MAX / 2 ? SIZE_MAX : cap * 2;
    uint8_t *p = mem_realloc_array(b->p, cap, 1);
    if (!p)
        return REALM_E_NOMEM;
    b->p = p;
    b->cap = cap;
    return 0;
}

int buf_add(struct buf *b, const void *p, size_t n)
{
    int status = buf_reserve(b, n);
    if (status)
        return status;
    if (n)
        memcpy(b->p + b->n, p, n);
    b->n += n;
    return 0;
}

int buf_addch(struct buf *b, char c)
{
    return buf_add(b, &c, 1);
}

int buf_addf(struct buf *b, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    int status = n < 0 ? REALM_E_ARG : buf_reserve(b, (size_t)n);
    if (!status) {
        vsnprintf((char *)b->p + b->n, (size_t)n + 1, fmt, again);
        b->n += (size_t)n;
    }
    va_end(again);
    return status;
}

static int add_json_char(struct buf *b, uint32_t cp, const uint8_t *p, size_t n)
{
    switch (cp) {
    case '"':
        return buf_add(b, "\\\"", 2);
    case '\\':
        return buf_add(b, "\\\\", 2);
    case '\n':
        return buf_add(b, "\\n", 2);
    case '\r':
        return buf_add(b, "\\r", 2);
    case '\t':
        return buf_add(b, "\\t", 2);
    default:
        /* U+2028 and U+2029 end lines in JavaScript; DEL is a control byte. */
        if (cp < 0x20 || cp == 0x7f || cp == 0x2028 || cp == 0x2029)
            return buf_addf(b, "\\u%04x", (unsigned)cp);
        return buf_add(b, p, n);
    }
}

int buf_add_json(struct buf *b, struct slice text)
{
    size_t start = b->n;
    int status = buf_addch(b, '"');
    for (size_t i = 0; !status && i < text.n;) {
        uint32_t cp;
        int n = utf8_decode(text.p + i, text.n - i, &cp);
        if (n > 0) {
            status = add_json_char(b, cp, text.p + i, (size_t)n);
            i += (size_t)n;
        } else {
            status = buf_add(b, "\xEF\xBF\xBD", 3);
            i += utf8_bad_run(text.p + i, text.n - i);
        }
    }
    if (!status)
        status = buf_addch(b, '"');
    if (status)
        b->n = start;
    return status;
}

const char *buf_cstr(struct buf *b)
{
    if (buf_reserve(b, 0) || !b->p)
        return NULL;
    b->p[b->n] = '\0';
    return (const char *)b->p;
}
