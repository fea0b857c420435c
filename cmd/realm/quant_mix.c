#include "quant_mix.h"

#include <string.h>
#include <strings.h>

static const struct quant_mix mixes[] = {
    {"F32", DTYPE_F32, DTYPE_F32, 0},     {"F16", DTYPE_F16, DTYPE_F16, 1},
    {"BF16", DTYPE_BF16, DTYPE_BF16, 32}, {"Q8_0", DTYPE_Q8_0, DTYPE_Q8_0, 7},
    {"Q4_0", DTYPE_Q4_0, DTYPE_Q4_0, 2},  {"Q4_K", DTYPE_Q4_K, DTYPE_Q4_K, 14},
    {"Q6_K", DTYPE_Q6_K, DTYPE_Q6_K, 18}, {"Q4_K_M", DTYPE_Q4_K, DTYPE_Q6_K, 15},
};

const struct quant_mix *quant_mix_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(mixes); i++)
        if (strcasecmp(mixes[i].name, name) == 0)
            return &mixes[i];
    return NULL;
}

/* Reads the N of "blk.N." and returns what follows, n 0 and NULL for others. */
static const char *layer_part(struct slice name, uint32_t *layer, size_t *n)
{
    *layer = 0;
    *n = 0;
    if (name.n < 4 || memcmp(name.p, "blk.", 4) != 0)
        return NULL;
    size_t i = 4;
    for (; i < name.n && name.p[i] >= '0' && name.p[i] <= '9' && *layer < 1u << 20; i++)
        *layer = *layer * 10 + name.p[i] - '0';
    if (i == name.n || name.p[i] != '.')
        return NULL;
    *n = name.n - i - 1;
    return (const char *)name.p + i + 1;
}

static uint32_t layers_of(const struct gguf_file *f)
{
    uint32_t layers = 0, layer;
    size_t n;
    for (size_t i = 0; i < gguf_file_tensors(f); i++)
        if (layer_part(gguf_file_tensor(f, i)->name, &layer, &n) && layer >= layers)
            layers = layer + 1;
    return layers;
}

static bool is_part(const char *part, size_t n, const char *want)
{
    return part && n == strlen(want) && memcmp(part, want, n) == 0;
}

static bool matters_most(const struct gguf_file *f, const struct gguf_tensor *t)
{
    if (slice_is(t->name, "output.weight"))
        return true;
    if (slice_is(t->name, "token_embd.weight"))
        return !gguf_file_find(f, "output.weight");
    uint32_t layer, layers = layers_of(f);
    size_t n;
    const char *part = layer_part(t->name, &layer, &n);
    if (!is_part(part, n, "attn_v.weight") && !is_part(part, n, "ffn_down.weight"))
        return false;
    uint32_t eighth = layers / 8;
    return layer < eighth || layer >= 7 * layers / 8 || (layer - eighth) % 3 == 2;
}

enum dtype quant_mix_type(const struct quant_mix *mix, const struct gguf_file *f,
                          const struct gguf_tensor *t)
{
    uint32_t layer;
    size_t n;
    const char *part = layer_part(t->name, &layer, &n);
    if (t->n_dims < 2 || is_part(part, n, "ffn_gate_inp.weight"))
        return DTYPE_F32;
    enum dtype type =
        mix->more_bits != mix->type && matters_most(f, t) ? mix->more_bits : mix->type;
    if (t->dims[0] % dtype_info(type)->block_items == 0)
        return type;
    return t->dims[0] % dtype_info(DTYPE_Q8_0)->block_items == 0 ? DTYPE_Q8_0 : DTYPE_F16;
}
