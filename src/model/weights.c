/* model/weights.c - from names to tensors: what a model of its architecture consists
 * of, with the shape of each part. */
#include <stdio.h>
#include <string.h>

#include "base/ckd.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"
#include "model/model_internal.h"

enum { TENSOR_NAME_MAX = 64 };

static const char EMBEDDING[] = "token_embd.weight", TYPES[] = "token_types.weight";

/* Tensors outside of layers, where the architecture does not say otherwise.  Without its own,
 * the output matrix is the embedding. */
static const struct part decoder_parts[] = {
    {EMBEDDING, IN_MODEL(embed), .k = WIDTH, .rows = VOCAB},
    {"output_norm.weight", IN_MODEL(output_norm.weight), .k = WIDTH, .rows = ONE, .vector = true},
    {"output_norm.bias", IN_MODEL(output_norm.bias), .k = WIDTH, .rows = ONE, .vector = true},
    {"output.weight", IN_MODEL(output), .k = WIDTH, .rows = VOCAB, .optional = true},
    {"rope_freqs.weight", IN_MODEL(rope_factors), .k = ROPE_PAIRS, .rows = ONE, .vector = true,
     .optional = true},
    {"rope_factors_long.weight", IN_MODEL(rope_long), .k = ROPE_PAIRS, .rows = ONE, .vector = true,
     .optional = true},
    {"rope_factors_short.weight", IN_MODEL(rope_short), .k = ROPE_PAIRS, .rows = ONE,
     .vector = true, .optional = true},
};

struct binding {
    struct weights *w;
    const struct gguf_file *file;
    struct model *model;
    struct realm_error *err;
};

static const struct part *globals_of(const struct model_config *c, size_t *n)
{
    *n = c->arch->globals ? c->arch->n_globals : ARRAY_LEN(decoder_parts);
    return c->arch->globals ? c->arch->globals : decoder_parts;
}

static uint64_t size_of(const struct model_config *c, enum size_kind kind)
{
    const uint64_t q = (uint64_t)c->heads * c->head_dim, kv = (uint64_t)c->kv_heads * c->head_dim;
    const uint64_t sizes[] = {
        [NONE] = 0,
        [ONE] = 1,
        [WIDTH] = c->width,
        [VOCAB] = c->vocab,
        [HEADS] = c->heads,
        [HEAD_DIM] = c->head_dim,
        [Q_WIDTH] = q,
        [KV_WIDTH] = kv,
        [QK_WIDTH] = q + kv,
        [QKV_WIDTH] = q + 2 * kv,
        [FFN] = c->ffn,
        [FFN_TWICE] = 2 * (uint64_t)c->ffn,
        [EXPERTS] = c->experts,
        [EXPERT_FFN] = c->expert_ffn,
        [SHARED_FFN] = c->shared_ffn,
        [ROPE_PAIRS] = c->rope_dim / 2,
        [POSITIONS] = c->context,
        [TOKEN_TYPES] = c->token_types,
    };
    return sizes[kind];
}

/* Whether models of this configuration have the part. */
static bool has_part(const struct model_config *c, const struct part *p)
{
    return !(p->if_dense && c->experts) && !(p->if_experts && !c->experts);
}

/* Only LayerNorms have a bias. */
static bool has_global(const struct model_config *c, const struct part *p)
{
    return c->arch->layer_norm || p->at != offsetof(struct model, output_norm.bias);
}

static int check_shape(const struct gguf_tensor *t, uint64_t k, uint64_t rows, uint64_t count,
                       struct realm_error *err)
{
    if (t->dims[0] == k && t->dims[1] == rows && t->dims[2] == count && t->dims[3] == 1)
        return 0;
    char third[32] = "";
    if (count > 1)
        snprintf(third, sizeof(third), "x%llu", (unsigned long long)count);
    return err_set(
        err, REALM_E_FORMAT, "tensor %.*s has shape %llux%llux%llux%llu, want %llux%llu%s",
        (int)t->name.n, (const char *)t->name.p, (unsigned long long)t->dims[0],
        (unsigned long long)t->dims[1], (unsigned long long)t->dims[2],
        (unsigned long long)t->dims[3], (unsigned long long)k, (unsigned long long)rows, third);
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

static int describe_matrix(struct matrix *m, const struct gguf_tensor *t, uint64_t rows,
                           uint64_t *bytes, struct realm_error *err)
{
    m->type = gemm_type_of((enum dtype)t->dtype);
    m->k = (size_t)t->dims[0];
    m->rows = (size_t)rows;
    m->panels = (m->rows + PANEL_ROWS - 1) / PANEL_ROWS;
    m->panel_bytes = panel_bytes(m->type, m->k);
    m->count = (size_t)t->dims[2];
    if (!ckd_mul_u64(m->panels, m->panel_bytes, bytes) || !ckd_mul_u64(*bytes, m->count, bytes))
        return err_set(err, REALM_E_FORMAT, "tensor %.*s is too large", (int)t->name.n,
                       (const char *)t->name.p);
    return 0;
}

/* dst: the struct matrix or the float pointer that the part is for. */
static int bind_tensor(struct binding *b, const struct part *part, const struct gguf_tensor *t,
                       void *dst)
{
    const struct model_config *c = &b->model->config;
    uint64_t rows = size_of(c, part->rows), bytes = t->bytes;
    uint64_t count = part->each ? c->experts : 1;
    uint64_t of = part->of == NONE ? rows : size_of(c, part->of);
    int rc = check_shape(t, size_of(c, part->k), of, count, b->err);
    if (!rc)
        rc = check_type(t, part->vector, b->err);
    if (!rc && !part->vector)
        rc = describe_matrix(dst, t, rows, &bytes, b->err);
    struct weight *item = &b->w->items[b->w->n];
    if (!rc)
        rc = add_bytes(b->w, bytes, &item->at, b->err);
    if (rc)
        return rc;
    item->tensor = t;
    item->first = (size_t)size_of(c, part->first);
    item->matrix = part->vector ? NULL : dst;
    item->vector = part->vector ? dst : NULL;
    b->w->n++;
    b->model->params += t->dims[0] * rows * count;
    b->model->file_bytes += t->bytes / of * rows;
    if (part->each) {
        b->model->idle_params += t->dims[0] * rows * (count - c->experts_used);
        b->model->idle_bytes += bytes / count * (count - c->experts_used);
    }
    return 0;
}

/* base: the layer or the model that the part is of. */
static int bind_named(struct binding *b, const struct part *part, const char *name, void *base)
{
    const struct gguf_tensor *t = gguf_file_find(b->file, name);
    if (t)
        return bind_tensor(b, part, t, (char *)base + part->at);
    return part->optional ? 0 : err_set(b->err, REALM_E_FORMAT, "tensor %s is missing", name);
}

static int bind_layers(struct binding *b)
{
    const struct model_config *c = &b->model->config;
    for (uint32_t i = 0; i < c->layers; i++) {
        for (size_t j = 0; j < c->arch->n_parts; j++) {
            const struct part *part = &c->arch->parts[j];
            char name[TENSOR_NAME_MAX];
            snprintf(name, sizeof(name), "blk.%u.%s", i, part->name);
            int rc = has_part(c, part) ? bind_named(b, part, name, &b->model->layers[i]) : 0;
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
    const struct gguf_tensor *t = gguf_file_find(b->file, EMBEDDING);
    if (!t)
        return err_set(b->err, REALM_E_FORMAT, "tensor %s is missing", EMBEDDING);
    if (t->dims[1] < 1 || t->dims[1] > MODEL_VOCAB_MAX)
        return err_set(b->err, REALM_E_FORMAT, "tensor %s has %llu rows, want 1 to %u", EMBEDDING,
                       (unsigned long long)t->dims[1], MODEL_VOCAB_MAX);
    if (c->vocab && c->vocab != t->dims[1])
        return err_set(b->err, REALM_E_FORMAT, "tensor %s has %llu rows, want %s.vocab_size %u",
                       EMBEDDING, (unsigned long long)t->dims[1], c->architecture, c->vocab);
    c->vocab = (uint32_t)t->dims[1];
    return 0;
}

/* As many as the key says, or else as there are rows. */
static int settle_types(struct binding *b)
{
    static const char key[] = "tokenizer.ggml.token_type_count";
    const struct gguf_tensor *t = gguf_file_find(b->file, TYPES);
    uint32_t said;
    if (!t)
        return 0;
    int rc = gguf_get_u32(gguf_file_header(b->file), key, &said, b->err);
    if (rc && rc != REALM_E_NOT_FOUND)
        return rc;
    uint64_t types = rc ? t->dims[1] : said;
    if (types < 1 || types > MODEL_TOKEN_TYPES_MAX)
        return err_set(b->err, REALM_E_FORMAT, "%s has %llu types of tokens, want 1 to %u",
                       rc ? TYPES : key, (unsigned long long)types, MODEL_TOKEN_TYPES_MAX);
    b->model->config.token_types = (uint32_t)types;
    return 0;
}

/* LongRoPE is both lists and what tells when each is meant, or nothing. */
static int check_long(const struct binding *b)
{
    const struct model_config *c = &b->model->config;
    const struct gguf_tensor *of_long = gguf_file_find(b->file, "rope_factors_long.weight");
    const struct gguf_tensor *of_short = gguf_file_find(b->file, "rope_factors_short.weight");
    bool wanted = c->rope_is_long || of_long || of_short;
    if (wanted && !(of_long && of_short))
        return err_set(b->err, REALM_E_FORMAT, "tensor rope_factors_%s.weight is missing",
                       of_long ? "short" : "long");
    if (wanted && !c->rope_original)
        return err_set(b->err, REALM_E_FORMAT,
                       "key %s.rope.scaling.original_context_length is missing, which the rope's "
                       "factors want",
                       c->architecture);
    return 0;
}

static int bind_globals(struct binding *b)
{
    struct model *m = b->model;
    int rc = check_long(b);
    size_t n;
    const struct part *parts = globals_of(&m->config, &n);
    for (size_t i = 0; !rc && i < n; i++)
        if (has_global(&m->config, &parts[i]))
            rc = bind_named(b, &parts[i], parts[i].name, m);
    m->config.tied = !m->config.encoder && !m->output.rows;
    m->config.rope_has_factors = gguf_file_find(b->file, "rope_freqs.weight");
    return rc;
}

static bool is_global(const struct model_config *c, struct slice name)
{
    size_t n;
    const struct part *parts = globals_of(c, &n);
    for (size_t i = 0; i < n; i++)
        if (slice_is(name, parts[i].name))
            return has_global(c, &parts[i]);
    return false;
}

/* "blk.N.PART" with N below layers, N spelled as we spell it. */
static bool is_of_layer(const struct model_config *c, struct slice name)
{
    for (size_t j = 0; j < c->arch->n_parts; j++) {
        struct slice part = slice_of(c->arch->parts[j].name);
        unsigned layer;
        char text[TENSOR_NAME_MAX], again[TENSOR_NAME_MAX];
        if (name.n >= sizeof(text) || name.n < part.n ||
            memcmp(name.p + name.n - part.n, part.p, part.n) != 0)
            continue;
        memcpy(text, name.p, name.n);
        text[name.n] = '\0';
        if (sscanf(text, "blk.%9u.", &layer) != 1 || layer >= c->layers)
            return false;
        snprintf(again, sizeof(again), "blk.%u.%s", layer, c->arch->parts[j].name);
        if (strcmp(text, again) == 0)
            return has_part(c, &c->arch->parts[j]);
    }
    return false;
}

/* A tensor that we would leave out would change what the model computes. */
static int refuse_others(const struct binding *b)
{
    const struct model_config *c = &b->model->config;
    for (size_t i = 0; i < gguf_file_tensors(b->file); i++) {
        struct slice name = gguf_file_tensor(b->file, i)->name;
        if (!is_global(c, name) && !is_of_layer(c, name))
            return err_set(b->err, REALM_E_UNSUPPORTED,
                           "tensor %.*s is not supported in a %s model of %u layers", (int)name.n,
                           (const char *)name.p, c->architecture, c->layers);
    }
    return 0;
}

int weights_bind(struct weights *w, struct model *m, const struct gguf_file *f,
                 struct realm_error *err)
{
    struct binding b = {.w = w, .file = f, .model = m, .err = err};
    size_t layers = m->config.layers, globals;
    (void)globals_of(&m->config, &globals);
    size_t most = layers * m->config.arch->n_parts + globals;
    *w = (struct weights){.items = mem_zarray(most, sizeof(*w->items))};
    m->layers = mem_zarray(layers, sizeof(*m->layers));
    if (!w->items || !m->layers)
        return err_nomem(err, "the table of weights");
    int rc = settle_vocab(&b);
    if (!rc)
        rc = settle_types(&b);
    if (!rc)
        rc = bind_globals(&b);
    if (!rc)
        rc = bind_layers(&b);
    if (!rc)
        rc = refuse_others(&b);
    return rc;
}
