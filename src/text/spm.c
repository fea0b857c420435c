/* text/spm.c - the tokeniser of SentencePiece's BPE models.
 *
 * A space is spelled U+2581 in tokens.  The text is a chain of characters; of all
 * neighbours that make a token, those with the highest score become one first.
 * A character that is no token is spelled by byte tokens <0xHH>. */
#include <string.h>

#include "text/vocab_in.h"

int spm_open(struct vocab *v, const struct gguf *g, struct realm_error *err)
{
    v->space_prefix = true;
    int status = gguf_get_bool(g, "tokenizer.ggml.add_space_prefix", &v->space_prefix, err);
    if (status && status != REALM_E_NOT_FOUND)
        return status;
    block_pieces(v);
    uint32_t id;
    v->space_tokens = token_of(v, slice_of(BLOCK), &id) ? 1 : BLOCK_N;
    return 0;
}

static bool lookup_pair(const void *ctx, const uint8_t *word, const struct symbol *left,
                        const struct symbol *right, struct candidate *out)
{
    const struct vocab *v = ctx;
    struct slice both = {word + left->at, (size_t)left->n + right->n};
    if (both.n > v->longest || !token_of(v, both, &out->id))
        return false;
    out->rank = v->tokens[out->id].rank;
    return true;
}

int spm_encode(struct encoder *e, struct slice text)
{
    e->after_unknown = false;
    int status = block_escape(&e->escaped, text, e->v->space_prefix);
    struct slice rest = buf_slice(&e->escaped);
    while (rest.n && !status) {
        // no token reaches over such a border, so that nothing else changes
        size_t n = e->v->inner_space ? rest.n : block_word_end(rest);
        status = encode_characters(e, (struct slice){rest.p, n}, lookup_pair);
        rest = (struct slice){rest.p + n, rest.n - n};
    }
    return status;
}
