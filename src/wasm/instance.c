/* wasm/instance.c - a fresh instance for one request, its clock, its way out. */
#include "wasm/instance.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "base/wait.h"
#include "wasm/generation.h"
#include "wasm/guest_log.h"
#include "wasm/tenant.h"

enum { TABLE_ELEMENTS_MAX = 10000 };

/* Of waits: asked every few milliseconds. */
static bool gone(void *ctx)
{
    struct instance *in = ctx;
    generations_take(in);
    return in->request->cancelled && in->request->cancelled(in->request->ctx);
}

static bool rest(void *ctx)
{
    struct instance *in = ctx;
    turn_give(&in->turn);
    return false;
}

static bool rest_or_gone(void *ctx)
{
    return rest(ctx) || gone(ctx);
}

struct realm_wait instance_rest(struct instance *in)
{
    return (struct realm_wait){.cancelled = rest, .ctx = in};
}

uint64_t instance_own_ns(const struct instance *in)
{
    return clock_ns(clock_thread()) - in->began_ns;
}

/* Nobody waits for the guest any more. */
static void stop_for(struct instance *in, int status)
{
    if (status)
        err_set(&in->stop, status, "%s",
                status == REALM_E_DEADLINE ? "the request's deadline passed"
                                           : "the caller went away");
}

bool instance_resume(struct instance *in)
{
    stop_for(in, turn_take(&in->turn, &in->line));
    return !in->stop.status;
}

/* Those that run at once outnumber the memories that there is room for.  What it takes between two
 * looks is above the limit; only guests that compute take any, and they are few. */
bool instance_count_memory(struct instance *in)
{
    const uint64_t most = in->host->limits.all_bytes, size = instance_memory(in).size;
    const uint64_t more = size - in->counted_bytes;
    if (more == 0)
        return true;
    uint64_t all = atomic_fetch_add(&in->host->memory_bytes, more) + more;
    uint64_t own = atomic_fetch_add(tenant_memory(in->request->tenant), more) + more;
    in->counted_bytes = size;
    if (all <= most && own <= most - all)
        return true;
    err_set(&in->stop, REALM_E_LIMIT,
            "the tenant's guests have %llu MiB of memory, and all guests may have %llu",
            (unsigned long long)(own / MiB), (unsigned long long)(most / MiB));
    return false;
}

static void forget_memory(struct instance *in)
{
    atomic_fetch_sub(&in->host->memory_bytes, in->counted_bytes);
    atomic_fetch_sub(tenant_memory(in->request->tenant), in->counted_bytes);
    in->counted_bytes = 0;
}

/* Whether the guest must stop now; fills in->stop. */
static bool expired(struct instance *in)
{
    const struct wasm_limits *l = &in->host->limits;
    (void)instance_count_memory(in);
    stop_for(in, wait_given_up(&in->line, NULL));
    if (instance_own_ns(in) >= l->own_ms * 1000000ull)
        err_set(&in->stop, REALM_E_LIMIT, "the guest ran for longer than %u ms", l->own_ms);
    return in->stop.status != 0;
}

static wasmtime_error_t *on_tick(wasmtime_context_t *context, void *data, uint64_t *delta,
                                 wasmtime_update_deadline_kind_t *kind)
{
    struct instance *in = data;
    (void)context;
    *delta = 1;
    *kind = WASMTIME_UPDATE_DEADLINE_CONTINUE;
    if (!expired(in))
        stop_for(in, turn_tick(&in->turn, &in->line));
    return in->stop.status ? wasmtime_error_new(in->stop.message) : NULL;
}

static const char *trap_text(wasmtime_trap_code_t code)
{
    switch (code) {
    case WASMTIME_TRAP_CODE_MEMORY_OUT_OF_BOUNDS:
        return "it touched memory out of bounds";
    case WASMTIME_TRAP_CODE_TABLE_OUT_OF_BOUNDS:
        return "it touched a table out of bounds";
    case WASMTIME_TRAP_CODE_INDIRECT_CALL_TO_NULL:
    case WASMTIME_TRAP_CODE_BAD_SIGNATURE:
        return "it called through a table what is no such function";
    case WASMTIME_TRAP_CODE_INTEGER_OVERFLOW:
    case WASMTIME_TRAP_CODE_BAD_CONVERSION_TO_INTEGER:
        return "a number was too large for an integer";
    case WASMTIME_TRAP_CODE_INTEGER_DIVISION_BY_ZERO:
        return "it divided by zero";
    case WASMTIME_TRAP_CODE_UNREACHABLE_CODE_REACHED:
        return "it reached what it says is unreachable (a panic or abort)";
    default:
        return "a trap";
    }
}

static int trapped(wasm_trap_t *trap, struct realm_error *err)
{
    wasmtime_trap_code_t code;
    bool coded = wasmtime_trap_code(trap, &code);
    wasm_trap_delete(trap);
    if (coded && code == WASMTIME_TRAP_CODE_STACK_OVERFLOW)
        return err_set(err, REALM_E_LIMIT, "the guest used up its stack of %d KiB",
                       (int)(GUEST_STACK_BYTES_MAX / KiB));
    return err_set(err, REALM_E_GUEST, "the guest was stopped: %s",
                   coded ? trap_text(code) : "a trap");
}

/* Why running the guest failed; frees what there is of e and trap. */
static int why(struct instance *in, wasmtime_error_t *e, wasm_trap_t *trap, int otherwise,
               struct realm_error *err)
{
    int exit_status;
    if (in->stop.status) {
        if (e)
            wasmtime_error_delete(e);
        if (trap)
            wasm_trap_delete(trap);
        return err_set(err, in->stop.status, "%s", in->stop.message);
    }
    if (trap)
        return trapped(trap, err);
    if (wasmtime_error_exit_status(e, &exit_status)) {
        wasmtime_error_delete(e);
        return err_set(err, REALM_E_GUEST, "the guest ended itself with exit status %d",
                       exit_status);
    }
    struct buf line;
    buf_init(&line, REALM_ERROR_MAX);
    wasm_error_line(e, &line);
    int status = err_set(err, otherwise, "the guest was stopped: %.*s", (int)line.n,
                         line.p ? (const char *)line.p : "");
    buf_free(&line);
    return status;
}

static int set_wasi(struct instance *in, struct realm_error *err)
{
    static const char *name[] = {"guest"};
    wasi_config_t *wasi = wasi_config_new();
    if (!wasi || !wasi_config_set_argv(wasi, 1, name))
        return err_nomem(err, "WASI");
    wasi_config_set_stdout_custom(wasi, guest_log_stdout, in, NULL);
    wasi_config_set_stderr_custom(wasi, guest_log_stderr, in, NULL);
    wasmtime_error_t *e = wasmtime_context_set_wasi(in->context, wasi);
    if (!e)
        return 0;
    wasmtime_error_delete(e);
    return err_set(err, REALM_E_SYS, "WASI cannot be set up");
}

static int instantiate(struct instance *in, struct realm_error *err)
{
    wasm_trap_t *trap = NULL;
    wasmtime_extern_t item;
    wasmtime_context_set_epoch_deadline(in->context, 1);
    wasmtime_error_t *e =
        wasmtime_instance_pre_instantiate(in->guest->pre, in->context, &in->wasm, &trap);
    if (e || trap)
        return why(in, e, trap, REALM_E_LIMIT, err);
    if (wasmtime_instance_export_get(in->context, &in->wasm, "memory", strlen("memory"), &item)) {
        in->memory = item.of.memory;
        in->has_memory = true;
        wasmtime_extern_delete(&item);
    }
    return instance_count_memory(in) ? 0 : err_set(err, in->stop.status, "%s", in->stop.message);
}

static void set_waits(struct instance *in)
{
    const struct wasm_request *r = in->request;
    uint64_t most = clock_ns(clock_system()) + in->host->limits.request_ms * 1000000ull;
    in->line = (struct realm_wait){
        .deadline_ns = r->deadline_ns && r->deadline_ns < most ? r->deadline_ns : most,
        .cancelled = gone,
        .ctx = in,
    };
    in->wait = in->line;
    in->wait.cancelled = rest_or_gone;
}

int instance_open(struct instance *in, const struct wasm_guest *g,
                  const struct wasm_request *request, struct realm_error *err)
{
    *in = (struct instance){.guest = g, .host = g->host, .request = request};
    guest_log_init(in);
    generations_init(in);
    set_waits(in);
    in->began_ns = clock_ns(clock_thread());
    if (turn_init(&in->turn, &in->host->turns, tenant_line(request->tenant), request->weight))
        return err_set(err, REALM_E_SYS, "a guest's turn");
    if (expired(in) || !instance_resume(in))
        return err_set(err, in->stop.status, "%s", in->stop.message);
    in->store = wasmtime_store_new(in->host->engine, in, NULL);
    if (!in->store)
        return err_nomem(err, "a guest's instance");
    in->context = wasmtime_store_context(in->store);
    wasmtime_store_limiter(in->store, (int64_t)in->host->limits.memory_bytes, TABLE_ELEMENTS_MAX, 1,
                           1, 1);
    wasmtime_store_epoch_deadline_callback(in->store, on_tick, in, NULL);
    int status = g->uses_wasi ? set_wasi(in, err) : 0;
    return status ? status : instantiate(in, err);
}

void instance_close(struct instance *in)
{
    turn_give(&in->turn);
    generations_close(in);
    if (in->store)
        wasmtime_store_delete(in->store);
    in->store = NULL;
    forget_memory(in);
    turn_destroy(&in->turn);
    guest_log_close(in);
}

int instance_call(struct instance *in, const char *export, wasmtime_val_raw_t *v, size_t n,
                  struct realm_error *err)
{
    wasmtime_extern_t item;
    wasm_trap_t *trap = NULL;
    if (!wasmtime_instance_export_get(in->context, &in->wasm, export, strlen(export), &item))
        return err_set(err, REALM_E_GUEST, "the guest exports no %s", export);
    wasmtime_context_set_epoch_deadline(in->context, 1);
    wasmtime_error_t *e = wasmtime_func_call_unchecked(in->context, &item.of.func, v, n, &trap);
    wasmtime_extern_delete(&item);
    return e || trap ? why(in, e, trap, REALM_E_GUEST, err) : 0;
}

struct guest_memory instance_memory(struct instance *in)
{
    if (!in->has_memory)
        return (struct guest_memory){0};
    return (struct guest_memory){
        .base = wasmtime_memory_data(in->context, &in->memory),
        .size = wasmtime_memory_data_size(in->context, &in->memory),
    };
}

int32_t call_fail(struct instance *in, int32_t code, const char *fmt, ...)
{
    char sentence[REALM_ERROR_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(sentence, sizeof(sentence), fmt, args);
    va_end(args);
    err_set(&in->last, REALM_E_GUEST, "%s", sentence);
    return code;
}

int32_t call_status(struct instance *in, int status)
{
    switch (status) {
    case REALM_E_CANCELLED:
    case REALM_E_DEADLINE:
    case REALM_E_SHUTDOWN:
        in->over = status;
        return ABI_CANCELLED;
    case REALM_E_UTF8:
        return ABI_UTF8;
    case REALM_E_ARG:
        return ABI_ARGUMENT;
    case REALM_E_CONTEXT:
        return ABI_TOO_LONG;
    case REALM_E_LIMIT:
        return ABI_LIMIT;
    default:
        return ABI_FAILED;
    }
}

int32_t call_load_status(struct instance *in, int status)
{
    if (status == REALM_E_NOT_FOUND || status == REALM_E_ARG)
        return ABI_NO_MODEL;
    return status == REALM_E_NO_ROOM ? ABI_LIMIT : call_status(in, status);
}

int32_t call_text(struct instance *in, uint32_t at, uint32_t n, uint32_t max, int32_t too_long,
                  char **out)
{
    const struct guest_memory m = instance_memory(in);
    *out = NULL;
    if (!guest_has(&m, at, n))
        return call_fail(in, ABI_INPUT, "the input of %u bytes at %u is out of bounds", n, at);
    if (n > max)
        return call_fail(in, too_long, "the input has %u bytes, at most %u are read", n, max);
    char *text = mem_alloc((size_t)n + 1);
    if (!text || !guest_copy_in(&m, at, text, n)) {
        mem_free(text);
        return call_fail(in, ABI_FAILED, "out of memory");
    }
    text[n] = '\0';
    if (!utf8_valid(text, n)) {
        mem_free(text);
        return call_fail(in, ABI_UTF8, "the input is not UTF-8");
    }
    *out = text;
    return 0;
}

int32_t call_check_out(struct instance *in, uint32_t at, uint64_t max)
{
    const struct guest_memory m = instance_memory(in);
    if (guest_has(&m, at, max))
        return 0;
    return call_fail(in, ABI_OUTPUT, "the output range of %llu bytes at %u is out of bounds",
                     (unsigned long long)max, at);
}

int32_t call_write(struct instance *in, uint32_t at, uint32_t max, const void *data, size_t n)
{
    const struct guest_memory m = instance_memory(in);
    int32_t code = call_check_out(in, at, max);
    if (code)
        return code;
    if (n > max || n > INT32_MAX)
        return call_fail(in, ABI_TOO_SMALL, "the output needs %zu bytes, there are %u", n, max);
    if (!guest_copy_out(&m, at, data, n))
        return call_fail(in, ABI_OUTPUT, "the output range is out of bounds");
    return (int32_t)n;
}

int32_t call_model(struct instance *in, uint32_t id, struct lease *out)
{
    int status;
    if (id == 0) {
        memcpy(out->id, in->uses[0].over.model, sizeof(out->id));
        status = realm_model_share(&out->model, in->request->model);
    } else {
        status = tenant_model(in->request, id, &in->wait, out, &in->last);
    }
    if (!status)
        return 0;
    if (status == REALM_E_ARG)
        return call_fail(in, ABI_NO_MODEL, "this tenant has no model %d", (int32_t)id);
    if (status == REALM_E_CANCELLED || status == REALM_E_DEADLINE || status == REALM_E_SHUTDOWN)
        return call_status(in, status);
    return id == 0 ? call_fail(in, ABI_FAILED, "out of memory") : ABI_NOT_LOADED;
}
