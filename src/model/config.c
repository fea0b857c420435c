/* model/config.c - the hyperparameters of a model, each with its range, and the rules
 * between them.  Keys begin with the architecture's name. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/utf8.h"
#include "model/model_internal.h"

struct int_key {
    const char *key; /* behind "NAME." */
    size_t at;       /* in struct model_config */
    uint32_t min, max;
    bool required; /* else it is 0 when absent */
    bool listed;   /* may be a list with one number for each layer */
};

#define AT(field) offsetof(struct model_config, field)

static const struct int_key int_keys[] = {
    {"context_length", AT(context), 1, MODEL_CONTEXT_MAX, true, false},
    {"embedding_length", AT(width), 1, MODEL_WIDTH_MAX, true, false},
    {"block_count", AT(layers), 1, MODEL_LAYERS_MAX, true, false},
    {"feed_forward_length", AT(ffn), 1, MODEL_FFN_MAX, true, true},
    {"attention.head_count", AT(heads), 1, MODEL_HEADS_MAX, true, true},
    {"attention.head_count_kv", AT(kv_heads), 1, MODEL_HEADS_MAX, false, true},
    {"attention.key_length", AT(head_dim), 1, MODEL_HEAD_DIM_MAX, false, false},
    {"rope.dimension_count", AT(rope_dim), 2, MODEL_HEAD_DIM_MAX, false, false},
    {"rope.scaling.original_context_length", AT(rope_original), 2, MODEL_CONTEXT_MAX, false, false},
    {"expert_count", AT(experts), 0, MODEL_EXPERTS_MAX, false, false},
    {"expert_used_count", AT(experts_used), 0, MODEL_EXPERTS_USED_MAX, false, false},
    {"expert_feed_forward_length", AT(expert_ffn), 1, MODEL_FFN_MAX, false, false},
    {"expert_shared_feed_forward_length", AT(shared_ffn), 0, MODEL_FFN_MAX, false, false},
    {"vocab_size", AT(vocab), 1, MODEL_VOCAB_MAX, false, false},
};

static const struct float_key float_keys[] = {
    {"rope.freq_base", AT(rope_base), 1.0f, 1e12f, 10000, false},
    {"rope.freq_base_swa", AT(rope_base_window), 1.0f, 1e12f, 0, false},
    {"rope.scale_linear", AT(rope_scale), 1e-3f, 1e6f, 1, false},
    {"rope.scaling.factor", AT(rope_scale), 1e-3f, 1e6f, 0, false},
    {"rope.scaling.attn_factor", AT(rope_magnitude), 1e-3f, 1e3f, 0, false},
    {"rope.scaling.yarn_ext_factor", AT(yarn_unity), 1, 1, 1, false},
    {"rope.scaling.yarn_attn_factor", AT(yarn_unity), 1, 1, 1, false},
    {"rope.scaling.yarn_beta_fast", AT(yarn_fast), 1e-3f, 1e6f, 32, false},
    {"rope.scaling.yarn_beta_slow", AT(yarn_slow), 1e-3f, 1e6f, 1, false},
    {"expert_weights_scale", AT(expert_scale), 1e-6f, 1e6f, 1, false},
};

static const struct float_key rms_key = {
    "attention.layer_norm_rms_epsilon", AT(norm_eps), 1e-12f, 1e-1f, 0, true};
static const struct float_key layer_norm_key = {
    "attention.layer_norm_epsilon", AT(norm_eps), 1e-12f, 1e-1f, 0, true};

void config_key(char key[CONFIG_KEY_MAX], const struct model_config *c, const char *name)
{
    snprintf(key, CONFIG_KEY_MAX, "%s.%s", c->architecture, name);
}

/* The number of a key, or the one that stands for every layer in its list. */
static int get_listed(const struct gguf *g, const char *key, uint32_t layers, uint32_t *out,
                      struct realm_error *err)
{
    const struct gguf_value *v = gguf_find(g, key);
    if (!v || v->type != GGUF_ARRAY || (v->item_type != GGUF_I32 && v->item_type != GGUF_U32))
        return gguf_get_u32(g, key, out, err);
    if (v->count != layers)
        return err_set(err, REALM_E_FORMAT,
                       "key %s lists %llu numbers, want one for each of %u layers", key,
                       (unsigned long long)v->count, layers);
    memcpy(out, v->data.p, sizeof(*out));
    for (uint32_t i = 1; i < layers; i++)
        if (memcmp(v->data.p + i * sizeof(*out), out, sizeof(*out)) != 0)
            return err_set(err, REALM_E_UNSUPPORTED,
                           "key %s differs between layers, which is not supported", key);
    return 0;
}

static int read_int(struct model_config *c, const struct int_key *k, const struct gguf *g,
                    struct realm_error *err)
{
    char key[CONFIG_KEY_MAX];
    uint32_t value;
    config_key(key, c, k->key);
    int rc =
        k->listed ? get_listed(g, key, c->layers, &value, err) : gguf_get_u32(g, key, &value, err);
    if (rc == REALM_E_NOT_FOUND && !k->required)
        return 0;
    if (rc == REALM_E_NOT_FOUND)
        return err_set(err, REALM_E_FORMAT, "key %s is missing", key);
    if (rc)
        return rc;
    if (value < k->min || value > k->max)
        return err_set(err, REALM_E_FORMAT, "key %s is %u, want %u to %u", key, value, k->min,
                       k->max);
    memcpy((char *)c + k->at, &value, sizeof(value));
    return 0;
}

static int read_float(struct model_config *c, const struct float_key *k, const struct gguf *g,
                      struct realm_error *err)
{
    char key[CONFIG_KEY_MAX];
    float value;
    config_key(key, c, k->key);
    int rc = gguf_get_f32(g, key, &value, err);
    if (rc == REALM_E_NOT_FOUND && k->required)
        return err_set(err, REALM_E_FORMAT, "key %s is missing", key);
    if (rc == REALM_E_NOT_FOUND && k->otherwise == 0)
        return 0; // it keeps what another key may have set
    if (rc == REALM_E_NOT_FOUND)
        value = k->otherwise;
    else if (rc)
        return rc;
    if (!(value >= k->min && value <= k->max)) // a NaN too
        return err_set(err, REALM_E_FORMAT, "key %s is %g, want %g to %g", key, (double)value,
                       (double)k->min, (double)k->max);
    memcpy((char *)c + k->at, &value, sizeof(value));
    return 0;
}

static int read_floats(struct model_config *c, const struct float_key *keys, size_t n,
                       const struct gguf *g, struct realm_error *err)
{
    int rc = 0;
    for (size_t i = 0; !rc && i < n; i++)
        rc = read_float(c, &keys[i], g, err);
    return rc;
}

static int read_architecture(struct model_config *c, const struct gguf *g, struct realm_error *err)
{
    struct slice name;
    int rc = gguf_get_string(g, "general.architecture", &name, err);
    if (rc == REALM_E_NOT_FOUND)
        return err_set(err, REALM_E_FORMAT, "key general.architecture is missing");
    if (rc)
        return rc;
    c->arch = arch_find(name);
    if (!c->arch)
        return err_set(err, REALM_E_UNSUPPORTED, "architecture '%.*s' is not supported",
                       (int)(name.n < 64 ? name.n : 64), (const char *)name.p);
    c->architecture = c->arch->name;
    c->encoder = c->arch->encoder;
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

static int check_yarn(const struct model_config *c, struct realm_error *err)
{
    if (!c->rope_original)
        return err_set(err, REALM_E_FORMAT,
                       "key %s.rope.scaling.original_context_length is missing, which YaRN wants",
                       c->architecture);
    if (!(c->rope_base > 1))
        return err_set(err, REALM_E_FORMAT, "key %s.rope.freq_base is 1, which YaRN cannot stretch",
                       c->architecture);
    if (!(c->yarn_fast > c->yarn_slow))
        return err_set(err, REALM_E_FORMAT, "YaRN's fast turns are %g, want more than the slow %g",
                       (double)c->yarn_fast, (double)c->yarn_slow);
    return 0;
}

/* Without its key a factor means linear scaling. */
static int read_rope_scaling(struct model_config *c, const struct gguf *g, struct realm_error *err)
{
    static const struct {
        const char *name;
        enum rope_scaling scaling;
    } kinds[] = {{"none", ROPE_PLAIN},
                 {"linear", ROPE_LINEAR},
                 {"yarn", ROPE_YARN},
                 {"longrope", ROPE_PLAIN}};
    char key[CONFIG_KEY_MAX];
    struct slice kind;
    config_key(key, c, "rope.scaling.type");
    c->rope_scaling = ROPE_LINEAR;
    int rc = gguf_get_string(g, key, &kind, err);
    if (rc)
        return rc == REALM_E_NOT_FOUND ? 0 : rc;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (!slice_is(kind, kinds[i].name))
            continue;
        c->rope_scaling = kinds[i].scaling;
        c->rope_is_long = slice_is(kind, "longrope");
        return c->rope_scaling == ROPE_YARN ? check_yarn(c, err) : 0;
    }
    return err_set(err, REALM_E_UNSUPPORTED, "rope scaling '%.*s' is not supported",
                   (int)(kind.n < 64 ? kind.n : 64), (const char *)kind.p);
}

/* Some architectures say by it that positions do not turn at all. */
static int check_finetuned(const struct model_config *c, const struct gguf *g,
                           struct realm_error *err)
{
    char key[CONFIG_KEY_MAX];
    bool finetuned = true;
    config_key(key, c, "rope.scaling.finetuned");
    int rc = c->arch->finetuned_is_rope ? gguf_get_bool(g, key, &finetuned, err) : 0;
    if (rc && rc != REALM_E_NOT_FOUND)
        return rc;
    if (!finetuned)
        return err_set(err, REALM_E_UNSUPPORTED,
                       "key %s is false: layers without positions are not supported", key);
    return 0;
}

/* softmax, or softmax of those that were chosen: which only differ in their sum. */
static int check_gating(const struct model_config *c, const struct gguf *g, struct realm_error *err)
{
    enum { SOFTMAX = 1, SOFTMAX_OF_CHOSEN = 3 };
    char key[CONFIG_KEY_MAX];
    uint32_t gating = c->experts_sum_to_one ? SOFTMAX_OF_CHOSEN : SOFTMAX;
    config_key(key, c, "expert_gating_func");
    int rc = gguf_get_u32(g, key, &gating, err);
    if (rc && rc != REALM_E_NOT_FOUND)
        return rc;
    if (gating != SOFTMAX && !(gating == SOFTMAX_OF_CHOSEN && c->experts_sum_to_one))
        return err_set(err, REALM_E_UNSUPPORTED, "key %s is %u, which is not supported", key,
                       gating);
    return 0;
}

/* How wide experts are, and the one that all tokens use, if there is one. */
static int settle_expert_widths(struct model_config *c, struct realm_error *err)
{
    bool shares = false;
    for (size_t i = 0; i < c->arch->n_parts; i++)
        shares |= c->arch->parts[i].if_shared;
    if (!c->shared_ffn && c->arch->shared_ffn_is_ffn)
        c->shared_ffn = c->ffn;
    if (!shares)
        c->shared_ffn = 0;
    if (!c->expert_ffn)
        c->expert_ffn = c->arch->expert_ffn_is_share ? c->ffn / c->experts_used : c->ffn;
    if (!c->expert_ffn)
        return err_set(err, REALM_E_FORMAT,
                       "a feed forward length of %u is too short for %u experts", c->ffn,
                       c->experts_used);
    return 0;
}

/* Experts, how many of them a token takes, and how. */
static int settle_experts(struct model_config *c, const struct gguf *g, struct realm_error *err)
{
    char key[CONFIG_KEY_MAX];
    bool takes = false;
    for (size_t i = 0; i < c->arch->n_parts; i++)
        takes |= c->arch->parts[i].if_experts;
    if (!c->experts && c->arch->needs_experts)
        return err_set(err, REALM_E_FORMAT, "key %s.expert_count is missing or 0", c->architecture);
    if (!c->experts) {
        c->experts_used = c->expert_ffn = c->shared_ffn = 0;
        return 0;
    }
    if (!takes)
        return err_set(err, REALM_E_UNSUPPORTED,
                       "key %s.expert_count is %u: experts are not supported there",
                       c->architecture, c->experts);
    if (!c->experts_used || c->experts_used > c->experts)
        return err_set(err, REALM_E_FORMAT,
                       "key %s.expert_used_count is %u, want 1 to the %u experts", c->architecture,
                       c->experts_used, c->experts);
    int rc = settle_expert_widths(c, err);
    if (rc)
        return rc;
    c->experts_sum_to_one = c->arch->weights_sum_to_one;
    config_key(key, c, "expert_weights_norm");
    rc = gguf_get_bool(g, key, &c->experts_sum_to_one, err);
    return rc && rc != REALM_E_NOT_FOUND ? rc : check_gating(c, g, err);
}

static int check_value_length(const struct model_config *c, const struct gguf *g,
                              struct realm_error *err)
{
    char key[CONFIG_KEY_MAX];
    uint32_t dim = c->head_dim;
    config_key(key, c, "attention.value_length");
    int rc = gguf_get_u32(g, key, &dim, err);
    if (rc && rc != REALM_E_NOT_FOUND)
        return rc;
    if (dim != c->head_dim)
        return err_set(err, REALM_E_UNSUPPORTED, "key %s is %u, want the keys' length %u", key, dim,
                       c->head_dim);
    return 0;
}

/* Whether a row sees what stands behind it follows from the architecture. */
static int check_causal(const struct model_config *c, const struct gguf *g, struct realm_error *err)
{
    char key[CONFIG_KEY_MAX];
    bool causal = !c->encoder;
    config_key(key, c, "attention.causal");
    int rc = gguf_get_bool(g, key, &causal, err);
    if (rc && rc != REALM_E_NOT_FOUND)
        return rc;
    if (causal == c->encoder)
        return err_set(err, REALM_E_UNSUPPORTED, "key %s is %s, which is not supported there", key,
                       causal ? "true" : "false");
    return 0;
}

static int read_pooling(struct model_config *c, const struct gguf *g, struct realm_error *err)
{
    static const enum realm_pooling kinds[] = {REALM_POOL_NONE, REALM_POOL_MEAN, REALM_POOL_CLS,
                                               REALM_POOL_LAST};
    char key[CONFIG_KEY_MAX];
    uint32_t kind = 0;
    config_key(key, c, "pooling_type");
    int rc = gguf_get_u32(g, key, &kind, err);
    if (rc && rc != REALM_E_NOT_FOUND)
        return rc;
    if (kind >= ARRAY_LEN(kinds))
        return err_set(err, REALM_E_UNSUPPORTED, "key %s is %u, which is not supported", key, kind);
    c->pooling = kinds[kind];
    return 0;
}

/* What an encoder takes in one step. */
static int check_encoder(const struct model_config *c, struct realm_error *err)
{
    if (!c->encoder || c->context <= ENCODER_TOKENS_MAX)
        return 0;
    return err_set(err, REALM_E_UNSUPPORTED,
                   "key %s.context_length is %u: texts that are seen whole have up to %d tokens",
                   c->architecture, c->context, ENCODER_TOKENS_MAX);
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
    if (c->arch->learned_positions)
        return 0;
    if (!c->rope_dim)
        c->rope_dim = c->head_dim;
    if (c->rope_dim % 2 || c->rope_dim > c->head_dim)
        return err_set(err, REALM_E_FORMAT,
                       "rope dimension %u, want an even number up to the head's %u", c->rope_dim,
                       c->head_dim);
    return 0;
}

static void settle_scales(struct model_config *c)
{
    float dim =
        c->layers == c->arch->by_width_layers ? (float)(c->width / c->heads) : (float)c->head_dim;
    if (c->score_scale == 0)
        c->score_scale = 1.0f / sqrtf(dim);
    if (c->arch->embedding_by_root)
        c->embedding_scale = sqrtf((float)c->width);
}

int config_read(struct model_config *c, const struct gguf *g, struct realm_error *err)
{
    *c = (struct model_config){.embedding_scale = 1, .residual_scale = 1, .logit_divisor = 1};
    int rc = read_architecture(c, g, err);
    if (!rc)
        rc = read_name(c, g, err);
    for (size_t i = 0; !rc && i < ARRAY_LEN(int_keys); i++)
        rc = read_int(c, &int_keys[i], g, err);
    if (!rc)
        rc = read_float(c, c->arch->layer_norm ? &layer_norm_key : &rms_key, g, err);
    if (!rc)
        rc = read_floats(c, float_keys, ARRAY_LEN(float_keys), g, err);
    if (!rc)
        rc = read_floats(c, c->arch->keys, c->arch->n_keys, g, err);
    if (!rc)
        rc = settle_experts(c, g, err);
    if (!rc)
        rc = settle(c, err);
    if (!rc)
        rc = check_value_length(c, g, err);
    if (!rc)
        rc = read_rope_scaling(c, g, err);
    if (!rc)
        rc = check_finetuned(c, g, err);
    if (!rc)
        rc = check_causal(c, g, err);
    if (!rc)
        rc = read_pooling(c, g, err);
    if (!rc)
        rc = check_encoder(c, err);
    if (!rc)
        settle_scales(c);
    return rc;
}
