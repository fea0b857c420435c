/* base/map.h - from byte strings to 32-bit numbers, hashed with a random key so
 * that nobody can choose strings that collide. */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/compiler.h"

struct map_slot {
    const uint8_t *key; /* NULL: free */
    uint32_t key_n;
    uint32_t value;
    uint64_t hash;
};

/* Keys are views: whoever puts them keeps the bytes alive. */
struct map {
    struct map_slot *slots;
    size_t mask; /* slots - 1 */
    size_t n;
    uint64_t seed[2];
};

/* Room for n keys at once; more can be put later. */
MUST_USE int map_init(struct map *m, size_t n);
void map_free(struct map *m);

/* 0, REALM_E_NOMEM, or 1 when the key was there already (its value stays). */
MUST_USE int map_put(struct map *m, struct slice key, uint32_t value);
bool map_get(const struct map *m, struct slice key, uint32_t *value);

/* SipHash-2-4 (Aumasson and Bernstein, 2012) of n bytes under a 128-bit key. */
uint64_t map_hash(const uint64_t key[2], const void *p, size_t n);

#endif
