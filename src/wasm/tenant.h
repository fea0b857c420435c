/* wasm/tenant.h - the models that a tenant's guests may name. */
#ifndef WASM_TENANT_H
#define WASM_TENANT_H

#include <stdatomic.h>
#include <stdbool.h>

#include "wasm/lines.h"
#include "wasm/turn.h"
#include "wasm/wasm.h"

/* A model, and the id that its tokens are counted under. */
struct lease {
    struct realm_model *model; /* for realm_model_close */
    char id[MODEL_NAME_MAX + 1];
};

/* A lease on the model of that id of r's tenant.  REALM_E_ARG: the tenant has no such id (and
 * whether somebody else has one is not told); else as tenant_open_name. */
MUST_USE int tenant_model(const struct wasm_request *r, uint32_t id, const struct realm_wait *wait,
                          struct lease *out, struct realm_error *err);

/* A lease on the model of a name that r's tenant may say, without an id.
 * REALM_E_NOT_FOUND, in the same words whether there is none or it is not the tenant's. */
MUST_USE int tenant_open_name(const struct wasm_request *r, const char *name,
                              const struct realm_wait *wait, struct lease *out,
                              struct realm_error *err);

/* An id for a model by its name; the same for the same name.  It holds no lease: an idle model
 * can be unloaded and comes back when it is used, if the tenant still may. */
MUST_USE int tenant_add_name(const struct wasm_request *r, const char *name,
                             const struct realm_wait *wait, uint32_t *id, struct realm_error *err);

/* Loads a copy of a GGUF file for this tenant alone.  *id: the number it is to
 * have, which replaces the tenant's model of that number; 0 has one chosen.
 * REALM_E_LIMIT: too many models, or too many bytes. */
MUST_USE int tenant_add_bytes(struct wasm_tenant *t, const void *gguf, size_t bytes,
                              const struct realm_wait *wait, uint32_t *id, struct realm_error *err);

/* REALM_E_ARG: no such id. */
MUST_USE int tenant_remove(struct wasm_tenant *t, uint32_t id);

const char *tenant_name(const struct wasm_tenant *t);

/* Where its guests wait for turns. */
struct turn_line *tenant_line(struct wasm_tenant *t);

/* Bytes of the memories of its guests that run. */
atomic_uint_fast64_t *tenant_memory(struct wasm_tenant *t);

/* One more line, whole UTF-8 of n bytes, of its guests or about them, if there were not too
 * many of late. */
void tenant_log(struct wasm_tenant *t, enum line_source from, const char *line, size_t n);

/* Around each request; status as wasm_run ends with. */
void tenant_enter(struct wasm_tenant *t);
void tenant_leave(struct wasm_tenant *t, int status, uint64_t own_ns);

#endif
