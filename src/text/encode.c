/* text/encode.c - from text to tokens: finds the special tokens and hands the
 * stretches between them to the tokeniser. */
#include "base/ckd.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "text/vocab_in.h"

/* Places in a text are 32 bits wide, and a space may take three bytes. */
enum { TEXT_MAX = 1 << 30 };

static bool composes(const struct vocab *v)
{
    return v->pretok && pretok_rules_of(v->pretok)->composes;
}

/* Most bytes that come of one before it is cut into tokens. */
static size_t growth(const struct vocab *v)
{
    if (v->model == VOCAB_UNIGRAM)
        return max_size(v->charsmap.growth, BLOCK_N);
    if (v->lowers)
        return NORM_LOWER_GROWTH;
    return composes(v) ? NORM_GROWTH_MAX : 1;
}

size_t vocab_bound(const struct vocab *v, size_t n)
{
    // Every byte may become a token; without a token for U+2581 a space is three.
    // A special token, of so many bytes at least, may bring a space of its own.
    size_t space = v->space_tokens;
    size_t per_byte = max_size(space, growth(v));
    per_byte = max_size(per_byte, space / v->shortest_special + 1);
    size_t bound;
    return ckd_mul_size(n, per_byte, &bound) && ckd_add_size(bound, 2 + space, &bound) ? bound
                                                                                       : SIZE_MAX;
}

/* Whether a byte has no token: then a run of unknown characters may be one unknown token. */
static bool lacks_bytes(const struct vocab *v)
{
    for (unsigned b = 0; b < 0xF5; b++)
        if (v->byte_ids[b] == TOKEN_NONE && b != 0xC0 && b != 0xC1) // bytes UTF-8 never has
            return true;
    return false;
}

/* Bytes of text that leave no trace in its ids. */
static size_t dropped(const struct vocab *v, struct slice text, unsigned flags)
{
    static const size_t guard_n = sizeof(VOCAB_GUARD) - 1;
    size_t guards = 0;
    bool spaces = v->pretok && pretok_rules_of(v->pretok)->drops_spaces;
    if (v->strips || spaces || lacks_bytes(v) || v->model == VOCAB_WORDPIECE ||
        v->model == VOCAB_UNIGRAM)
        return text.n; // any white space may be, and what the model does not know as text
    const uint8_t *at = text.p, *end = text.p + text.n;
    while (flags & VOCAB_SPECIAL && (at = memmem(at, (size_t)(end - at), VOCAB_GUARD, guard_n))) {
        guards++;
        at += guard_n;
    }
    return guards * guard_n;
}

size_t vocab_least(const struct vocab *v, const char *text, size_t n, unsigned flags)
{
    enum { CHARACTER_MAX = 4 }; // that no token spells: one unknown token at least
    struct slice all = {(const uint8_t *)text, n};
    size_t per_token = max_size(v->longest, CHARACTER_MAX);
    if (composes(v))
        per_token *= NORM_SHRINK_MAX;
    return (n - dropped(v, all, flags) + per_token - 1) / per_token;
}

static int encoder_init(struct encoder *e, const struct vocab *v, uint32_t *ids, size_t max)
{
    *e = (struct encoder){.v = v, .ids = ids, .max = max};
    merger_init(&e->merger);
    buf_init(&e->plain, SIZE_MAX);
    buf_init(&e->escaped, SIZE_MAX);
    norm_init(&e->norm);
    return v->pretok ? pretok_walk_open(&e->walk, v->pretok) : 0;
}

static void encoder_free(struct encoder *e)
{
    merger_free(&e->merger);
    buf_free(&e->plain);
    buf_free(&e->escaped);
    norm_free(&e->norm);
    mem_free(e->ways);
    if (e->v->pretok)
        pretok_walk_close(&e->walk);
}

/* Drops the guards of a stretch, copying it only if there is one. */
static int drop_guards(struct encoder *e, struct slice *text)
{
    static const size_t guard_n = sizeof(VOCAB_GUARD) - 1;
    const uint8_t *end = text->p + text->n;
    const uint8_t *from = text->p;
    const uint8_t *guard = memmem(from, text->n, VOCAB_GUARD, guard_n);
    if (!guard)
        return 0;
    buf_clear(&e->plain);
    while (guard) {
        if (buf_add(&e->plain, from, (size_t)(guard - from)))
            return REALM_E_NOMEM;
        from = guard + guard_n;
        guard = memmem(from, (size_t)(end - from), VOCAB_GUARD, guard_n);
    }
    if (buf_add(&e->plain, from, (size_t)(end - from)))
        return REALM_E_NOMEM;
    *text = buf_slice(&e->plain);
    return 0;
}

static int encode_stretch(struct encoder *e, struct slice text)
{
    switch (e->v->model) {
    case VOCAB_SPM:
        return spm_encode(e, text);
    case VOCAB_BPE:
        return bpe_encode(e, text);
    case VOCAB_WORDPIECE:
        return wordpiece_encode(e, text);
    default:
        return unigram_encode(e, text);
    }
}

/* A stretch without special tokens; such a stretch always begins the text or
 * follows a special token, where SPM and Unigram put a space before it. */
static int encode_plain(struct encoder *e, struct slice text, unsigned flags)
{
    if (flags & VOCAB_SPECIAL) {
        int status = drop_guards(e, &text);
        if (status)
            return status;
    }
    return text.n ? encode_stretch(e, text) : 0;
}

static size_t skip_spaces(struct slice text, size_t at)
{
    uint32_t c;
    for (int n; at < text.n; at += (size_t)n) {
        n = utf8_decode(text.p + at, text.n - at, &c);
        if (!utf8_is_space(c))
            break;
    }
    return at;
}

/* Whether a guard stands right before at. */
static bool guarded(struct slice text, size_t at)
{
    static const size_t guard_n = sizeof(VOCAB_GUARD) - 1;
    return at >= guard_n && memcmp(text.p + at - guard_n, VOCAB_GUARD, guard_n) == 0;
}

/* The first special token at or after at that no guard keeps from being one. */
static bool next_special(const struct encoder *e, struct slice text, size_t at, unsigned flags,
                         struct special *out)
{
    const struct trie *t = flags & VOCAB_SPECIAL ? &e->v->special : &e->v->user;
    bool found = special_find(t, text, at, out);
    while (found && (flags & VOCAB_SPECIAL) && guarded(text, out->start))
        found = special_find(t, text, out->start + 1, out);
    return found;
}

static int encode_all(struct encoder *e, struct slice text, unsigned flags)
{
    size_t at = 0;
    while (at < text.n) {
        struct special special;
        bool found = next_special(e, text, at, flags, &special);
        size_t end = found ? special.start : text.n;
        int status = encode_plain(e, (struct slice){text.p + at, end - at}, flags);
        if (status)
            return status;
        if (!found)
            break;
        encoder_put(e, special.id);
        at = special.start + special.n;
        if (e->v->tokens[special.id].rstrip)
            at = skip_spaces(text, at);
    }
    return 0;
}

int vocab_encode(const struct vocab *v, const char *text, size_t n, unsigned flags, uint32_t *ids,
                 size_t max, size_t *n_ids)
{
    *n_ids = 0;
    if (n > TEXT_MAX)
        return REALM_E_LIMIT;
    if (!utf8_valid(text, n))
        return REALM_E_UTF8;
    struct encoder e;
    int status = encoder_init(&e, v, ids, max);
    if (!status) {
        if ((flags & VOCAB_BOS) && vocab_adds_bos(v))
            encoder_put(&e, v->ids[ID_BOS]);
        status = encode_all(&e, (struct slice){(const uint8_t *)text, n}, flags);
        if ((flags & VOCAB_END) && vocab_end(v) != TOKEN_NONE)
            encoder_put(&e, vocab_end(v));
    }
    encoder_free(&e);
    if (status)
        return status;
    *n_ids = e.n;
    return e.n > max ? REALM_E_TOO_SMALL : 0;
}
