/* kv/cache.h - pages of computed positions, kept for prompts that begin alike.
 *
 * An entry is one page: the keys and values of 16 tokens after all those before it, or of
 * fewer where a sequence ended.  It hangs under the entry of the page before, so that a path
 * from the root is the beginning of a text.  A child is found by a keyed hash of its owner's
 * salt, its parent and its tokens, and every find is compared: owner, parent and each token.
 * So a collision, or a hash that somebody could predict, gives nobody a page of another's.
 *
 * An owner is a tenant, with 128 random bits that are drawn when it first has pages; the
 * public is one too, whose pages are found by all who declare the same beginning public.
 * Entries of a pool serve its model alone, and go with it.
 *
 * Whole pages are used by any number of sequences at once and never written.  Where a page
 * begins alike and goes on otherwise, its bytes are copied into a page of the sequence's own.
 *
 * Entries that nobody uses count as bytes of the budget and are given up when a page is
 * wanted: the one used longest ago of the owner that holds most pages, in use or not; so an
 * owner with less than an equal part keeps what it has as long as another has anything to give
 * up.  An entry goes after those under it.
 *
 * Threads: the scheduler's alone. */
#ifndef KV_CACHE_H
#define KV_CACHE_H

#include "kv/kv.h"

/* Makes s, which has no pages yet, a sequence of tenant's, which may use the cache.  The tokens
 * of its first public_pages pages, which all calls below are given in full, are public.
 * REALM_E_NOMEM, REALM_E_SYS (no random numbers), both with nothing changed. */
MUST_USE int kv_seq_own(struct kv_seq *s, const char *tenant, uint32_t public_pages);

/* Takes the whole pages that are there of the first n tokens into s, which has none yet;
 * returns how many positions these are. */
uint32_t kv_seq_share(struct kv_seq *s, const uint32_t *tokens, uint32_t n);
/* With a page of its own after those: fills it with what is there of the rest, up to n tokens;
 * returns up to where keys and values are right now. */
uint32_t kv_seq_copy(struct kv_seq *s, const uint32_t *tokens, uint32_t n);
/* Whole pages that are there of the first n tokens of a sequence that is not open. */
uint32_t kv_cached_pages(struct kv_pool *p, const char *tenant, uint32_t public_pages,
                         const uint32_t *tokens, uint32_t n);

/* Leaves the pages that are full of computed positions, the first n, in the cache, and goes on
 * using them.  What there is no memory for is not left. */
void kv_seq_keep(struct kv_seq *s, const uint32_t *tokens, uint32_t n);
/* The same with a last page that is not full, which s gives away; for a sequence that is about
 * to be closed. */
void kv_seq_leave(struct kv_seq *s, const uint32_t *tokens, uint32_t n);

/* Pages that are kept for tenant and that nobody uses. */
uint64_t kv_tenant_idle_pages(const struct kv_budget *b, const char *tenant);

/* For tests: counts everything anew and compares; NULL, or what is wrong. */
const char *kv_audit(struct kv_budget *b);

#endif
