/* sim/tenant_peek.h - what the tenant layer tells nobody.  By itself, as the layer and the
 * scheduler both have a struct account. */
#ifndef SIM_TENANT_PEEK_H
#define SIM_TENANT_PEEK_H

#include "tenant/limits.h"

/* What is counted of a tenant now; false: there is none. */
bool peek_counters(struct tenants *t, const char *id, struct counters *out);
/* Copies the database, as it stands on the disk, into a new file. */
MUST_USE int peek_copy(struct tenants *t, const char *path, struct realm_error *err);

#endif
