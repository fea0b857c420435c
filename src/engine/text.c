#include <string.h>

#include "base/buf.h"
#include "base/ckd.h"
#include "base/err.h"
#include "base/limits.h"
#include "engine/engine_impl.h"
#include "text/detok.h"

_Static_assert((int)REALM_TEXT_BOS == (int)VOCAB_BOS, "the flags are handed on");
_Static_assert((int)REALM_TEXT_SPECIAL == (int)VOCAB_SPECIAL, "the flags are handed on");
_Static_assert((int)REALM_TEXT_END == (int)VOCAB_END, "the flags are handed on");

int realm_tokenize(const struct realm_model *m, const char *text, size_t bytes, unsigned flags,
                   uint32_t *ids, size_t max, size_t *n)
{
    const struct vocab *v = m->loaded->model->vocab;
    *n = 0;
    if (!v)
        return REALM_E_UNSUPPORTED;
    return vocab_encode(v, text, bytes, flags, ids, max, n);
}

/* Where text goes; counts on when there is no room any more. */
struct sink {
    char *out;
    size_t max;
    size_t n;
};

static void pour(struct sink *s, const void *text, size_t n)
{
    if (n && s->n <= s->max && n <= s->max - s->n)
        memcpy(s->out + s->n, text, n);
    s->n += n;
}

static int pour_all(struct sink *s, struct detok *d, struct buf *piece, const uint32_t *ids,
                    size_t n)
{
    char last[4];
    for (size_t i = 0; i < n; i++) {
        int status = buf_reserve(piece, detok_bound(d, ids[i]) + 1);
        if (status)
            return status;
        pour(s, piece->p, detok_push(d, ids[i], (char *)piece->p));
    }
    pour(s, last, detok_end(d, last));
    return s->n > s->max ? REALM_E_TOO_SMALL : 0;
}

int realm_detokenize(const struct realm_model *m, const uint32_t *ids, size_t n, bool special,
                     char *out, size_t max, size_t *bytes)
{
    const struct vocab *v = m->loaded->model->vocab;
    *bytes = 0;
    if (!v)
        return REALM_E_UNSUPPORTED;
    for (size_t i = 0; i < n; i++)
        if (ids[i] >= vocab_size(v))
            return REALM_E_ARG;
    struct sink sink = {.out = out, .max = max};
    struct detok detok;
    struct buf piece;
    buf_init(&piece, 4 * (size_t)TOKEN_TEXT_MAX);
    detok_init(&detok, v, true, special);
    int status = pour_all(&sink, &detok, &piece, ids, n);
    *bytes = sink.n;
    buf_free(&piece);
    return status;
}

int realm_token_bytes(const struct realm_model *m, uint32_t id, char *out, size_t max, size_t *n)
{
    const struct vocab *v = m->loaded->model->vocab;
    *n = 0;
    if (!v)
        return REALM_E_UNSUPPORTED;
    if (id >= vocab_size(v))
        return REALM_E_ARG;
    struct slice piece = vocab_piece(v, id, true);
    if (min_size(piece.n, max))
        memcpy(out, piece.p, min_size(piece.n, max));
    *n = piece.n;
    return 0;
}
