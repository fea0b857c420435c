/* kv/seq.c - the page table of one sequence. */
#include "base/assert.h"
#include "base/ckd.h"
#include "base/mem.h"
#include "kv/kv_internal.h"
#include "realm/status.h"

struct kv_seq {
    struct kv_pool *pool;
    void **pages;
    size_t n;   /* pages held */
    size_t cap; /* of the table */
};

int kv_seq_open(struct kv_seq **out, struct kv_pool *p)
{
    struct kv_seq *s = mem_zalloc(sizeof(*s));
    *out = s;
    if (!s)
        return REALM_E_NOMEM;
    s->pool = p;
    kv_pool_count_seq(p, 1);
    return 0;
}

static void drop_from(struct kv_seq *s, size_t n)
{
    while (s->n > n)
        kv_page_put(s->pool, s->pages[--s->n]);
}

void kv_seq_close(struct kv_seq *s)
{
    if (!s)
        return;
    drop_from(s, 0);
    kv_pool_count_seq(s->pool, -1);
    mem_free(s->pages);
    mem_free(s);
}

static size_t pages_of(uint32_t tokens)
{
    return tokens / KV_PAGE_TOKENS + (tokens % KV_PAGE_TOKENS != 0);
}

static int grow_table(struct kv_seq *s, size_t n)
{
    if (n <= s->cap)
        return 0;
    size_t cap = max_size(max_size(n, s->cap * 2), 8);
    void **pages = mem_realloc_array(s->pages, cap, sizeof(*pages));
    if (!pages)
        return REALM_E_NOMEM;
    s->pages = pages;
    s->cap = cap;
    return 0;
}

int kv_seq_reserve(struct kv_seq *s, uint32_t tokens)
{
    size_t want = pages_of(tokens), had = s->n;
    int rc = grow_table(s, want);
    while (!rc && s->n < want) {
        rc = kv_page_get(s->pool, &s->pages[s->n]);
        if (!rc)
            s->n++;
    }
    if (rc)
        drop_from(s, had);
    return rc;
}

void kv_seq_cut(struct kv_seq *s, uint32_t tokens)
{
    drop_from(s, pages_of(tokens));
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
    ASSERT(pos < kv_seq_room(s));
    return s->pages[pos / KV_PAGE_TOKENS];
}

const struct kv_pool *kv_seq_pool(const struct kv_seq *s)
{
    return s->pool;
}
