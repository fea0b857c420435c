/* api/guests.h - tenants' programs that are prepared, and the sandboxes that they run in.
 *
 * A program is known by its version, which is unique in the database, and is prepared by the
 * first who wants it while others wait for the same; one that nobody uses is kept for a while.
 * A sandbox is a tenant's: the models that its programs stored and named, its last lines, its
 * counts.  It is opened with the tenant's first request and closed when it is idle for long.
 *
 * Threads: workers.  One lock, not held while a program is read or compiled or anything is
 * closed. */
#ifndef API_GUESTS_H
#define API_GUESTS_H

#include <jansson.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/compiler.h"
#include "realm/realm.h"
#include "wasm/wasm.h"

enum {
    GUESTS_RETRY_MS = 5000,         /* so long a program that could not be prepared is not tried */
    GUESTS_TENANT_IDLE_MS = 3600000 /* then its sandbox is closed */
};

struct guests;

struct guests_options {
    struct realm *engine;
    struct wasm_host *host;
    struct wasm_guest *common; /* version 0, which others close; NULL: there is none */
    /* The module of a version.  REALM_E_NOT_FOUND: it was removed meanwhile. */
    int (*module)(void *ctx, uint64_t version, struct buf *wasm, struct realm_error *err);
    void *ctx;
    const struct clock *clock;
};

MUST_USE int guests_open(struct guests **out, const struct guests_options *options);
/* Every lease must be given back.  NULL is fine. */
void guests_close(struct guests *g);

struct guest_lease {
    struct wasm_guest *guest;
    struct wasm_tenant *tenant;
    struct guest_program *program; /* NULL: the common one */
    struct guest_sandbox *sandbox;
};

/* The program of that version in the tenant's sandbox, prepared if it was not.
 *   REALM_E_GUEST, REALM_E_LIMIT   it cannot be, as wasm_guest_open says
 *   REALM_E_DEADLINE, REALM_E_CANCELLED (while somebody else prepares it), REALM_E_NOMEM,
 *   REALM_E_IO */
MUST_USE int guests_take(struct guests *g, const char *tenant, uint64_t version,
                         const struct realm_wait *wait, struct guest_lease *out,
                         struct realm_error *err);
void guests_give(struct guests *g, struct guest_lease *lease);

/* What the tenant's guests wrote last and how they did since its sandbox was opened: the members of
 * wasm_tenant_log and "requests", "trapped", "limited", "own_ms", "running"; no lines and zeros
 * without a sandbox.  A new reference; NULL when memory is short. */
MUST_USE json_t *guests_log(struct guests *g, const char *tenant);

struct guests_stats {
    uint32_t programs, idle; /* prepared; of these not in use */
    uint64_t code_bytes;     /* of those that are idle */
    uint32_t sandboxes;
};

void guests_stats(struct guests *g, struct guests_stats *out);

#endif
