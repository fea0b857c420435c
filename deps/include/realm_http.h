/* realm_http.h - splits the head of an HTTP/1.x request, by httparse.
 *
 * It says where things are and allocates nothing; what a head means, and which heads
 * are too ambiguous to serve, is decided by the caller (src/http/head.c).
 *
 * Threads: any.
 */
#ifndef REALM_HTTP_H
#define REALM_HTTP_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

struct realm_http_field {
    const char *name, *value; /* views into the head; no NUL after them */
    size_t name_len, value_len;
};

struct realm_http_head {
    const char *method, *target; /* views into the head */
    size_t method_len, target_len;
    unsigned minor; /* HTTP/1.0 or HTTP/1.1 */
    size_t n_fields;
};

enum realm_http_status {
    REALM_HTTP_PARTIAL = 0,
    REALM_HTTP_E_MALFORMED = -1,
    REALM_HTTP_E_FIELDS = -2, /* more than fields_max header fields */
    REALM_HTTP_E_VERSION = -3 /* not HTTP/1.0 or HTTP/1.1 */
};

/* Reads the head that bytes begin with.  Returns the head's length with the empty line
 * that ends it, and fills *out and fields (room for fields_max, at most 256); or one of
 * enum realm_http_status, PARTIAL when n bytes are not the whole of it. */
long realm_http_parse(const char *bytes, size_t n, struct realm_http_field *fields,
                      size_t fields_max, struct realm_http_head *out);

#ifdef __cplusplus
}
#endif

#endif
