/* http/chunked.h - decodes a chunked body, and nothing that only looks like one.
 *
 * Threads: any. */
#ifndef HTTP_CHUNKED_H
#define HTTP_CHUNKED_H

#include "base/buf.h"
#include "http/head.h"

enum chunked_state {
    CHUNKED_SIZE,
    CHUNKED_EXTENSION,
    CHUNKED_SIZE_LF,
    CHUNKED_DATA,
    CHUNKED_DATA_CR,
    CHUNKED_DATA_LF,
    CHUNKED_TRAILER,
    CHUNKED_DONE,
};

/* Zero it where a body begins. */
struct chunked {
    enum chunked_state state;
    uint32_t digits;          /* of the chunk's size so far */
    uint64_t left;            /* bytes of the chunk that are still to come */
    uint32_t extension_bytes; /* of all chunks */
    uint32_t last2;           /* the last two bytes of the trailer, for its end */
    uint32_t trailer_bytes, trailer_lines, trailer_line;
    bool colon; /* the trailer's line has one */
};

/* Takes bytes in, adds what they decode to to body (whose ceiling is the limit) and says in
 * *used how many were taken, which is all of them but at the end of the body.  Returns 1:
 * the body is whole; 0: more bytes must come; -1: *fault says why it is refused, with status
 * 0 when memory is short. */
MUST_USE int chunked_take(struct chunked *d, struct slice in, struct buf *body, size_t *used,
                          struct http_fault *fault);

#endif
