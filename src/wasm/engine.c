/* wasm/engine.c - the engine's settings, the same in host and child. */
#include <string.h>

#include "base/err.h"
#include "base/limits.h"
#include "wasm/host.h"

wasm_engine_t *wasm_engine_open(bool parallel)
{
    wasm_config_t *c = wasm_config_new();
    if (!c)
        return NULL;
    wasmtime_config_strategy_set(c, WASMTIME_STRATEGY_CRANELIFT);
    wasmtime_config_parallel_compilation_set(c, parallel);
    wasmtime_config_epoch_interruption_set(c, true);
    wasmtime_config_max_wasm_stack_set(c, GUEST_STACK_BYTES_MAX);
    wasmtime_config_shared_memory_set(c, false);
    wasmtime_config_gc_support_set(c, false);
    wasmtime_config_wasm_memory64_set(c, false);
    wasmtime_config_wasm_multi_memory_set(c, false);
    wasmtime_config_wasm_custom_page_sizes_set(c, false);
    wasmtime_config_wasm_stack_switching_set(c, false);
    wasmtime_config_wasm_relaxed_simd_deterministic_set(c, true);
    return wasm_engine_new_with_config(c);
}

int wasm_check_form(const void *wasm, size_t bytes, struct realm_error *err)
{
    static const uint8_t core[] = {0, 'a', 's', 'm', 1, 0, 0, 0};
    if (bytes > GUEST_MODULE_BYTES_MAX)
        return err_set(err, REALM_E_GUEST, "the module has %zu bytes, at most %d are allowed",
                       bytes, GUEST_MODULE_BYTES_MAX);
    if (bytes >= 4 && memcmp(wasm, "\177ELF", 4) == 0)
        return err_set(err, REALM_E_GUEST, "compiled code is never accepted, only WebAssembly");
    if (bytes < sizeof(core) || memcmp(wasm, core, 4) != 0)
        return err_set(err, REALM_E_GUEST, "this is no WebAssembly module in binary form");
    if (memcmp(wasm, core, sizeof(core)) != 0)
        return err_set(err, REALM_E_GUEST,
                       "this is no core module (a component, or of another version)");
    return 0;
}

void wasm_error_line(wasmtime_error_t *e, struct buf *out)
{
    wasm_name_t text;
    wasmtime_error_message(e, &text);
    wasmtime_error_delete(e);
    bool space = false;
    int status = 0;
    for (size_t i = 0; !status && i < text.size; i++) {
        unsigned char c = (unsigned char)text.data[i];
        bool blank = c <= ' ' || c == 0x7f;
        if (!blank && space && out->n)
            status = buf_addch(out, ' ');
        if (!blank && !status)
            status = buf_addch(out, (char)c);
        space = blank;
    }
    wasm_byte_vec_delete(&text);
}

/* REALM_E_GUEST with what the engine says. */
static int refused(wasmtime_error_t *e, struct realm_error *err)
{
    struct buf line;
    buf_init(&line, REALM_ERROR_MAX);
    wasm_error_line(e, &line);
    int status = err_set(err, REALM_E_GUEST, "the module is refused: %.*s", (int)line.n,
                         line.p ? (const char *)line.p : "");
    buf_free(&line);
    return status;
}

int wasm_compile_work(const struct slice *parts, size_t n_parts, struct buf *out,
                      struct realm_error *err)
{
    if (n_parts != 1)
        return err_set(err, REALM_E_ARG, "a module wants one part");
    int status = wasm_check_form(parts[0].p, parts[0].n, err);
    if (status)
        return status;
    wasm_engine_t *engine = wasm_engine_open(false);
    if (!engine)
        return err_nomem(err, "the engine");
    wasmtime_module_t *module = NULL;
    wasm_byte_vec_t code = {0};
    wasmtime_error_t *e = wasmtime_module_new(engine, parts[0].p, parts[0].n, &module);
    if (!e)
        e = wasmtime_module_serialize(module, &code);
    status = e ? refused(e, err) : buf_add(out, code.data, code.size);
    if (status && !e)
        err_set(err, status, "the compiled module is too large");
    wasm_byte_vec_delete(&code);
    if (module)
        wasmtime_module_delete(module);
    wasm_engine_delete(engine);
    return status;
}
