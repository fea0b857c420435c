/* The GGUF parser over any bytes: whatever it accepts is walked to its ends.
 *
 * The parse is done twice, over all bytes and over a prefix that claims the same
 * file size, which may ask for more but may not disagree. */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "gguf/file.h"

static volatile uint64_t sink;

static void walk_value(const struct gguf *g, const struct gguf_value *v)
{
    for (size_t i = 0; i < v->data.n; i++)
        sink += v->data.p[i];
    struct bytes it = bytes_from(v->data.p, v->data.n);
    for (uint64_t i = 0; v->item_type == GGUF_STRING && i < v->count; i++)
        sink += gguf_next_string(&it).n;

    char *key = mem_strndup((const char *)v->key.p, v->key.n);
    ASSERT(key && gguf_find(g, key) == v);
    struct realm_error err;
    uint32_t u;
    float f;
    bool b;
    struct slice s;
    const struct gguf_value *array;
    for (int type = 0; type < GGUF_TYPES; type++)
        sink += gguf_get_array(g, key, (enum gguf_type)type, &array, &err) == 0;
    sink += gguf_get_u32(g, key, &u, &err) == 0;
    sink += gguf_get_f32(g, key, &f, &err) == 0;
    sink += gguf_get_bool(g, key, &b, &err) == 0;
    sink += gguf_get_string(g, key, &s, &err) == 0;
    mem_free(key);
}

static void walk_tensor(const struct gguf_file *file, const struct gguf_tensor *t)
{
    uint8_t *data = mem_alloc(t->bytes);
    struct realm_error err;
    ASSERT(data && gguf_file_read(file, t, 0, data, t->bytes, &err) == 0);
    for (uint64_t i = 0; i < t->bytes; i++)
        sink += data[i];
    mem_free(data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct gguf *g;
    struct gguf_file *file;
    struct realm_error err = {0};
    uint64_t live = mem_live();
    int status = gguf_parse(&g, data, n, n, &err);
    ASSERT(status == 0 || (status < 0 && err.message[0]));
    struct gguf *half;
    int half_status = gguf_parse(&half, data, n / 2, n, &err);
    ASSERT(half_status == GGUF_MORE || half_status == status);
    gguf_close(half);
    if (status == 0) {
        for (size_t i = 0; i < gguf_values(g); i++)
            walk_value(g, gguf_value(g, i));
    }
    gguf_close(g);
    if (gguf_file_from_memory(&file, data, n, &err) == 0) {
        ASSERT(status == 0);
        for (size_t i = 0; i < gguf_file_tensors(file); i++)
            walk_tensor(file, gguf_file_tensor(file, i));
        gguf_file_close(file);
    }
    ASSERT(mem_live() == live);
    return 0;
}
