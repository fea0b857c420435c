/* text/block.c - tokens whose spaces are spelled U+2581, as SentencePiece writes them, and
 * words that are merged from characters. */
#include <string.h>

#include "base/assert.h"
#include "base/utf8.h"
#include "text/vocab_in.h"

int block_escape(struct buf *out, struct slice text, bool prefix)
{
    buf_clear(out);
    int status = prefix ? buf_add(out, BLOCK, BLOCK_N) : 0;
    for (size_t i = 0; i < text.n && !status; i++) {
        bool space = text.p[i] == ' ';
        status = buf_add(out, space ? (const void *)BLOCK : &text.p[i], space ? BLOCK_N : 1);
    }
    return status;
}

uint32_t block_unescape(struct slice text, uint8_t *out)
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
            t->piece_n = block_unescape(text, v->pieces + at);
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
    e->after_unknown = unknown && !e->v->each_unknown;
}

bool token_of(const struct vocab *v, struct slice text, uint32_t *id)
{
    return map_get(&v->by_text, text, id) && token_mergeable(v, *id);
}

int encode_characters(struct encoder *e, struct slice word, merge_lookup lookup)
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
        if (token_of(e->v, (struct slice){word.p + at, (size_t)len}, &id))
            s[n].id = id;
        at += (size_t)len;
    }
    merger_run(&e->merger, word.p, n, lookup, e->v);
    for (uint32_t i = 0; i != MERGE_END; i = s[i].next) {
        struct slice part = {word.p + s[i].at, s[i].n};
        encoder_put_part(e, part, s[i].id);
    }
    return 0;
}
