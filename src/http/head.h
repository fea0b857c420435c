/* http/head.h - what the head of a request means, and which heads are refused.
 *
 * Two steps: head_scan looks at bytes as they come and ends a head that is malformed or
 * too large before it is whole; head_read takes a whole one apart.  Neither allocates.
 * Threads: any. */
#ifndef HTTP_HEAD_H
#define HTTP_HEAD_H

#include "base/bytes.h"
#include "base/limits.h"

/* Why a request is refused.  The texts are literals. */
struct http_fault {
    int status;
    const char *code, *message;
};

/* Zero it where a head begins. */
struct head_scan {
    uint32_t at;     /* bytes looked at */
    uint32_t line;   /* bytes of the line so far */
    uint32_t fields; /* lines that are whole, but for the request line */
    bool begun;      /* the request line is whole */
    bool cr;         /* the last byte was CR */
};

/* text: all bytes since the head's begin.  Returns the length of the head with its empty
 * line; 0: more bytes must come; -1: *fault says why none can. */
MUST_USE int head_scan(struct head_scan *s, struct slice text, struct http_fault *fault);

struct head_field {
    const char *name, *value; /* name in lower case */
};

/* Texts are views into the text given to head_read. */
struct head {
    const char *method, *path, *query;
    const char *host; /* NULL: HTTP/1.0 without one */
    struct head_field *fields;
    size_t n_fields;
    uint64_t content_length; /* 0 where there is none */
    unsigned minor;
    bool chunked;
    bool close;    /* the client wants no further request on this connection */
    bool expects;  /* 100 Continue */
    bool is_head;  /* the answer has no body */
    bool readable; /* method and fields are there, although the head is refused */
};

struct head_rules {
    bool tls;
    /* localhost, 127.0.0.1, [::1] and hosts alone, as Host and as Origin */
    bool check_host;
    const char *const *hosts;
    size_t n_hosts;
    uint64_t body_bytes_max;
};

/* text: a whole head as head_scan found it, n bytes and room for one more; it is rewritten.
 * fields has room for HTTP_FIELDS_MAX and must live as long as *out.  Returns 0, or -1 and
 * *fault. */
MUST_USE int head_read(struct head *out, char *text, size_t n, struct head_field *fields,
                       const struct head_rules *rules, struct http_fault *fault);

/* The value of the field; NULL: absent. */
const char *head_field(const struct head *h, const char *name);
size_t head_field_count(const struct head *h, const char *name);

/* Whether the comma-separated list names the token, in any case of letters. */
bool head_has_token(const char *list, const char *token);
/* The same of all fields so named, which are one list. */
bool head_lists(const struct head *h, const char *name, const char *token);

#endif
