/* kv/pool.c - the pages of one model.
 *
 * Pages come from the system one by one and go back when a pool holds more free
 * ones than FREE_BYTES_MAX, when it is trimmed, or when another pool wants their
 * bytes.  A free page keeps the pointer to the next one in its first bytes. */
#include "base/assert.h"
#include "base/ckd.h"
#include "base/limits.h"
#include "base/mem.h"
#include "kv/kv_internal.h"
#include "realm/status.h"

enum { FREE_BYTES_MAX = 64 << 20, SYSTEM_PAGE = 4096 };

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
    size_t seqs;
};

void kv_budget_init(struct kv_budget *b, uint64_t bytes_max)
{
    b->bytes_max = bytes_max;
    atomic_init(&b->bytes, 0);
    atomic_init(&b->pages_used, 0);
    list_init(&b->pools);
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
    list_add_tail(&budget->pools, &p->in_budget);
    *out = p;
    return 0;
}

void kv_pool_close(struct kv_pool *p)
{
    if (!p)
        return;
    ASSERT(p->seqs == 0);
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

int kv_page_get(struct kv_pool *p, void **out)
{
    *out = take_free(p);
    if (!*out) {
        if (!has_room(p))
            trim_all(p->budget);
        if (!has_room(p))
            return REALM_E_NO_ROOM;
        *out = mem_pages(p->page_bytes);
        if (!*out)
            return REALM_E_NOMEM;
        atomic_fetch_add(&p->budget->bytes, p->page_bytes);
    }
    atomic_fetch_add(&p->budget->pages_used, 1);
    return 0;
}

void kv_page_put(struct kv_pool *p, void *page)
{
    atomic_fetch_sub(&p->budget->pages_used, 1);
    if ((p->free_n + 1) * p->page_bytes > FREE_BYTES_MAX) {
        give_back(p, page);
        return;
    }
    struct free_page *head = page;
    head->next = p->free;
    p->free = head;
    p->free_n++;
}

void kv_pool_count_seq(struct kv_pool *p, int change)
{
    p->seqs += (size_t)change;
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
