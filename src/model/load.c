/* model/load.c - from a checked header to weights in memory.
 *
 * The file is read in pieces of some megabytes, each a number of whole groups of
 * 16 rows, and packed into panels as it comes: no second copy, and a caller that
 * went away is noticed between pieces. */
#include <string.h>

#include "base/ckd.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"
#include "model/model_internal.h"

enum { PIECE_BYTES = 2 << 20 };

struct reader {
    const struct gguf_file *file;
    const struct model_load_options *options;
    uint64_t done, total; /* bytes of tensor data */
    uint8_t *piece;
    size_t piece_bytes;
    struct realm_error *err;
};

void model_close(struct model *m)
{
    if (!m)
        return;
    vocab_close(m->vocab);
    mem_free(m->chat_template);
    for (size_t i = 0; i < ROPES_MAX; i++)
        mem_free(m->ropes[i].inv_freq);
    mem_free(m->layers);
    mem_pages_free(m->memory, (size_t)m->memory_bytes);
    mem_free(m);
}

static int open_vocab(struct model *m, const struct gguf *g, struct realm_error *err)
{
    int rc = vocab_open(&m->vocab, g, err);
    if (rc == REALM_E_NOT_FOUND)
        return 0;
    if (rc)
        return rc;
    if (vocab_size(m->vocab) != m->config.vocab)
        return err_set(err, REALM_E_FORMAT,
                       "the tokenizer has %u tokens, tensor token_embd.weight %u rows",
                       vocab_size(m->vocab), m->config.vocab);
    return 0;
}

static int copy_template(struct model *m, const struct gguf *g, struct realm_error *err)
{
    struct slice text;
    int rc = gguf_get_string(g, "tokenizer.chat_template", &text, err);
    if (rc == REALM_E_NOT_FOUND)
        return 0;
    if (rc)
        return rc;
    if (text.n > TEMPLATE_BYTES_MAX || memchr(text.p, '\0', text.n))
        return err_set(err, REALM_E_FORMAT,
                       "key tokenizer.chat_template has %zu bytes or a NUL, want up to %u and none",
                       text.n, TEMPLATE_BYTES_MAX);
    m->chat_template = mem_strndup((const char *)text.p, text.n);
    return m->chat_template ? 0 : err_nomem(err, "the chat template");
}

/* Everything but the weights themselves. */
static int check_file(struct model *m, struct weights *w, const struct gguf_file *f,
                      struct realm_error *err)
{
    const struct gguf *g = gguf_file_header(f);
    if (gguf_file_tensors(f) == 0)
        return err_set(err, REALM_E_UNSUPPORTED, "the file is a vocabulary and has no weights");
    int rc = config_read(&m->config, g, err);
    if (!rc)
        rc = weights_bind(w, m, f, err);
    if (!rc)
        rc = windows_read(m, g, err);
    if (!rc)
        rc = open_vocab(m, g, err);
    if (!rc)
        rc = copy_template(m, g, err);
    m->tensors = (uint32_t)gguf_file_tensors(f);
    m->memory_bytes = w->bytes;
    return rc;
}

int model_plan(struct model_plan *out, const struct gguf_file *f, struct realm_error *err)
{
    struct weights w = {0};
    struct model *m = mem_zalloc(sizeof(*m));
    if (!m)
        return err_nomem(err, "a model");
    int rc = check_file(m, &w, f, err);
    out->config = m->config;
    out->bytes = w.bytes + (m->vocab ? vocab_bytes(m->vocab) : 0) + sizeof(*m) +
                 m->config.layers * sizeof(*m->layers);
    mem_free(w.items);
    model_close(m);
    return rc;
}

static int read_some(struct reader *r, const struct gguf_tensor *t, uint64_t at, void *dst,
                     size_t n)
{
    const struct model_load_options *o = r->options;
    int rc = gguf_file_read(r->file, t, at, dst, n, r->err);
    if (rc)
        return rc;
    r->done += n;
    if (o && o->progress && !o->progress(o->ctx, r->done, r->total))
        return err_set(r->err, REALM_E_CANCELLED, "loading was cancelled");
    return 0;
}

static int grow_piece(struct reader *r, size_t bytes)
{
    if (bytes <= r->piece_bytes)
        return 0;
    mem_free(r->piece);
    r->piece = mem_alloc(bytes);
    r->piece_bytes = r->piece ? bytes : 0;
    return r->piece ? 0 : err_nomem(r->err, "reading weights");
}

/* to: the first panel of one of the matrices. */
static void pack_piece(const struct matrix *m, uint8_t *to, size_t row0, size_t rows,
                       const uint8_t *data, size_t row_bytes)
{
    for (size_t r = 0; r < rows; r += PANEL_ROWS) {
        uint8_t *panel = to + (row0 + r) / PANEL_ROWS * m->panel_bytes;
        panel_pack(m->type, panel, data + r * row_bytes, row_bytes, min_size(PANEL_ROWS, rows - r),
                   m->k);
    }
}

/* The nth of the matrices that an item's tensor has. */
static int read_matrix(struct reader *r, const struct weight *item, size_t nth, size_t row_bytes)
{
    const struct matrix *m = item->matrix;
    uint8_t *panels = m->data + (item->index + nth) * m->panels * m->panel_bytes;
    size_t groups = max_size(PIECE_BYTES / (row_bytes * PANEL_ROWS), 1);
    size_t rows_max = min_size(groups * PANEL_ROWS, m->rows);
    uint64_t first = item->first + nth * m->rows;
    int rc = grow_piece(r, rows_max * row_bytes);
    for (size_t row = 0; !rc && row < m->rows; row += rows_max) {
        size_t rows = min_size(rows_max, m->rows - row);
        rc = read_some(r, item->tensor, (first + row) * row_bytes, r->piece, rows * row_bytes);
        if (!rc)
            pack_piece(m, panels, row, rows, r->piece, row_bytes);
    }
    return rc;
}

static int read_matrices(struct reader *r, const struct weight *item)
{
    const uint64_t *dims = item->tensor->dims;
    size_t row_bytes = (size_t)(item->tensor->bytes / (dims[1] * dims[2]));
    int rc = 0;
    for (size_t i = 0; !rc && i < item->count; i++)
        rc = read_matrix(r, item, i, row_bytes);
    return rc;
}

static int read_weights(struct model *m, const struct weights *w, struct reader *r)
{
    m->memory = mem_pages((size_t)w->bytes);
    if (!m->memory)
        return err_nomem(r->err, "weights");
    int rc = 0;
    for (size_t i = 0; !rc && i < w->n; i++) {
        const struct weight *item = &w->items[i];
        uint8_t *at = (uint8_t *)m->memory + item->at;
        if (item->matrix) {
            item->matrix->data = at;
            rc = read_matrices(r, item);
        } else {
            *item->vector = (float *)(void *)at;
            rc = read_some(r, item->tensor, 0, at, (size_t)item->tensor->bytes);
        }
    }
    if (m->config.tied)
        m->output = m->embed;
    mem_free(r->piece);
    return rc;
}

int model_load(struct model **out, const struct gguf_file *f,
               const struct model_load_options *options, struct realm_error *err)
{
    *out = NULL;
    struct weights w = {0};
    struct model *m = mem_zalloc(sizeof(*m));
    if (!m)
        return err_nomem(err, "a model");
    int rc = check_file(m, &w, f, err);
    struct reader r = {.file = f, .options = options, .total = m->file_bytes, .err = err};
    if (!rc)
        rc = read_weights(m, &w, &r);
    if (!rc)
        rc = rope_init(m, err);
    mem_free(w.items);
    if (rc)
        model_close(m);
    else
        *out = m;
    return rc;
}
