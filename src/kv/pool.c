/* kv/pool.c - the pages of one model.
 *
 * Pages come from the system one by one and go back when a pool holds more free
 * ones than FREE_BYTES_MAX, when it is trimmed, or when another pool wants their
 * bytes; those of the cache when there is no other room.  A free page keeps the pointer
 * to the next one in its first bytes. */
#include <string.h>

#include "base/assert.h"
#include "base/ckd.h"
#include "base/limits.h"
#include "base/mem.h"
#include "kv/kv_internal.h"
#include "realm/status.h"

enum { FREE_BYTES_MAX = 64 << 20, SYSTEM_PAGE = 4096 };

void kv_budget_init(struct kv_budget *b, uint64_t bytes_max)
{
    b->bytes_max = bytes_max;
    atomic_init(&b->bytes, 0);
    atomic_init(&b->pages_used, 0);
    atomic_init(&b->pages_cached, 0);
    list_init(&b->pools);
    list_init(&b->owners);
    b->stamp = b->serial = 0;
    b->has_secret = b->poison = false;
    b->hash_mask = UINT64_MAX;
}

int kv_pool_open(struct kv_pool **out, const struct kv_shape *shape, struct kv_budget *budget)
{
    ASSERT(shape->layers && shape->kv_heads && shape->head_dim);
    *out = NULL;
    struct kv_pool *p = mem_zalloc(sizeof(*p));
    if (!p)
        return REALM_E_NOMEM;
    p->budget = budget;
    p->shape = *shape;
    p->keys_bytes = kv_keys_bytes(shape->type, shape->head_dim);
    p->values_bytes = kv_values_bytes(shape->type, shape->head_dim);
    /* Below 2^48: model limits are 512 layers, 512 heads of 512. */
    size_t bytes = (p->keys_bytes + p->values_bytes) * shape->kv_heads * shape->layers;
    p->page_bytes = round_up(bytes, SYSTEM_PAGE);
    list_init(&p->seqs);
    list_init(&p->entries);
    list_add_tail(&budget->pools, &p->in_budget);
    *out = p;
    return 0;
}

void kv_pool_close(struct kv_pool *p)
{
    if (!p)
        return;
    ASSERT(list_empty(&p->seqs));
    kv_cache_clear(p);
    kv_pool_trim(p);
    list_remove(&p->in_budget);
    mem_free(p);
}

uint64_t kv_page_bytes(const struct kv_pool *p)
{
    return p->page_bytes;
}

bool kv_fits(const struct kv_pool *p, uint64_t tokens)
{
    uint64_t pages = tokens / KV_PAGE_TOKENS + (tokens % KV_PAGE_TOKENS != 0);
    return pages <= p->budget->bytes_max / p->page_bytes;
}

static void give_back(struct kv_pool *p, void *page)
{
    mem_pages_free(page, p->page_bytes);
    atomic_fetch_sub(&p->budget->bytes, p->page_bytes);
}

static void *take_free(struct kv_pool *p)
{
    struct free_page *page = p->free;
    if (page) {
        p->free = page->next;
        p->free_n--;
    }
    return page;
}

uint64_t kv_pool_trim(struct kv_pool *p)
{
    uint64_t bytes = (uint64_t)p->free_n * p->page_bytes;
    for (void *page = take_free(p); page; page = take_free(p))
        give_back(p, page);
    return bytes;
}

static bool has_room(const struct kv_pool *p)
{
    const struct kv_budget *b = p->budget;
    uint64_t bytes = atomic_load(&b->bytes);
    return bytes <= b->bytes_max && b->bytes_max - bytes >= p->page_bytes;
}

static void trim_all(struct kv_budget *b)
{
    for (struct list *i = b->pools.next; i != &b->pools; i = i->next)
        kv_pool_trim(CONTAINER_OF(i, struct kv_pool, in_budget));
}

uint64_t kv_pages_obtainable(const struct kv_pool *p)
{
    const struct kv_budget *b = p->budget;
    uint64_t bytes = atomic_load(&b->bytes);
    uint64_t others = bytes < b->bytes_max ? b->bytes_max - bytes : 0;
    for (struct list *i = b->pools.next; i != &b->pools; i = i->next) {
        const struct kv_pool *q = CONTAINER_OF(i, struct kv_pool, in_budget);
        if (q != p)
            others += (q->free_n + q->idle_n) * q->page_bytes;
    }
    return p->free_n + p->idle_n + others / p->page_bytes;
}

/* A free page, or room for one more from the system (then it is NULL): what is kept for
 * reuse goes first, then the cache. */
static int make_room(struct kv_pool *p, const struct kv_owner *owner, void **out)
{
    for (;;) {
        *out = take_free(p);
        if (*out || has_room(p))
            return 0;
        trim_all(p->budget);
        if (has_room(p))
            return 0;
        if (!kv_cache_evict(p->budget, owner, p->page_bytes))
            return REALM_E_NO_ROOM;
    }
}

/* 0x7fc0 is a NaN as f16, bf16 and a scale of Q8_0, and twice it is one as f32. */
static void poison(const struct kv_pool *p, void *page)
{
    static const uint16_t nan = 0x7fc0;
    for (size_t i = 0; i < p->page_bytes; i += sizeof(nan))
        memcpy((uint8_t *)page + i, &nan, sizeof(nan));
}

int kv_page_get(struct kv_pool *p, struct kv_owner *owner, void **out)
{
    int status = make_room(p, owner, out);
    if (status)
        return status;
    if (!*out) {
        *out = mem_pages(p->page_bytes);
        if (!*out)
            return REALM_E_NOMEM;
        atomic_fetch_add(&p->budget->bytes, p->page_bytes);
    }
    if (p->budget->poison)
        poison(p, *out);
    if (owner)
        owner->bytes += p->page_bytes;
    atomic_fetch_add(&p->budget->pages_used, 1);
    return 0;
}

void kv_page_free(struct kv_pool *p, void *page)
{
    if ((p->free_n + 1) * p->page_bytes > FREE_BYTES_MAX) {
        give_back(p, page);
        return;
    }
    struct free_page *head = page;
    head->next = p->free;
    p->free = head;
    p->free_n++;
}

void kv_page_put(struct kv_pool *p, struct kv_owner *owner, void *page)
{
    atomic_fetch_sub(&p->budget->pages_used, 1);
    if (owner)
        owner->bytes -= p->page_bytes;
    kv_page_free(p, page);
}

size_t kv_keys_at(const struct kv_pool *p, uint32_t layer, uint32_t head)
{
    return ((size_t)layer * p->shape.kv_heads + head) * (p->keys_bytes + p->values_bytes);
}

size_t kv_values_at(const struct kv_pool *p, uint32_t layer, uint32_t head)
{
    return kv_keys_at(p, layer, head) + p->keys_bytes;
}

const struct kv_shape *kv_pool_shape(const struct kv_pool *p)
{
    return &p->shape;
}
