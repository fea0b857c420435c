/* model/window.c - which layers see a sliding window of keys alone.
 *
 * The architecture says how they alternate; a file may say so itself, by a period or
 * by a list with one yes or no for each layer. */
#include <string.h>

#include "base/err.h"
#include "model/model_internal.h"

/* The window's length, 0: none. */
static int read_length(struct model_config *c, const struct gguf *g, struct realm_error *err)
{
    const struct arch *a = c->arch;
    char key[CONFIG_KEY_MAX];
    uint32_t window = a->window_default;
    config_key(key, c, "attention.sliding_window");
    int rc = gguf_get_u32(g, key, &window, err);
    if (rc && rc != REALM_E_NOT_FOUND)
        return rc;
    if (rc && a->window_required)
        return err_set(err, REALM_E_FORMAT, "key %s is missing", key);
    if (!rc && !window && !a->window_zero_is_none)
        return err_set(err, REALM_E_FORMAT, "key %s is 0, want 1 or more", key);
    if (window && window < c->context && !a->window_period)
        return err_set(err, REALM_E_UNSUPPORTED, "key %s is %u: windows are not supported there",
                       key, window);
    c->window = a->window_period ? window : 0;
    return 0;
}

static int read_list(struct model *m, const struct gguf_value *list, const char *key,
                     struct realm_error *err)
{
    if (list->item_type != GGUF_BOOL)
        return err_set(err, REALM_E_FORMAT, "key %s is a list of %s, want bool", key,
                       gguf_type_name(list->item_type));
    if (list->count != m->config.layers)
        return err_set(err, REALM_E_FORMAT, "key %s lists %llu layers, want the model's %u", key,
                       (unsigned long long)list->count, m->config.layers);
    for (uint32_t i = 0; i < m->config.layers; i++)
        m->layers[i].window = list->data.p[i] ? m->config.window : 0;
    return 0;
}

static int read_pattern(struct model *m, const struct gguf *g, struct realm_error *err)
{
    char key[CONFIG_KEY_MAX];
    uint32_t period = m->config.arch->window_period;
    config_key(key, &m->config, "attention.sliding_window_pattern");
    const struct gguf_value *v = gguf_find(g, key);
    if (v && v->type == GGUF_ARRAY)
        return read_list(m, v, key, err);
    int rc = gguf_get_u32(g, key, &period, err);
    if (rc && rc != REALM_E_NOT_FOUND)
        return rc;
    if (!period)
        return err_set(err, REALM_E_FORMAT, "key %s is 0, want 1 or more", key);
    bool all = rc && period == 1; // a file's 1 means that each first layer has none
    for (uint32_t i = 0; i < m->config.layers; i++)
        m->layers[i].window = all || i % period < period - 1 ? m->config.window : 0;
    return 0;
}

int windows_read(struct model *m, const struct gguf *g, struct realm_error *err)
{
    struct model_config *c = &m->config;
    int rc = read_length(c, g, err);
    if (!rc && c->window)
        rc = read_pattern(m, g, err);
    if (rc)
        return rc;
    float base = c->rope_base_window > 0    ? c->rope_base_window
                 : c->arch->window_base > 0 ? c->arch->window_base
                                            : c->rope_base;
    c->rope_base_window = base;
    bool differs = base != c->rope_base || c->arch->window_unscaled;
    m->n_ropes = c->arch->learned_positions ? 0 : c->window && differs ? 2 : 1;
    for (uint32_t i = 0; i < c->layers; i++)
        m->layers[i].rope = m->layers[i].window ? m->n_ropes - 1 : 0;
    return 0;
}
