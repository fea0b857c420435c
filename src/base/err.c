#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

static const char *const names[] = {
    [0] = "ok",
    [-REALM_E_NOMEM] = "out_of_memory",
    [-REALM_E_ARG] = "bad_argument",
    [-REALM_E_NOT_FOUND] = "not_found",
    [-REALM_E_FORMAT] = "bad_format",
    [-REALM_E_UNSUPPORTED] = "unsupported",
    [-REALM_E_IO] = "io_error",
    [-REALM_E_NO_ROOM] = "no_room",
    [-REALM_E_CONTEXT] = "context_length_exceeded",
    [-REALM_E_CANCELLED] = "cancelled",
    [-REALM_E_DEADLINE] = "deadline",
    [-REALM_E_LIMIT] = "limit",
    [-REALM_E_NUMERIC] = "numerical_error",
    [-REALM_E_UTF8] = "not_utf8",
    [-REALM_E_TOO_SMALL] = "buffer_too_small",
    [-REALM_E_SHUTDOWN] = "shutdown",
    [-REALM_E_GUEST] = "guest_error",
    [-REALM_E_SYS] = "system_error",
};

const char *realm_status_name(int status)
{
    if (status > 0 || -(long)status >= (long)ARRAY_LEN(names))
        return "unknown";
    return names[-status];
}

/* Ends the message where vsnprintf may have cut a character in two, and leaves no
 * control characters in it: names from files stand in messages, which go to
 * terminals and logs. */
static void clean(char *message)
{
    message[utf8_whole(message, strlen(message))] = '\0';
    for (char *c = message; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
}

int err_set(struct realm_error *err, int status, const char *fmt, ...)
{
    if (!err)
        return status;
    va_list args;
    va_start(args, fmt);
    vsnprintf(err->message, sizeof(err->message), fmt, args);
    va_end(args);
    clean(err->message);
    err->status = status;
    return status;
}

int err_prefix(struct realm_error *err, int status, const char *fmt, ...)
{
    if (!err)
        return status;
    char rest[REALM_ERROR_MAX];
    memcpy(rest, err->message, sizeof(rest));
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(err->message, sizeof(err->message), fmt, args);
    va_end(args);
    if (n >= 0 && (size_t)n < sizeof(err->message))
        snprintf(err->message + n, sizeof(err->message) - (size_t)n, ": %s", rest);
    clean(err->message);
    err->status = status;
    return status;
}

int err_nomem(struct realm_error *err, const char *what)
{
    return err_set(err, REALM_E_NOMEM, "out of memory for %s", what);
}
