/* wasm/module.c - from a tenant's bytes to a guest that can run. */
#include <string.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "wasm/imports.h"

static bool name_is(const wasm_name_t *name, const char *text)
{
    return name->size == strlen(text) && memcmp(name->data, text, name->size) == 0;
}

static const wasm_externtype_t *find_export(const wasm_exporttype_vec_t *exports, const char *name)
{
    for (size_t i = 0; i < exports->size; i++)
        if (name_is(wasm_exporttype_name(exports->data[i]), name))
            return wasm_exporttype_type(exports->data[i]);
    return NULL;
}

/* wasm_valtype_kind ends the process at types that it does not know, so types
 * that come from a module are only compared. */
static bool all_are(const wasm_valtype_vec_t *types, size_t n, wasm_valkind_t kind)
{
    if (types->size != n)
        return false;
    wasm_valtype_t *wanted = wasm_valtype_new(kind);
    bool same = true;
    for (size_t i = 0; i < n; i++)
        same = same && wasmtime_wasm_valtype_equal(types->data[i], wanted);
    wasm_valtype_delete(wanted);
    return same;
}

/* Whether it exports a function of `params` i32 with `results` results of one kind. */
static bool exports_func(const wasm_exporttype_vec_t *exports, const char *name, size_t params,
                         size_t results, wasm_valkind_t result)
{
    const wasm_externtype_t *type = find_export(exports, name);
    const wasm_functype_t *f = type ? wasm_externtype_as_functype_const(type) : NULL;
    return f && all_are(wasm_functype_params(f), params, WASM_I32) &&
           all_are(wasm_functype_results(f), results, result);
}

static int check_memory(const struct wasm_host *h, const wasm_exporttype_vec_t *exports,
                        struct realm_error *err)
{
    const wasm_externtype_t *type = find_export(exports, "memory");
    const wasm_memorytype_t *m = type ? wasm_externtype_as_memorytype_const(type) : NULL;
    if (!m)
        return err_set(err, REALM_E_GUEST, "the module exports no memory named \"memory\"");
    if (wasmtime_memorytype_is64(m) || wasmtime_memorytype_isshared(m))
        return err_set(err, REALM_E_GUEST, "the module's memory is shared or of 64 bits");
    uint64_t pages = wasmtime_memorytype_minimum(m);
    if (pages > h->limits.memory_bytes / (64 * KiB))
        return err_set(err, REALM_E_GUEST,
                       "the module's memory begins with %llu pages, at most %llu are allowed",
                       (unsigned long long)pages,
                       (unsigned long long)(h->limits.memory_bytes / (64 * KiB)));
    return 0;
}

static void choose_alloc(struct wasm_guest *g, const wasm_exporttype_vec_t *exports)
{
    static const struct {
        const char *name;
        size_t params;
        enum guest_alloc how;
    } known[] = {
        {"alloc", 1, GUEST_ALLOC_LEN},
        {"malloc", 1, GUEST_ALLOC_LEN},
        {"__wbindgen_malloc", 2, GUEST_ALLOC_LEN_ALIGN},
    };
    g->alloc = GUEST_ALLOC_GROW;
    for (size_t i = 0; i < ARRAY_LEN(known) && !g->alloc_name; i++)
        if (exports_func(exports, known[i].name, known[i].params, 1, WASM_I32)) {
            g->alloc = known[i].how;
            g->alloc_name = known[i].name;
        }
}

static int check_exports(struct wasm_guest *g, const wasmtime_module_t *module,
                         struct realm_error *err)
{
    wasm_exporttype_vec_t exports;
    wasmtime_module_exports(module, &exports);
    int status = check_memory(g->host, &exports, err);
    choose_alloc(g, &exports);
    g->generates = exports_func(&exports, "generate", 4, 1, WASM_I32);
    g->handles = exports_func(&exports, "handle", 2, 1, WASM_I64);
    g->initializes = exports_func(&exports, "_initialize", 0, 0, WASM_I32);
    wasm_exporttype_vec_delete(&exports);
    if (!status && !g->generates && !g->handles)
        status = err_set(err, REALM_E_GUEST,
                         "the module exports neither generate(i32, i32, i32, i32) -> i32 "
                         "nor handle(i32, i32) -> i64");
    return status;
}

static int check_imports(struct wasm_guest *g, const wasm_importtype_vec_t *imports,
                         struct realm_error *err)
{
    for (size_t i = 0; i < imports->size; i++) {
        const wasm_importtype_t *import = imports->data[i];
        char label[IMPORT_LABEL_MAX];
        import_label(import, label);
        if (wasm_externtype_kind(wasm_importtype_type(import)) != WASM_EXTERN_FUNC)
            return err_set(err, REALM_E_GUEST, "the module imports %s, which is no function",
                           label);
        g->uses_wasi |= name_is(wasm_importtype_module(import), "wasi_snapshot_preview1");
    }
    return 0;
}

static int link_imports(struct wasm_guest *g, const wasmtime_module_t *module,
                        struct realm_error *err)
{
    wasm_importtype_vec_t imports;
    wasmtime_module_imports(module, &imports);
    wasmtime_linker_t *linker = wasmtime_linker_clone(g->host->linker);
    int status = check_imports(g, &imports, err);
    if (!status)
        status = imports_fill(linker, g->host->engine, &imports, err);
    wasmtime_error_t *e = status ? NULL : wasmtime_linker_instantiate_pre(linker, module, &g->pre);
    if (e) {
        struct buf line;
        buf_init(&line, REALM_ERROR_MAX);
        wasm_error_line(e, &line);
        status = err_set(err, REALM_E_GUEST, "the module cannot be linked: %.*s", (int)line.n,
                         line.p ? (const char *)line.p : "");
        buf_free(&line);
    }
    wasmtime_linker_delete(linker);
    wasm_importtype_vec_delete(&imports);
    return status;
}

/* The module from compiled code; false when another engine or processor made it. */
static bool load_code(struct wasm_host *h, const struct buf *code, wasmtime_module_t **out)
{
    wasmtime_error_t *e = wasmtime_module_deserialize(h->engine, code->p, code->n, out);
    if (e)
        wasmtime_error_delete(e);
    return !e;
}

static int compile(struct wasm_host *h, struct slice wasm, struct buf *code,
                   wasmtime_module_t **out, struct realm_error *err)
{
    buf_clear(code);
    const struct helper_task task = {
        .op = HELPER_COMPILE,
        .parts = &wasm,
        .n_parts = 1,
        .timeout_ms = HELPER_COMPILE_MS_MAX,
    };
    int status = helper_call(h->helper, &task, code, err);
    if (status == REALM_E_DEADLINE)
        return err_set(err, REALM_E_LIMIT, "compiling the guest took longer than %d s",
                       HELPER_COMPILE_MS_MAX / 1000);
    if (status)
        return status;
    if (!load_code(h, code, out))
        return err_set(err, REALM_E_SYS, "what the helper compiled cannot be loaded");
    atomic_fetch_add(&h->compiled, 1);
    return 0;
}

/* From the cache, or compiled and then kept. */
static int open_module(struct wasm_guest *g, struct slice wasm, wasmtime_module_t **out,
                       struct realm_error *err)
{
    struct wasm_host *h = g->host;
    char name[CACHE_NAME_MAX];
    struct buf code;
    int status = cache_name(wasm, WASM_ENGINE_ID, name);
    if (status)
        return err_nomem(err, "the module's digest");
    buf_init(&code, HELPER_ANSWER_BYTES_MAX);
    if (h->cache && cache_get(h->cache, name, &code) && load_code(h, &code, out)) {
        atomic_fetch_add(&h->from_cache, 1);
    } else {
        status = compile(h, wasm, &code, out, err);
        if (!status && h->cache && cache_put(h->cache, name, buf_slice(&code)))
            log_line(LOG_WARN, "a compiled guest could not be kept");
    }
    g->code_bytes = code.n;
    buf_free(&code);
    return status;
}

int wasm_guest_open(struct wasm_guest **out, struct wasm_host *h, const void *wasm, size_t bytes,
                    struct realm_error *err)
{
    wasmtime_module_t *module = NULL;
    *out = NULL;
    int status = wasm_check_form(wasm, bytes, err);
    if (status)
        return status;
    struct wasm_guest *g = mem_zalloc(sizeof(*g));
    if (!g)
        return err_nomem(err, "a guest");
    g->host = h;
    status = open_module(g, (struct slice){wasm, bytes}, &module, err);
    if (!status)
        status = check_exports(g, module, err);
    if (!status)
        status = link_imports(g, module, err);
    if (module)
        wasmtime_module_delete(module);
    if (status) {
        wasm_guest_close(g);
        return status;
    }
    *out = g;
    return 0;
}

bool wasm_guest_handles(const struct wasm_guest *g)
{
    return g->handles;
}

size_t wasm_guest_bytes(const struct wasm_guest *g)
{
    return g->code_bytes;
}

typedef void (*label_fn)(const void *items, size_t i, char out[IMPORT_LABEL_MAX]);

static void nth_export(const void *items, size_t i, char out[IMPORT_LABEL_MAX])
{
    export_label(((wasm_exporttype_t *const *)items)[i], out);
}

static void nth_import(const void *items, size_t i, char out[IMPORT_LABEL_MAX])
{
    import_label(((wasm_importtype_t *const *)items)[i], out);
}

static json_t *names_of(const void *items, size_t n, label_fn label_of)
{
    json_t *names = json_array();
    for (size_t i = 0; i < n && i < GUEST_NAMES_MAX; i++) {
        char label[IMPORT_LABEL_MAX];
        label_of(items, i, label);
        json_array_append_new(names, json_string(label));
    }
    return names;
}

json_t *wasm_guest_about(const struct wasm_guest *g)
{
    wasmtime_module_t *module = wasmtime_instance_pre_module(g->pre);
    wasm_exporttype_vec_t exports;
    wasm_importtype_vec_t imports;
    wasmtime_module_exports(module, &exports);
    wasmtime_module_imports(module, &imports);
    json_t *about =
        json_pack("{s:o,s:o}", "exports", names_of(exports.data, exports.size, nth_export),
                  "imports", names_of(imports.data, imports.size, nth_import));
    wasm_exporttype_vec_delete(&exports);
    wasm_importtype_vec_delete(&imports);
    wasmtime_module_delete(module);
    return about;
}

void wasm_guest_close(struct wasm_guest *g)
{
    if (!g)
        return;
    if (g->pre)
        wasmtime_instance_pre_delete(g->pre);
    mem_free(g);
}
