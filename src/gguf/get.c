/* Reading what parse.c has checked. */
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/utf8.h"
#include "gguf/gguf_impl.h"

static const struct {
    const char *name;
    size_t bytes;
} types[GGUF_TYPES] = {
    [GGUF_U8] = {"u8", 1},       [GGUF_I8] = {"i8", 1},     [GGUF_U16] = {"u16", 2},
    [GGUF_I16] = {"i16", 2},     [GGUF_U32] = {"u32", 4},   [GGUF_I32] = {"i32", 4},
    [GGUF_F32] = {"f32", 4},     [GGUF_BOOL] = {"bool", 1}, [GGUF_STRING] = {"string", 0},
    [GGUF_ARRAY] = {"array", 0}, [GGUF_U64] = {"u64", 8},   [GGUF_I64] = {"i64", 8},
    [GGUF_F64] = {"f64", 8},
};

size_t gguf_type_bytes(uint32_t type)
{
    return type < GGUF_TYPES ? types[type].bytes : 0;
}

const char *gguf_type_name(enum gguf_type type)
{
    return (unsigned)type < GGUF_TYPES ? types[type].name : "unknown";
}

struct gguf_shown gguf_show(struct slice name)
{
    struct gguf_shown shown = {0};
    size_t n = name.n, room = sizeof(shown.text) - 4;
    if (n > room)
        n = utf8_whole(name.p, room);
    for (size_t i = 0; i < n; i++)
        shown.text[i] = name.p[i] < 0x20 || name.p[i] == 0x7f ? '?' : (char)name.p[i];
    if (n < name.n)
        memcpy(shown.text + n, "...", 3);
    return shown;
}

uint32_t gguf_version(const struct gguf *g)
{
    return g->version;
}

uint64_t gguf_alignment(const struct gguf *g)
{
    return g->alignment;
}

uint64_t gguf_data_offset(const struct gguf *g)
{
    return g->data_offset;
}

size_t gguf_values(const struct gguf *g)
{
    return g->n_values;
}

const struct gguf_value *gguf_value(const struct gguf *g, size_t i)
{
    ASSERT(i < g->n_values);
    return &g->values[i];
}

size_t gguf_tensors(const struct gguf *g)
{
    return g->n_tensors;
}

const struct gguf_tensor *gguf_tensor(const struct gguf *g, size_t i)
{
    ASSERT(i < g->n_tensors);
    return &g->tensors[i];
}

const struct gguf_value *gguf_find(const struct gguf *g, const char *key)
{
    uint32_t i;
    return map_get(&g->value_map, slice_of(key), &i) ? &g->values[i] : NULL;
}

const struct gguf_tensor *gguf_find_tensor(const struct gguf *g, const char *name)
{
    uint32_t i;
    return map_get(&g->tensor_map, slice_of(name), &i) ? &g->tensors[i] : NULL;
}

static int wrong_type(const struct gguf_value *v, const char *want, struct realm_error *err)
{
    bool array = v->type == GGUF_ARRAY;
    return err_set(err, REALM_E_FORMAT, "key %s has type %s%s, want %s (offset %llu)",
                   gguf_show(v->key).text, array ? "array of " : "",
                   gguf_type_name(array ? v->item_type : v->type), want,
                   (unsigned long long)v->offset);
}

/* A value of exactly that type, which is no array. */
static int find_scalar(const struct gguf *g, const char *key, enum gguf_type type,
                       const struct gguf_value **out, struct realm_error *err)
{
    *out = gguf_find(g, key);
    if (!*out)
        return REALM_E_NOT_FOUND;
    return (*out)->type == type ? 0 : wrong_type(*out, gguf_type_name(type), err);
}

/* The integer in v, sign and magnitude apart; false for another type. */
static bool read_integer(const struct gguf_value *v, bool *negative, uint64_t *magnitude)
{
    *negative = false;
    *magnitude = 0;
    switch (v->type) {
    case GGUF_U8:
    case GGUF_U16:
    case GGUF_U32:
    case GGUF_U64:
        memcpy(magnitude, v->data.p, v->data.n);
        return true;
    case GGUF_I8:
    case GGUF_I16:
    case GGUF_I32:
    case GGUF_I64:
        memcpy(magnitude, v->data.p, v->data.n);
        *negative = v->data.p[v->data.n - 1] & 0x80;
        if (*negative) // its magnitude within the type's width
            *magnitude = (0 - *magnitude) & (UINT64_MAX >> (64 - 8 * v->data.n));
        return true;
    default:
        return false;
    }
}

int gguf_get_u32(const struct gguf *g, const char *key, uint32_t *out, struct realm_error *err)
{
    const struct gguf_value *v = gguf_find(g, key);
    if (!v)
        return REALM_E_NOT_FOUND;
    bool negative;
    uint64_t magnitude;
    if (!read_integer(v, &negative, &magnitude))
        return wrong_type(v, "u32", err);
    if (negative || magnitude > UINT32_MAX)
        return err_set(err, REALM_E_FORMAT, "key %s is %s%llu, want 0 to %u (offset %llu)", key,
                       negative ? "-" : "", (unsigned long long)magnitude, UINT32_MAX,
                       (unsigned long long)v->offset);
    *out = (uint32_t)magnitude;
    return 0;
}

int gguf_get_f32(const struct gguf *g, const char *key, float *out, struct realm_error *err)
{
    const struct gguf_value *v;
    int status = find_scalar(g, key, GGUF_F32, &v, err);
    if (!status)
        memcpy(out, v->data.p, sizeof(*out));
    return status;
}

int gguf_get_bool(const struct gguf *g, const char *key, bool *out, struct realm_error *err)
{
    const struct gguf_value *v;
    int status = find_scalar(g, key, GGUF_BOOL, &v, err);
    if (!status)
        *out = v->data.p[0] != 0;
    return status;
}

int gguf_get_string(const struct gguf *g, const char *key, struct slice *out,
                    struct realm_error *err)
{
    const struct gguf_value *v;
    int status = find_scalar(g, key, GGUF_STRING, &v, err);
    if (status)
        return status;
    struct bytes it = bytes_from(v->data.p, v->data.n);
    *out = gguf_next_string(&it);
    return 0;
}

int gguf_get_array(const struct gguf *g, const char *key, enum gguf_type want,
                   const struct gguf_value **out, struct realm_error *err)
{
    const struct gguf_value *v = gguf_find(g, key);
    if (!v)
        return REALM_E_NOT_FOUND;
    if (v->type != GGUF_ARRAY || v->item_type != want) {
        char text[32];
        snprintf(text, sizeof(text), "array of %s", gguf_type_name(want));
        return wrong_type(v, text, err);
    }
    *out = v;
    return 0;
}

struct slice gguf_next_string(struct bytes *it)
{
    uint64_t n = 0;
    struct slice text = {0};
    bool whole = rd_u64(it, &n) && rd_slice(it, n, &text);
    ASSERT(whole);
    return text;
}
