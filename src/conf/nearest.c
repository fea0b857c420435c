/* conf/nearest.c - what somebody meant who wrote a key that there is not. */
#include <stdint.h>
#include <string.h>

#include "base/ckd.h"
#include "conf/keys.h"

enum { NAME_MAX_CHARS = 40 };

/* Insertions, deletions and changes between two words. */
static size_t distance(const char *a, const char *b)
{
    size_t row[NAME_MAX_CHARS + 1];
    size_t n = strlen(a), m = strlen(b);
    if (n > NAME_MAX_CHARS || m > NAME_MAX_CHARS)
        return SIZE_MAX;
    for (size_t j = 0; j <= m; j++)
        row[j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t change = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            row[j] = min_size(change, min_size(row[j], row[j - 1]) + 1);
        }
    }
    return row[m];
}

bool conf_nearest(const char *group, const char *name, const char **near_group, const char **key)
{
    size_t n, best = SIZE_MAX;
    const struct conf_key *keys = conf_keys(&n);
    for (size_t i = 0; i < n; i++) {
        size_t far = distance(name, keys[i].name);
        if (far != SIZE_MAX && group && strcmp(group, keys[i].group) != 0)
            far++; // rather one of the group that it stands in
        if (far < best) {
            best = far;
            *near_group = keys[i].group;
            *key = keys[i].name;
        }
        if (!group && distance(name, keys[i].group) <= best) {
            best = distance(name, keys[i].group);
            *near_group = keys[i].group;
            *key = NULL;
        }
    }
    return best <= 1 + strlen(name) / 4;
}
