/* api/writer.h - text into a buffer, with one check at the end.
 *
 * The first failure is kept and later calls do nothing, so that writing an answer reads
 * like the answer. */
#ifndef API_WRITER_H
#define API_WRITER_H

#include <string.h>

#include "base/buf.h"
#include "base/compiler.h"
#include "realm/status.h"

struct writer {
    struct buf *to;
    int status; /* 0, REALM_E_NOMEM or REALM_E_LIMIT */
};

static inline struct writer writer_to(struct buf *to)
{
    return (struct writer){.to = to};
}

static inline void write_bytes(struct writer *w, const void *p, size_t n)
{
    if (!w->status)
        w->status = buf_add(w->to, p, n);
}

/* Text as it is. */
static inline void write_text(struct writer *w, const char *text)
{
    write_bytes(w, text, strlen(text));
}

void write_f(struct writer *w, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* A JSON string with its quotes. */
static inline void write_string(struct writer *w, const void *p, size_t n)
{
    if (!w->status)
        w->status = buf_add_json(w->to, (struct slice){p, n});
}

static inline void write_quoted(struct writer *w, const char *text)
{
    write_string(w, text, strlen(text));
}

/* A JSON number; what is not finite becomes null. */
void write_number(struct writer *w, double value);

#endif
