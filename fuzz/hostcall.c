/* What guests call, with any arguments over any memory.
 *
 * Nothing of a guest runs: each input is the memory of a fresh instance and a few
 * calls, which go straight to the functions behind the imports.  The memory is the
 * engine's own, with inaccessible pages behind its end, so that an access that
 * leaves it is seen.
 *
 *   u8 calls (CALLS_MAX at most), then for each
 *       u8 import, u8[6] kind of each argument, u16[6] its number
 *   and what is left is put at MEMORY_AT. */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/ckd.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "helper/helper.h"
#include "wasm/imports.h"

enum { CALLS_MAX = 8, ARGS = 6, MEMORY_AT = 4096, MEMORY_BYTES = 2 << 16, WAIT_MS = 4 };

/* A generate that answers what lies at 8, and two pages of memory. */
static const uint8_t module[] = {0,   'a',  's',  'm',  1,    0,   0,    0,   1,    9,   1,   0x60,
                                 4,   0x7f, 0x7f, 0x7f, 0x7f, 1,   0x7f, 3,   2,    1,   0,   5,
                                 3,   1,    0,    2,    7,    21,  2,    6,   'm',  'e', 'm', 'o',
                                 'r', 'y',  2,    0,    8,    'g', 'e',  'n', 'e',  'r', 'a', 't',
                                 'e', 0,    0,    10,   6,    1,   4,    0,   0x41, 8,   0x0b};

static int32_t (*const calls[])(struct instance *, const uint32_t *) = {
    call_generate,      call_load_model_by_name, call_store_model,
    call_remove_model,  call_model_info,         call_model_metadata,
    call_encode_tokens, call_decode_tokens,      call_stream_token,
    call_chat,          call_generate_start,     call_generate_next,
    call_generate_end,  call_last_error,
};

static struct realm *engine;
static struct realm_model *model;
static struct chat *chat;
static struct wasm_host *host;
static struct wasm_guest *guest;

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void open_world(void)
{
    static char dir[] = TINY_MODEL;
    char *slash = strrchr(dir, '/');
    *slash = '\0';
    const struct realm_options options = {.threads = 1, .bytes_max = 64 << 20, .models_dir = dir};
    int status = realm_open(&engine, &options, NULL);
    ASSERT(status == 0);
    status = realm_model_open(&model, engine, TINY_MODEL, NULL, NULL);
    ASSERT(status == 0);
    status = chat_open(&chat, NULL);
    ASSERT(status == 0);
    const struct wasm_host_options host_options = {.chat = chat};
    status = wasm_host_open(&host, &host_options, NULL);
    ASSERT(status == 0);
    status = wasm_guest_open(&guest, host, module, sizeof(module), NULL);
    ASSERT(status == 0);
}

static void close_world(void)
{
    wasm_guest_close(guest);
    wasm_host_close(host);
    chat_close(chat);
    realm_model_close(model);
    realm_close(engine);
}

/* Started as `... helper`, this is the child that compiles and renders. */
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    if (*argc == 2 && strcmp((*argv)[1], "helper") == 0) {
        const struct helper_work work = {
            .fn = {[HELPER_RENDER] = chat_render_work, [HELPER_COMPILE] = wasm_compile_work},
            .cpu_s =
                {[HELPER_RENDER] = HELPER_RENDER_CPU_S, [HELPER_COMPILE] = HELPER_COMPILE_CPU_S},
        };
        exit(helper_serve(HELPER_FD, &work));
    }
    open_world();
    atexit(close_world);
    return 0;
}

/* Places and lengths that mean something are likelier than by chance. */
static uint32_t argument(uint8_t kind, uint16_t number)
{
    switch (kind % 6) {
    case 0:
        return MEMORY_AT + number;
    case 1:
        return number;
    case 2:
        return number % 16; // ids and handles
    case 3:
        return MEMORY_BYTES - number;
    case 4:
        return (uint32_t)number << 16 | number;
    default:
        return UINT32_MAX - number;
    }
}

static bool listen(void *ctx, const char *text, size_t n)
{
    size_t *heard = ctx;
    for (size_t i = 0; i < n; i++)
        *heard += (uint8_t)text[i];
    return true;
}

struct call {
    uint8_t import;
    uint32_t a[ARGS];
};

static bool read_call(struct bytes *in, struct call *c)
{
    uint8_t kinds[ARGS];
    uint16_t number;
    if (!rd_u8(in, &c->import) || !rd_raw(in, kinds, sizeof(kinds)))
        return false;
    for (int i = 0; i < ARGS; i++) {
        if (!rd_u16(in, &number))
            return false;
        c->a[i] = argument(kinds[i], number);
    }
    return true;
}

static void run_calls(struct instance *in, const struct call *c, size_t n)
{
    for (size_t i = 0; i < n && !in->stop.status; i++) {
        in->wait.deadline_ns = clock_ns(clock_system()) + WAIT_MS * 1000000ull;
        const size_t import = c[i].import % ARRAY_LEN(calls);
        int32_t code = calls[import](in, c[i].a);
        ASSERT(code >= ABI_CANCELLED);
        // what asks for the sentence has none of its own
        ASSERT(code >= 0 || in->last.status || calls[import] == call_last_error);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct bytes in = bytes_from(data, n);
    struct call wanted[CALLS_MAX];
    struct wasm_tenant *tenant;
    struct instance instance;
    uint8_t n_calls;
    size_t heard = 0;
    if (!rd_u8(&in, &n_calls) || n_calls > CALLS_MAX)
        return 0;
    for (size_t i = 0; i < n_calls; i++)
        if (!read_call(&in, &wanted[i]))
            return 0;
    int status = wasm_tenant_open(&tenant, host, engine, "fuzz", 0);
    ASSERT(status == 0);
    const struct wasm_request request = {
        .tenant = tenant, .model = model, .prompt = "", .on_text = listen, .ctx = &heard};
    status = instance_open(&instance, guest, &request, NULL);
    ASSERT(status == 0);
    const struct guest_memory m = instance_memory(&instance);
    const size_t left = min_size(bytes_left(&in), MEMORY_BYTES - MEMORY_AT);
    memcpy(m.base + MEMORY_AT, in.p, left);
    run_calls(&instance, wanted, n_calls);
    instance_close(&instance);
    wasm_tenant_close(tenant);
    return 0;
}
