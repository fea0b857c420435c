/* text/block.c - tokens whose spaces are spelled U+2581, as SentencePiece writes them. */
#include <string.h>

#include "text/vocab_in.h"

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

void block_pieces(struct vocab *v)
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

size_t block_word_end(struct slice text)
{
    size_t i = 0;
    while (is_block(text.p + i, text.n - i))
        i += BLOCK_N;
    while (i < text.n && !is_block(text.p + i, text.n - i))
        i++;
    return i;
}

static bool spells_text(const struct vocab *v, uint32_t id)
{
    bool unused = v->model == VOCAB_UNIGRAM && v->tokens[id].kind == TOKEN_UNUSED;
    return token_mergeable(v, id) && !unused && v->tokens[id].text_n;
}

int trie_of_tokens(struct vocab *v, struct realm_error *err)
{
    return tokens_trie(&v->trie, v, spells_text, err);
}

static bool put_bytes(struct encoder *e, struct slice text)
{
    const struct vocab *v = e->v;
    for (size_t i = 0; i < text.n; i++) {
        if (v->byte_ids[text.p[i]] == TOKEN_NONE)
            return false;
    }
    for (size_t i = 0; i < text.n; i++)
        encoder_put(e, v->byte_ids[text.p[i]]);
    return true;
}

void encoder_put_part(struct encoder *e, struct slice text, uint32_t id)
{
    bool unknown = id == TOKEN_NONE && !put_bytes(e, text);
    if (id != TOKEN_NONE)
        encoder_put(e, id);
    else if (unknown && !e->after_unknown)
        encoder_put(e, e->v->ids[ID_UNKNOWN]);
    e->after_unknown = unknown;
}
