/* kv/kv_internal.h - what pool.c offers seq.c. */
#ifndef KV_KV_INTERNAL_H
#define KV_KV_INTERNAL_H

#include "kv/kv.h"

/* A page whose contents are anybody's; *out is NULL on failure.
 * REALM_E_NO_ROOM, REALM_E_NOMEM. */
MUST_USE int kv_page_get(struct kv_pool *p, void **out);
void kv_page_put(struct kv_pool *p, void *page);

/* Sequences open on the pool, for the check at its closing. */
void kv_pool_count_seq(struct kv_pool *p, int change);

#endif
