/* base/err.h - filling in a struct realm_error. */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include "base/compiler.h"
#include "realm/status.h"

/* Sets *err (which may be NULL) and returns status, so that a failing function
 * ends in `return err_set(err, REALM_E_FORMAT, "...", ...)`. */
int err_set(struct realm_error *err, int status, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Puts "prefix: " before the sentence that is there; returns err's status. */
int err_prefix(struct realm_error *err, int status, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* "out of memory" with what was wanted. */
int err_nomem(struct realm_error *err, const char *what);

#endif
