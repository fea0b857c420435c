#include "quant_mix.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/ckd.h"

static const struct quant_mix mixes[] = {
    {"F32", DTYPE_F32, MIX_NONE, 0},        {"F16", DTYPE_F16, MIX_NONE, 1},
    {"BF16", DTYPE_BF16, MIX_NONE, 32},     {"Q8_0", DTYPE_Q8_0, MIX_NONE, 7},
    {"Q6_K", DTYPE_Q6_K, MIX_NONE, 18},     {"Q5_K_M", DTYPE_Q5_K, MIX_MORE, 17},
    {"Q5_K", DTYPE_Q5_K, MIX_NONE, 16},     {"Q5_1", DTYPE_Q5_1, MIX_NONE, 9},
    {"Q5_0", DTYPE_Q5_0, MIX_NONE, 8},      {"Q4_K_M", DTYPE_Q4_K, MIX_MORE, 15},
    {"Q4_K", DTYPE_Q4_K, MIX_NONE, 14},     {"Q4_1", DTYPE_Q4_1, MIX_NONE, 3},
    {"Q4_0", DTYPE_Q4_0, MIX_NONE, 2},      {"IQ4_NL", DTYPE_IQ4_NL, MIX_NONE, 25},
    {"IQ4_XS", DTYPE_IQ4_XS, MIX_NONE, 30}, {"MXFP4", DTYPE_MXFP4, MIX_NONE, 38},
    {"Q3_K_M", DTYPE_Q3_K, MIX_Q3, 12},     {"Q3_K", DTYPE_Q3_K, MIX_NONE, 11},
    {"Q2_K", DTYPE_Q2_K, MIX_NONE, 10},
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

static uint32_t count_layers(const struct gguf_file *f)
{
    uint32_t layers = 0, layer;
    size_t n;
    for (size_t i = 0; i < gguf_file_tensors(f); i++)
        if (layer_part(gguf_file_tensor(f, i)->name, &layer, &n) && layer >= layers)
            layers = layer + 1;
    return layers;
}

/* 0 where the header has no such number, or one for each layer. */
static uint32_t number_of(const struct gguf *g, struct slice arch, const char *what)
{
    char key[128];
    uint32_t number = 0;
    struct realm_error err;
    snprintf(key, sizeof(key), "%.*s.%s", (int)min_size(arch.n, 64), (const char *)arch.p, what);
    return gguf_get_u32(g, key, &number, &err) ? 0 : number;
}

void quant_model_read(struct quant_model *m, const struct gguf_file *f)
{
    const struct gguf *g = gguf_file_header(f);
    struct slice arch = {0};
    struct realm_error err;
    *m = (struct quant_model){.file = f, .layers = count_layers(f)};
    if (gguf_get_string(g, "general.architecture", &arch, &err))
        return; // a file of tensors alone has none
    uint32_t kv_heads = number_of(g, arch, "attention.head_count_kv");
    m->eight_experts = number_of(g, arch, "expert_count") == 8;
    m->wide = m->layers == 80 && kv_heads && kv_heads < number_of(g, arch, "attention.head_count");
}

static bool is_part(const char *part, size_t n, const char *want)
{
    return part && n == strlen(want) && memcmp(part, want, n) == 0;
}

/* Or a bias: experts' have two dimensions.  What an encoder adds to its embeddings is little
 * and read by the row. */
static bool is_weight(struct slice name)
{
    if (slice_is(name, "position_embd.weight") || slice_is(name, "token_types.weight"))
        return false;
    return name.n > 7 && memcmp(name.p + name.n - 7, ".weight", 7) == 0;
}

static bool is_output(const struct gguf_file *f, struct slice name)
{
    return slice_is(name, "output.weight") ||
           (slice_is(name, "token_embd.weight") && !gguf_file_find(f, "output.weight"));
}

/* Of the layers that get more bits: the first and the last eighth, and every third between. */
static bool is_more(uint32_t layer, uint32_t layers)
{
    uint32_t eighth = layers / 8;
    return layer < eighth || layer >= 7 * layers / 8 || (layer - eighth) % 3 == 2;
}

/* Of a layer, of its experts in one tensor or one by one, or of the one that all use. */
static bool is_down(const char *part, size_t n)
{
    static const char down[] = "ffn_down";
    return part && n >= sizeof(down) && memcmp(part, down, sizeof(down) - 1) == 0 &&
           is_weight((struct slice){(const uint8_t *)part, n});
}

static enum dtype more_type(const struct quant_mix *mix, const char *part, size_t n, bool more)
{
    if (is_part(part, n, "attn_qkv.weight"))
        return mix->type == DTYPE_Q4_K ? DTYPE_Q5_K : DTYPE_Q6_K;
    return (is_part(part, n, "attn_v.weight") || is_down(part, n)) && more ? DTYPE_Q6_K : mix->type;
}

static enum dtype q3_type(const char *part, size_t n, uint32_t layer, uint32_t layers)
{
    if (is_part(part, n, "attn_v.weight"))
        return layer < 2 ? DTYPE_Q5_K : DTYPE_Q4_K;
    if (is_down(part, n))
        return layer < layers / 16 ? DTYPE_Q5_K : DTYPE_Q4_K;
    if (is_part(part, n, "attn_output.weight") || is_part(part, n, "attn_qkv.weight"))
        return DTYPE_Q4_K;
    return DTYPE_Q3_K;
}

/* What models of some shapes have in place of type: more for what costs them little. */
static enum dtype type_of_shape(const struct quant_model *m, const char *part, size_t n,
                                enum dtype type)
{
    bool v = is_part(part, n, "attn_v.weight");
    if (m->eight_experts && (v || is_part(part, n, "attn_k.weight")))
        return DTYPE_Q8_0;
    if (m->eight_experts && is_part(part, n, "attn_output.weight"))
        return DTYPE_Q5_K;
    return m->wide && v && (type == DTYPE_Q3_K || type == DTYPE_Q4_K) ? DTYPE_Q5_K : type;
}

/* For a row of any length. */
static enum dtype wanted_type(const struct quant_mix *mix, const struct quant_model *m,
                              struct slice name)
{
    uint32_t layer;
    size_t n;
    const char *part = layer_part(name, &layer, &n);
    if (mix->rule == MIX_NONE)
        return mix->type;
    if (is_output(m->file, name))
        return DTYPE_Q6_K;
    enum dtype type = mix->rule == MIX_Q3 ? q3_type(part, n, layer, m->layers)
                                          : more_type(mix, part, n, is_more(layer, m->layers));
    return type_of_shape(m, part, n, type);
}

/* In blocks of 32 with about as many bits; the type itself when there is none. */
static enum dtype in_blocks_of_32(enum dtype type)
{
    switch (type) {
    case DTYPE_Q6_K:
        return DTYPE_Q8_0;
    case DTYPE_Q5_K:
        return DTYPE_Q5_1;
    case DTYPE_Q4_K:
        return DTYPE_Q5_0;
    case DTYPE_Q3_K:
    case DTYPE_Q2_K:
        return DTYPE_Q4_0;
    case DTYPE_IQ4_XS:
        return DTYPE_IQ4_NL;
    default:
        return type;
    }
}

enum dtype quant_mix_type(const struct quant_mix *mix, const struct quant_model *m,
                          const struct gguf_tensor *t)
{
    uint32_t layer;
    size_t n;
    const char *part = layer_part(t->name, &layer, &n);
    if (t->n_dims < 2 || is_part(part, n, "ffn_gate_inp.weight") || !is_weight(t->name))
        return DTYPE_F32;
    enum dtype type = wanted_type(mix, m, t->name);
    if (t->dims[0] % dtype_info(type)->block_items != 0)
        type = in_blocks_of_32(type);
    return t->dims[0] % dtype_info(type)->block_items == 0 ? type : DTYPE_F16;
}

const char *quant_mix_names(void)
{
    return "F32, F16, BF16, Q8_0, Q6_K, Q5_K_M, Q5_K, Q5_1, Q5_0, Q4_K_M, Q4_K, Q4_1, Q4_0, "
           "IQ4_NL, IQ4_XS, MXFP4, Q3_K_M, Q3_K and Q2_K";
}
