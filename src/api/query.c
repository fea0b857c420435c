#include "api/query.h"

#include <stdbool.h>
#include <string.h>
#include <time.h>

#include "base/bytes.h"
#include "base/utf8.h"

static int decode(const char *text, size_t n, char *out, size_t max)
{
    size_t used = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)(text[i] == '+' ? ' ' : text[i]);
        if (text[i] == '%') {
            int high = n - i > 2 ? hex_digit((uint8_t)text[i + 1]) : -1;
            int low = high < 0 ? -1 : hex_digit((uint8_t)text[i + 2]);
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

/* ---- times ---- */

/* Exactly n digits, and what follows them. */
static bool read_digits(const char **at, size_t n, int64_t *value)
{
    *value = 0;
    for (size_t i = 0; i < n; i++, (*at)++) {
        if (**at < '0' || **at > '9')
            return false;
        *value = *value * 10 + (**at - '0');
    }
    return true;
}

static bool read_char(const char **at, char c)
{
    bool is = **at == c;
    *at += is;
    return is;
}

static int read_date(const char *text, int64_t *seconds)
{
    int64_t year, month, day, hour = 0, minute = 0, second = 0;
    if (!read_digits(&text, 4, &year) || !read_char(&text, '-') || !read_digits(&text, 2, &month) ||
        !read_char(&text, '-') || !read_digits(&text, 2, &day))
        return -1;
    if (*text && (!read_char(&text, 'T') || !read_digits(&text, 2, &hour) ||
                  !read_char(&text, ':') || !read_digits(&text, 2, &minute) ||
                  !read_char(&text, ':') || !read_digits(&text, 2, &second) ||
                  !read_char(&text, 'Z') || hour > 23 || minute > 59 || second > 59))
        return -1;
    struct tm tm = {.tm_year = (int)year - 1900,
                    .tm_mon = (int)month - 1,
                    .tm_mday = (int)day,
                    .tm_hour = (int)hour,
                    .tm_min = (int)minute,
                    .tm_sec = (int)second};
    *seconds = timegm(&tm);
    /* It makes the 31st of April the 1st of May. */
    bool is_day = year >= 1970 && tm.tm_mon == (int)month - 1 && tm.tm_mday == (int)day;
    return *text || !is_day ? -1 : 0;
}

int query_time(const char *text, int64_t *seconds)
{
    enum { DIGITS_MAX = 12 };
    size_t n = strspn(text, "0123456789");
    if (text[n] == '-')
        return read_date(text, seconds);
    return n && n <= DIGITS_MAX && !text[n] && read_digits(&text, n, seconds) ? 0 : -1;
}
