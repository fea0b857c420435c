/* Chat templates from any model file, rendered as the server does: in the child process,
 * under its limits.
 *
 * The input is a template, up to its first NUL, and the variables' JSON behind it; without
 * one a conversation is made up.  Whatever the child makes of it, or dies of, the answer is
 * a status with a sentence, text that is UTF-8, and another call that works. */
#include <string.h>

#include "base/assert.h"
#include "base/utf8.h"
#include "helper/helper.h"

enum { RENDER_MS = 800, OUTPUT_BYTES_MAX = 8 << 20, CHECK_EVERY = 64 };

static const char VARIABLES[] =
    "{\"messages\":[{\"role\":\"system\",\"content\":\"Be kind.\"},"
    "{\"role\":\"user\",\"content\":\"Hello \\ud83d\\ude00 {{ x }}\"},"
    "{\"role\":\"assistant\",\"content\":\"Hi\"},{\"role\":\"user\",\"content\":\"And?\"}],"
    "\"bos_token\":\"<s>\",\"eos_token\":\"</s>\",\"add_generation_prompt\":true}";

static int render(struct helper *h, struct slice template, struct slice variables, struct buf *out)
{
    struct realm_error err = {0};
    const struct slice parts[] = {template, variables};
    const struct helper_task task = {
        .op = HELPER_RENDER, .parts = parts, .n_parts = 2, .timeout_ms = RENDER_MS};
    int status = helper_call(h, &task, out, &err);
    ASSERT(status == 0 || (err.status == status && err.message[0]));
    ASSERT(utf8_valid(err.message, strlen(err.message)));
    return status;
}

/* The child, or the next one, still does its work. */
static void check_alive(struct helper *h)
{
    static unsigned calls;
    struct buf out;
    if (++calls % CHECK_EVERY)
        return;
    buf_init(&out, OUTPUT_BYTES_MAX);
    int status = render(h, slice_of("{{ messages[0].role }}"), slice_of(VARIABLES), &out);
    /* A machine that stands still is no finding. */
    ASSERT(status == REALM_E_DEADLINE || (status == 0 && slice_is(buf_slice(&out), "system")));
    buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct helper *helper;
    if (!helper)
        ASSERT(helper_open(&helper, REALM_EXE) == 0);
    const uint8_t *nul = n ? memchr(data, 0, n) : NULL;
    struct slice template = {data, nul ? (size_t)(nul - data) : n};
    struct slice variables = slice_of(VARIABLES);
    if (nul)
        variables = (struct slice){nul + 1, n - template.n - 1};
    struct buf out;
    buf_init(&out, OUTPUT_BYTES_MAX);
    if (render(helper, template, variables, &out) == 0)
        ASSERT(utf8_valid(out.p, out.n));
    buf_free(&out);
    check_alive(helper);
    return 0;
}
