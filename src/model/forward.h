/* model/forward.h - the forward pass over a batch of rows.
 *
 * A row is one token at one position of one sequence.  Rows of one sequence
 * stand together, in order of position, without gaps.  What comes of a row is
 * the same bits in every batch, with every cut of the prompt into steps, on any
 * number of threads.
 *
 * An encoder's rows see the whole text, so all of it is in one step; there are no
 * logits.  Keys and values are of no use afterwards, and those of a layer take the
 * place of the last one's.
 *
 * A forward holds the scratch of one model and belongs to the scheduler's
 * thread, which is worker 0 of the pool. */
#ifndef MODEL_FORWARD_H
#define MODEL_FORWARD_H

#include "kv/kv.h"
#include "model/model.h"
#include "pool/pool.h"

enum { FORWARD_LOGITS_MAX = 256 }; /* rows of one step that want logits */

struct forward_row {
    struct kv_seq *seq; /* has room for pos */
    uint32_t token;     /* below the vocabulary */
    uint32_t pos;       /* below the context */
    bool wants_logits;
    bool wants_hidden; /* any number of rows */
};

struct forward;

/* Rows that a step may have. */
size_t forward_rows_max(const struct model_config *c);
/* Of the pages for a model's keys and values, which are to be kept as type. */
struct kv_shape forward_kv_shape(const struct model_config *c, enum kv_type type);

/* rows_max: most rows of one step, up to forward_rows_max. */
MUST_USE int forward_open(struct forward **out, const struct model *m, struct pool *pool,
                          const struct kernels *kernels, size_t rows_max);
void forward_close(struct forward *f);
uint64_t forward_bytes(const struct forward *f); /* scratch held */

/* Computes n rows (1 to rows_max), writing their keys and values.  wanted (may be NULL) is
 * asked before each layer how many of the rows, from the first on, the step is still for.  Those
 * behind them are given up for good, an encoder's texts whole: what was written for them must not
 * be used.  None: the step ends with REALM_E_CANCELLED.
 * REALM_E_NUMERIC: row *bad, and every row of which forward_row_bad says so, had
 * values that are not finite; the rows of other sequences are right. */
MUST_USE int forward_step(struct forward *f, const struct forward_row *rows, size_t n,
                          size_t (*wanted)(void *ctx, uint32_t layer), void *ctx, size_t *bad);

/* Whether row i of the last step had values that are not finite. */
bool forward_row_bad(const struct forward *f, size_t i);

/* Logits (vocab) of the i-th row that wanted them in the last step.  They may be
 * changed by the caller and stay until the next step. */
float *forward_logits(struct forward *f, size_t i);

/* The hidden state (width) after the last norm of row i of the last step, which
 * wanted it; stays until the next step. */
const float *forward_hidden(const struct forward *f, size_t i);

#endif
