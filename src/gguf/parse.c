/* From bytes to a struct gguf.  All numbers little endian:
 *
 *   size  meaning
 *   4     "GGUF"
 *   4     version, 2 or 3
 *   8     tensors
 *   8     values
 *   ...   values:  string key, u32 type, value
 *   ...   tensors: string name, u32 n_dims, u64 dims[n_dims], u32 dtype, u64 offset
 *   ...   zeros up to a multiple of the alignment
 *   ...   data, which the tensors' offsets count from
 *
 *   string: u64 n, n bytes.  array: u32 item type, u64 count, the items.
 *
 * A read that the file is too short for is an error; one that only the bytes at
 * hand are too short for is GGUF_MORE. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/ckd.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "gguf/gguf_impl.h"
#include "tensor/dtype.h"

enum {
    VALUE_BYTES_MIN = 8 + 1 + 4 + 1,
    TENSOR_BYTES_MIN = 8 + 1 + 4 + 8 + 4 + 8,
    NAME_BYTES_MAX = 65535,
};

struct parser {
    struct gguf *g;
    const uint8_t *start;
    struct bytes in;
    uint64_t file_size;
    struct realm_error *err;
    char what[96];     /* the record being read, for messages */
    uint64_t what_at;  /* where it starts */
    uint64_t n_values; /* as the header says, within the limits */
    uint64_t n_tensors;
};

static uint64_t offset_of(const struct parser *p)
{
    return (uint64_t)(p->in.p - p->start);
}

static void set_what(struct parser *p, const char *kind, struct slice name)
{
    snprintf(p->what, sizeof(p->what), "%s \"%s\"", kind, gguf_show(name).text);
}

static void set_what_number(struct parser *p, const char *kind, size_t i, uint64_t n)
{
    p->what_at = offset_of(p);
    snprintf(p->what, sizeof(p->what), "%s %zu of %llu", kind, i + 1, (unsigned long long)n);
}

/* "WHAT at offset N: " and the sentence; returns status. */
static int refuse(struct parser *p, int status, const char *fmt, ...) PRINTF_LIKE(3, 4);

static int refuse(struct parser *p, int status, const char *fmt, ...)
{
    char sentence[REALM_ERROR_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(sentence, sizeof(sentence), fmt, args);
    va_end(args);
    return err_set(p->err, status, "%s at offset %llu: %s", p->what, (unsigned long long)p->what_at,
                   sentence);
}

/* Asks for n more bytes: 0, GGUF_MORE or an error. */
static int need(struct parser *p, uint64_t n)
{
    uint64_t at = offset_of(p), left = p->file_size - at;
    if (n > left)
        return err_set(
            p->err, REALM_E_FORMAT,
            "the file is cut short or damaged: it ends at offset %llu, within %s at offset %llu",
            (unsigned long long)p->file_size, p->what, (unsigned long long)p->what_at);
    if (n > (uint64_t)GGUF_HEADER_MAX - at)
        return refuse(p, REALM_E_LIMIT, "the header is longer than the limit of %d bytes",
                      GGUF_HEADER_MAX);
    return n > bytes_left(&p->in) ? GGUF_MORE : 0;
}

/* Refuses a count that the rest of the file cannot hold, at item_bytes or more
 * for each, before anything is allocated for it. */
static int need_items(struct parser *p, uint64_t n, uint64_t item_bytes, const char *of)
{
    uint64_t left = p->file_size - offset_of(p);
    if (n > left / item_bytes)
        return err_set(p->err, REALM_E_FORMAT,
                       "the file is cut short or damaged: %s at offset %llu claims %llu %s, and "
                       "%llu bytes are left",
                       p->what, (unsigned long long)p->what_at, (unsigned long long)n, of,
                       (unsigned long long)left);
    return 0;
}

static int take_u32(struct parser *p, uint32_t *out)
{
    int status = need(p, 4);
    return status ? status : rd_u32(&p->in, out) ? 0 : GGUF_MORE;
}

static int take_u64(struct parser *p, uint64_t *out)
{
    int status = need(p, 8);
    return status ? status : rd_u64(&p->in, out) ? 0 : GGUF_MORE;
}

static int take_slice(struct parser *p, uint64_t n, struct slice *out)
{
    int status = need(p, n);
    return status ? status : rd_slice(&p->in, n, out) ? 0 : GGUF_MORE;
}

static int take_string(struct parser *p, struct slice *out)
{
    uint64_t n;
    int status = take_u64(p, &n);
    if (status)
        return status;
    status = need_items(p, n, 1, "bytes of text");
    if (status)
        return status;
    if (n > GGUF_STRING_MAX)
        return refuse(p, REALM_E_LIMIT, "a text of %llu bytes, the limit is %d",
                      (unsigned long long)n, GGUF_STRING_MAX);
    return take_slice(p, n, out);
}

/* A key or a tensor's name. */
static int take_name(struct parser *p, struct slice *out)
{
    int status = take_string(p, out);
    if (status)
        return status;
    if (out->n == 0)
        return refuse(p, REALM_E_FORMAT, "the name is empty");
    if (out->n > NAME_BYTES_MAX)
        return refuse(p, REALM_E_FORMAT, "a name of %zu bytes, the limit is %d", out->n,
                      NAME_BYTES_MAX);
    if (memchr(out->p, 0, out->n))
        return refuse(p, REALM_E_FORMAT, "the name has a NUL byte");
    if (!utf8_valid(out->p, out->n))
        return refuse(p, REALM_E_FORMAT, "the name is not UTF-8");
    return 0;
}

static int check_bools(struct parser *p, struct slice data)
{
    for (size_t i = 0; i < data.n; i++) {
        if (data.p[i] > 1)
            return refuse(p, REALM_E_FORMAT, "a bool is 0 or 1, not %u", data.p[i]);
    }
    return 0;
}

static int take_strings(struct parser *p, uint64_t n)
{
    struct slice text;
    int status = 0;
    for (uint64_t i = 0; i < n && !status; i++)
        status = take_string(p, &text);
    return status;
}

static int take_array(struct parser *p, struct gguf_value *v)
{
    uint32_t type = 0;
    int status = take_u32(p, &type);
    if (status)
        return status;
    if (type == GGUF_ARRAY)
        return refuse(p, REALM_E_FORMAT, "arrays of arrays are not accepted");
    if (type >= GGUF_TYPES)
        return refuse(p, REALM_E_FORMAT, "unknown item type %u", type);
    status = take_u64(p, &v->count);
    if (status)
        return status;
    v->item_type = (enum gguf_type)type;
    size_t item_bytes = gguf_type_bytes(type);
    status = need_items(p, v->count, item_bytes ? item_bytes : 8, "items");
    if (status)
        return status;
    if (v->count > GGUF_ARRAY_MAX)
        return refuse(p, REALM_E_LIMIT, "an array of %llu items, the limit is %d",
                      (unsigned long long)v->count, GGUF_ARRAY_MAX);
    const uint8_t *first = p->in.p;
    if (type == GGUF_STRING)
        status = take_strings(p, v->count);
    else
        status = take_slice(p, v->count * item_bytes, &v->data);
    if (!status)
        v->data = (struct slice){first, (size_t)(p->in.p - first)};
    return status || type != GGUF_BOOL ? status : check_bools(p, v->data);
}

static int take_payload(struct parser *p, struct gguf_value *v)
{
    if (v->type == GGUF_ARRAY)
        return take_array(p, v);
    const uint8_t *first = p->in.p;
    int status = v->type == GGUF_STRING ? take_strings(p, 1)
                                        : take_slice(p, gguf_type_bytes(v->type), &v->data);
    if (!status)
        v->data = (struct slice){first, (size_t)(p->in.p - first)};
    return status || v->type != GGUF_BOOL ? status : check_bools(p, v->data);
}

static int check_alignment(struct parser *p, const struct gguf_value *v)
{
    if (v->type != GGUF_U32)
        return refuse(p, REALM_E_FORMAT, "has type %s, want u32", gguf_type_name(v->type));
    uint32_t alignment;
    memcpy(&alignment, v->data.p, 4);
    if (alignment < GGUF_ALIGNMENT_MIN || (alignment & (alignment - 1)))
        return refuse(p, REALM_E_FORMAT, "%u is not a power of two of at least %d", alignment,
                      GGUF_ALIGNMENT_MIN);
    p->g->alignment = alignment;
    return 0;
}

static int put_name(struct parser *p, struct map *map, struct slice name, size_t i)
{
    int status = map_put(map, name, cast_u32(i));
    if (status > 0)
        return refuse(p, REALM_E_FORMAT, "the name occurs twice");
    return status ? err_nomem(p->err, p->what) : 0;
}

static int take_value(struct parser *p, size_t i)
{
    struct gguf_value *v = &p->g->values[i];
    set_what_number(p, "key", i, p->n_values);
    *v = (struct gguf_value){.count = 1, .offset = p->what_at};
    int status = take_name(p, &v->key);
    if (status)
        return status;
    set_what(p, "key", v->key);
    uint32_t type = 0;
    status = take_u32(p, &type);
    if (status)
        return status;
    if (type >= GGUF_TYPES)
        return refuse(p, REALM_E_FORMAT, "unknown type %u", type);
    v->type = v->item_type = (enum gguf_type)type;
    status = take_payload(p, v);
    if (!status && slice_is(v->key, GGUF_ALIGNMENT_KEY))
        status = check_alignment(p, v);
    return status ? status : put_name(p, &p->g->value_map, v->key, i);
}

static int take_dims(struct parser *p, struct gguf_tensor *t)
{
    int status = take_u32(p, &t->n_dims);
    if (status)
        return status;
    if (t->n_dims < 1 || t->n_dims > GGUF_DIMS_MAX)
        return refuse(p, REALM_E_FORMAT, "has %u dimensions, want 1 to %d", t->n_dims,
                      GGUF_DIMS_MAX);
    uint64_t items = 1;
    for (uint32_t i = 0; i < GGUF_DIMS_MAX; i++) {
        t->dims[i] = 1;
        if (i < t->n_dims && (status = take_u64(p, &t->dims[i])))
            return status;
        if (t->dims[i] == 0)
            return refuse(p, REALM_E_FORMAT, "dimension %u is 0", i);
        if (!ckd_mul_u64(items, t->dims[i], &items) || items > INT64_MAX)
            return refuse(p, REALM_E_FORMAT, "the product of its dimensions overflows");
    }
    return 0;
}

/* The size in bytes from type and dimensions. */
static int size_tensor(struct parser *p, struct gguf_tensor *t)
{
    const struct dtype_info *info = dtype_info(t->dtype);
    if (!info)
        return refuse(p, REALM_E_FORMAT, "unknown tensor type %u", t->dtype);
    if (t->dims[0] % info->block_items)
        return refuse(p, REALM_E_FORMAT, "rows of %llu items are no whole blocks of %u (%s)",
                      (unsigned long long)t->dims[0], info->block_items, info->name);
    if (!dtype_row_bytes(t->dtype, t->dims[0], &t->bytes) ||
        !ckd_mul_u64(t->bytes, t->dims[1], &t->bytes) ||
        !ckd_mul_u64(t->bytes, t->dims[2], &t->bytes) ||
        !ckd_mul_u64(t->bytes, t->dims[3], &t->bytes))
        return refuse(p, REALM_E_FORMAT, "its size in bytes overflows");
    return 0;
}

static int take_tensor(struct parser *p, size_t i)
{
    struct gguf_tensor *t = &p->g->tensors[i];
    *t = (struct gguf_tensor){0};
    set_what_number(p, "tensor", i, p->n_tensors);
    int status = take_name(p, &t->name);
    if (status)
        return status;
    set_what(p, "tensor", t->name);
    status = take_dims(p, t);
    if (!status)
        status = take_u32(p, &t->dtype);
    if (!status)
        status = size_tensor(p, t);
    if (!status)
        status = take_u64(p, &t->offset);
    if (status)
        return status;
    if (t->offset % p->g->alignment)
        return refuse(p, REALM_E_FORMAT, "its data offset %llu is no multiple of %llu",
                      (unsigned long long)t->offset, (unsigned long long)p->g->alignment);
    return put_name(p, &p->g->tensor_map, t->name, i);
}

/* Turns offsets within the data into offsets in the file. */
static int place_tensor(struct parser *p, struct gguf_tensor *t)
{
    uint64_t end = 0, padded;
    set_what(p, "tensor", t->name);
    p->what_at = (uint64_t)(t->name.p - p->start) - 8;
    if (!ckd_add_u64(t->offset, p->g->data_offset, &t->offset) ||
        !ckd_add_u64(t->offset, t->bytes, &end) || !ckd_align_u64(end, p->g->alignment, &padded))
        return refuse(p, REALM_E_FORMAT, "its end in the file overflows");
    if (end > p->file_size)
        return err_set(p->err, REALM_E_FORMAT,
                       "the file is cut short or damaged: it ends at offset %llu, and %s at %llu",
                       (unsigned long long)p->file_size, p->what, (unsigned long long)end);
    return 0;
}

static int by_offset(const void *a, const void *b)
{
    const struct gguf_tensor *const *x = a, *const *y = b;
    return ((*x)->offset > (*y)->offset) - ((*x)->offset < (*y)->offset);
}

static int check_overlap(struct parser *p)
{
    size_t n = p->g->n_tensors;
    const struct gguf_tensor **sorted = mem_array(n, sizeof(const struct gguf_tensor *));
    if (!sorted)
        return err_nomem(p->err, "the order of tensors");
    for (size_t i = 0; i < n; i++)
        sorted[i] = &p->g->tensors[i];
    qsort(sorted, n, sizeof(*sorted), by_offset);
    int status = 0;
    for (size_t i = 1; i < n && !status; i++) {
        if (sorted[i - 1]->offset + sorted[i - 1]->bytes <= sorted[i]->offset)
            continue;
        set_what(p, "tensor", sorted[i]->name);
        p->what_at = (uint64_t)(sorted[i]->name.p - p->start) - 8;
        status = refuse(p, REALM_E_FORMAT, "its data overlaps that of tensor \"%s\"",
                        gguf_show(sorted[i - 1]->name).text);
    }
    mem_free(sorted);
    return status;
}

static int check_version(struct parser *p, uint32_t version)
{
    if (version == 2 || version == 3)
        return 0;
    if (version == 1)
        return refuse(p, REALM_E_FORMAT, "GGUF version 1 is too old; convert the file anew");
    if (version == 1u << 24 || version == 2u << 24 || version == 3u << 24)
        return refuse(p, REALM_E_FORMAT, "the file is big endian, which is not read");
    return refuse(p, REALM_E_FORMAT, "GGUF version %u is unknown; versions 2 and 3 are read",
                  version);
}

static int check_counts(struct parser *p)
{
    int status = need_items(p, p->n_tensors, TENSOR_BYTES_MIN, "tensors");
    if (!status)
        status = need_items(p, p->n_values, VALUE_BYTES_MIN, "keys");
    if (status)
        return status;
    if (p->n_tensors > GGUF_TENSORS_MAX)
        return refuse(p, REALM_E_LIMIT, "%llu tensors, the limit is %d",
                      (unsigned long long)p->n_tensors, GGUF_TENSORS_MAX);
    if (p->n_values > GGUF_KV_MAX)
        return refuse(p, REALM_E_LIMIT, "%llu keys, the limit is %d",
                      (unsigned long long)p->n_values, GGUF_KV_MAX);
    return 0;
}

static int take_head(struct parser *p)
{
    snprintf(p->what, sizeof(p->what), "the file's head");
    struct slice magic;
    if (p->file_size == 0)
        return err_set(p->err, REALM_E_FORMAT, "the file is empty");
    if (memcmp(p->in.p, "GGUF", min_size(bytes_left(&p->in), 4)) != 0)
        return err_set(p->err, REALM_E_FORMAT, "no GGUF file: it does not begin with GGUF");
    int status = take_slice(p, 4, &magic);
    if (!status)
        status = take_u32(p, &p->g->version);
    if (!status)
        status = check_version(p, p->g->version);
    if (!status)
        status = take_u64(p, &p->n_tensors);
    if (!status)
        status = take_u64(p, &p->n_values);
    return status ? status : check_counts(p);
}

static int make_room(struct parser *p)
{
    struct gguf *g = p->g;
    g->n_values = (size_t)p->n_values;
    g->n_tensors = (size_t)p->n_tensors;
    g->values = mem_array(g->n_values, sizeof(*g->values));
    g->tensors = mem_array(g->n_tensors, sizeof(*g->tensors));
    if (!g->values || !g->tensors)
        return err_nomem(p->err, "the header's tables");
    int status = map_init(&g->value_map, g->n_values);
    if (!status)
        status = map_init(&g->tensor_map, g->n_tensors);
    return status ? err_set(p->err, status, "no room for the header's names") : 0;
}

static int parse(struct parser *p)
{
    int status = take_head(p);
    if (!status)
        status = make_room(p);
    for (size_t i = 0; !status && i < p->g->n_values; i++)
        status = take_value(p, i);
    for (size_t i = 0; !status && i < p->g->n_tensors; i++)
        status = take_tensor(p, i);
    if (status)
        return status;
    if (!ckd_align_u64(offset_of(p), p->g->alignment, &p->g->data_offset))
        return refuse(p, REALM_E_FORMAT, "the header's end overflows");
    for (size_t i = 0; !status && i < p->g->n_tensors; i++)
        status = place_tensor(p, &p->g->tensors[i]);
    return status ? status : check_overlap(p);
}

int gguf_parse(struct gguf **out, const void *data, size_t n, uint64_t file_size,
               struct realm_error *err)
{
    ASSERT(n <= file_size);
    *out = NULL;
    struct parser p = {
        .start = data, .in = bytes_from(data, n), .file_size = file_size, .err = err};
    p.g = mem_zalloc(sizeof(*p.g));
    if (!p.g)
        return err_nomem(err, "a GGUF header");
    p.g->alignment = GGUF_ALIGNMENT_DEFAULT;
    int status = parse(&p);
    if (status)
        gguf_close(p.g);
    else
        *out = p.g;
    return status;
}

void gguf_close(struct gguf *g)
{
    if (!g)
        return;
    map_free(&g->value_map);
    map_free(&g->tensor_map);
    mem_free(g->values);
    mem_free(g->tensors);
    mem_free(g);
}
