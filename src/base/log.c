#include "base/log.h"

#include <linux/limits.h>
#include <math.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/utf8.h"

_Static_assert(LOG_LINE_MAX <= PIPE_BUF, "a line is written whole or not at all");

static atomic_int level_max = LOG_WARN;
static atomic_int format = LOG_TEXT;
static _Atomic uint64_t dropped;

static const char *const level_names[] = {"error", "warn", "info", "debug"};

void log_set_level(enum log_level level)
{
    atomic_store(&level_max, (int)level);
}

void log_set_format(enum log_format f)
{
    atomic_store(&format, (int)f);
}

uint64_t log_dropped(void)
{
    return atomic_load(&dropped);
}

/* A line in the making; TAIL bytes are kept for what closes it. */
enum { TAIL = 2, TEXT_MAX = LOG_LINE_MAX - TAIL };

struct line {
    char p[LOG_LINE_MAX];
    size_t n;
};

/* All of it or nothing. */
static bool put(struct line *l, const char *text, size_t n)
{
    if (n > TEXT_MAX - l->n)
        return false;
    memcpy(l->p + l->n, text, n);
    l->n += n;
    return true;
}

static bool put_text(struct line *l, const char *text)
{
    return put(l, text, strlen(text));
}

/* Control bytes as \xNN, until the line is full. */
static void put_escaped(struct line *l, const char *text)
{
    char hex[8];
    for (bool room = true; *text && room; text++) {
        unsigned char c = (unsigned char)*text;
        if (c >= 0x20 && c != 0x7f) {
            room = put(l, text, 1);
        } else {
            snprintf(hex, sizeof(hex), "\\x%02x", c);
            room = put_text(l, hex);
        }
    }
}

/* One character of a JSON string at p, n > 0 bytes; returns the bytes it took. */
static size_t json_character(const uint8_t *p, size_t n, char out[8])
{
    uint32_t cp;
    int width = utf8_decode(p, n, &cp);
    if (width <= 0) {
        snprintf(out, 8, "\\ufffd");
        return width < 0 ? n : utf8_bad_run(p, n);
    }
    if (cp == '"' || cp == '\\') {
        snprintf(out, 8, "\\%c", (int)cp);
    } else if (cp < 0x20 || cp == 0x7f) {
        snprintf(out, 8, "\\u%04x", cp);
    } else {
        memcpy(out, p, (size_t)width);
        out[width] = '\0';
    }
    return (size_t)width;
}

/* A JSON string, cut where the line is full; false when not even its quotes fit. */
static bool put_json(struct line *l, const char *text)
{
    const uint8_t *p = (const uint8_t *)text;
    size_t left = strlen(text);
    char c[8];
    if (TEXT_MAX - l->n < 2)
        return false;
    l->p[l->n++] = '"';
    while (left) {
        size_t took = json_character(p, left, c);
        if (l->n + strlen(c) + 1 > TEXT_MAX || !put_text(l, c))
            break;
        p += took;
        left -= took;
    }
    l->p[l->n++] = '"';
    return true;
}

static void put_time(struct line *l)
{
    struct timespec now;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    l->n += strftime(l->p + l->n, TEXT_MAX - l->n, "%Y-%m-%dT%H:%M:%S", &tm);
    l->n += (size_t)snprintf(l->p + l->n, TEXT_MAX - l->n, ".%03ldZ", now.tv_nsec / 1000000);
}

/* Up to the message or the event's name. */
static void begin(struct line *l, enum log_level level, bool json, const char *what)
{
    l->n = 0;
    if (json)
        put_text(l, "{\"time\":\"");
    put_time(l);
    put_text(l, json ? "\",\"level\":\"" : " ");
    put_text(l, level_names[level]);
    put_text(l, json ? "\",\"" : " ");
    if (json) {
        put_text(l, what);
        put_text(l, "\":");
    }
}

/* A log that cannot be written must not stop the program.  A pipe that is ready takes a
 * whole line. */
static void end(struct line *l, bool json)
{
    if (json)
        l->p[l->n++] = '}';
    l->p[l->n++] = '\n';
    struct pollfd out = {.fd = STDERR_FILENO, .events = POLLOUT};
    ssize_t written = -1;
    if (poll(&out, 1, 0) == 1 && out.revents & POLLOUT)
        written = write(STDERR_FILENO, l->p, l->n);
    if (written != (ssize_t)l->n)
        atomic_fetch_add(&dropped, 1);
}

void log_line(enum log_level level, const char *fmt, ...)
{
    if ((int)level > atomic_load(&level_max))
        return;
    char text[LOG_LINE_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    text[utf8_whole(text, strlen(text))] = '\0';

    struct line l;
    bool json = atomic_load(&format) == LOG_JSON;
    begin(&l, level, json, "message");
    if (json)
        put_json(&l, text);
    else
        put_escaped(&l, text);
    end(&l, json);
}

/* Whether a value can stand without quotes in a line of text. */
static bool is_plain(const char *text)
{
    const char *p = text;
    while (*p > 0x20 && *p < 0x7f && *p != '"' && *p != '=' && *p != '\\')
        p++;
    return !*p && p > text;
}

static bool put_value(struct line *l, bool json, const struct log_field *f)
{
    char number[32];
    if (f->text)
        return (!json && is_plain(f->text) && put_text(l, f->text)) || put_json(l, f->text);
    if (!isfinite(f->number))
        return put_text(l, "null");
    snprintf(number, sizeof(number), "%.15g", f->number);
    return put_text(l, number);
}

static bool put_field(struct line *l, bool json, const struct log_field *f)
{
    return put_text(l, json ? ",\"" : " ") && put_text(l, f->name) &&
           put_text(l, json ? "\":" : "=") && put_value(l, json, f);
}

void log_event(enum log_level level, const char *event, const struct log_field *fields, size_t n)
{
    if ((int)level > atomic_load(&level_max))
        return;
    struct line l;
    bool json = atomic_load(&format) == LOG_JSON;
    begin(&l, level, json, "event");
    if (json)
        put_json(&l, event);
    else
        put_escaped(&l, event);
    for (size_t i = 0; i < n; i++) {
        size_t before = l.n;
        if (!put_field(&l, json, &fields[i])) {
            l.n = before;
            break;
        }
    }
    end(&l, json);
}
