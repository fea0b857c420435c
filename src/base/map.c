#include "base/map.h"

#include <string.h>

#include "base/ckd.h"
#include "base/mem.h"
#include "base/rng.h"
#include "realm/status.h"

static uint64_t rotl(uint64_t x, int b)
{
    return x << b | x >> (64 - b);
}

static void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = rotl(v[1], 13) ^ v[0];
    v[0] = rotl(v[0], 32);
    v[2] += v[3];
    v[3] = rotl(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotl(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotl(v[1], 17) ^ v[2];
    v[2] = rotl(v[2], 32);
}

static void sip_word(uint64_t v[4], uint64_t word)
{
    v[3] ^= word;
    sip_round(v);
    sip_round(v);
    v[0] ^= word;
}

uint64_t map_hash(const uint64_t key[2], const void *data, size_t n)
{
    const uint8_t *p = data;
    uint64_t v[4] = {key[0] ^ 0x736f6d6570736575u, key[1] ^ 0x646f72616e646f6du,
                     key[0] ^ 0x6c7967656e657261u, key[1] ^ 0x7465646279746573u};
    uint64_t last = (uint64_t)n << 56;
    for (; n >= 8; n -= 8, p += 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        sip_word(v, word);
    }
    for (size_t i = 0; i < n; i++)
        last |= (uint64_t)p[i] << (8 * i);
    sip_word(v, last);
    v[2] ^= 0xff;
    for (int i = 0; i < 4; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static int slots_new(struct map *m, size_t slots)
{
    m->slots = mem_zarray(slots, sizeof(*m->slots));
    m->mask = slots - 1;
    return m->slots ? 0 : REALM_E_NOMEM;
}

int map_init(struct map *m, size_t n)
{
    *m = (struct map){0};
    int status = rng_system(m->seed, sizeof(m->seed));
    if (status)
        return status;
    size_t slots = 16;
    while (slots / 2 < n) {
        if (slots > SIZE_MAX / 4)
            return REALM_E_NOMEM;
        slots *= 2;
    }
    return slots_new(m, slots);
}

void map_free(struct map *m)
{
    mem_free(m->slots);
    *m = (struct map){0};
}

/* The slot that holds key, or the free one where it belongs. */
static struct map_slot *find(const struct map *m, struct slice key, uint64_t hash)
{
    for (size_t i = hash & m->mask;; i = (i + 1) & m->mask) {
        struct map_slot *s = &m->slots[i];
        if (!s->key || (s->hash == hash && slice_equal((struct slice){s->key, s->key_n}, key)))
            return s;
    }
}

static int grow(struct map *m)
{
    struct map old = *m;
    if (slots_new(m, (old.mask + 1) * 2)) {
        *m = old;
        return REALM_E_NOMEM;
    }
    for (size_t i = 0; i <= old.mask; i++) {
        struct map_slot *s = &old.slots[i];
        if (s->key)
            *find(m, (struct slice){s->key, s->key_n}, s->hash) = *s;
    }
    mem_free(old.slots);
    return 0;
}

int map_put(struct map *m, struct slice key, uint32_t value)
{
    static const uint8_t empty; /* an empty key still needs an address */
    if (m->n >= (m->mask + 1) / 2) {
        int status = grow(m);
        if (status)
            return status;
    }
    uint64_t hash = map_hash(m->seed, key.p, key.n);
    struct map_slot *s = find(m, key, hash);
    if (s->key)
        return 1;
    *s = (struct map_slot){key.n ? key.p : &empty, cast_u32(key.n), value, hash};
    m->n++;
    return 0;
}

bool map_get(const struct map *m, struct slice key, uint32_t *value)
{
    if (!m->slots)
        return false;
    struct map_slot *s = find(m, key, map_hash(m->seed, key.p, key.n));
    if (!s->key)
        return false;
    *value = s->value;
    return true;
}
