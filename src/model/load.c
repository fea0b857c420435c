/* model/load.c - from a checked header to weights in memory.
 *
 * The file is read in pieces that stay in a core's cache, each a number of whole groups
 * of 16 rows, and packed into panels as it comes, by a team of its own: no second copy,
 * and a caller that went away is noticed between pieces. */
#include <string.h>

#include "base/ckd.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/thread.h"
#include "model/model_internal.h"
#include "pool/pool.h"

enum { PIECE_BYTES = 256 << 10 };

struct reader {
    const struct gguf_file *file;
    const struct model_load_options *options;
    const struct weights *weights;
    uint8_t *buffers; /* (threads, buffer_bytes) */
    size_t buffer_bytes;
    uint64_t total; /* bytes of tensor data */

    struct mutex lock; /* for these */
    uint64_t done;
    int status;
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

/* Rows of an item's matrix that are read at once: whole groups of 16. */
static size_t rows_of_piece(const struct weight *item, size_t row_bytes)
{
    size_t groups = max_size(PIECE_BYTES / (row_bytes * PANEL_ROWS), 1);
    return min_size(groups * PANEL_ROWS, item->matrix->rows);
}

static size_t row_bytes_of(const struct weight *item)
{
    const uint64_t *dims = item->tensor->dims;
    return (size_t)(item->tensor->bytes / (dims[1] * dims[2]));
}

/* Of all items: numbers the pieces and finds the largest that is read into a buffer. */
static size_t cut_pieces(struct weights *w, size_t *bytes_max)
{
    size_t n = 0;
    *bytes_max = 0;
    for (size_t i = 0; i < w->n; i++) {
        struct weight *item = &w->items[i];
        item->piece0 = n++;
        if (!item->matrix)
            continue;
        size_t row_bytes = row_bytes_of(item), rows = rows_of_piece(item, row_bytes);
        n = item->piece0 + item->count * ((item->matrix->rows + rows - 1) / rows);
        *bytes_max = max_size(*bytes_max, rows * row_bytes);
    }
    return n;
}

static const struct weight *item_of_piece(const struct weights *w, size_t piece)
{
    size_t low = 0, high = w->n; // the last item that begins at or before piece
    while (high - low > 1) {
        size_t mid = (low + high) / 2;
        if (w->items[mid].piece0 <= piece)
            low = mid;
        else
            high = mid;
    }
    return &w->items[low];
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

/* The n-th piece of an item's matrices, whose rows begin at row `first` of the tensor. */
static int read_rows(struct reader *r, const struct weight *item, size_t n, uint8_t *buffer,
                     size_t *bytes, struct realm_error *err)
{
    const struct matrix *m = item->matrix;
    size_t row_bytes = row_bytes_of(item), rows = rows_of_piece(item, row_bytes);
    size_t pieces = (m->rows + rows - 1) / rows, index = n / pieces, row = n % pieces * rows;
    rows = min_size(rows, m->rows - row);
    *bytes = rows * row_bytes;
    int rc = gguf_file_read(r->file, item->tensor,
                            (item->first + index * m->rows + row) * row_bytes, buffer, *bytes, err);
    if (!rc)
        pack_piece(m, m->data + (item->index + index) * m->panels * m->panel_bytes, row, rows,
                   buffer, row_bytes);
    return rc;
}

/* Adds bytes to those that are done, or keeps the first failure; how it stands then. */
static int note(struct reader *r, size_t bytes, int rc, const struct realm_error *err,
                uint64_t *done)
{
    mutex_lock(&r->lock);
    r->done += bytes;
    if (rc && !r->status) {
        r->status = rc;
        if (r->err)
            *r->err = *err;
    }
    rc = r->status;
    *done = r->done;
    mutex_unlock(&r->lock);
    return rc;
}

/* Of the thread that called model_load, which alone asks whether to go on. */
static void ask(struct reader *r, uint64_t done)
{
    const struct model_load_options *o = r->options;
    struct realm_error err;
    if (o && o->progress && !o->progress(o->ctx, done, r->total))
        note(r, 0, err_set(&err, REALM_E_CANCELLED, "loading was cancelled"), &err, &done);
}

static void piece_item(void *ctx, size_t piece, unsigned worker)
{
    struct reader *r = ctx;
    struct realm_error err;
    const struct weight *item = item_of_piece(r->weights, piece);
    size_t bytes = (size_t)item->tensor->bytes;
    uint64_t done;
    int rc;
    if (note(r, 0, 0, NULL, &done))
        return;
    if (item->matrix)
        rc = read_rows(r, item, piece - item->piece0, r->buffers + worker * r->buffer_bytes, &bytes,
                       &err);
    else
        rc = gguf_file_read(r->file, item->tensor, 0, *item->vector, bytes, &err);
    if (!note(r, bytes, rc, &err, &done) && worker == 0)
        ask(r, done);
}

static void place_weights(struct model *m, const struct weights *w)
{
    for (size_t i = 0; i < w->n; i++) {
        uint8_t *at = (uint8_t *)m->memory + w->items[i].at;
        if (w->items[i].matrix)
            w->items[i].matrix->data = at;
        else
            *w->items[i].vector = (float *)(void *)at;
    }
    if (m->config.tied)
        m->output = m->embed;
}

/* All pieces, by as many threads as there are buffers. */
static int read_pieces(struct reader *r, size_t n, unsigned threads)
{
    struct pool *pool;
    if (pool_open(&pool, threads))
        return err_nomem(r->err, "threads that read weights");
    pool_run(pool, piece_item, r, n);
    pool_close(pool);
    return r->status;
}

static int read_weights(struct model *m, struct weights *w, struct reader *r)
{
    unsigned threads = r->options && r->options->threads ? r->options->threads : 1;
    size_t pieces = cut_pieces(w, &r->buffer_bytes);
    r->buffer_bytes = round_up(r->buffer_bytes, CACHE_LINE);
    m->memory = mem_pages((size_t)w->bytes);
    if (!m->memory)
        return err_nomem(r->err, "weights");
    place_weights(m, w);
    r->buffers = mem_array(threads, r->buffer_bytes);
    if (!r->buffers)
        return err_nomem(r->err, "reading weights");
    int rc = mutex_init(&r->lock);
    if (rc) {
        mem_free(r->buffers);
        return err_set(r->err, rc, "no lock for reading weights");
    }
    rc = read_pieces(r, pieces, threads);
    mutex_destroy(&r->lock);
    mem_free(r->buffers);
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
    struct reader r = {
        .file = f, .options = options, .weights = &w, .total = m->file_bytes, .err = err};
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
