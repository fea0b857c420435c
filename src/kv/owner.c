/* kv/owner.c - whose pages are whose, and who gives some up. */
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/rng.h"
#include "kv/kv_internal.h"
#include "realm/status.h"

static struct kv_owner *owner_of(struct list *link)
{
    return CONTAINER_OF(link, struct kv_owner, in_budget);
}

struct kv_owner *kv_owner_find(const struct kv_budget *b, const char *tenant)
{
    for (struct list *i = b->owners.next; i != &b->owners; i = i->next)
        if (strcmp(owner_of(i)->tenant, tenant) == 0)
            return owner_of(i);
    return NULL;
}

/* The salt is as old as the owner: nothing is there that an older one could find. */
static int make(struct kv_budget *b, const char *tenant, struct kv_owner **out)
{
    size_t n = strlen(tenant) + 1;
    struct kv_owner *o = mem_zalloc(sizeof(*o) + n);
    if (!o)
        return REALM_E_NOMEM;
    int status = b->has_secret ? 0 : rng_system(b->secret, sizeof(b->secret));
    b->has_secret = status == 0;
    if (!status)
        status = rng_system(o->salt, sizeof(o->salt));
    if (status) {
        mem_free(o);
        return status;
    }
    memcpy(o->tenant, tenant, n);
    list_init(&o->idle);
    list_add_head(&b->owners, &o->in_budget);
    *out = o;
    return 0;
}

static int hold(struct kv_budget *b, const char *tenant, struct kv_owner **out)
{
    struct kv_owner *o = kv_owner_find(b, tenant);
    int status = o ? 0 : make(b, tenant, &o);
    if (status)
        return status;
    list_remove(&o->in_budget); // the next to look for it finds it at once
    list_add_head(&b->owners, &o->in_budget);
    o->refs++;
    *out = o;
    return 0;
}

void kv_owner_drop(struct kv_owner *o)
{
    if (--o->refs)
        return;
    list_remove(&o->in_budget);
    mem_free(o);
}

int kv_seq_own(struct kv_seq *s, const char *tenant, uint32_t public_pages)
{
    struct kv_budget *b = s->pool->budget;
    ASSERT(!s->owner && s->n == 0 && *tenant);
    struct kv_owner *owner, *commons = NULL;
    int status = hold(b, tenant, &owner);
    if (!status && public_pages) {
        status = hold(b, "", &commons);
        if (status)
            kv_owner_drop(owner);
    }
    if (status)
        return status;
    s->owner = owner;
    s->commons = commons;
    s->public_pages = public_pages;
    return 0;
}

struct kv_owner *kv_owner_richest(const struct kv_budget *b, const struct kv_owner *wanting,
                                  uint64_t page_bytes)
{
    struct kv_owner *found = NULL;
    uint64_t most = 0;
    for (struct list *i = b->owners.next; i != &b->owners; i = i->next) {
        struct kv_owner *o = owner_of(i);
        uint64_t bytes = o->bytes + (o == wanting ? page_bytes : 0);
        if (list_empty(&o->idle) || (found && bytes < most))
            continue;
        /* Of two alike the one who wants more. */
        if (found && bytes == most && o != wanting)
            continue;
        found = o;
        most = bytes;
    }
    return found;
}

uint64_t kv_tenant_idle_pages(const struct kv_budget *b, const char *tenant)
{
    const struct kv_owner *o = kv_owner_find(b, tenant);
    return o ? o->pages_idle : 0;
}
