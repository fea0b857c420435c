/* kv/seq.c - the page table of one sequence. */
#include <string.h>

#include "base/assert.h"
#include "base/ckd.h"
#include "base/mem.h"
#include "kv/kv_internal.h"
#include "realm/status.h"

int kv_seq_open(struct kv_seq **out, struct kv_pool *p)
{
    struct kv_seq *s = mem_zalloc(sizeof(*s));
    *out = s;
    if (!s)
        return REALM_E_NOMEM;
    s->pool = p;
    list_add_tail(&p->seqs, &s->in_pool);
    return 0;
}

static void drop_from(struct kv_seq *s, size_t n)
{
    while (s->n > n) {
        if (s->n-- > s->shared)
            kv_page_put(s->pool, s->owner, s->pages[s->n]);
        else
            kv_entry_unuse(s->entries[--s->shared]);
    }
}

void kv_seq_close(struct kv_seq *s)
{
    if (!s)
        return;
    drop_from(s, 0);
    list_remove(&s->in_pool);
    if (s->owner)
        kv_owner_drop(s->owner);
    if (s->commons)
        kv_owner_drop(s->commons);
    mem_free(s->entries);
    mem_free(s->pages);
    mem_free(s);
}

static size_t pages_of(uint32_t tokens)
{
    return tokens / KV_PAGE_TOKENS + (tokens % KV_PAGE_TOKENS != 0);
}

int kv_seq_grow_table(struct kv_seq *s, size_t n)
{
    if (n <= s->cap)
        return 0;
    size_t cap = max_size(max_size(n, s->cap * 2), 8);
    void **pages = mem_realloc_array(s->pages, cap, sizeof(*pages));
    if (!pages)
        return REALM_E_NOMEM;
    s->pages = pages;
    struct kv_entry **entries = mem_realloc_array(s->entries, cap, sizeof(struct kv_entry *));
    if (!entries)
        return REALM_E_NOMEM;
    s->entries = entries;
    s->cap = cap;
    return 0;
}

int kv_seq_reserve(struct kv_seq *s, uint32_t tokens)
{
    size_t want = pages_of(tokens), had = s->n;
    int rc = kv_seq_grow_table(s, want);
    /* Asked first: what cannot be had in full must not cost the cache anything. */
    if (!rc && want > had && want - had > kv_pages_obtainable(s->pool))
        rc = REALM_E_NO_ROOM;
    while (!rc && s->n < want) {
        rc = kv_page_get(s->pool, s->owner, &s->pages[s->n]);
        if (!rc)
            s->n++;
    }
    if (rc)
        drop_from(s, had);
    return rc;
}

int kv_seq_cut(struct kv_seq *s, uint32_t tokens)
{
    size_t whole = tokens / KV_PAGE_TOKENS;
    if (tokens % KV_PAGE_TOKENS == 0 || whole >= s->shared) {
        drop_from(s, pages_of(tokens));
        return 0;
    }
    void *own;
    int status = kv_page_get(s->pool, s->owner, &own);
    if (status)
        return status;
    memcpy(own, s->pages[whole], s->pool->page_bytes);
    drop_from(s, whole);
    s->pages[s->n++] = own;
    return 0;
}

uint32_t kv_seq_room(const struct kv_seq *s)
{
    return cast_u32((uint64_t)s->n * KV_PAGE_TOKENS);
}

const void *const *kv_seq_pages(const struct kv_seq *s)
{
    return (const void *const *)s->pages;
}

void *kv_seq_page(struct kv_seq *s, uint32_t pos)
{
    ASSERT(pos < kv_seq_room(s) && pos / KV_PAGE_TOKENS >= s->shared);
    return s->pages[pos / KV_PAGE_TOKENS];
}

const struct kv_pool *kv_seq_pool(const struct kv_seq *s)
{
    return s->pool;
}
