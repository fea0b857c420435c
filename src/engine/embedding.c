/* engine/embedding.c - names of poolings, and what is done to an embedding that is complete. */
#include <math.h>
#include <string.h>

#include "base/compiler.h"
#include "realm/realm.h"

void realm_normalise(float *v, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)v[i] * (double)v[i];
    double scale = sum > 0 ? 1 / sqrt(sum) : 0;
    for (size_t i = 0; i < n; i++)
        v[i] = (float)((double)v[i] * scale);
}

enum realm_pooling realm_pooling_named(const char *name)
{
    static const char *const names[] = {
        [REALM_POOL_MEAN] = "mean",
        [REALM_POOL_CLS] = "cls",
        [REALM_POOL_LAST] = "last",
    };
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (names[i] && strcmp(name, names[i]) == 0)
            return (enum realm_pooling)i;
    return REALM_POOL_NONE;
}
