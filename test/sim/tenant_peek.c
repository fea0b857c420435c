#include "tenant_peek.h"

#include <stdio.h>

#include "base/compiler.h"
#include "tenant/tenant_impl.h"

bool peek_counters(struct tenants *t, const char *id, struct counters *out)
{
    mutex_lock(&t->lock);
    const struct account *a = directory_find(t, id);
    if (a)
        *out = a->counters;
    mutex_unlock(&t->lock);
    return a != NULL;
}

int peek_copy(struct tenants *t, const char *path, struct realm_error *err)
{
    return db_run(t->sql, "VACUUM INTO ?1", DB_ARGS(db_text(path)), err);
}
