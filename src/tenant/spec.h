/* tenant/spec.h - what administration says of a tenant: read from a body, kept in a row,
 * shown in an answer. */
#ifndef TENANT_SPEC_H
#define TENANT_SPEC_H

#include <jansson.h>

#include "tenant/db.h"
#include "tenant/tenant.h"

enum budget_window { BUDGET_HOUR, BUDGET_DAY, BUDGET_MONTH, BUDGET_WINDOWS };

/* Of limits 0 is none. */
struct spec {
    char id[TENANT_ID_MAX + 1];
    uint64_t weight;
    uint64_t requests_per_min, tokens_per_min, parallel, max_tokens, kv_bytes_max;
    uint64_t budget_tokens, budget_window;
    json_t *models;   /* names; NULL: all */
    json_t *defaults; /* an object, or NULL */
    int64_t created_at;
};

extern const char *const budget_window_names[BUDGET_WINDOWS];

void spec_init(struct spec *s);
void spec_free(struct spec *s); /* may be freed again */
/* Its own references. */
void spec_copy(struct spec *to, const struct spec *from);

/* Takes the members that body has; null takes one away.  making: body is a whole tenant.
 * REALM_E_ARG, or REALM_E_NOMEM; then s may be half changed. */
MUST_USE int spec_apply(struct spec *s, const json_t *body, bool making, struct realm_error *err);

/* A new object, or NULL: memory. */
json_t *spec_json(const struct spec *s);

/* The columns of table tenants in the order of spec_read. */
#define SPEC_COLUMNS                                                             \
    "id, weight, models, defaults, requests_per_min, tokens_per_min, parallel, " \
    "budget_tokens, budget_window, kv_bytes_max, max_tokens, created_at"
MUST_USE int spec_read(struct spec *s, sqlite3_stmt *stmt);
MUST_USE int spec_write(const struct spec *s, sqlite3 *sql, struct realm_error *err);

/* Members that bodies share: REALM_E_ARG when one is none of names (NULL ends them), or when
 * body is no object. */
MUST_USE int body_check(const json_t *body, const char *const *names, const char *where,
                        struct realm_error *err);
/* A text for people, such as a key's name: *out NULL for null. */
MUST_USE int body_name(const json_t *value, const char *member, const char **out,
                       struct realm_error *err);

#endif
