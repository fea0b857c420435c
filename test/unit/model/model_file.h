/* test/unit/model/model_file.h - small random models as GGUF files in memory, whole or
 * spoilt in one place: Llama's form, or BERT's. */
#ifndef TEST_MODEL_FILE_H
#define TEST_MODEL_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gguf/gguf.h"
#include "tensor/dtype.h"

enum { KEY_AS_IS = -1, KEY_ABSENT = -2 };

struct model_spec {
    uint32_t width, ffn, layers, heads, kv_heads, vocab, context;
    enum dtype type; /* of all matrices */
    bool own_output;
    bool rope_factors;
    bool encoder; /* BERT's form; heads share no keys */
    uint64_t seed;

    /* A key written with another type or value, or not at all. */
    const char *key;
    int key_type; /* an enum gguf_type or one of the above */
    double key_number;
    const char *key_text;

    /* A tensor left out, or with another shape, type or name. */
    const char *tensor;
    bool tensor_absent;
    uint64_t tensor_rows; /* 0: as is */
    const char *tensor_name;
    int tensor_type; /* 0: as is, else a dtype + 1 */

    const char *extra_tensor; /* one more, F32 of one item */

    /* A NaN: in the embedding of this token (0: none), which wants F32. */
    uint32_t nan_token;
    bool nan_norm; /* in the second layer's attention norm */
};

/* A model of 2 layers, heads sharing keys, that all types fit. */
struct model_spec model_spec_default(void);

/* The file's bytes, to be freed with free(). */
uint8_t *model_file_make(const struct model_spec *s, size_t *n);

#endif
