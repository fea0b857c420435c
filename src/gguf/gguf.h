/* gguf/gguf.h - the header of a GGUF file as checked views.
 *
 * gguf_parse walks the bytes once and checks every number: counts against the
 * bytes that are left, sizes with overflow-safe arithmetic, offsets against the
 * file's size.  What it hands out afterwards needs no further check of bounds.
 * It keeps views into the bytes it was given, which the caller keeps alive.
 *
 * Format: versions 2 and 3, little endian
 * (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md). */
#ifndef GGUF_GGUF_H
#define GGUF_GGUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/compiler.h"
#include "realm/status.h"

enum gguf_type {
    GGUF_U8 = 0,
    GGUF_I8 = 1,
    GGUF_U16 = 2,
    GGUF_I16 = 3,
    GGUF_U32 = 4,
    GGUF_I32 = 5,
    GGUF_F32 = 6,
    GGUF_BOOL = 7,
    GGUF_STRING = 8,
    GGUF_ARRAY = 9,
    GGUF_U64 = 10,
    GGUF_I64 = 11,
    GGUF_F64 = 12,
    GGUF_TYPES
};

enum { GGUF_DIMS_MAX = 4 };

struct gguf_value {
    struct slice key; /* UTF-8, no NUL, not empty */
    enum gguf_type type;
    enum gguf_type item_type; /* of an array */
    uint64_t count;           /* items of an array, else 1 */
    struct slice data;        /* the value's bytes; strings with their u64 lengths */
    uint64_t offset;          /* of the key in the file, for messages */
};

struct gguf_tensor {
    struct slice name;
    uint32_t dtype; /* a number dtype_info() knows; it may still not run */
    uint32_t n_dims;
    uint64_t dims[GGUF_DIMS_MAX]; /* dims[0] is the row's length; unused ones are 1 */
    uint64_t bytes;
    uint64_t offset; /* from the start of the part's file; checked against its size */
    uint32_t part;   /* which file of a split model, from 0 */
};

struct gguf; /* the parsed header of one file */

enum { GGUF_MORE = 1 };

/* Parses the header at the start of data, n bytes of a file of file_size bytes.
 * Returns 0; GGUF_MORE when the header goes on beyond n < file_size (call again
 * with more); or REALM_E_FORMAT with the offset, key or tensor, REALM_E_NOMEM,
 * REALM_E_LIMIT.  *out is NULL unless 0. */
MUST_USE int gguf_parse(struct gguf **out, const void *data, size_t n, uint64_t file_size,
                        struct realm_error *err);
void gguf_close(struct gguf *g);

uint32_t gguf_version(const struct gguf *g);
uint64_t gguf_alignment(const struct gguf *g);
uint64_t gguf_data_offset(const struct gguf *g); /* where tensor data begins */
size_t gguf_values(const struct gguf *g);
const struct gguf_value *gguf_value(const struct gguf *g, size_t i);
size_t gguf_tensors(const struct gguf *g);
const struct gguf_tensor *gguf_tensor(const struct gguf *g, size_t i);

/* By name; NULL when there is none. */
const struct gguf_value *gguf_find(const struct gguf *g, const char *key);
const struct gguf_tensor *gguf_find_tensor(const struct gguf *g, const char *name);

/* Typed reads.  Each returns 0 and sets *out; REALM_E_NOT_FOUND, leaving *out
 * alone (so that it may hold a default) and err untouched, when the key is
 * absent; REALM_E_FORMAT "key X has type Y, want Z" for another type.  gguf_u32
 * takes every integer type whose value fits. */
MUST_USE int gguf_get_u32(const struct gguf *g, const char *key, uint32_t *out,
                          struct realm_error *err);
MUST_USE int gguf_get_f32(const struct gguf *g, const char *key, float *out,
                          struct realm_error *err);
MUST_USE int gguf_get_bool(const struct gguf *g, const char *key, bool *out,
                           struct realm_error *err);
MUST_USE int gguf_get_string(const struct gguf *g, const char *key, struct slice *out,
                             struct realm_error *err);
/* An array of want items (GGUF_STRING: walk it with gguf_next_string; a number
 * type: *out->data is count items packed).  */
MUST_USE int gguf_get_array(const struct gguf *g, const char *key, enum gguf_type want,
                            const struct gguf_value **out, struct realm_error *err);

/* The next string of an array of strings; *it starts as bytes_from(data).
 * Cannot fail on a parsed file. */
struct slice gguf_next_string(struct bytes *it);

const char *gguf_type_name(enum gguf_type type);

#endif
