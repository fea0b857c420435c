/* api/catalog.h - the models that clients may name.
 *
 * A name is an alias, a file that the operator named, or a file of the models' folder by its
 * name without .gguf.  Names from requests reach no other file.
 *
 * Threads: any.  Lock: one mutex, not held while a directory is read. */
#ifndef API_CATALOG_H
#define API_CATALOG_H

#include <limits.h>
#include <stdbool.h>

#include "api/api.h"
#include "base/limits.h"

struct catalog;

/* What a name stands for. */
struct catalog_model {
    char id[MODEL_NAME_MAX + 1]; /* aliases resolved */
    char path[PATH_MAX];
    int64_t created_s; /* of the file */
};

MUST_USE int catalog_open(struct catalog **out);
void catalog_close(struct catalog *c);

/* As api_set_models. */
MUST_USE int catalog_set(struct catalog *c, const struct api_models *models,
                         struct realm_error *err);

/* name NULL: the main model.  REALM_E_NOT_FOUND: there is none of this name. */
MUST_USE int catalog_find(struct catalog *c, const char *name, struct catalog_model *out,
                          struct realm_error *err);

/* Where the folder's file of this name was, if it is not there now: what was loaded of it may be.
 * false: it is there, or is not the folder's to have. */
bool catalog_find_gone(struct catalog *c, const char *name, struct catalog_model *out);

/* The sentence of a name that stands for nothing, NULL for the main model's; REALM_E_NOT_FOUND. */
int catalog_unknown(const char *name, struct realm_error *err);

/* Calls each for every model, sorted by id; alias_of is NULL for what is none.  REALM_E_NOMEM. */
MUST_USE int catalog_each(struct catalog *c,
                          void (*each)(void *ctx, const struct catalog_model *m,
                                       const char *alias_of),
                          void *ctx);

#endif
