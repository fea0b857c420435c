#include "gguf/split.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"
#include "gguf/gguf_impl.h"

int split_keys_read(const struct gguf *g, struct split_keys *out, struct realm_error *err)
{
    *out = (struct split_keys){.no = 0, .count = 1, .tensors = UINT32_MAX};
    int status = gguf_get_u32(g, "split.count", &out->count, err);
    if (!status || status == REALM_E_NOT_FOUND)
        status = gguf_get_u32(g, "split.no", &out->no, err);
    if (!status || status == REALM_E_NOT_FOUND)
        status = gguf_get_u32(g, "split.tensors.count", &out->tensors, err);
    if (status && status != REALM_E_NOT_FOUND)
        return status;
    if (out->count == 0 || out->count > GGUF_SPLITS_MAX)
        return err_set(err, REALM_E_FORMAT, "key split.count is %u, want 1 to %d", out->count,
                       GGUF_SPLITS_MAX);
    if (out->no >= out->count)
        return err_set(err, REALM_E_FORMAT, "key split.no is %u, but split.count is %u", out->no,
                       out->count);
    return 0;
}

int split_sibling(const char *first, uint32_t no, uint32_t count, char **out,
                  struct realm_error *err)
{
    char ending[32];
    int n = snprintf(ending, sizeof(ending), "-00001-of-%05u.gguf", count);
    size_t length = strlen(first);
    *out = NULL;
    if (length < (size_t)n || strcmp(first + length - n, ending) != 0)
        return err_set(err, REALM_E_FORMAT, "the first of %u parts must be named NAME%s", count,
                       ending);
    *out = mem_strdup(first);
    if (!*out)
        return err_nomem(err, "the name of a part");
    snprintf(ending, sizeof(ending), "-%05u-of-%05u.gguf", no + 1, count);
    memcpy(*out + length - n, ending, (size_t)n);
    return 0;
}

/* Keys that may differ from part to part. */
static bool is_own(struct slice key)
{
    return slice_is(key, GGUF_ALIGNMENT_KEY) || slice_is(key, "split.no") ||
           slice_is(key, "split.count") || slice_is(key, "split.tensors.count");
}

static bool has_same(const struct gguf *g, const struct gguf_value *v)
{
    uint32_t i;
    if (!map_get(&g->value_map, v->key, &i))
        return false;
    const struct gguf_value *other = &g->values[i];
    return other->type == v->type && other->item_type == v->item_type &&
           slice_equal(other->data, v->data);
}

int split_check(const struct gguf *first, const struct gguf *part, uint32_t no,
                struct realm_error *err)
{
    struct split_keys a, b;
    int status = split_keys_read(first, &a, err);
    if (!status)
        status = split_keys_read(part, &b, err);
    if (status)
        return status;
    if (b.no != no || b.count != a.count)
        return err_set(err, REALM_E_FORMAT, "it says that it is part %u of %u, want %u of %u",
                       b.no + 1, b.count, no + 1, a.count);
    if (b.tensors != UINT32_MAX && b.tensors != a.tensors)
        return err_set(err, REALM_E_FORMAT,
                       "key split.tensors.count is %u, in the first part it is %u", b.tensors,
                       a.tensors);
    for (size_t i = 0; i < part->n_values; i++) {
        if (!is_own(part->values[i].key) && !has_same(first, &part->values[i]))
            return err_set(err, REALM_E_FORMAT, "key %s is not as in the first part (offset %llu)",
                           gguf_show(part->values[i].key).text,
                           (unsigned long long)part->values[i].offset);
    }
    return 0;
}
