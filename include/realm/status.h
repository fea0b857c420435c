/* realm/status.h - how every fallible function of Realm answers.
 *
 * A function that can fail returns 0 or one of the negative codes below and,
 * where it takes a struct realm_error, leaves there one sentence for a person:
 * what is wrong, with the name of the key, tensor, parameter or file.  The
 * sentence holds no pointer, no key and no prompt.
 */
#ifndef REALM_STATUS_H
#define REALM_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

enum realm_status {
    REALM_OK = 0,
    REALM_E_NOMEM = -1,       /* the system has no memory left */
    REALM_E_ARG = -2,         /* an argument is out of its range */
    REALM_E_NOT_FOUND = -3,   /* no such file, model or id */
    REALM_E_FORMAT = -4,      /* a file is damaged or not what it says */
    REALM_E_UNSUPPORTED = -5, /* well formed, but this build cannot run it */
    REALM_E_IO = -6,          /* reading or writing failed */
    REALM_E_NO_ROOM = -7,     /* does not fit the byte budget */
    REALM_E_CONTEXT = -8,     /* longer than the context window */
    REALM_E_CANCELLED = -9,   /* the caller went away */
    REALM_E_DEADLINE = -10,   /* the time allowed has passed */
    REALM_E_LIMIT = -11,      /* a limit or quota of the caller is spent */
    REALM_E_NUMERIC = -12,    /* the model computed a value that is not finite */
    REALM_E_UTF8 = -13,       /* text is not UTF-8 */
    REALM_E_TOO_SMALL = -14,  /* the output does not fit the caller's buffer */
    REALM_E_SHUTDOWN = -15,   /* the engine is closing */
    REALM_E_GUEST = -16,      /* a guest trapped or broke the ABI */
    REALM_E_SYS = -17,        /* a system call failed that should not */
};

enum { REALM_ERROR_MAX = 320 };

/* The last failure of one call; zero it or leave it, every failure sets it. */
struct realm_error {
    int status;
    char message[REALM_ERROR_MAX]; /* NUL-terminated, cut at a whole UTF-8 character */
};

/* Exported from librealm.so; everything else is built with hidden visibility. */
#ifndef REALM_API
#define REALM_API __attribute__((visibility("default")))
#endif

/* The code's short name ("not_found"), never NULL; "unknown" for other numbers. */
REALM_API const char *realm_status_name(int status);

#ifdef __cplusplus
}
#endif

#endif
