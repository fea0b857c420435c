/* kv/kv_internal.h - what pools, sequences and the cache know of each other.
 *
 * A page is in one of three places: free in its pool, one sequence's own, or an
 * entry's, which any number of sequences use.  Only the second is written. */
#ifndef KV_KV_INTERNAL_H
#define KV_KV_INTERNAL_H

#include "kv/cache.h"
#include "kv/kv.h"

struct free_page {
    struct free_page *next;
};

struct kv_pool {
    struct list in_budget;
    struct kv_budget *budget;
    struct kv_shape shape;
    size_t keys_bytes;   /* of one layer and head */
    size_t values_bytes; /* of one layer and head */
    size_t page_bytes;
    struct free_page *free;
    size_t free_n;
    size_t idle_n; /* pages of entries that nobody uses */
    struct list seqs;
    struct list entries;
    size_t n_entries;
    struct list *buckets; /* (n_buckets, a power of two); NULL before the first entry */
    size_t n_buckets;
};

/* Whose pages are whose. */
struct kv_owner {
    struct list in_budget;
    struct list idle; /* entries that can be given up; the one used longest ago first */
    uint64_t salt[2];
    uint64_t bytes;      /* of its sequences' own pages and its entries' */
    size_t refs;         /* sequences and entries */
    uint64_t pages_idle; /* of entries that nobody uses */
    char tenant[];       /* "" : public */
};

/* A page of computed positions, found by what led to it; or, without a page, the place below
 * which those of one owner begin: under none, or under a public one. */
struct kv_entry {
    struct list in_pool;
    struct list in_bucket;
    struct list in_parent; /* the one used last is first */
    struct list in_idle;
    struct list children;
    struct kv_pool *pool;
    struct kv_owner *owner;
    struct kv_entry *parent; /* NULL: none */
    uint64_t key;
    uint64_t serial; /* of this entry alone, ever */
    uint64_t used;   /* a stamp: larger is later */
    void *page;
    uint32_t users; /* sequences */
    uint32_t n;     /* tokens; fewer than a page's only where a sequence ended */
    uint32_t tokens[KV_PAGE_TOKENS];
    uint32_t seen; /* by the audit */
};

struct kv_seq {
    struct list in_pool;
    struct kv_pool *pool;
    void **pages;
    struct kv_entry **entries; /* (shared) of the first pages */
    size_t n;                  /* pages held */
    size_t shared;             /* of these, entries' */
    size_t cap;                /* of the tables */
    struct kv_owner *owner;    /* NULL: it has nothing to do with the cache */
    struct kv_owner *commons;  /* NULL: none of it is public */
    uint32_t public_pages;     /* that hold public tokens alone */
};

/* pool.c */
/* A page whose contents are anybody's, for owner (NULL: nobody); *out is NULL on failure.
 * REALM_E_NO_ROOM, REALM_E_NOMEM. */
MUST_USE int kv_page_get(struct kv_pool *p, struct kv_owner *owner, void **out);
/* Back from the sequence that had it. */
void kv_page_put(struct kv_pool *p, struct kv_owner *owner, void *page);
/* To the free ones, or to the system; counts nothing. */
void kv_page_free(struct kv_pool *p, void *page);
/* Pages that kv_page_get could give, one after the other, giving up all that it may. */
uint64_t kv_pages_obtainable(const struct kv_pool *p);

/* owner.c */
struct kv_owner *kv_owner_find(const struct kv_budget *b, const char *tenant);
void kv_owner_drop(struct kv_owner *o); /* one reference */
/* Who holds most, with page_bytes more for `wanting`, of those with something to give up;
 * NULL: nobody has. */
struct kv_owner *kv_owner_richest(const struct kv_budget *b, const struct kv_owner *wanting,
                                  uint64_t page_bytes);

/* cache.c */
/* One more and one less sequence that uses it. */
void kv_entry_use(struct kv_entry *e);
void kv_entry_unuse(struct kv_entry *e);
/* Gives up the page of one entry; false: there is none that nobody uses. */
bool kv_cache_evict(struct kv_budget *b, const struct kv_owner *wanting, uint64_t page_bytes);
/* Gives up all of a pool without sequences. */
void kv_cache_clear(struct kv_pool *p);

/* seq.c */
MUST_USE int kv_seq_grow_table(struct kv_seq *s, size_t n);

#endif
