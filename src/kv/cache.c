/* kv/cache.c - entries: how they are found, used, left and given up. */
#include "kv/cache.h"

#include <string.h>

#include "base/assert.h"
#include "base/ckd.h"
#include "base/map.h"
#include "base/mem.h"
#include "kv/kv_internal.h"
#include "realm/status.h"

enum {
    BUCKETS_FIRST = 64,
    CHILDREN_LOOKED_AT = 32, /* for one that begins alike */
};

static struct kv_entry *child_of(struct list *link)
{
    return CONTAINER_OF(link, struct kv_entry, in_parent);
}

/* --------------------------------------------------------------------- finding -- */

static uint64_t key_of(const struct kv_budget *b, const struct kv_owner *owner,
                       const struct kv_entry *parent, const uint32_t *tokens, uint32_t n)
{
    struct {
        uint64_t salt[2], parent, n;
        uint32_t tokens[KV_PAGE_TOKENS];
    } what = {.parent = parent ? parent->serial : 0, .n = n};
    memcpy(what.salt, owner->salt, sizeof(what.salt));
    for (uint32_t i = 0; i < n; i++)
        what.tokens[i] = tokens[i];
    return map_hash(b->secret, &what, sizeof(what)) & b->hash_mask;
}

static struct list *bucket_of(const struct kv_pool *p, uint64_t key)
{
    return &p->buckets[key & (p->n_buckets - 1)];
}

/* The key leads to it; what it is says the comparison. */
static bool is(const struct kv_entry *e, const struct kv_owner *owner,
               const struct kv_entry *parent, const uint32_t *tokens, uint32_t n)
{
    if (e->owner != owner || e->parent != parent || e->n != n)
        return false;
    return n == 0 || memcmp(e->tokens, tokens, n * sizeof(*tokens)) == 0;
}

static struct kv_entry *find(const struct kv_pool *p, const struct kv_owner *owner,
                             const struct kv_entry *parent, const uint32_t *tokens, uint32_t n)
{
    if (!p->n_buckets)
        return NULL;
    uint64_t key = key_of(p->budget, owner, parent, tokens, n);
    struct list *bucket = bucket_of(p, key);
    for (struct list *i = bucket->next; i != bucket; i = i->next) {
        struct kv_entry *e = CONTAINER_OF(i, struct kv_entry, in_bucket);
        if (e->key == key && is(e, owner, parent, tokens, n))
            return e;
    }
    return NULL;
}

/* Whoever begins alike with these n tokens for longest, of the children used last. */
static struct kv_entry *find_alike(const struct kv_entry *parent, const struct kv_owner *owner,
                                   const uint32_t *tokens, uint32_t n, uint32_t *alike)
{
    struct kv_entry *found = NULL;
    *alike = 0;
    const struct list *children = &parent->children;
    unsigned looked = 0;
    for (struct list *i = children->next; i != children && looked < CHILDREN_LOOKED_AT;
         i = i->next, looked++) {
        struct kv_entry *e = child_of(i);
        uint32_t most = e->n < n ? e->n : n, same = 0;
        while (e->owner == owner && same < most && e->tokens[same] == tokens[same])
            same++;
        if (same > *alike) {
            *alike = same;
            found = e;
        }
    }
    return found;
}

/* ---------------------------------------------------------------- using, dropping -- */

static bool can_go(const struct kv_entry *e)
{
    return e->page && !e->users && list_empty(&e->children);
}

/* Into its owner's line; it is rarely far from one of the ends. */
static void line_up(struct kv_entry *e)
{
    struct list *idle = &e->owner->idle, *after = idle;
    struct kv_entry *last = CONTAINER_OF(idle->prev, struct kv_entry, in_idle);
    if (list_empty(idle) || last->used < e->used) {
        list_add_tail(idle, &e->in_idle);
        return;
    }
    while (CONTAINER_OF(after->next, struct kv_entry, in_idle)->used < e->used)
        after = after->next;
    list_add_head(after, &e->in_idle);
}

static void touch(struct kv_entry *e)
{
    e->used = ++e->pool->budget->stamp;
    list_remove(&e->in_parent);
    list_add_head(&e->parent->children, &e->in_parent);
    if (can_go(e)) {
        list_remove(&e->in_idle);
        line_up(e);
    }
}

static void count_idle(struct kv_entry *e, int change)
{
    struct kv_budget *b = e->pool->budget;
    e->pool->idle_n += (size_t)change;
    e->owner->pages_idle += (uint64_t)(int64_t)change;
    atomic_fetch_add(&b->pages_cached, (uint64_t)(int64_t)change);
}

void kv_entry_use(struct kv_entry *e)
{
    if (e->users++ == 0) {
        list_remove(&e->in_idle);
        count_idle(e, -1);
        atomic_fetch_add(&e->pool->budget->pages_used, 1);
    }
    touch(e);
}

void kv_entry_unuse(struct kv_entry *e)
{
    if (--e->users == 0) {
        count_idle(e, 1);
        atomic_fetch_sub(&e->pool->budget->pages_used, 1);
    }
    touch(e);
}

static void unlink_entry(struct kv_entry *e)
{
    list_remove(&e->in_pool);
    list_remove(&e->in_bucket);
    list_remove(&e->in_parent);
    list_remove(&e->in_idle);
    e->pool->n_entries--;
    kv_owner_drop(e->owner);
    mem_free(e);
}

/* Frees e and the places above that nothing is left under. */
static void drop(struct kv_entry *e)
{
    struct kv_entry *parent = e->parent;
    unlink_entry(e);
    while (parent && !parent->page && list_empty(&parent->children)) {
        e = parent;
        parent = e->parent;
        unlink_entry(e);
    }
    if (parent && can_go(parent) && list_empty(&parent->in_idle))
        line_up(parent);
}

/* An entry that nobody uses and nothing is under. */
static void give_up(struct kv_entry *e)
{
    ASSERT(can_go(e));
    count_idle(e, -1);
    e->owner->bytes -= e->pool->page_bytes;
    kv_page_free(e->pool, e->page);
    drop(e);
}

bool kv_cache_evict(struct kv_budget *b, const struct kv_owner *wanting, uint64_t page_bytes)
{
    struct kv_owner *o = kv_owner_richest(b, wanting, page_bytes);
    if (!o)
        return false;
    give_up(CONTAINER_OF(o->idle.next, struct kv_entry, in_idle));
    return true;
}

void kv_cache_clear(struct kv_pool *p)
{
    while (!list_empty(&p->entries)) {
        struct kv_entry *e = CONTAINER_OF(p->entries.next, struct kv_entry, in_pool);
        ASSERT(e->users == 0);
        if (e->page) {
            count_idle(e, -1);
            e->owner->bytes -= p->page_bytes;
            kv_page_free(p, e->page);
        }
        /* Whatever is under it goes, too, and must not find it gone. */
        while (!list_empty(&e->children)) {
            struct kv_entry *child = child_of(e->children.next);
            list_remove(&child->in_parent);
            child->parent = NULL;
        }
        unlink_entry(e);
    }
    mem_free(p->buckets);
    p->buckets = NULL;
    p->n_buckets = 0;
}

/* --------------------------------------------------------------------- entering -- */

/* Twice the buckets; where there is no memory for them, their lists get longer. */
static int grow(struct kv_pool *p)
{
    if (p->n_entries < p->n_buckets)
        return 0;
    size_t n = max_size(2 * p->n_buckets, BUCKETS_FIRST);
    struct list *buckets = mem_array(n, sizeof(*buckets));
    if (!buckets)
        return p->buckets ? 0 : REALM_E_NOMEM;
    mem_free(p->buckets);
    p->buckets = buckets;
    p->n_buckets = n;
    for (size_t i = 0; i < n; i++)
        list_init(&buckets[i]);
    for (struct list *i = p->entries.next; i != &p->entries; i = i->next) {
        struct kv_entry *e = CONTAINER_OF(i, struct kv_entry, in_pool);
        if (e->n == 0 || e->n == KV_PAGE_TOKENS)
            list_add_head(bucket_of(p, e->key), &e->in_bucket);
        else
            list_init(&e->in_bucket);
    }
    return 0;
}

/* Those that are not full are found by their parents alone.  NULL: no memory. */
static struct kv_entry *add(struct kv_pool *p, struct kv_owner *owner, struct kv_entry *parent,
                            const uint32_t *tokens, uint32_t n)
{
    struct kv_entry *e = mem_zalloc(sizeof(*e));
    if (!e || grow(p)) {
        mem_free(e);
        return NULL;
    }
    e->pool = p;
    e->owner = owner;
    e->parent = parent;
    e->key = key_of(p->budget, owner, parent, tokens, n);
    e->serial = ++p->budget->serial;
    e->n = n;
    for (uint32_t i = 0; i < n; i++)
        e->tokens[i] = tokens[i];
    list_init(&e->children);
    list_init(&e->in_idle);
    list_init(&e->in_parent);
    list_init(&e->in_bucket);
    list_add_tail(&p->entries, &e->in_pool);
    if (n == 0 || n == KV_PAGE_TOKENS)
        list_add_head(bucket_of(p, e->key), &e->in_bucket);
    if (parent) {
        list_remove(&parent->in_idle);
        list_add_head(&parent->children, &e->in_parent);
    }
    p->n_entries++;
    owner->refs++;
    return e;
}

static struct kv_owner *owner_at(const struct kv_seq *s, size_t page)
{
    return page < s->public_pages ? s->commons : s->owner;
}

/* Under what the page after `above` (NULL: the first) stands; NULL when there is no such
 * place and it is not to be made, or cannot. */
static struct kv_entry *place(struct kv_pool *p, struct kv_owner *owner, struct kv_entry *above,
                              bool make)
{
    if (above && above->owner == owner)
        return above;
    struct kv_entry *fork = find(p, owner, above, NULL, 0);
    return fork || !make ? fork : add(p, owner, above, NULL, 0);
}

static struct kv_entry *above_of(const struct kv_seq *s)
{
    return s->shared ? s->entries[s->shared - 1] : NULL;
}

/* Those that say less than e does are not wanted any more. */
static void drop_shorter(struct kv_entry *e)
{
    struct list *children = &e->parent->children;
    unsigned looked = 0;
    for (struct list *i = children->next, *next; i != children; i = next) {
        next = i->next;
        struct kv_entry *other = child_of(i);
        if (looked++ == CHILDREN_LOOKED_AT)
            return;
        if (other->n < e->n && other->owner == e->owner && can_go(other) &&
            memcmp(other->tokens, e->tokens, other->n * sizeof(*e->tokens)) == 0)
            give_up(other);
    }
}

/* The page that stands after the shared ones becomes an entry's, or is exchanged for the
 * same one that is there; false: no memory. */
static bool keep_page(struct kv_seq *s, const uint32_t *tokens)
{
    size_t at = s->shared;
    struct kv_pool *p = s->pool;
    struct kv_owner *owner = owner_at(s, at);
    struct kv_entry *parent = place(p, owner, above_of(s), true);
    if (!parent)
        return false;
    const uint32_t *own = tokens + at * KV_PAGE_TOKENS;
    struct kv_entry *e = find(p, owner, parent, own, KV_PAGE_TOKENS);
    if (e) {
        kv_entry_use(e);
        kv_page_put(p, s->owner, s->pages[at]);
    } else {
        e = add(p, owner, parent, own, KV_PAGE_TOKENS);
        if (!e) {
            if (!parent->page && list_empty(&parent->children))
                drop(parent);
            return false;
        }
        s->owner->bytes -= p->page_bytes;
        owner->bytes += p->page_bytes;
        e->page = s->pages[at];
        e->users = 1;
        touch(e);
        drop_shorter(e);
    }
    s->pages[at] = e->page;
    s->entries[s->shared++] = e;
    return true;
}

void kv_seq_keep(struct kv_seq *s, const uint32_t *tokens, uint32_t n)
{
    ASSERT(n <= kv_seq_room(s));
    while (s->owner && s->shared < n / KV_PAGE_TOKENS)
        if (!keep_page(s, tokens))
            return;
}

void kv_seq_leave(struct kv_seq *s, const uint32_t *tokens, uint32_t n)
{
    kv_seq_keep(s, tokens, n);
    size_t at = s->shared;
    uint32_t rest = n % KV_PAGE_TOKENS, alike;
    if (!s->owner || rest == 0 || at != n / KV_PAGE_TOKENS || at < s->public_pages)
        return;
    struct kv_entry *parent = place(s->pool, s->owner, above_of(s), true);
    if (!parent)
        return;
    const uint32_t *own = tokens + at * KV_PAGE_TOKENS;
    struct kv_entry *e = find_alike(parent, s->owner, own, rest, &alike);
    if (e && alike == rest) {
        touch(e);
        return;
    }
    /* What comes after the page holds nothing that is computed. */
    if (kv_seq_cut(s, n) || !(e = add(s->pool, s->owner, parent, own, rest))) {
        if (!parent->page && list_empty(&parent->children))
            drop(parent);
        return;
    }
    e->page = s->pages[--s->n];
    atomic_fetch_sub(&s->pool->budget->pages_used, 1);
    count_idle(e, 1);
    touch(e);
    drop_shorter(e);
}

/* ---------------------------------------------------------------------- reusing -- */

uint32_t kv_seq_share(struct kv_seq *s, const uint32_t *tokens, uint32_t n)
{
    size_t pages = n / KV_PAGE_TOKENS;
    if (!s->owner || kv_seq_grow_table(s, pages))
        return 0;
    ASSERT(s->n == 0);
    while (s->n < pages) {
        struct kv_owner *owner = owner_at(s, s->n);
        struct kv_entry *parent = place(s->pool, owner, above_of(s), false);
        struct kv_entry *e =
            parent ? find(s->pool, owner, parent, tokens + s->n * KV_PAGE_TOKENS, KV_PAGE_TOKENS)
                   : NULL;
        if (!e)
            break;
        kv_entry_use(e);
        s->entries[s->shared++] = e;
        s->pages[s->n++] = e->page;
    }
    return kv_seq_room(s);
}

/* The keys of tokens lie side by side; the values of the first are at the beginning. */
static void copy_tokens(const struct kv_pool *p, uint8_t *to, const uint8_t *from, uint32_t n)
{
    size_t values = kv_values_first(p->shape.type, p->shape.head_dim, n);
    for (uint32_t layer = 0; layer < p->shape.layers; layer++)
        for (uint32_t head = 0; head < p->shape.kv_heads; head++) {
            size_t at = kv_keys_at(p, layer, head);
            memcpy(to + at, from + at, p->keys_bytes + values);
        }
}

uint32_t kv_seq_copy(struct kv_seq *s, const uint32_t *tokens, uint32_t n)
{
    uint32_t at = cast_u32((uint64_t)s->shared * KV_PAGE_TOKENS), alike = 0;
    if (!s->owner || at >= n || s->n == s->shared)
        return at;
    struct kv_owner *owner = owner_at(s, s->shared);
    struct kv_entry *parent = place(s->pool, owner, above_of(s), false), *e = NULL;
    uint32_t most = (uint32_t)min_size(n - at, KV_PAGE_TOKENS);
    if (parent && owner == s->commons) {
        /* A public page is found whole or not at all; but the last position is not taken. */
        e = find(s->pool, owner, parent, tokens + at, KV_PAGE_TOKENS);
        alike = most;
    } else if (parent) {
        e = find_alike(parent, owner, tokens + at, most, &alike);
    }
    if (!e)
        return at;
    copy_tokens(s->pool, s->pages[s->shared], e->page, alike);
    touch(e);
    return at + alike;
}

uint32_t kv_cached_pages(struct kv_pool *p, const char *tenant, uint32_t public_pages,
                         const uint32_t *tokens, uint32_t n)
{
    struct kv_owner *own = kv_owner_find(p->budget, tenant);
    struct kv_owner *commons = kv_owner_find(p->budget, "");
    struct kv_entry *above = NULL;
    uint32_t found = 0;
    for (; found < n / KV_PAGE_TOKENS; found++) {
        struct kv_owner *owner = found < public_pages ? commons : own;
        struct kv_entry *parent = owner ? place(p, owner, above, false) : NULL;
        if (!parent)
            break;
        above = find(p, owner, parent, tokens + (size_t)found * KV_PAGE_TOKENS, KV_PAGE_TOKENS);
        if (!above)
            break;
    }
    return found;
}
