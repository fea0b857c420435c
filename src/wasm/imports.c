/* wasm/imports.c - the table of imports, and the door through which each call comes in. */
#include "wasm/imports.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/utf8.h"

enum { PARAMS_MAX = 6 };

struct import {
    const char *name;
    size_t params; /* all i32, as is the result */
    int32_t (*fn)(struct instance *in, const uint32_t *a);
};

static const struct import imports[] = {
    {"realm_host_generate", 6, call_generate},
    {"realm_host_load_model_by_name", 2, call_load_model_by_name},
    {"realm_store_model", 3, call_store_model},
    {"realm_remove_model", 1, call_remove_model},
    {"realm_get_model_info", 3, call_model_info},
    {"realm_get_model_metadata", 3, call_model_metadata},
    {"realm_encode_tokens", 5, call_encode_tokens},
    {"realm_decode_tokens", 5, call_decode_tokens},
    {"realm_stream_token", 2, call_stream_token},
    {"realm_chat", 4, call_chat},
    {"realm_generate_start", 2, call_generate_start},
    {"realm_generate_next", 3, call_generate_next},
    {"realm_generate_end", 1, call_generate_end},
    {"realm_last_error", 2, call_last_error},
};

/* Imports of guests from elsewhere that come with later work. */
static const char *const not_yet[] = {
    "env.realm_set_lora_adapter", "env.realm_store_draft_model",  "env.realm_get_tensor",
    "env.realm_embed_tokens",     "env.realm_forward_layer",      "env.realm_compute_logits",
    "env.candle_matmul",          "env.candle_matmul_transposed",
};

static void clean(char *label)
{
    label[utf8_whole(label, strlen(label))] = '\0';
    for (char *p = label; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            *p = '?';
}

void import_label(const wasm_importtype_t *import, char out[IMPORT_LABEL_MAX])
{
    const wasm_name_t *from = wasm_importtype_module(import);
    const wasm_name_t *name = wasm_importtype_name(import);
    snprintf(out, IMPORT_LABEL_MAX, "%.*s.%.*s", (int)from->size, from->data, (int)name->size,
             name->data);
    clean(out);
}

void export_label(const wasm_exporttype_t *item, char out[IMPORT_LABEL_MAX])
{
    const wasm_name_t *name = wasm_exporttype_name(item);
    snprintf(out, IMPORT_LABEL_MAX, "%.*s", (int)name->size, name->data);
    clean(out);
}

static bool import_not_yet(const char *label)
{
    for (size_t i = 0; i < ARRAY_LEN(not_yet); i++)
        if (strcmp(label, not_yet[i]) == 0)
            return true;
    return strncmp(label, "env.memory64_", strlen("env.memory64_")) == 0;
}

static wasm_trap_t *stopped(const struct instance *in)
{
    return wasmtime_trap_new(in->stop.message, strlen(in->stop.message));
}

/* The memory is not known before the first call when that comes from the start function. */
static bool find_memory(struct instance *in, wasmtime_caller_t *caller)
{
    wasmtime_extern_t item;
    if (in->has_memory)
        return true;
    if (!wasmtime_caller_export_get(caller, "memory", strlen("memory"), &item))
        return false;
    if (item.kind == WASMTIME_EXTERN_MEMORY) {
        in->memory = item.of.memory;
        in->has_memory = true;
    }
    wasmtime_extern_delete(&item);
    return in->has_memory;
}

static void call(struct instance *in, const struct import *import, wasmtime_caller_t *caller,
                 wasmtime_val_raw_t *v, size_t n)
{
    uint32_t a[PARAMS_MAX] = {0};
    for (size_t i = 0; i < import->params && i < n; i++)
        a[i] = (uint32_t)v[i].i32;
    v[0].i32 = find_memory(in, caller)
                   ? import->fn(in, a)
                   : call_fail(in, ABI_NO_MEMORY, "the guest exports no memory");
}

/* Every call of env shrinks the guest's budget.  One that waited gave the turn back. */
static wasm_trap_t *enter(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *v, size_t n)
{
    const struct import *import = env;
    struct instance *in = wasmtime_context_get_data(wasmtime_caller_context(caller));
    if (++in->host_calls > in->host->limits.host_calls) {
        err_set(&in->stop, REALM_E_LIMIT, "the guest made more than %u host calls",
                in->host->limits.host_calls);
        return stopped(in);
    }
    if (!instance_count_memory(in)) // it may wait in the call
        return stopped(in);
    call(in, import, caller, v, n);
    return in->stop.status || !instance_resume(in) ? stopped(in) : NULL;
}

static wasm_trap_t *trap_unknown(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *v,
                                 size_t n)
{
    struct instance *in = wasmtime_context_get_data(wasmtime_caller_context(caller));
    (void)v;
    (void)n;
    err_set(&in->stop, REALM_E_GUEST, "the guest called %s, %s", (const char *)env,
            import_not_yet(env) ? "which is not offered yet" : "which is not known here");
    return stopped(in);
}

/* A closed WASI has nothing to wait for, and a wait would not end with the request. */
static wasm_trap_t *no_poll(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *v, size_t n)
{
    enum { WASI_ERRNO_NOTSUP = 58 };
    (void)env;
    (void)caller;
    (void)n;
    v[0].i32 = WASI_ERRNO_NOTSUP;
    return NULL;
}

static wasm_functype_t *func_type(size_t params)
{
    wasm_valtype_t *types[PARAMS_MAX], *result = wasm_valtype_new(WASM_I32);
    wasm_valtype_vec_t in, out;
    for (size_t i = 0; i < params; i++)
        types[i] = wasm_valtype_new(WASM_I32);
    wasm_valtype_vec_new(&in, params, types);
    wasm_valtype_vec_new(&out, 1, &result);
    return wasm_functype_new(&in, &out);
}

static int define(wasmtime_linker_t *linker, const char *module, const char *name, size_t params,
                  wasmtime_func_unchecked_callback_t fn, const void *env, struct realm_error *err)
{
    wasm_functype_t *type = func_type(params);
    wasmtime_error_t *e = wasmtime_linker_define_func_unchecked(
        linker, module, strlen(module), name, strlen(name), type, fn, (void *)env, NULL);
    wasm_functype_delete(type);
    if (!e)
        return 0;
    wasmtime_error_delete(e);
    return err_set(err, REALM_E_SYS, "%s.%s cannot be defined", module, name);
}

int imports_define(wasmtime_linker_t *linker, struct realm_error *err)
{
    wasmtime_error_t *e = wasmtime_linker_define_wasi(linker);
    if (e) {
        wasmtime_error_delete(e);
        return err_set(err, REALM_E_SYS, "WASI cannot be defined");
    }
    wasmtime_linker_allow_shadowing(linker, true);
    int status = define(linker, "wasi_snapshot_preview1", "poll_oneoff", 4, no_poll, NULL, err);
    wasmtime_linker_allow_shadowing(linker, false);
    for (size_t i = 0; !status && i < ARRAY_LEN(imports); i++)
        status = define(linker, "env", imports[i].name, imports[i].params, enter, &imports[i], err);
    return status;
}

static bool linker_has(wasmtime_linker_t *linker, wasmtime_context_t *context,
                       const wasm_name_t *from, const wasm_name_t *name)
{
    wasmtime_extern_t item;
    if (!wasmtime_linker_get(linker, context, from->data, from->size, name->data, name->size,
                             &item))
        return false;
    wasmtime_extern_delete(&item);
    return true;
}

static int define_trap(wasmtime_linker_t *linker, const wasm_importtype_t *import,
                       struct realm_error *err)
{
    const wasm_name_t *from = wasm_importtype_module(import);
    const wasm_name_t *name = wasm_importtype_name(import);
    char label[IMPORT_LABEL_MAX];
    import_label(import, label);
    char *kept = mem_strdup(label);
    if (!kept)
        return err_nomem(err, "an import");
    wasmtime_error_t *e = wasmtime_linker_define_func_unchecked(
        linker, from->data, from->size, name->data, name->size,
        wasm_externtype_as_functype_const(wasm_importtype_type(import)), trap_unknown, kept,
        mem_free);
    if (!e)
        return 0;
    wasmtime_error_delete(e);
    return err_set(err, REALM_E_GUEST, "the import %s cannot be linked", label);
}

/* A module may have thousands, and the log is everybody's. */
static void log_trap(const wasm_importtype_t *import, size_t n)
{
    enum { LOGGED_MAX = 16 };
    char label[IMPORT_LABEL_MAX];
    import_label(import, label);
    if (n < LOGGED_MAX)
        log_line(LOG_WARN, "a guest imports %s, %s: calling it ends the request", label,
                 import_not_yet(label) ? "which is not offered yet" : "which is not known here");
    else if (n == LOGGED_MAX)
        log_line(LOG_WARN, "and more such imports, which are not listed");
}

int imports_fill(wasmtime_linker_t *linker, wasm_engine_t *engine,
                 const wasm_importtype_vec_t *wanted, struct realm_error *err)
{
    wasmtime_store_t *store = wasmtime_store_new(engine, NULL, NULL);
    if (!store)
        return err_nomem(err, "the imports");
    wasmtime_context_t *context = wasmtime_store_context(store);
    int status = 0;
    size_t n = 0;
    for (size_t i = 0; !status && i < wanted->size; i++) {
        const wasm_importtype_t *import = wanted->data[i];
        if (linker_has(linker, context, wasm_importtype_module(import),
                       wasm_importtype_name(import)))
            continue;
        log_trap(import, n++);
        status = define_trap(linker, import, err);
    }
    wasmtime_store_delete(store);
    return status;
}
