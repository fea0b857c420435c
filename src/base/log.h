/* base/log.h - one line per event on stderr, never blocking, never a prompt or key.
 *
 * Plain text or a JSON object per line.  Control bytes are escaped and lines cut at
 * LOG_LINE_MAX, in JSON so that they stay whole objects; a line that a full pipe cannot take
 * is dropped and counted.  Any thread. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };
enum log_format { LOG_TEXT, LOG_JSON };

/* Lines above this level are dropped; LOG_WARN until set. */
void log_set_level(enum log_level level);
/* LOG_TEXT until set. */
void log_set_format(enum log_format format);

void log_line(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);

struct log_field {
    const char *name; /* letters, digits and _ */
    const char *text; /* NULL: the number */
    double number;    /* not finite: null */
};

/* A line of named values: `... info request method=GET ms=3.2`, or in JSON members beside
 * time, level and event.  A text that does not fit is cut, a field that does not fit ends
 * the line. */
void log_event(enum log_level level, const char *event, const struct log_field *fields, size_t n);

/* Lines that could not be written. */
uint64_t log_dropped(void);

#endif
