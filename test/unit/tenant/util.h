/* test/unit/tenant/util.h - a state directory of its own, with clocks that tests turn. */
#ifndef TEST_TENANT_UTIL_H
#define TEST_TENANT_UTIL_H

#include <stdatomic.h>

#include "tenant/db.h"
#include "tenant/tenant.h"

struct world {
    struct tenants *t;
    char dir[64];
    struct clock clock;
    atomic_uint_fast64_t now_ns;
    atomic_int_fast64_t wall_s;
};

enum { WALL_S = 1767268800 }; /* 2026-01-01 12:00:00 UTC */

struct world *world_new(void);
int world_try(struct world *w, struct realm_error *err); /* opens */
void world_open(struct world *w);
void world_close(struct world *w);
void world_free(struct world *w); /* with its files */

/* From JSON with ' for ". */
json_t *json_of(const char *text);
void make_tenant(struct world *w, const char *body);
/* key: KEY_TEXT_MAX + 1 bytes. */
void make_key(struct world *w, const char *tenant, char *key);
struct tenant_pass pass_of(struct world *w, const char *key); /* NULL: none */

struct tenant_grant *admit(struct world *w, const struct tenant_pass *pass, const char *id);
/* Tokens of the model "tiny" alone. */
void note(struct tenant_grant *g, uint64_t prompt, uint64_t completion);
/* Settles and waits until it is durable; the status.  With tokens of "tiny" alone, or by model. */
int settle(struct tenant_grant *g, enum tenant_outcome outcome, uint64_t prompt,
           uint64_t completion);
int settle_parts(struct tenant_grant *g, enum tenant_outcome outcome,
                 const struct tenant_part *parts, size_t n);
/* The same with as many models as there may be, under names of the greatest length; the last is
 * used, and "tiny". */
int settle_long(struct tenant_grant *g, enum tenant_outcome outcome, uint64_t prompt,
                uint64_t completion);
const char *long_model(int i); /* the name of the i-th, 1 or more */
/* The only row of the usage of all, or of one tenant; and of that what is of one model. */
int64_t usage(struct world *w, const char *tenant, const char *member);
int64_t usage_of(struct world *w, const char *tenant, const char *model, const char *member);

/* Has another process do something with w, n telling what, at the end of which it is killed. */
void in_killed_process(struct world *w, void (*what)(struct world *w, int n), int n);

/* Reads, or with put overwrites, the first n bytes of the spool. */
void spool_bytes(const struct world *w, uint8_t *bytes, size_t n, bool put);

#endif
