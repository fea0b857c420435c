/* model/config.c - the hyperparameters of a llama-shaped model, each with its
 * range, and the rules between them. */
#include <math.h>
#include <string.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/utf8.h"
#include "model/model_internal.h"

struct int_key {
    const char *key;
    size_t at; /* in struct model_config */
    uint32_t min, max;
    bool required; /* else it is 0 when absent */
};

#define AT(field) offsetof(struct model_config, field)

static const struct int_key int_keys[] = {
    {"llama.context_length", AT(context), 1, MODEL_CONTEXT_MAX, true},
    {"llama.embedding_length", AT(width), 1, MODEL_WIDTH_MAX, true},
    {"llama.block_count", AT(layers), 1, MODEL_LAYERS_MAX, true},
    {"llama.feed_forward_length", AT(ffn), 1, MODEL_FFN_MAX, true},
    {"llama.attention.head_count", AT(heads), 1, MODEL_HEADS_MAX, true},
    {"llama.attention.head_count_kv", AT(kv_heads), 1, MODEL_HEADS_MAX, false},
    {"llama.attention.key_length", AT(head_dim), 1, MODEL_HEAD_DIM_MAX, false},
    {"llama.rope.dimension_count", AT(rope_dim), 2, MODEL_HEAD_DIM_MAX, false},
    {"llama.vocab_size", AT(vocab), 1, MODEL_VOCAB_MAX, false},
};

struct float_key {
    const char *key;
    size_t at;
    float min, max; /* both are allowed */
    bool required;  /* else the field keeps its default */
};

static const struct float_key float_keys[] = {
    {"llama.attention.layer_norm_rms_epsilon", AT(norm_eps), 1e-12f, 1e-1f, true},
    {"llama.rope.freq_base", AT(rope_base), 1.0f, 1e12f, false},
    {"llama.rope.scale_linear", AT(rope_scale), 1e-3f, 1e6f, false},
    {"llama.rope.scaling.factor", AT(rope_scale), 1e-3f, 1e6f, false},
};

static int read_int(struct model_config *c, const struct int_key *k, const struct gguf *g,
                    struct realm_error *err)
{
    uint32_t value;
    int rc = gguf_get_u32(g, k->key, &value, err);
    if (rc == REALM_E_NOT_FOUND && !k->required)
        return 0;
    if (rc == REALM_E_NOT_FOUND)
        return err_set(err, REALM_E_FORMAT, "key %s is missing", k->key);
    if (rc)
        return rc;
    if (value < k->min || value > k->max)
        return err_set(err, REALM_E_FORMAT, "key %s is %u, want %u to %u", k->key, value, k->min,
                       k->max);
    memcpy((char *)c + k->at, &value, sizeof(value));
    return 0;
}

static int read_float(struct model_config *c, const struct float_key *k, const struct gguf *g,
                      struct realm_error *err)
{
    float value;
    int rc = gguf_get_f32(g, k->key, &value, err);
    if (rc == REALM_E_NOT_FOUND && !k->required)
        return 0;
    if (rc == REALM_E_NOT_FOUND)
        return err_set(err, REALM_E_FORMAT, "key %s is missing", k->key);
    if (rc)
        return rc;
    if (!(value >= k->min && value <= k->max)) // a NaN too
        return err_set(err, REALM_E_FORMAT, "key %s is %g, want %g to %g", k->key, (double)value,
                       (double)k->min, (double)k->max);
    memcpy((char *)c + k->at, &value, sizeof(value));
    return 0;
}

static int read_architecture(struct model_config *c, const struct gguf *g, struct realm_error *err)
{
    struct slice name;
    int rc = gguf_get_string(g, "general.architecture", &name, err);
    if (rc == REALM_E_NOT_FOUND)
        return err_set(err, REALM_E_FORMAT, "key general.architecture is missing");
    if (rc)
        return rc;
    if (!slice_is(name, "llama"))
        return err_set(err, REALM_E_UNSUPPORTED, "architecture '%.*s' is not supported",
                       (int)(name.n < 64 ? name.n : 64), (const char *)name.p);
    memcpy(c->architecture, "llama", sizeof("llama"));
    return 0;
}

static int read_name(struct model_config *c, const struct gguf *g, struct realm_error *err)
{
    struct slice name = {0};
    int rc = gguf_get_string(g, "general.name", &name, err);
    if (rc && rc != REALM_E_NOT_FOUND)
        return rc;
    size_t n = name.n < sizeof(c->name) - 1 ? name.n : sizeof(c->name) - 1;
    n = n ? utf8_whole(name.p, n) : 0;
    if (n)
        memcpy(c->name, name.p, n);
    c->name[n] = '\0';
    return 0;
}

static int check_rope_kind(struct model_config *c, const struct gguf *g, struct realm_error *err)
{
    struct slice kind;
    int rc = gguf_get_string(g, "llama.rope.scaling.type", &kind, err);
    if (rc == REALM_E_NOT_FOUND)
        return 0;
    if (rc)
        return rc;
    if (slice_is(kind, "none")) {
        c->rope_scale = 1.0f;
        return 0;
    }
    if (slice_is(kind, "linear"))
        return 0;
    return err_set(err, REALM_E_UNSUPPORTED, "rope scaling '%.*s' is not supported",
                   (int)(kind.n < 64 ? kind.n : 64), (const char *)kind.p);
}

static int check_no_experts(const struct gguf *g, struct realm_error *err)
{
    uint32_t experts = 0;
    int rc = gguf_get_u32(g, "llama.expert_count", &experts, err);
    if (rc && rc != REALM_E_NOT_FOUND)
        return rc;
    if (experts)
        return err_set(err, REALM_E_UNSUPPORTED,
                       "key llama.expert_count is %u: experts are not supported", experts);
    return 0;
}

static int check_value_length(const struct model_config *c, const struct gguf *g,
                              struct realm_error *err)
{
    uint32_t dim = c->head_dim;
    int rc = gguf_get_u32(g, "llama.attention.value_length", &dim, err);
    if (rc && rc != REALM_E_NOT_FOUND)
        return rc;
    if (dim != c->head_dim)
        return err_set(err, REALM_E_UNSUPPORTED,
                       "key llama.attention.value_length is %u, want the keys' length %u", dim,
                       c->head_dim);
    return 0;
}

/* Fills in what the file left out and checks the numbers against each other. */
static int settle(struct model_config *c, struct realm_error *err)
{
    if (!c->kv_heads)
        c->kv_heads = c->heads;
    if (c->heads % c->kv_heads)
        return err_set(err, REALM_E_FORMAT, "%u heads cannot share %u key-value heads", c->heads,
                       c->kv_heads);
    if (!c->head_dim) {
        c->head_dim = c->width / c->heads;
        if (c->width % c->heads || c->head_dim > MODEL_HEAD_DIM_MAX)
            return err_set(err, REALM_E_FORMAT, "an embedding of %u does not split into %u heads",
                           c->width, c->heads);
    }
    if (!c->rope_dim)
        c->rope_dim = c->head_dim;
    if (c->rope_dim % 2 || c->rope_dim > c->head_dim)
        return err_set(err, REALM_E_FORMAT,
                       "rope dimension %u, want an even number up to the head's %u", c->rope_dim,
                       c->head_dim);
    return 0;
}

int config_read(struct model_config *c, const struct gguf *g, struct realm_error *err)
{
    *c = (struct model_config){.rope_base = 10000.0f, .rope_scale = 1.0f};
    int rc = read_architecture(c, g, err);
    if (!rc)
        rc = read_name(c, g, err);
    for (size_t i = 0; !rc && i < ARRAY_LEN(int_keys); i++)
        rc = read_int(c, &int_keys[i], g, err);
    for (size_t i = 0; !rc && i < ARRAY_LEN(float_keys); i++)
        rc = read_float(c, &float_keys[i], g, err);
    if (!rc)
        rc = check_no_experts(g, err);
    if (!rc)
        rc = settle(c, err);
    if (!rc)
        rc = check_value_length(c, g, err);
    if (!rc)
        rc = check_rope_kind(c, g, err);
    return rc;
}
