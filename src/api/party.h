/* api/party.h - what the open requests of each tenant hold of the server.
 *
 * No tenant comes to hold more jobs, bytes or threads than are left to all others
 * (base/fair.h).  Threads: the server's, but for the lines, which are the workers'. */
#ifndef API_PARTY_H
#define API_PARTY_H

#include <stddef.h>

#include "api/workers.h"
#include "base/list.h"
#include "tenant/tenant.h"

enum { PARTY_BUCKETS = 256 };

/* One tenant, as long as it has a job. */
struct party {
    struct list in_table;
    char id[TENANT_ID_MAX + 1]; /* "": administration */
    size_t n_jobs, bytes;
    struct work_line *line, *guest_line; /* of parties.workers and of parties.guest_workers */
};

struct parties {
    struct list table[PARTY_BUCKETS];
    size_t n_jobs, bytes;          /* of all: within API_JOBS_MAX and API_JOBS_BYTES_MAX */
    struct workers *workers;       /* load, render, tokenise */
    struct workers *guest_workers; /* run guests, whose waits for tokens are long */
};

/* REALM_E_NOMEM, REALM_E_SYS. */
MUST_USE int parties_open(struct parties *p);
/* Waits for all work; there may still be jobs, to be left afterwards. */
void parties_stop(struct parties *p);

/* Counts a job of so many bytes to a tenant (id NULL: administration).
 *   REALM_E_LIMIT  it, or all, have as much as they may;  REALM_E_NOMEM */
MUST_USE int party_enter(struct parties *p, const char *id, size_t bytes, struct party **out);
void party_leave(struct parties *p, struct party *party, size_t bytes);

#endif
