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
    bool *used; /* (the file's tensors) */
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
    return !(p->if_dense && c->experts) && !(p->if_experts && !c->experts) &&
           !(p->if_shared && !c->shared_ffn);
}

/* The matrices that its tensor has. */
static size_t count_of(const struct model_config *c, const struct part *p)
{
    return p->each ? c->experts : 1;
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
                           size_t count, uint64_t *bytes, struct realm_error *err)
{
    m->type = gemm_type_of((enum dtype)t->dtype);
    m->k = (size_t)t->dims[0];
    m->rows = (size_t)rows;
    m->panels = (m->rows + PANEL_ROWS - 1) / PANEL_ROWS;
    m->panel_bytes = panel_bytes(m->type, m->k);
    m->count = count;
    if (!ckd_mul_u64(m->panels, m->panel_bytes, bytes) || !ckd_mul_u64(*bytes, m->count, bytes))
        return err_set(err, REALM_E_FORMAT, "tensor %.*s is too large", (int)t->name.n,
                       (const char *)t->name.p);
    return 0;
}

/* Memory for the part, at *at; t: the first or only tensor that it is read from. */
static int place(struct binding *b, const struct part *part, const struct gguf_tensor *t, void *dst,
                 size_t *at)
{
    const struct model_config *c = &b->model->config;
    const uint64_t rows = size_of(c, part->rows);
    const size_t count = count_of(c, part);
    uint64_t bytes = t->bytes;
    int rc = part->vector ? 0 : describe_matrix(dst, t, rows, count, &bytes, b->err);
    if (!rc)
        rc = add_bytes(b->w, bytes, at, b->err);
    if (!rc && part->each) {
        b->model->idle_params += t->dims[0] * rows * (count - c->experts_used);
        b->model->idle_bytes += bytes / count * (count - c->experts_used);
    }
    return rc;
}

static int check_alike(const struct gguf_tensor *first, const struct gguf_tensor *t,
                       struct realm_error *err)
{
    if (t->dtype == first->dtype)
        return 0;
    return err_set(err, REALM_E_UNSUPPORTED, "tensor %.*s has type %s, want %s as %.*s",
                   (int)t->name.n, (const char *)t->name.p, dtype_info(t->dtype)->name,
                   dtype_info(first->dtype)->name, (int)first->name.n, (const char *)first->name.p);
}

/* dst: the struct matrix or the float pointer that the part is for.  The tensor has
 * `count` of its matrices, from the one at index on; those before it are bound. */
static int bind_tensor(struct binding *b, const struct part *part, const struct gguf_tensor *t,
                       void *dst, size_t index, size_t count)
{
    const struct model_config *c = &b->model->config;
    const uint64_t rows = size_of(c, part->rows);
    const uint64_t of = part->of == NONE ? rows : size_of(c, part->of);
    struct weight *item = &b->w->items[b->w->n];
    size_t at = index ? item[-1].at : 0;
    int rc = check_shape(t, size_of(c, part->k), of, count, b->err);
    if (!rc)
        rc = check_type(t, part->vector, b->err);
    if (!rc)
        rc = index ? check_alike(item[-1].tensor, t, b->err) : place(b, part, t, dst, &at);
    if (rc)
        return rc;
    *item = (struct weight){.tensor = t,
                            .first = (size_t)size_of(c, part->first),
                            .matrix = part->vector ? NULL : dst,
                            .index = index,
                            .count = count,
                            .vector = part->vector ? dst : NULL,
                            .at = at};
    b->w->n++;
    b->used[t - gguf_file_tensor(b->file, 0)] = true;
    b->model->params += t->dims[0] * rows * count;
    b->model->file_bytes += t->bytes / of * rows;
    return 0;
}

/* base: the layer or the model that the part is of. */
static int bind_named(struct binding *b, const struct part *part, const char *name, void *base)
{
    const struct gguf_tensor *t = gguf_file_find(b->file, name);
    if (t)
        return bind_tensor(b, part, t, (char *)base + part->at, 0,
                           count_of(&b->model->config, part));
    return part->optional ? 0 : err_set(b->err, REALM_E_FORMAT, "tensor %s is missing", name);
}

/* The tensor of one expert alone, as old files have it, and its name. */
static const struct gguf_tensor *find_each(const struct binding *b, const struct part *part,
                                           uint32_t layer, uint32_t expert,
                                           char name[TENSOR_NAME_MAX])
{
    snprintf(name, TENSOR_NAME_MAX, "blk.%u.%s.%u.weight", layer, part->each, expert);
    return gguf_file_find(b->file, name);
}

static int bind_each(struct binding *b, const struct part *part, uint32_t layer, void *base)
{
    int rc = 0;
    for (uint32_t e = 0; !rc && e < b->model->config.experts; e++) {
        char name[TENSOR_NAME_MAX];
        const struct gguf_tensor *t = find_each(b, part, layer, e, name);
        rc = t ? bind_tensor(b, part, t, (char *)base + part->at, e, 1)
               : err_set(b->err, REALM_E_FORMAT, "tensor %s is missing", name);
    }
    return rc;
}

static int bind_part(struct binding *b, const struct part *part, uint32_t layer)
{
    struct model_layer *base = &b->model->layers[layer];
    char name[TENSOR_NAME_MAX], alone[TENSOR_NAME_MAX];
    snprintf(name, sizeof(name), "blk.%u.%s", layer, part->name);
    if (part->each && !gguf_file_find(b->file, name) && find_each(b, part, layer, 0, alone))
        return bind_each(b, part, layer, base);
    return bind_named(b, part, name, base);
}

static int bind_layers(struct binding *b)
{
    const struct model_config *c = &b->model->config;
    int rc = 0;
    for (uint32_t i = 0; !rc && i < c->layers; i++)
        for (size_t j = 0; !rc && j < c->arch->n_parts; j++)
            if (has_part(c, &c->arch->parts[j]))
                rc = bind_part(b, &c->arch->parts[j], i);
    return rc;
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

/* A tensor that we would leave out would change what the model computes. */
static int refuse_others(const struct binding *b)
{
    const struct model_config *c = &b->model->config;
    for (size_t i = 0; i < gguf_file_tensors(b->file); i++) {
        struct slice name = gguf_file_tensor(b->file, i)->name;
        if (!b->used[i])
            return err_set(b->err, REALM_E_UNSUPPORTED,
                           "tensor %.*s is not supported in a %s model of %u layers", (int)name.n,
                           (const char *)name.p, c->architecture, c->layers);
    }
    return 0;
}

static int bind_all(struct binding *b)
{
    int rc = settle_vocab(b);
    if (!rc)
        rc = settle_types(b);
    if (!rc)
        rc = bind_globals(b);
    if (!rc)
        rc = bind_layers(b);
    return rc ? rc : refuse_others(b);
}

int weights_bind(struct weights *w, struct model *m, const struct gguf_file *f,
                 struct realm_error *err)
{
    struct binding b = {.w = w, .file = f, .model = m, .err = err};
    size_t layers = m->config.layers, tensors = gguf_file_tensors(f), globals;
    (void)globals_of(&m->config, &globals);
    // an expert's own tensor is bound once; others as often as parts are made of them
    size_t most = layers * m->config.arch->n_parts + globals + tensors;
    *w = (struct weights){.items = mem_zarray(most, sizeof(*w->items))};
    m->layers = mem_zarray(layers, sizeof(*m->layers));
    b.used = mem_zarray(tensors, sizeof(*b.used));
    bool whole = w->items && m->layers && b.used;
    int rc = whole ? bind_all(&b) : err_nomem(err, "the table of weights");
    mem_free(b.used);
    return rc;
}
