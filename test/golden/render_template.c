/* Renders a chat template as the server's child process does.
 *
 *   render_template TEMPLATE < LINES > LINES
 *
 * Each line of the input is a JSON object, the template's variables; each line of the output a
 * JSON string, the text, or an object {"error": sentence}. */
#include <stdio.h>
#include <string.h>

#include "base/io.h"
#include "base/limits.h"
#include "base/mem.h"
#include "chat/chat.h"

enum { LINE_MAX_BYTES = 1 << 20 };

static int print(const char *before, struct slice text, const char *after)
{
    struct buf quoted;
    buf_init(&quoted, SIZE_MAX / 2);
    int status = buf_add_json(&quoted, text);
    if (!status)
        printf("%s%.*s%s\n", before, (int)quoted.n, (const char *)quoted.p, after);
    buf_free(&quoted);
    return status;
}

static int render(struct slice template, const char *variables)
{
    struct realm_error err = {0};
    const struct slice parts[] = {template, slice_of(variables)};
    struct buf out;
    buf_init(&out, PROMPT_BYTES_MAX);
    int status = chat_render_work(parts, 2, &out, &err);
    status =
        status ? print("{\"error\":", slice_of(err.message), "}") : print("", buf_slice(&out), "");
    buf_free(&out);
    return status;
}

int main(int argc, char **argv)
{
    static char line[LINE_MAX_BYTES];
    struct realm_error err = {0};
    uint8_t *template;
    size_t n;
    if (argc != 2)
        return 2;
    if (io_read_file(io_system(), argv[1], TEMPLATE_BYTES_MAX, &template, &n, &err)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    int status = 0;
    while (!status && fgets(line, sizeof(line), stdin))
        status = render((struct slice){template, n}, line);
    mem_free(template);
    return status ? 1 : 0;
}
