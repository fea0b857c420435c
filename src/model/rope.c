/* model/rope.c - the angles of rotary positions.
 *
 * Pair i at position p turns by p * base^(-2i / rope_dim), divided by the linear
 * scale and, for Llama-3, by the pair's factor.  Kept in double: at position
 * 100 000 a float's rounding would turn the fast pairs by a thousandth. */
#include <math.h>

#include "base/err.h"
#include "base/mem.h"
#include "model/model_internal.h"

int rope_init(struct model *m, struct realm_error *err)
{
    const struct model_config *c = &m->config;
    size_t pairs = c->rope_dim / 2;
    m->rope_inv_freq = mem_array(pairs, sizeof(*m->rope_inv_freq));
    if (!m->rope_inv_freq)
        return err_nomem(err, "the table of angles");
    for (size_t i = 0; i < pairs; i++) {
        double factor = m->rope_factors ? (double)m->rope_factors[i] : 1.0;
        if (!(factor >= 1e-3 && factor <= 1e6))
            return err_set(err, REALM_E_FORMAT,
                           "tensor rope_freqs.weight holds %g, want 0.001 to 1000000", factor);
        double angle = pow((double)c->rope_base, -2.0 * (double)i / (double)c->rope_dim);
        m->rope_inv_freq[i] = angle / (double)c->rope_scale / factor;
    }
    return 0;
}
