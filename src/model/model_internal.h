/* model/model_internal.h - the steps of loading a model, in their order. */
#ifndef MODEL_MODEL_INTERNAL_H
#define MODEL_MODEL_INTERNAL_H

#include "model/arch/arch.h"
#include "model/model.h"

enum { CONFIG_KEY_MAX = 96 };

/* config.c: a key of the architecture's, "NAME.name". */
void config_key(char key[CONFIG_KEY_MAX], const struct model_config *c, const char *name);

/* config.c: reads and checks the hyperparameters.  vocab, tied and
 * rope_has_factors depend on the tensors and are set by weights_bind. */
MUST_USE int config_read(struct model_config *c, const struct gguf *g, struct realm_error *err);

/* window.c: sets the window and the rope of each layer; the layers are there. */
MUST_USE int windows_read(struct model *m, const struct gguf *g, struct realm_error *err);

/* Where one tensor of the file goes, or some of its rows. */
struct weight {
    const struct gguf_tensor *tensor;
    size_t first;          /* row */
    struct matrix *matrix; /* NULL: a vector */
    size_t index, count;   /* of the matrices, those that the tensor has */
    float **vector;
    size_t at;     /* offset of the whole into the model's memory */
    size_t piece0; /* the first in which it is read (load.c) */
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

/* rope.c: makes m->ropes from the configuration and the lists of factors. */
MUST_USE int rope_init(struct model *m, struct realm_error *err);

#endif
