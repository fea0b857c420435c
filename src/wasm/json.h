/* wasm/json.h - JSON that a guest wrote. */
#ifndef WASM_JSON_H
#define WASM_JSON_H

#include <jansson.h>
#include <stddef.h>

#include "base/compiler.h"
#include "chat/json.h"
#include "realm/realm.h"

enum { JSON_STOP_MAX = 16 };

/* A completion's request.  Its strings belong to the object that it was read from. */
struct json_wish {
    const json_t *messages; /* a checked conversation, or else */
    const char *prompt;
    size_t prompt_bytes;
    struct realm_sampling sampling;
    const char *stop[JSON_STOP_MAX];
    size_t n_stop;
};

/* Reads messages or prompt, every parameter of realm_params, max_completion_tokens,
 * stop and n (which must be 1); what else it has is left alone.  REALM_E_ARG. */
MUST_USE int json_wish_read(const json_t *request, struct json_wish *out, struct realm_error *err);

/* A request's JSON for a guest that exports `handle`; NULL when memory is short. */
MUST_USE json_t *json_wish_write(const json_t *messages, const char *prompt, size_t bytes,
                                 const struct realm_sampling *sampling);

#endif
