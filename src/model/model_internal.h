/* model/model_internal.h - the steps of loading a model, in their order. */
#ifndef MODEL_MODEL_INTERNAL_H
#define MODEL_MODEL_INTERNAL_H

#include "model/model.h"

/* config.c: reads and checks the hyperparameters.  vocab, tied and
 * rope_has_factors depend on the tensors and are set by weights_bind. */
MUST_USE int config_read(struct model_config *c, const struct gguf *g, struct realm_error *err);

/* Where one tensor of the file goes. */
struct weight {
    const struct gguf_tensor *tensor;
    struct matrix *matrix; /* NULL: a vector */
    float **vector;
    size_t at; /* offset into the model's memory */
};

struct weights {
    struct weight *items;
    size_t n;
    uint64_t bytes; /* of the model's memory */
};

/* weights.c: finds every tensor that m->config asks for and checks types and
 * shapes; sets all of m's matrices but their data, and allocates m->layers.  Any
 * other tensor in the file is an error.  The caller frees w->items. */
MUST_USE int weights_bind(struct weights *w, struct model *m, const struct gguf_file *f,
                          struct realm_error *err);

/* rope.c: makes m->rope_inv_freq from the configuration and m->rope_factors. */
MUST_USE int rope_init(struct model *m, struct realm_error *err);

#endif
