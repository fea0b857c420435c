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
    block_pieces(v);
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
        struct slice part = {word.p + s[i].at, s[i].n};
        encoder_put_part(e, part, s[i].id);
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

int spm_encode(struct encoder *e, struct slice text)
{
    e->after_unknown = false;
    int status = escape(&e->escaped, text, e->v->space_prefix);
    struct slice rest = buf_slice(&e->escaped);
    while (rest.n && !status) {
        // no token reaches over such a border, so that nothing else changes
        size_t n = e->v->inner_space ? rest.n : block_word_end(rest);
        status = encode_word(e, (struct slice){rest.p, n});
        rest = (struct slice){rest.p + n, rest.n - n};
    }
    return status;
}
