/* model/weights.c - from names to tensors: what a llama-shaped model consists
 * of, with the shape of each part. */
#include <stdio.h>
#include <string.h>

#include "base/ckd.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"
#include "model/model_internal.h"

enum { TENSOR_NAME_MAX = 64, GLOBALS = 4 /* of tensors outside layers, at most */ };

/* The sizes that shapes are made of. */
enum size_kind { ONE, WIDTH, FFN, VOCAB, Q_WIDTH, KV_WIDTH, ROPE_PAIRS };

struct part {
    const char *name;    /* within "blk.N." for those of a layer */
    size_t at;           /* in struct model_layer or struct model: a matrix or a float pointer */
    enum size_kind k;    /* length of a row */
    enum size_kind rows; /* ONE: a vector */
};

#define IN_LAYER(field) offsetof(struct model_layer, field)

static const struct part layer_parts[] = {
    {"attn_norm.weight", IN_LAYER(attn_norm), WIDTH, ONE},
    {"attn_q.weight", IN_LAYER(q), WIDTH, Q_WIDTH},
    {"attn_k.weight", IN_LAYER(k), WIDTH, KV_WIDTH},
    {"attn_v.weight", IN_LAYER(v), WIDTH, KV_WIDTH},
    {"attn_output.weight", IN_LAYER(o), Q_WIDTH, WIDTH},
    {"ffn_norm.weight", IN_LAYER(ffn_norm), WIDTH, ONE},
    {"ffn_gate.weight", IN_LAYER(gate), WIDTH, FFN},
    {"ffn_up.weight", IN_LAYER(up), WIDTH, FFN},
    {"ffn_down.weight", IN_LAYER(down), FFN, WIDTH},
};

static const struct part embed_part = {"token_embd.weight", 0, WIDTH, VOCAB};
static const struct part output_part = {"output.weight", 0, WIDTH, VOCAB};
static const struct part output_norm_part = {"output_norm.weight", 0, WIDTH, ONE};
static const struct part rope_part = {"rope_freqs.weight", 0, ROPE_PAIRS, ONE};

struct binding {
    struct weights *w;
    const struct gguf_file *file;
    struct model *model;
    struct realm_error *err;
};

static uint64_t size_of(const struct model_config *c, enum size_kind kind)
{
    switch (kind) {
    case ONE:
        return 1;
    case WIDTH:
        return c->width;
    case FFN:
        return c->ffn;
    case VOCAB:
        return c->vocab;
    case Q_WIDTH:
        return (uint64_t)c->heads * c->head_dim;
    case KV_WIDTH:
        return (uint64_t)c->kv_heads * c->head_dim;
    case ROPE_PAIRS:
        return c->rope_dim / 2;
    }
    return 0;
}

static int check_shape(const struct gguf_tensor *t, uint64_t k, uint64_t rows,
                       struct realm_error *err)
{
    if (t->dims[0] == k && t->dims[1] == rows && t->dims[2] == 1 && t->dims[3] == 1)
        return 0;
    return err_set(err, REALM_E_FORMAT, "tensor %.*s has shape %llux%llux%llux%llu, want %llux%llu",
                   (int)t->name.n, (const char *)t->name.p, (unsigned long long)t->dims[0],
                   (unsigned long long)t->dims[1], (unsigned long long)t->dims[2],
                   (unsigned long long)t->dims[3], (unsigned long long)k, (unsigned long long)rows);
}

/* Vectors are used as they are; they take F32 alone. */
static int check_type(const struct gguf_tensor *t, bool vector, struct realm_error *err)
{
    const struct dtype_info *info = dtype_info(t->dtype);
    if (info && (vector ? t->dtype == DTYPE_F32 : info->runs))
        return 0;
    return err_set(err, REALM_E_UNSUPPORTED, "tensor %.*s has type %s, which is not supported%s",
                   (int)t->name.n, (const char *)t->name.p, info ? info->name : "unknown",
                   vector ? " here (want F32)" : "");
}

static int add_bytes(struct weights *w, uint64_t bytes, size_t *at, struct realm_error *err)
{
    uint64_t padded;
    if (!ckd_align_u64(bytes, KERN_ALIGN, &padded) || !ckd_add_u64(w->bytes, padded, &padded) ||
        padded > SIZE_MAX)
        return err_set(err, REALM_E_FORMAT, "the weights take more bytes than there can be");
    *at = (size_t)w->bytes;
    w->bytes = padded;
    return 0;
}

static int describe_matrix(struct matrix *m, const struct gguf_tensor *t, uint64_t *bytes,
                           struct realm_error *err)
{
    m->type = gemm_type_of((enum dtype)t->dtype);
    m->k = (size_t)t->dims[0];
    m->rows = (size_t)t->dims[1];
    m->panels = (m->rows + PANEL_ROWS - 1) / PANEL_ROWS;
    m->panel_bytes = panel_bytes(m->type, m->k);
    if (!ckd_mul_u64(m->panels, m->panel_bytes, bytes))
        return err_set(err, REALM_E_FORMAT, "tensor %.*s is too large", (int)t->name.n,
                       (const char *)t->name.p);
    return 0;
}

/* dst: the struct matrix or the float pointer that the part is for. */
static int bind_tensor(struct binding *b, const struct part *part, const struct gguf_tensor *t,
                       void *dst)
{
    const struct model_config *c = &b->model->config;
    bool vector = part->rows == ONE;
    uint64_t bytes = t->bytes;
    int rc = check_shape(t, size_of(c, part->k), size_of(c, part->rows), b->err);
    if (!rc)
        rc = check_type(t, vector, b->err);
    if (!rc && !vector)
        rc = describe_matrix(dst, t, &bytes, b->err);
    struct weight *item = &b->w->items[b->w->n];
    if (!rc)
        rc = add_bytes(b->w, bytes, &item->at, b->err);
    if (rc)
        return rc;
    item->tensor = t;
    item->matrix = vector ? NULL : dst;
    item->vector = vector ? dst : NULL;
    b->w->n++;
    b->model->params += t->dims[0] * t->dims[1];
    b->model->file_bytes += t->bytes;
    return 0;
}

static int bind_named(struct binding *b, const struct part *part, const char *name, void *dst)
{
    const struct gguf_tensor *t = gguf_file_find(b->file, name);
    if (!t)
        return err_set(b->err, REALM_E_FORMAT, "tensor %s is missing", name);
    return bind_tensor(b, part, t, dst);
}

static int bind_layers(struct binding *b)
{
    for (uint32_t i = 0; i < b->model->config.layers; i++) {
        for (size_t j = 0; j < ARRAY_LEN(layer_parts); j++) {
            const struct part *part = &layer_parts[j];
            char name[TENSOR_NAME_MAX];
            snprintf(name, sizeof(name), "blk.%u.%s", i, part->name);
            int rc = bind_named(b, part, name, (char *)&b->model->layers[i] + part->at);
            if (rc)
                return rc;
        }
    }
    return 0;
}

/* The embedding's rows say how many tokens there are. */
static int settle_vocab(struct binding *b)
{
    struct model_config *c = &b->model->config;
    const struct gguf_tensor *t = gguf_file_find(b->file, embed_part.name);
    if (!t)
        return err_set(b->err, REALM_E_FORMAT, "tensor %s is missing", embed_part.name);
    if (t->dims[1] < 1 || t->dims[1] > MODEL_VOCAB_MAX)
        return err_set(b->err, REALM_E_FORMAT, "tensor %s has %llu rows, want 1 to %u",
                       embed_part.name, (unsigned long long)t->dims[1], MODEL_VOCAB_MAX);
    if (c->vocab && c->vocab != t->dims[1])
        return err_set(b->err, REALM_E_FORMAT, "tensor %s has %llu rows, want llama.vocab_size %u",
                       embed_part.name, (unsigned long long)t->dims[1], c->vocab);
    c->vocab = (uint32_t)t->dims[1];
    return 0;
}

static int bind_globals(struct binding *b)
{
    struct model *m = b->model;
    int rc = bind_named(b, &embed_part, embed_part.name, &m->embed);
    if (!rc)
        rc = bind_named(b, &output_norm_part, output_norm_part.name, &m->output_norm);
    const struct gguf_tensor *t = gguf_file_find(b->file, output_part.name);
    m->config.tied = !t;
    if (!rc && t)
        rc = bind_tensor(b, &output_part, t, &m->output);
    t = gguf_file_find(b->file, rope_part.name);
    m->config.rope_has_factors = t;
    if (!rc && t)
        rc = bind_tensor(b, &rope_part, t, &m->rope_factors);
    return rc;
}

static bool is_global(struct slice name)
{
    return slice_is(name, embed_part.name) || slice_is(name, output_part.name) ||
           slice_is(name, output_norm_part.name) || slice_is(name, rope_part.name);
}

/* "blk.N.PART" with N below layers, N spelled as we spell it. */
static bool is_of_layer(struct slice name, uint32_t layers)
{
    for (size_t j = 0; j < ARRAY_LEN(layer_parts); j++) {
        struct slice part = slice_of(layer_parts[j].name);
        unsigned layer;
        char text[TENSOR_NAME_MAX], again[TENSOR_NAME_MAX];
        if (name.n >= sizeof(text) || name.n < part.n ||
            memcmp(name.p + name.n - part.n, part.p, part.n) != 0)
            continue;
        memcpy(text, name.p, name.n);
        text[name.n] = '\0';
        if (sscanf(text, "blk.%9u.", &layer) != 1 || layer >= layers)
            return false;
        snprintf(again, sizeof(again), "blk.%u.%s", layer, layer_parts[j].name);
        return strcmp(text, again) == 0;
    }
    return false;
}

/* A tensor that we would leave out would change what the model computes. */
static int refuse_others(const struct binding *b)
{
    for (size_t i = 0; i < gguf_file_tensors(b->file); i++) {
        struct slice name = gguf_file_tensor(b->file, i)->name;
        if (!is_global(name) && !is_of_layer(name, b->model->config.layers))
            return err_set(b->err, REALM_E_UNSUPPORTED,
                           "tensor %.*s is not supported in a llama model of %u layers",
                           (int)name.n, (const char *)name.p, b->model->config.layers);
    }
    return 0;
}

int weights_bind(struct weights *w, struct model *m, const struct gguf_file *f,
                 struct realm_error *err)
{
    struct binding b = {.w = w, .file = f, .model = m, .err = err};
    size_t layers = m->config.layers;
    *w = (struct weights){
        .items = mem_zarray(layers * ARRAY_LEN(layer_parts) + GLOBALS, sizeof(*w->items))};
    m->layers = mem_zarray(layers, sizeof(*m->layers));
    if (!w->items || !m->layers)
        return err_nomem(err, "the table of weights");
    int rc = settle_vocab(&b);
    if (!rc)
        rc = bind_globals(&b);
    if (!rc)
        rc = bind_layers(&b);
    if (!rc)
        rc = refuse_others(&b);
    return rc;
}
