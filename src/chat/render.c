/* chat/render.c - the child's side: one template after another, the last one kept. */
#include <realm_template.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"
#include "chat/chat.h"

static struct {
    struct realm_template *compiled;
    uint8_t *source;
    size_t n;
} last; /* of the one thread that serves */

static int status_of(int template_status)
{
    switch (template_status) {
    case REALM_TEMPLATE_E_SYNTAX:
        return REALM_E_FORMAT;
    case REALM_TEMPLATE_E_LIMIT:
        return REALM_E_LIMIT;
    default:
        return REALM_E_ARG;
    }
}

static int fail(int template_status, const struct realm_template_error *from,
                struct realm_error *err)
{
    int status = status_of(template_status);
    if (from->line)
        return err_set(err, status, "chat template, line %u: %s", from->line, from->message);
    return err_set(err, status, "chat template: %s", from->message);
}

static int compile(struct slice source, struct realm_error *err)
{
    struct realm_template_error why = {0};
    if (last.compiled && slice_equal(source, (struct slice){last.source, last.n}))
        return 0;
    realm_template_free(last.compiled);
    last.compiled = NULL;
    mem_free(last.source);
    last.source = mem_alloc(source.n);
    if (!last.source)
        return err_nomem(err, "the chat template");
    memcpy(last.source, source.p, source.n);
    last.n = source.n;
    int status = realm_template_compile((const char *)source.p, source.n, &last.compiled, &why);
    return status ? fail(status, &why, err) : 0;
}

int chat_render_work(const struct slice *parts, size_t n_parts, struct buf *out,
                     struct realm_error *err)
{
    struct realm_template_error why = {0};
    if (n_parts != 2)
        return err_set(err, REALM_E_ARG, "a rendering takes a template and its variables");
    int status = compile(parts[0], err);
    if (status)
        return status;
    const struct realm_template_options options = {PROMPT_BYTES_MAX, clock_wall_s()};
    char *text;
    size_t n;
    status = realm_template_render(last.compiled, (const char *)parts[1].p, parts[1].n, &options,
                                   &text, &n, &why);
    if (status)
        return fail(status, &why, err);
    status = buf_add(out, text, n);
    free(text);
    return status;
}
