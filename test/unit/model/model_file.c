#include "model_file.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensor/quant.h"

enum { FILE_MAX = 16 << 20, ALIGNMENT = 32, RECORDS_MAX = 64 };

struct record {
    const char *name;
    enum dtype type;
    uint64_t k, rows;
};

struct maker {
    const struct model_spec *s;
    uint8_t *p;
    size_t n;
    uint64_t keys;
    bool said; /* the key that is to have another value was written */
    struct record records[RECORDS_MAX];
    char names[RECORDS_MAX][64];
    size_t n_records;
    uint64_t drawn;
};

struct model_spec model_spec_default(void)
{
    return (struct model_spec){.width = 256,
                               .ffn = 1024, // 8 rows of it are cut into strips
                               .layers = 2,
                               .heads = 4,
                               .kv_heads = 2,
                               .vocab = 203,
                               .context = 256,
                               .type = DTYPE_F32,
                               .seed = 1,
                               .key_type = KEY_AS_IS};
}

static void put(struct maker *m, const void *p, size_t n)
{
    assert(m->n + n <= FILE_MAX);
    memcpy(m->p + m->n, p, n);
    m->n += n;
}

static void put_u32(struct maker *m, uint32_t v)
{
    put(m, &v, sizeof(v));
}

static void put_u64(struct maker *m, uint64_t v)
{
    put(m, &v, sizeof(v));
}

static void put_string(struct maker *m, const char *text)
{
    put_u64(m, strlen(text));
    put(m, text, strlen(text));
}

/* The number as the type has it; a string or array stands in for one. */
static void put_number(struct maker *m, int type, double number)
{
    static const uint8_t sizes[GGUF_TYPES] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    float f32 = (float)number;
    int64_t whole = (int64_t)number;
    if (type == GGUF_F32)
        put(m, &f32, sizeof(f32));
    else if (type == GGUF_F64)
        put(m, &number, sizeof(number));
    else if (type == GGUF_STRING)
        put_string(m, "1");
    else if (type == GGUF_ARRAY) {
        put_u32(m, GGUF_U32);
        put_u64(m, 1);
        put_u32(m, (uint32_t)whole);
    } else if (type == GGUF_BOOL) {
        put(m, &(uint8_t){1}, 1);
    } else {
        put(m, &whole, sizes[type]);
    }
}

static void put_key(struct maker *m, const char *key, int type, double number, const char *text)
{
    const struct model_spec *s = m->s;
    if (s->key && strcmp(s->key, key) == 0 && s->key_type != KEY_AS_IS) {
        m->said = true;
        if (s->key_type == KEY_ABSENT)
            return;
        type = s->key_type;
        number = s->key_number;
        text = s->key_text;
    }
    put_string(m, key);
    put_u32(m, (uint32_t)type);
    if (type == GGUF_STRING && text)
        put_string(m, text);
    else
        put_number(m, type, number);
    m->keys++;
}

/* A key of the architecture's. */
static void put_own(struct maker *m, const char *name, int type, double number)
{
    char key[64];
    snprintf(key, sizeof(key), "%s.%s", m->s->encoder ? "bert" : "llama", name);
    put_key(m, key, type, number, NULL);
}

static void put_keys(struct maker *m)
{
    const struct model_spec *s = m->s;
    const struct {
        const char *key;
        uint32_t value;
    } ints[] = {
        {"context_length", s->context},     {"embedding_length", s->width},
        {"block_count", s->layers},         {"feed_forward_length", s->ffn},
        {"attention.head_count", s->heads}, {"attention.head_count_kv", s->kv_heads},
        {"vocab_size", s->vocab},
    };
    put_key(m, "general.architecture", GGUF_STRING, 0, s->encoder ? "bert" : "llama");
    put_key(m, "general.name", GGUF_STRING, 0, "random");
    for (size_t i = 0; i < sizeof(ints) / sizeof(ints[0]); i++)
        put_own(m, ints[i].key, GGUF_U32, ints[i].value);
    put_own(m, s->encoder ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon",
            GGUF_F32, 1e-5);
    if (!s->encoder)
        put_own(m, "rope.freq_base", GGUF_F32, 10000);
    if (s->key && !m->said && s->key_type >= 0) // one that is not written by default
        put_key(m, s->key, GGUF_U32, 0, NULL);
}

static void add_tensor(struct maker *m, const char *name, enum dtype type, uint64_t k,
                       uint64_t rows)
{
    const struct model_spec *s = m->s;
    bool spoilt = s->tensor && strcmp(s->tensor, name) == 0;
    if (spoilt && s->tensor_absent)
        return;
    if (spoilt && s->tensor_rows)
        rows = s->tensor_rows;
    if (spoilt && s->tensor_type)
        type = (enum dtype)(s->tensor_type - 1);
    assert(m->n_records < RECORDS_MAX);
    char *copy = m->names[m->n_records];
    snprintf(copy, sizeof(m->names[0]), "%s", spoilt && s->tensor_name ? s->tensor_name : name);
    m->records[m->n_records++] = (struct record){copy, type, k, rows};
}

/* A matrix (rows, k), or with rows 0 a vector of k; name ends a list. */
struct shape {
    const char *name;
    uint64_t k, rows;
};

static void add_shapes(struct maker *m, uint32_t layer, const struct shape *shapes)
{
    for (size_t i = 0; shapes[i].name; i++) {
        char name[64];
        snprintf(name, sizeof(name), "blk.%u.%s", layer, shapes[i].name);
        add_tensor(m, name, shapes[i].rows ? m->s->type : DTYPE_F32, shapes[i].k, shapes[i].rows);
    }
}

static void add_layer(struct maker *m, uint32_t layer)
{
    const struct model_spec *s = m->s;
    const uint64_t width = s->width, ffn = s->ffn, dim = width / s->heads;
    const uint64_t q = s->heads * dim, kv = s->kv_heads * dim;
    const struct shape llama[] = {
        {"attn_norm.weight", width, 0},   {"attn_q.weight", width, q},
        {"attn_k.weight", width, kv},     {"attn_v.weight", width, kv},
        {"attn_output.weight", q, width}, {"ffn_norm.weight", width, 0},
        {"ffn_gate.weight", width, ffn},  {"ffn_up.weight", width, ffn},
        {"ffn_down.weight", ffn, width},  {0},
    };
    const struct shape bert[] = {
        {"attn_q.weight", width, q},
        {"attn_q.bias", q, 0},
        {"attn_k.weight", width, kv},
        {"attn_k.bias", kv, 0},
        {"attn_v.weight", width, kv},
        {"attn_v.bias", kv, 0},
        {"attn_output.weight", q, width},
        {"attn_output.bias", width, 0},
        {"attn_output_norm.weight", width, 0},
        {"attn_output_norm.bias", width, 0},
        {"ffn_up.weight", width, ffn},
        {"ffn_up.bias", ffn, 0},
        {"ffn_down.weight", ffn, width},
        {"ffn_down.bias", width, 0},
        {"layer_output_norm.weight", width, 0},
        {"layer_output_norm.bias", width, 0},
        {0},
    };
    add_shapes(m, layer, s->encoder ? bert : llama);
}

static void add_globals(struct maker *m)
{
    const struct model_spec *s = m->s;
    add_tensor(m, "token_embd.weight", s->type, s->width, s->vocab);
    if (s->encoder) {
        add_tensor(m, "token_types.weight", DTYPE_F32, s->width, 2);
        add_tensor(m, "position_embd.weight", DTYPE_F32, s->width, s->context);
        add_tensor(m, "token_embd_norm.weight", DTYPE_F32, s->width, 0);
        add_tensor(m, "token_embd_norm.bias", DTYPE_F32, s->width, 0);
        return;
    }
    add_tensor(m, "output_norm.weight", DTYPE_F32, s->width, 0);
    if (s->own_output)
        add_tensor(m, "output.weight", s->type, s->width, s->vocab);
    if (s->rope_factors)
        add_tensor(m, "rope_freqs.weight", DTYPE_F32, s->width / s->heads / 2, 0);
}

static void add_tensors(struct maker *m)
{
    const struct model_spec *s = m->s;
    add_globals(m);
    for (uint32_t i = 0; i < s->layers; i++)
        add_layer(m, i);
    if (s->extra_tensor)
        add_tensor(m, s->extra_tensor, DTYPE_F32, 1, 0);
}

static uint64_t bytes_of(const struct record *r)
{
    uint64_t row;
    bool whole = dtype_row_bytes(r->type, r->k, &row);
    assert(whole);
    (void)whole;
    return row * (r->rows ? r->rows : 1);
}

static void put_records(struct maker *m)
{
    uint64_t offset = 0;
    for (size_t i = 0; i < m->n_records; i++) {
        const struct record *r = &m->records[i];
        put_string(m, r->name);
        put_u32(m, r->rows ? 2 : 1);
        put_u64(m, r->k);
        if (r->rows)
            put_u64(m, r->rows);
        put_u32(m, r->type);
        put_u64(m, offset);
        offset = (offset + bytes_of(r) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    }
}

/* SplitMix64 (Steele, Lea and Flood, 2014): models are made by the hundred. */
static float draw(struct maker *m)
{
    uint64_t z = (m->drawn += 0x9e3779b97f4a7c15u) + m->s->seed;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return (float)((double)(z >> 11) * 0x1p-52 - 1);
}

static bool is_bias(const struct record *r)
{
    return strstr(r->name, ".bias") != NULL;
}

/* Weights whose products keep about the size of what they are given. */
static void put_row(struct maker *m, const struct record *r, uint64_t row)
{
    const struct model_spec *s = m->s;
    float *values = malloc(r->k * sizeof(float));
    assert(values && m->n + bytes_of(r) <= FILE_MAX);
    float size = sqrtf(3.0f / (float)r->k);
    for (uint64_t i = 0; i < r->k; i++)
        values[i] = r->rows ? draw(m) * size : (is_bias(r) ? 0 : 1) + draw(m) / 4;
    if (s->nan_token && strcmp(r->name, "token_embd.weight") == 0 && row == s->nan_token)
        values[1] = NAN;
    if (s->nan_norm && strcmp(r->name, "blk.1.attn_norm.weight") == 0)
        values[3] = NAN;
    uint64_t bytes = bytes_of(r) / (r->rows ? r->rows : 1);
    if (r->type == DTYPE_F32) {
        memcpy(m->p + m->n, values, bytes);
    } else if (!dtype_info(r->type)->runs) {
        memset(m->p + m->n, 0, bytes);
    } else {
        int rc = quantize_row(r->type, values, m->p + m->n, r->k);
        assert(rc == 0);
        (void)rc;
    }
    m->n += bytes;
    free(values);
}

static void pad(struct maker *m)
{
    while (m->n % ALIGNMENT)
        m->p[m->n++] = 0;
}

uint8_t *model_file_make(const struct model_spec *s, size_t *n)
{
    static struct maker m;
    memset(&m, 0, sizeof(m));
    m.s = s;
    m.p = malloc(FILE_MAX + ALIGNMENT);
    assert(m.p);
    add_tensors(&m);
    put(&m, "GGUF", 4);
    put_u32(&m, 3);
    put_u64(&m, m.n_records);
    put_u64(&m, 0); // keys, counted below
    put_keys(&m);
    memcpy(m.p + 16, &m.keys, sizeof(m.keys));
    put_records(&m);
    pad(&m);
    for (size_t i = 0; i < m.n_records; i++) {
        const struct record *r = &m.records[i];
        for (uint64_t row = 0; row < (r->rows ? r->rows : 1); row++)
            put_row(&m, r, row);
        pad(&m);
    }
    *n = m.n;
    return m.p;
}
