/* kv/audit.c - whether what is kept of pages is true; for tests. */
#include <string.h>

#include "kv/cache.h"
#include "kv/kv_internal.h"

struct sums {
    uint64_t bytes, used, cached;
};

static struct kv_entry *entry_of(struct list *link)
{
    return CONTAINER_OF(link, struct kv_entry, in_pool);
}

static uint64_t owner_bytes(const struct kv_budget *b, const struct kv_owner *o, uint64_t *refs)
{
    uint64_t bytes = 0;
    *refs = 0;
    for (struct list *i = b->pools.next; i != &b->pools; i = i->next) {
        struct kv_pool *p = CONTAINER_OF(i, struct kv_pool, in_budget);
        for (struct list *j = p->entries.next; j != &p->entries; j = j->next) {
            bytes += entry_of(j)->owner == o && entry_of(j)->page ? p->page_bytes : 0;
            *refs += entry_of(j)->owner == o;
        }
        for (struct list *j = p->seqs.next; j != &p->seqs; j = j->next) {
            const struct kv_seq *s = CONTAINER_OF(j, struct kv_seq, in_pool);
            bytes += s->owner == o ? (s->n - s->shared) * p->page_bytes : 0;
            *refs += (s->owner == o) + (s->commons == o);
        }
    }
    return bytes;
}

static const char *audit_seq(const struct kv_seq *s, struct sums *sums)
{
    const struct kv_entry *above = NULL;
    if (s->shared > s->n || s->n > s->cap)
        return "a sequence shares more pages than it has";
    for (size_t i = 0; i < s->shared; i++) {
        struct kv_entry *e = s->entries[i];
        e->seen++;
        if (e->page != s->pages[i] || e->n != KV_PAGE_TOKENS || e->pool != s->pool)
            return "a sequence's page is not its entry's";
        if (e->owner != s->owner && e->owner != s->commons)
            return "a sequence uses the page of another's";
        const struct kv_entry *parent = e->parent->page ? e->parent : e->parent->parent;
        if (parent != above)
            return "a sequence's pages do not follow one another";
        above = e;
    }
    for (size_t i = s->shared; i < s->n; i++)
        for (struct list *j = s->pool->entries.next; j != &s->pool->entries; j = j->next)
            if (entry_of(j)->page == s->pages[i])
                return "a sequence may write into a page of the cache";
    sums->used += s->n - s->shared;
    sums->bytes += (s->n - s->shared) * s->pool->page_bytes;
    return NULL;
}

static const char *audit_entry(const struct kv_entry *e, struct sums *sums)
{
    bool leaf = list_empty(&e->children), in_line = !list_empty(&e->in_idle);
    if (e->seen != e->users)
        return "an entry has other users than it says";
    if (!e->page && (leaf || e->n || e->users))
        return "a place without a page has nothing under it";
    if (in_line != (e->page && leaf && !e->users))
        return "an entry is in line to go and must not, or is not and could";
    if (e->users && e->parent->page && !e->parent->users)
        return "an entry is used and the one above is not";
    if (!e->page)
        return NULL;
    sums->used += e->users > 0;
    sums->cached += e->users == 0;
    sums->bytes += e->pool->page_bytes;
    return NULL;
}

static const char *audit_pool(struct kv_pool *p, struct sums *sums)
{
    const char *wrong = NULL;
    uint64_t cached = sums->cached;
    size_t n = 0;
    for (struct list *i = p->entries.next; i != &p->entries; i = i->next, n++)
        entry_of(i)->seen = 0;
    for (struct list *i = p->seqs.next; i != &p->seqs && !wrong; i = i->next)
        wrong = audit_seq(CONTAINER_OF(i, struct kv_seq, in_pool), sums);
    for (struct list *i = p->entries.next; i != &p->entries && !wrong; i = i->next)
        wrong = audit_entry(entry_of(i), sums);
    sums->bytes += p->free_n * p->page_bytes;
    if (!wrong && (n != p->n_entries || sums->cached - cached != p->idle_n))
        wrong = "a pool has another number of entries than it says";
    return wrong;
}

const char *kv_audit(struct kv_budget *b)
{
    struct sums sums = {0};
    for (struct list *i = b->pools.next; i != &b->pools; i = i->next) {
        const char *wrong = audit_pool(CONTAINER_OF(i, struct kv_pool, in_budget), &sums);
        if (wrong)
            return wrong;
    }
    for (struct list *i = b->owners.next; i != &b->owners; i = i->next) {
        const struct kv_owner *o = CONTAINER_OF(i, struct kv_owner, in_budget);
        uint64_t refs, bytes = owner_bytes(b, o, &refs);
        if (o->bytes != bytes || o->refs != refs)
            return "an owner has other pages than it says";
    }
    if (sums.bytes != atomic_load(&b->bytes) || sums.bytes > b->bytes_max)
        return "the budget has other bytes than it says";
    if (sums.used != atomic_load(&b->pages_used) || sums.cached != atomic_load(&b->pages_cached))
        return "the budget has other pages than it says";
    return NULL;
}
