/* text/spm.c - the tokeniser of SentencePiece's BPE models.
 *
 * A space is spelled U+2581 in tokens.  The text is a chain of characters; of all
 * neighbours that make a token, those with the highest score become one first.
 * A character that is no token is spelled by byte tokens <0xHH>. */
#include <string.h>

#include "base/ckd.h"
#include "base/err.h"
#include "base/utf8.h"
#include "text/vocab_in.h"

#define BLOCK "\xE2\x96\x81" /* U+2581 */
enum { BLOCK_N = 3 };

static bool is_block(const uint8_t *p, size_t n)
{
    return n >= BLOCK_N && memcmp(p, BLOCK, BLOCK_N) == 0;
}

/* Writes the text with a space for each U+2581; returns the bytes. */
static uint32_t unescape(struct slice text, uint8_t *out)
{
    uint32_t n = 0;
    for (size_t i = 0; i < text.n;) {
        bool block = is_block(text.p + i, text.n - i);
        out[n++] = block ? ' ' : text.p[i];
        i += block ? BLOCK_N : 1;
    }
    return n;
}

static bool has_inner_space(struct slice text)
{
    size_t i = 0;
    while (is_block(text.p + i, text.n - i))
        i += BLOCK_N;
    for (; i < text.n; i++) {
        if (is_block(text.p + i, text.n - i))
            return true;
    }
    return false;
}

static void fill_pieces(struct vocab *v)
{
    uint32_t at = 0;
    for (uint32_t id = 0; id < v->n; id++) {
        struct token *t = &v->tokens[id];
        struct slice text = token_text(v, id);
        t->piece_at = at;
        switch (t->kind) {
        case TOKEN_BYTE:
            (void)byte_token_value(text, &v->pieces[at]); // checked when it was loaded
            t->piece_n = 1;
            break;
        case TOKEN_CONTROL:
        case TOKEN_UNKNOWN:
            memcpy(v->pieces + at, text.p, text.n);
            t->piece_n = (uint32_t)text.n;
            break;
        default:
            t->piece_n = unescape(text, v->pieces + at);
            v->inner_space = v->inner_space || has_inner_space(text);
        }
        at += t->piece_n;
    }
}

static bool lookup_text(const struct vocab *v, struct slice text, uint32_t *id)
{
    return map_get(&v->by_text, text, id) && token_mergeable(v, *id);
}

int spm_open(struct vocab *v, const struct gguf *g, struct realm_error *err)
{
    v->space_prefix = true;
    int status = gguf_get_bool(g, "tokenizer.ggml.add_space_prefix", &v->space_prefix, err);
    if (status && status != REALM_E_NOT_FOUND)
        return status;
    fill_pieces(v);
    uint32_t id;
    v->space_tokens = lookup_text(v, slice_of(BLOCK), &id) ? 1 : BLOCK_N;
    return 0;
}

static bool lookup_pair(const void *ctx, const uint8_t *word, const struct symbol *left,
                        const struct symbol *right, struct candidate *out)
{
    const struct vocab *v = ctx;
    struct slice both = {word + left->at, (size_t)left->n + right->n};
    if (both.n > v->longest || !lookup_text(v, both, &out->id))
        return false;
    out->rank = v->tokens[out->id].rank;
    return true;
}

/* A character that is no token. */
static void put_character(struct encoder *e, struct slice c)
{
    const struct vocab *v = e->v;
    bool bytes = true;
    for (size_t i = 0; i < c.n; i++)
        bytes = bytes && v->byte_ids[c.p[i]] != TOKEN_NONE;
    if (!bytes) {
        encoder_put(e, v->ids[ID_UNKNOWN]);
        return;
    }
    for (size_t i = 0; i < c.n; i++)
        encoder_put(e, v->byte_ids[c.p[i]]);
}

static int encode_word(struct encoder *e, struct slice word)
{
    int status = merger_reserve(&e->merger, word.n);
    if (status)
        return status;
    struct symbol *s = e->merger.symbols;
    size_t n = 0;
    for (size_t at = 0; at < word.n; n++) {
        uint32_t cp;
        int len = utf8_decode(word.p + at, word.n - at, &cp);
        ASSERT(len > 0);
        s[n] = (struct symbol){.at = (uint32_t)at, .n = (uint32_t)len, .id = TOKEN_NONE};
        uint32_t id;
        if (lookup_text(e->v, (struct slice){word.p + at, (size_t)len}, &id))
            s[n].id = id;
        at += (size_t)len;
    }
    merger_run(&e->merger, word.p, n, lookup_pair, e->v);
    for (uint32_t i = 0; i != MERGE_END; i = s[i].next) {
        if (s[i].id != TOKEN_NONE)
            encoder_put(e, s[i].id);
        else
            put_character(e, (struct slice){word.p + s[i].at, s[i].n});
    }
    return 0;
}

static int escape(struct buf *out, struct slice text, bool prefix)
{
    buf_clear(out);
    int status = prefix ? buf_add(out, BLOCK, BLOCK_N) : 0;
    for (size_t i = 0; i < text.n && !status; i++) {
        bool space = text.p[i] == ' ';
        status = buf_add(out, space ? (const void *)BLOCK : &text.p[i], space ? BLOCK_N : 1);
    }
    return status;
}

/* Bytes of the first word: up to a space that follows something else. */
static size_t word_end(struct slice text)
{
    size_t i = 0;
    while (is_block(text.p + i, text.n - i))
        i += BLOCK_N;
    while (i < text.n && !is_block(text.p + i, text.n - i))
        i++;
    return i;
}

int spm_encode(struct encoder *e, struct slice text, bool prefix)
{
    int status = escape(&e->escaped, text, prefix && e->v->space_prefix);
    struct slice rest = buf_slice(&e->escaped);
    while (rest.n && !status) {
        // no token reaches over such a border, so that nothing else changes
        size_t n = e->v->inner_space ? rest.n : word_end(rest);
        status = encode_word(e, (struct slice){rest.p, n});
        rest = (struct slice){rest.p + n, rest.n - n};
    }
    return status;
}
