/* api/query.h - what stands behind a path's "?": application/x-www-form-urlencoded, as the
 * URL standard has it. */
#ifndef API_QUERY_H
#define API_QUERY_H

#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

/* The first value of the name, decoded, into out.  1: it is there; 0: it is not; -1: it is
 * malformed, no UTF-8, holds control characters or is longer than max with its NUL. */
MUST_USE int query_get(const char *query, const char *name, char *out, size_t max);

/* A time: seconds since 1970, or YYYY-MM-DD, or that with THH:MM:SS and Z (UTC in both).  0; -1:
 * it is none. */
MUST_USE int query_time(const char *text, int64_t *seconds);

#endif
