#include "base/log.h"

#include <linux/limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/limits.h"

_Static_assert(LOG_LINE_MAX <= PIPE_BUF, "a line is written whole or not at all");

static atomic_int level_max = LOG_WARN;

void log_set_level(enum log_level level)
{
    atomic_store(&level_max, (int)level);
}

/* Copies text with control bytes as \xNN; returns the bytes written. */
static size_t escape(char *out, size_t cap, const char *text)
{
    size_t n = 0;
    for (; *text && n + 5 < cap; text++) {
        unsigned char c = (unsigned char)*text;
        if (c < 0x20 || c == 0x7f)
            n += (size_t)snprintf(out + n, cap - n, "\\x%02x", c);
        else
            out[n++] = (char)c;
    }
    return n;
}

void log_line(enum log_level level, const char *fmt, ...)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    if ((int)level > atomic_load(&level_max))
        return;
    char text[LOG_LINE_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);

    char line[LOG_LINE_MAX];
    struct timespec now;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    size_t n = strftime(line, sizeof(line), "%Y-%m-%dT%H:%M:%S", &tm);
    n += (size_t)snprintf(line + n, sizeof(line) - n, ".%03ldZ %s ", now.tv_nsec / 1000000,
                          names[level]);
    n += escape(line + n, sizeof(line) - n - 1, text);
    line[n++] = '\n';
    /* A log that cannot be written must not stop the program.  A pipe that is ready
     * takes a whole line. */
    struct pollfd out = {.fd = STDERR_FILENO, .events = POLLOUT};
    if (poll(&out, 1, 0) == 1 && out.revents & POLLOUT) {
        ssize_t written = write(STDERR_FILENO, line, n);
        (void)written;
    }
}
