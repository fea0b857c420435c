/* wasm/lines.h - the last lines that a tenant's guests wrote.
 *
 * Old lines make room for new ones, by number and by bytes; of those that come too fast only
 * the number is kept.  Whoever has it locks it. */
#ifndef WASM_LINES_H
#define WASM_LINES_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/limits.h"

enum line_source { LINE_STDOUT, LINE_STDERR, LINE_HOST };

struct line {
    enum line_source from;
    int64_t at_s; /* since 1970 */
    char *text;   /* whole UTF-8 */
    size_t bytes;
};

struct lines {
    struct line ring[GUEST_LOG_LINES_MAX];
    size_t first, n, bytes;
    uint64_t second;   /* of the clock that is now */
    uint32_t lines[2]; /* in it: guests', the host's */
    uint64_t dropped;
};

/* Whether one more line may be written in this second; what guests write is no reason to keep
 * back what the host says of them. */
MUST_USE bool lines_may(struct lines *l, enum line_source from, uint64_t now_ns);
/* Keeps it if memory is there. */
void lines_add(struct lines *l, enum line_source from, const char *text, size_t n);
void lines_free(struct lines *l);
/* As wasm_tenant_log. */
MUST_USE json_t *lines_json(const struct lines *l);

#endif
