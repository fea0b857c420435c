#include "api/query.h"

#include <stdbool.h>
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

/* Of the proleptic Gregorian calendar, since 1970-01-01.  A year begins in March here, so that
 * the day that not every year has is its last. */
static int64_t days_of(int64_t year, int64_t month, int64_t day)
{
    int64_t y = month > 2 ? year : year - 1, m = month > 2 ? month - 3 : month + 9;
    return 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 719469;
}

static bool is_date(int64_t year, int64_t month, int64_t day)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (year < 1970 || month < 1 || month > 12)
        return false;
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return day >= 1 && day <= days[month - 1] + (leap && month == 2);
}

static int read_date(const char *text, int64_t *seconds)
{
    int64_t year, month, day, hour = 0, minute = 0, second = 0;
    if (!read_digits(&text, 4, &year) || !read_char(&text, '-') || !read_digits(&text, 2, &month) ||
        !read_char(&text, '-') || !read_digits(&text, 2, &day) || !is_date(year, month, day))
        return -1;
    if (*text && (!read_char(&text, 'T') || !read_digits(&text, 2, &hour) ||
                  !read_char(&text, ':') || !read_digits(&text, 2, &minute) ||
                  !read_char(&text, ':') || !read_digits(&text, 2, &second) ||
                  !read_char(&text, 'Z') || hour > 23 || minute > 59 || second > 59))
        return -1;
    *seconds = days_of(year, month, day) * 86400 + hour * 3600 + minute * 60 + second;
    return *text ? -1 : 0;
}

int query_time(const char *text, int64_t *seconds)
{
    enum { DIGITS_MAX = 12 };
    size_t n = strspn(text, "0123456789");
    if (text[n] == '-')
        return read_date(text, seconds);
    return n && n <= DIGITS_MAX && !text[n] && read_digits(&text, n, seconds) ? 0 : -1;
}
