/* model/rope.c - the angles of rotary positions.
 *
 * Pair i at position p turns by p * base^(-2i / rope_dim), divided by a factor of the
 * pair (Llama-3's, LongRoPE's) and by the scale of linear scaling.  YaRN (arXiv
 * 2309.00071) divides slow pairs by its scale, leaves fast ones and goes over from one to
 * the other by the turns that a pair makes within the original context; it makes queries
 * and keys greater, too.  Kept in double: at position 100 000 a float's rounding would
 * turn the fast pairs by a thousandth.  Made without the C library's functions, whose last
 * bits are another machine's.
 *
 * LongRoPE has one list of factors for short contexts and one for long ones.  Keys are
 * turned when they are written and read long afterwards, so the model's context decides
 * and not the length that a sequence happens to have. */
#include <math.h>

#include "base/err.h"
#include "base/mem.h"
#include "model/model_internal.h"

static const float *factors_of(const struct model *m)
{
    if (!m->rope_long)
        return m->rope_factors;
    return m->config.context > m->config.rope_original ? m->rope_long : m->rope_short;
}

static int check_factors(const struct model *m, struct realm_error *err)
{
    const float *const lists[] = {m->rope_factors, m->rope_long, m->rope_short};
    const char *const names[] = {"rope_freqs", "rope_factors_long", "rope_factors_short"};
    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        for (size_t j = 0; lists[i] && j < m->config.rope_dim / 2; j++)
            if (!(lists[i][j] >= 1e-3f && lists[i][j] <= 1e6f))
                return err_set(err, REALM_E_FORMAT,
                               "tensor %s.weight holds %g, want 0.001 to 1000000", names[i],
                               (double)lists[i][j]);
    return 0;
}

/* The pair that turns so often within the original context. */
static double pair_of(const struct model_config *c, double base, double turns)
{
    double dim = (double)c->rope_dim, context = (double)c->rope_original;
    return dim * kern_log(context / (turns * 2 * M_PI)) / (2 * kern_log(base));
}

/* How far the scale goes for pair i: 0 not at all, 1 wholly. */
static double yarn_share(const struct model_config *c, double base, size_t i)
{
    double low = pair_of(c, base, (double)c->yarn_fast);
    double high = pair_of(c, base, (double)c->yarn_slow);
    if (!c->arch->yarn_exact) {
        low = floor(low);
        high = ceil(high);
    }
    low = fmax(low, 0);
    high = fmin(high, (double)c->rope_dim - 1);
    double share = ((double)i - low) / fmax(high - low, 1e-3);
    return share < 0 ? 0 : share > 1 ? 1 : share;
}

static float magnitude_of(const struct model *m)
{
    const struct model_config *c = &m->config;
    double given = c->rope_magnitude > 0 ? (double)c->rope_magnitude : 1;
    if (c->rope_scaling == ROPE_YARN && c->rope_scale > 1)
        return (float)(given * (1 + 0.1 * kern_log((double)c->rope_scale)));
    if (m->rope_long && c->rope_magnitude == 0 && c->context > c->rope_original) {
        double stretch = (double)c->context / (double)c->rope_original;
        return (float)sqrt(1 + kern_log(stretch) / kern_log((double)c->rope_original));
    }
    return (float)given;
}

static int make(struct rope *r, const struct model *m, double base, bool scaled,
                struct realm_error *err)
{
    const struct model_config *c = &m->config;
    const float *factors = scaled ? factors_of(m) : NULL;
    size_t pairs = c->rope_dim / 2;
    r->inv_freq = mem_array(pairs, sizeof(*r->inv_freq));
    if (!r->inv_freq)
        return err_nomem(err, "the table of angles");
    r->magnitude = scaled ? magnitude_of(m) : 1;
    for (size_t i = 0; i < pairs; i++) {
        double angle = kern_exp(-2.0 * (double)i / (double)c->rope_dim * kern_log(base));
        double scale = scaled && c->rope_scaling != ROPE_PLAIN ? (double)c->rope_scale : 1;
        if (scaled && c->rope_scaling == ROPE_YARN) {
            double share = yarn_share(c, base, i);
            scale = 1 / (share / scale + 1 - share);
        }
        r->inv_freq[i] = angle / scale / (factors ? (double)factors[i] : 1.0);
    }
    return 0;
}

int rope_init(struct model *m, struct realm_error *err)
{
    const struct model_config *c = &m->config;
    int rc = check_factors(m, err);
    if (!rc && m->n_ropes > 0)
        rc = make(&m->ropes[0], m, (double)c->rope_base, true, err);
    if (!rc && m->n_ropes > 1)
        rc = make(&m->ropes[1], m, (double)c->rope_base_window, !c->arch->window_unscaled, err);
    return rc;
}
