/* wasm/imports.h - what guests can import. */
#ifndef WASM_IMPORTS_H
#define WASM_IMPORTS_H

#include <stdint.h>
#include <wasmtime.h>

#include "base/compiler.h"
#include "realm/status.h"
#include "wasm/instance.h"

enum { IMPORT_LABEL_MAX = 128 };

/* "env.realm_chat", cut and without control bytes: a module may call it anything. */
void import_label(const wasm_importtype_t *import, char out[IMPORT_LABEL_MAX]);
void export_label(const wasm_exporttype_t *item, char out[IMPORT_LABEL_MAX]); /* "generate" */

/* Defines all of env and a closed WASI. */
MUST_USE int imports_define(wasmtime_linker_t *linker, struct realm_error *err);

/* Defines what the module imports and linker lacks as functions that trap with
 * their own name, and says so in the log. */
MUST_USE int imports_fill(wasmtime_linker_t *linker, wasm_engine_t *engine,
                          const wasm_importtype_vec_t *imports, struct realm_error *err);

/* The functions of env, in the order of docs/guest-abi.md; a[i] is the i-th argument. */
int32_t call_generate(struct instance *in, const uint32_t *a);
int32_t call_load_model_by_name(struct instance *in, const uint32_t *a);
int32_t call_store_model(struct instance *in, const uint32_t *a);
int32_t call_remove_model(struct instance *in, const uint32_t *a);
int32_t call_model_info(struct instance *in, const uint32_t *a);
int32_t call_model_metadata(struct instance *in, const uint32_t *a);
int32_t call_encode_tokens(struct instance *in, const uint32_t *a);
int32_t call_decode_tokens(struct instance *in, const uint32_t *a);
int32_t call_stream_token(struct instance *in, const uint32_t *a);
int32_t call_chat(struct instance *in, const uint32_t *a);
int32_t call_generate_start(struct instance *in, const uint32_t *a);
int32_t call_generate_next(struct instance *in, const uint32_t *a);
int32_t call_generate_end(struct instance *in, const uint32_t *a);
int32_t call_last_error(struct instance *in, const uint32_t *a);

#endif
