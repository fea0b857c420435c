/* cmd/realm/shared.c - messages, the model that comes along, texts, progress. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/io.h"
#include "base/limits.h"
#include "base/mem.h"
#include "cmd.h"

static void complain(const char *cmd, const char *fmt, va_list args) PRINTF_LIKE(2, 0);

static void complain(const char *cmd, const char *fmt, va_list args)
{
    progress_clear();
    fprintf(stderr, "realm %s: ", cmd);
    vfprintf(stderr, fmt, args);
    fputc('\n', stderr);
}

int cmd_failf(const char *cmd, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    complain(cmd, fmt, args);
    va_end(args);
    return EXIT_FAILED;
}

static const char *const kv_names[] = {
    [REALM_KV_F16] = "f16",
    [REALM_KV_F32] = "f32",
    [REALM_KV_BF16] = "bf16",
    [REALM_KV_Q8_0] = "q8_0",
};

const char *cmd_kv_name(enum realm_kv_type type)
{
    return kv_names[type];
}

int cmd_kv_type(const char *cmd, const char *text, enum realm_kv_type *out)
{
    for (size_t i = 0; text && i < ARRAY_LEN(kv_names); i++)
        if (strcasecmp(text, kv_names[i]) == 0) {
            *out = (enum realm_kv_type)i;
            return -1;
        }
    return text ? cmd_usage(cmd, "--kv must be f16, f32, bf16 or q8_0, not '%s'", text) : -1;
}

int cmd_usage(const char *cmd, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    complain(cmd, fmt, args);
    va_end(args);
    return EXIT_USAGE;
}

int cmd_fail(const char *cmd, const struct realm_error *err)
{
    return cmd_failf(cmd, "%s", err->message);
}

static bool begins_with(const char *sentence, const char *name)
{
    size_t n = strlen(name);
    return n && strncmp(sentence, name, n) == 0 && (sentence[n] == ':' || sentence[n] == ' ');
}

/* How much of the path the sentence lacks at its beginning: nothing, the folder or all. */
static size_t missing_of(const char *path, const char *sentence)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    if (begins_with(sentence, path))
        return 0;
    return begins_with(sentence, name) ? (size_t)(name - path) : strlen(path);
}

int cmd_fail_file(const char *cmd, const char *path, const struct realm_error *err)
{
    size_t n = missing_of(path, err->message);
    return cmd_failf(cmd, "%.*s%s%s", (int)n, path, n && !path[n] ? ": " : "", err->message);
}

void cmd_add_path(struct realm_error *err, const char *path)
{
    const struct realm_error bare = *err;
    size_t n = missing_of(path, bare.message);
    (void)err_set(err, bare.status, "%.*s%s%s", (int)n, path, n && !path[n] ? ": " : "",
                  bare.message);
}

bool cmd_names_gguf(const char *text)
{
    size_t n = strlen(text), ending = sizeof(CMD_GGUF) - 1;
    return n > ending && strcmp(text + n - ending, CMD_GGUF) == 0;
}

/* DIR/NAME if it can be read. */
static char *readable_in(const char *dir, size_t n, const char *name)
{
    struct buf path;
    buf_init(&path, 4096);
    if (buf_addf(&path, "%.*s/%s", (int)n, dir, name) || !buf_cstr(&path) ||
        access((const char *)path.p, R_OK)) {
        buf_free(&path);
        return NULL;
    }
    return (char *)path.p;
}

char *cmd_beside(const char *const *names, size_t n_names)
{
    char exe[4096], *found = NULL;
    ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe));
    while (n > 0 && exe[n - 1] != '/')
        n--;
    for (size_t i = 0; !found && n > 0 && i < n_names; i++)
        found = readable_in(exe, (size_t)n - 1, names[i]);
    return found;
}

char *cmd_tiny_path(void)
{
    static const char *const names[] = {"../share/realm/models/" CMD_TINY,
                                        "../models/tiny/" CMD_TINY};
    const char *models = getenv("REALM_MODELS");
    char *found = models ? readable_in(models, strlen(models), CMD_TINY) : NULL;
    return found ? found : cmd_beside(names, ARRAY_LEN(names));
}

char *cmd_model_path(const char *cmd, const char *given)
{
    char *path = given ? mem_strdup(given) : cmd_tiny_path();
    if (!path)
        cmd_failf(cmd, "%s", given ? "out of memory" : CMD_NO_TINY);
    return path;
}

/* A load that is watched. */
struct watch {
    uint64_t start_ns;
    bool (*stop)(void *ctx);
};

static bool watch_load(void *ctx)
{
    const struct watch *w = ctx;
    double seconds = (double)(clock_ns(clock_system()) - w->start_ns) * 1e-9;
    if (seconds > 0.3)
        progress_wait("loading the model", seconds);
    return w->stop && w->stop(NULL);
}

int cmd_engine_open(struct cmd_engine *e, const char *cmd, const char *model,
                    const struct realm_options *options, bool (*stop)(void *ctx))
{
    struct realm_error err;
    struct watch watch = {clock_ns(clock_system()), stop};
    const struct realm_wait wait = {.cancelled = watch_load, .ctx = &watch};
    *e = (struct cmd_engine){.path = cmd_model_path(cmd, model)};
    if (!e->path)
        return EXIT_FAILED;
    if (realm_open(&e->engine, options, &err))
        return cmd_fail(cmd, &err);
    int status = realm_model_open(&e->model, e->engine, e->path, &wait, &err);
    progress_clear();
    return status ? cmd_fail_file(cmd, e->path, &err) : -1;
}

void cmd_engine_close(struct cmd_engine *e)
{
    realm_model_close(e->model);
    realm_close(e->engine);
    mem_free(e->path);
}

static int read_stdin(const char *cmd, char **text, size_t *n)
{
    struct buf all;
    buf_init(&all, PROMPT_BYTES_MAX);
    char chunk[4096];
    size_t got;
    int status = buf_reserve(&all, 1);
    while (!status && (got = fread(chunk, 1, sizeof(chunk), stdin)) > 0)
        status = buf_add(&all, chunk, got);
    if (status || ferror(stdin)) {
        buf_free(&all);
        if (status == REALM_E_LIMIT)
            return cmd_failf(cmd, "the text on standard input is over %llu MiB",
                             PROMPT_BYTES_MAX / MiB);
        return cmd_failf(cmd, status ? "out of memory" : "standard input cannot be read");
    }
    *text = (char *)all.p;
    *n = all.n;
    return -1;
}

int cmd_text(const char *cmd, const char *operand, const char *file, char **text, size_t *n)
{
    if (operand && file)
        return cmd_usage(cmd, "give a text or --file, not both");
    if (!operand && !file)
        return cmd_usage(cmd, "give a text, or --file FILE (- is standard input)");
    if (file && strcmp(file, "-") == 0)
        return read_stdin(cmd, text, n);
    if (file) {
        struct realm_error err;
        int status = io_read_file(io_system(), file, PROMPT_BYTES_MAX, (uint8_t **)text, n, &err);
        return status ? cmd_fail(cmd, &err) : -1;
    }
    *n = strlen(operand);
    *text = mem_strndup(operand, *n);
    return *text ? -1 : cmd_failf(cmd, "out of memory");
}

static bool progress_shown;

void progress_show(const char *what, uint64_t done, uint64_t total)
{
    if (!isatty(STDERR_FILENO))
        return;
    fprintf(stderr, "\r\033[K%s %3.0f %%", what, total ? 100.0 * (double)done / (double)total : 0);
    fflush(stderr);
    progress_shown = true;
}

void progress_wait(const char *what, double seconds)
{
    if (!isatty(STDERR_FILENO))
        return;
    fprintf(stderr, "\r\033[K%s, %.1f s", what, seconds);
    fflush(stderr);
    progress_shown = true;
}

void progress_line(const char *text)
{
    if (!isatty(STDERR_FILENO))
        return;
    fprintf(stderr, "\r\033[K%s", text);
    fflush(stderr);
    progress_shown = true;
}

void progress_clear(void)
{
    if (progress_shown)
        fputs("\r\033[K", stderr);
    progress_shown = false;
}

void print_json_text(const char *text, size_t n)
{
    struct buf quoted;
    buf_init(&quoted, SIZE_MAX / 2);
    if (buf_add_json(&quoted, (struct slice){(const uint8_t *)text, n}) == 0)
        fwrite(quoted.p, 1, quoted.n, stdout);
    buf_free(&quoted);
}
