/* wasm/cache.h - compiled guests on disk, authenticated.
 *
 * A compiled guest is machine code that this process will run, so none is taken
 * from the disk unless the key beside it, which only this user can read, says
 * that this program wrote it under this very name.
 *
 * Threads and processes: any. */
#ifndef WASM_CACHE_H
#define WASM_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/compiler.h"
#include "realm/status.h"

struct cache;

/* Makes dir (with its parents, mode 0700) and the key (mode 0600) if they are
 * not there.  REALM_E_SYS: they cannot be made, or others could write there. */
MUST_USE int cache_open(struct cache **out, const char *dir, struct realm_error *err);
void cache_close(struct cache *c); /* NULL is fine */

enum { CACHE_NAME_MAX = 192 };

/* The name of a module's artefact: its SHA-256 and the engine's id. */
MUST_USE int cache_name(struct slice wasm, const char *engine, char out[CACHE_NAME_MAX]);

/* Appends the artefact of that name to out; false when there is none, or none
 * that is authentic. */
MUST_USE bool cache_get(struct cache *c, const char *name, struct buf *out);

/* Writes it, whole or not at all. */
MUST_USE int cache_put(struct cache *c, const char *name, struct slice code);

#endif
