#include "text/detok.h"

#include <string.h>

#include "base/utf8.h"
#include "text/vocab_in.h"

#define REPLACEMENT "\xEF\xBF\xBD" /* U+FFFD */
enum { REPLACEMENT_N = 3 };

void detok_init(struct detok *d, const struct vocab *v, bool at_start, bool special)
{
    *d = (struct detok){.vocab = v, .strip_space = at_start && v->space_prefix, .special = special};
}

size_t detok_bound(const struct detok *d, uint32_t id)
{
    // at worst each byte is a run of its own
    return (d->tail_n + vocab_piece(d->vocab, id, d->special).n) * REPLACEMENT_N;
}

static size_t put_replacement(char *out)
{
    memcpy(out, REPLACEMENT, REPLACEMENT_N);
    return REPLACEMENT_N;
}

/* Takes one byte more.  The tail is always the beginning of a character. */
static size_t push_byte(struct detok *d, uint8_t byte, char *out)
{
    size_t n = 0;
    d->tail[d->tail_n++] = byte;
    while (d->tail_n) {
        uint32_t cp;
        int len = utf8_decode(d->tail, d->tail_n, &cp);
        if (len < 0)
            break;
        if (len > 0) {
            memcpy(out + n, d->tail, (size_t)len);
            n += (size_t)len;
            d->tail_n = 0;
            break;
        }
        size_t bad = utf8_bad_run(d->tail, d->tail_n);
        n += put_replacement(out + n);
        d->tail_n = (uint8_t)(d->tail_n - bad);
        memmove(d->tail, d->tail + bad, d->tail_n);
    }
    return n;
}

size_t detok_push(struct detok *d, uint32_t id, char *out)
{
    struct slice piece = vocab_piece(d->vocab, id, d->special);
    if (piece.n == 0)
        return 0;
    if (d->strip_space && piece.p[0] == ' ')
        piece = (struct slice){piece.p + 1, piece.n - 1};
    d->strip_space = false;
    size_t n = 0;
    for (size_t i = 0; i < piece.n; i++)
        n += push_byte(d, piece.p[i], out + n);
    return n;
}

size_t detok_end(struct detok *d, char *out)
{
    bool cut = d->tail_n > 0;
    d->tail_n = 0;
    return cut ? put_replacement(out) : 0;
}
