/* wasm/tenant.h - the models that a tenant's guests may name. */
#ifndef WASM_TENANT_H
#define WASM_TENANT_H

#include <stdbool.h>

#include "wasm/wasm.h"

/* A lease on the model of that id.  REALM_E_ARG: the tenant has no such id (and
 * whether somebody else has one is not told); else as realm_model_open_name. */
MUST_USE int tenant_model(struct wasm_tenant *t, uint32_t id, const struct realm_wait *wait,
                          struct realm_model **out, struct realm_error *err);

/* A lease on a model of models_dir, without an id. */
MUST_USE int tenant_open_name(struct wasm_tenant *t, const char *name,
                              const struct realm_wait *wait, struct realm_model **out,
                              struct realm_error *err);

/* An id for a model of models_dir; the same for the same name.  It holds no
 * lease: an idle model can be unloaded and comes back when it is used. */
MUST_USE int tenant_add_name(struct wasm_tenant *t, const char *name, const struct realm_wait *wait,
                             uint32_t *id, struct realm_error *err);

/* Loads a copy of a GGUF file for this tenant alone.  *id: the number it is to
 * have, which replaces the tenant's model of that number; 0 has one chosen.
 * REALM_E_LIMIT: too many models, or too many bytes. */
MUST_USE int tenant_add_bytes(struct wasm_tenant *t, const void *gguf, size_t bytes,
                              const struct realm_wait *wait, uint32_t *id, struct realm_error *err);

/* REALM_E_ARG: no such id. */
MUST_USE int tenant_remove(struct wasm_tenant *t, uint32_t id);

const char *tenant_name(const struct wasm_tenant *t);

/* Whether one more line of its guests may be logged now. */
bool tenant_may_log(struct wasm_tenant *t);

#endif
