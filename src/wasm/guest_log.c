/* wasm/guest_log.c - a guest's standard output and error: lines of the log. */
#include "wasm/guest_log.h"

#include "base/ckd.h"
#include "wasm/guest_text.h"
#include "wasm/tenant.h"

enum { LINE_MAX_BYTES = 1024 };

void guest_log_init(struct instance *in)
{
    for (size_t i = 0; i < ARRAY_LEN(in->log); i++)
        buf_init(&in->log[i], LINE_MAX_BYTES);
}

static void flush(struct instance *in, size_t which)
{
    struct buf *line = &in->log[which], clean;
    buf_init(&clean, 3 * LINE_MAX_BYTES);
    if (line->n && guest_text_add(&clean, line->p, line->n) == 0)
        tenant_log(in->request->tenant, which ? LINE_STDERR : LINE_STDOUT, (const char *)clean.p,
                   clean.n);
    buf_free(&clean);
    buf_clear(line);
}

void guest_log_close(struct instance *in)
{
    for (size_t i = 0; i < ARRAY_LEN(in->log); i++) {
        flush(in, i);
        buf_free(&in->log[i]);
    }
}

/* What is over LINE_MAX_BYTES of a line is dropped, as is what memory lacks for. */
static ptrdiff_t take(struct instance *in, size_t which, const unsigned char *text, size_t n)
{
    struct buf *line = &in->log[which];
    for (size_t i = 0; i < n; i++) {
        if (text[i] == '\n')
            flush(in, which);
        else if (line->n < LINE_MAX_BYTES && buf_addch(line, (char)text[i]))
            break;
    }
    return (ptrdiff_t)n;
}

ptrdiff_t guest_log_stdout(void *data, const unsigned char *text, size_t n)
{
    return take(data, 0, text, n);
}

ptrdiff_t guest_log_stderr(void *data, const unsigned char *text, size_t n)
{
    return take(data, 1, text, n);
}
