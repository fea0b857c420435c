/* gguf/gguf_impl.h - what parse.c, get.c and their like share. */
#ifndef GGUF_GGUF_IMPL_H
#define GGUF_GGUF_IMPL_H

#include "base/map.h"
#include "gguf/gguf.h"

struct gguf {
    uint32_t version;
    uint64_t alignment;
    uint64_t data_offset;
    struct gguf_value *values;
    size_t n_values;
    struct map value_map; /* key -> index */
    struct gguf_tensor *tensors;
    size_t n_tensors;
    struct map tensor_map; /* name -> index */
};

/* A key or name as a message shows it: cut, and without control characters. */
struct gguf_shown {
    char text[72];
};
struct gguf_shown gguf_show(struct slice name);

/* Bytes of one item; 0 for strings, arrays and numbers that are no type. */
size_t gguf_type_bytes(uint32_t type);

#define GGUF_ALIGNMENT_KEY "general.alignment"
enum { GGUF_ALIGNMENT_DEFAULT = 32, GGUF_ALIGNMENT_MIN = 8 };

#endif
