/* cmd/realm/run_guest.c - `realm run --guest`: the prompt goes through a guest. */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/io.h"
#include "base/limits.h"
#include "base/mem.h"
#include "run.h"

/* Where compiled guests are kept: $XDG_STATE_HOME/realm/guests; NULL: nowhere. */
static const char *cache_dir(struct buf *path)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    int status;
    buf_init(path, 4096);
    if (state && state[0] == '/')
        status = buf_addf(path, "%s/realm/guests", state);
    else if (home && home[0] == '/')
        status = buf_addf(path, "%s/.local/state/realm/guests", home);
    else
        return NULL;
    return status ? NULL : buf_cstr(path);
}

static int open_parts(struct run *run, const char *file, const uint8_t *wasm, size_t n,
                      struct realm_error *err)
{
    struct buf dir;
    const struct wasm_host_options options = {.cache_dir = cache_dir(&dir), .chat = run->chat};
    int status = wasm_host_open(&run->host, &options, err);
    buf_free(&dir);
    if (!status)
        status = wasm_guest_open(&run->guest, run->host, wasm, n, err);
    if (status)
        return err_prefix(err, status, "the guest %s", file);
    return wasm_tenant_open(&run->tenant, run->host, run->on.engine, "default", 0);
}

int run_guest_open(struct run *run, const char *file)
{
    struct realm_error err = {.message = "out of memory"};
    uint8_t *wasm;
    size_t n;
    if (io_read_file(io_system(), file, GUEST_MODULE_BYTES_MAX, &wasm, &n, &err))
        return cmd_fail("run", &err);
    int status = open_parts(run, file, wasm, n, &err);
    mem_free(wasm);
    return status ? cmd_fail("run", &err) : -1;
}

void run_guest_close(struct run *run)
{
    wasm_tenant_close(run->tenant);
    wasm_guest_close(run->guest);
    wasm_host_close(run->host);
}

static bool show_piece(void *ctx, const char *text, size_t bytes)
{
    (void)ctx;
    fwrite(text, 1, bytes, stdout);
    return !fflush(stdout) && !atomic_load(&run_interrupted);
}

static bool interrupted(void *ctx)
{
    (void)ctx;
    return atomic_load(&run_interrupted);
}

/* What a guest that answers whole requests says: the text of its first choice, or
 * its JSON as it is when that has none. */
static void show_handled(struct wasm_result *result)
{
    json_t *answer = json_loadb(result->text, result->bytes, JSON_REJECT_DUPLICATES, NULL);
    const json_t *choice = json_array_get(json_object_get(answer, "choices"), 0);
    const json_t *content = json_object_get(json_object_get(choice, "message"), "content");
    char *copy = json_is_string(content)
                     ? mem_strndup(json_string_value(content), json_string_length(content))
                     : NULL;
    if (copy) {
        mem_free(result->text);
        result->text = copy;
        result->bytes = json_string_length(content);
    }
    json_decref(answer);
}

int run_guest_turn(struct run *run, const json_t *messages, const char *text, size_t bytes,
                   struct buf *answer, struct realm_error *err)
{
    const struct wasm_request request = {
        .tenant = run->tenant,
        .model = run->on.model,
        .messages = messages,
        .prompt = messages ? NULL : text,
        .prompt_bytes = messages ? 0 : bytes,
        .sampling = &run->sampling,
        .on_text = show_piece,
        .cancelled = interrupted,
    };
    struct wasm_result result;
    int status = wasm_run(run->guest, &request, &result, err);
    if (status)
        return status;
    if (result.handled)
        show_handled(&result);
    if (!result.streamed) {
        fwrite(result.text, 1, result.bytes, stdout);
        fflush(stdout);
    }
    status = buf_add(answer, result.text, result.bytes);
    mem_free(result.text);
    return status;
}
