/* base/log.h - one line per event on stderr, never blocking, never a prompt or key.
 *
 * Control bytes are escaped and lines cut at LOG_LINE_MAX; a line that a full pipe
 * cannot take is dropped.  Any thread. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/compiler.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* Lines above this level are dropped; LOG_WARN until set. */
void log_set_level(enum log_level level);

void log_line(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
