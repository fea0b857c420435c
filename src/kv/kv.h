/* kv/kv.h - keys and values of sequences, in pages of 16 tokens.
 *
 * One byte budget serves all models.  A kv_pool belongs to one loaded model and
 * knows its page's layout; a kv_seq is the page table of one sequence.  Its first
 * pages may be those of the cache (kv/cache.h), which nobody writes any more.
 * Threads: all of it belongs to the scheduler's thread; kv_budget may be read
 * from any.
 *
 * Inside a page, per layer and kv head: the keys, then the values, as their type
 * has them (docs/attention.md; kernels/kernels.h knows the bytes).  A page's bytes
 * are only read where they were written for the sequence that holds it, or for the
 * tokens by which it was found: what is left of whoever had the page before is
 * never read, so nothing is cleared. */
#ifndef KV_KV_H
#define KV_KV_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/list.h"
#include "kernels/kernels.h"

struct kv_shape {
    uint32_t layers;
    uint32_t kv_heads;
    uint32_t head_dim;
    enum kv_type type;
};

/* Bytes of pages in use or kept for reuse, against their ceiling. */
struct kv_budget {
    uint64_t bytes_max;
    atomic_uint_fast64_t bytes;        /* allocated from the system */
    atomic_uint_fast64_t pages_used;   /* held by sequences, over all models; shared ones once */
    atomic_uint_fast64_t pages_cached; /* in the cache, and nobody uses them */

    /* The scheduler's thread. */
    struct list pools;
    struct list owners;
    uint64_t stamp;     /* of the last use of an entry */
    uint64_t serial;    /* of the last entry */
    uint64_t secret[2]; /* under which the cache hashes */
    bool has_secret;
    uint64_t hash_mask; /* for tests: fewer bits collide */
    bool poison;        /* for tests: a page is handed out full of NaN */
};

void kv_budget_init(struct kv_budget *b, uint64_t bytes_max);

struct kv_pool;
struct kv_seq;

MUST_USE int kv_pool_open(struct kv_pool **out, const struct kv_shape *shape,
                          struct kv_budget *budget);
/* Every sequence must have been closed. */
void kv_pool_close(struct kv_pool *p);
uint64_t kv_page_bytes(const struct kv_pool *p);
const struct kv_shape *kv_pool_shape(const struct kv_pool *p);
/* Whether a sequence of this many tokens could ever fit the budget. */
bool kv_fits(const struct kv_pool *p, uint64_t tokens);
/* Gives free pages kept for reuse back to the system; returns their bytes.  When
 * the budget runs short, kv_seq_reserve does this by itself, to all pools. */
uint64_t kv_pool_trim(struct kv_pool *p);

MUST_USE int kv_seq_open(struct kv_seq **out, struct kv_pool *p);
void kv_seq_close(struct kv_seq *s); /* gives its pages back; NULL is fine */

/* Makes room for positions below tokens.  0, or with nothing changed:
 * REALM_E_NO_ROOM when the budget is spent; REALM_E_NOMEM. */
MUST_USE int kv_seq_reserve(struct kv_seq *s, uint32_t tokens);
/* Forgets positions from tokens on and gives back pages that are then empty.  A page of the
 * cache that is cut in two is copied, so that it can be written.  0, or with nothing changed
 * REALM_E_NO_ROOM or REALM_E_NOMEM, which only such a page can cause. */
MUST_USE int kv_seq_cut(struct kv_seq *s, uint32_t tokens);

/* Positions there is room for. */
uint32_t kv_seq_room(const struct kv_seq *s);
/* The page table, by position / 16. */
const void *const *kv_seq_pages(const struct kv_seq *s);
/* Where layer's and head's keys and values begin in a page. */
size_t kv_keys_at(const struct kv_pool *p, uint32_t layer, uint32_t head);
size_t kv_values_at(const struct kv_pool *p, uint32_t layer, uint32_t head);
/* The page that holds pos, to write into: never one of the cache's. */
void *kv_seq_page(struct kv_seq *s, uint32_t pos);
const struct kv_pool *kv_seq_pool(const struct kv_seq *s);

#endif
