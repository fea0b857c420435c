/* text/wordpiece.c - the tokeniser of BERT and of embedding models after it.
 *
 * Text is cleaned, may lose its accents and capitals, and is cut into words at spaces,
 * signs and Han.  A word is cut into the longest token that it begins with, the longest
 * that the rest begins with, and so on; if that does not work out it is unknown whole.
 * In the file a token at a word's beginning has U+2581 before it; others go on. */
#include <string.h>
#include <utf8proc.h>

#include "base/ckd.h"
#include "base/err.h"
#include "base/utf8.h"
#include "text/vocab_in.h"

enum { WORD_CHARACTERS_MAX = 100 }; /* longer ones are unknown */

/* A word with its BLOCK; characters counts on when they are too many. */
struct word {
    uint8_t bytes[BLOCK_N + 4 * WORD_CHARACTERS_MAX];
    size_t n;
    size_t characters;
};

static int load_flags(struct vocab *v, const struct gguf *g, struct realm_error *err)
{
    v->lowers = true;
    int status = gguf_get_bool(g, "tokenizer.ggml.normalizer.lowercase", &v->lowers, err);
    if (status && status != REALM_E_NOT_FOUND)
        return status;
    v->strips_accents = v->lowers;
    status = gguf_get_bool(g, "tokenizer.ggml.normalizer.strip_accents", &v->strips_accents, err);
    return status == REALM_E_NOT_FOUND ? 0 : status;
}

/* What follows the word before it without a space, as BERT's own decoder has it. */
static bool leans_back(struct slice piece)
{
    static const char *const leaning[] = {" .",  " ?",  " !",   " ,",  " n't",
                                          " 'm", " 's", " 've", " 're"};
    for (size_t i = 0; i < ARRAY_LEN(leaning); i++) {
        if (slice_is(piece, leaning[i]))
            return true;
    }
    return false;
}

static void trim_pieces(struct vocab *v)
{
    for (uint32_t id = 0; id < v->n; id++) {
        struct token *t = &v->tokens[id];
        if (token_mergeable(v, id) &&
            leans_back((struct slice){v->pieces + t->piece_at, t->piece_n})) {
            t->piece_at++;
            t->piece_n--;
        }
    }
}

int wordpiece_open(struct vocab *v, const struct gguf *g, struct realm_error *err)
{
    int status = load_flags(v, g, err);
    if (status)
        return status;
    if (v->ids[ID_UNKNOWN] == TOKEN_NONE) {
        return err_set(err, REALM_E_FORMAT,
                       "tokenizer.ggml.unknown_token_id is missing and no token is \"[UNK]\"");
    }
    status = trie_of_tokens(v, err);
    if (status)
        return status;
    block_pieces(v);
    trim_pieces(v);
    v->space_prefix = true; // in pieces alone: that of a text's first word is dropped
    map_free(&v->by_text);
    return 0;
}

/* What is dropped: no text, but for the spaces among it. */
static bool is_control(uint32_t c)
{
    if (c == '\t' || c == '\n' || c == '\r')
        return false;
    utf8proc_category_t category = utf8proc_category((int32_t)c);
    return c == 0xFFFD || category == UTF8PROC_CATEGORY_CC || category == UTF8PROC_CATEGORY_CF ||
           category == UTF8PROC_CATEGORY_CO;
}

static bool is_han(uint32_t c)
{
    static const uint32_t blocks[][2] = {{0x3400, 0x4DBF},   {0x4E00, 0x9FFF},   {0xF900, 0xFAFF},
                                         {0x20000, 0x2A6DF}, {0x2A700, 0x2B73F}, {0x2B740, 0x2B81F},
                                         {0x2B920, 0x2CEAF}, {0x2F800, 0x2FA1F}};
    for (size_t i = 0; i < ARRAY_LEN(blocks); i++) {
        if (c >= blocks[i][0] && c <= blocks[i][1])
            return true;
    }
    return false;
}

/* What is a word of its own. */
static bool is_sign(uint32_t c)
{
    if (c < 0x80)
        return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') ||
               (c >= '{' && c <= '~');
    utf8proc_category_t category = utf8proc_category((int32_t)c);
    return (category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_PO) || is_han(c);
}

static int clean(struct buf *out, struct slice text)
{
    buf_clear(out);
    int status = buf_reserve(out, text.n);
    for (size_t at = 0; at < text.n && !status;) {
        uint32_t c;
        size_t len = (size_t)utf8_decode(text.p + at, text.n - at, &c);
        if (!is_control(c))
            status = utf8_is_space(c) ? buf_addch(out, ' ') : buf_add(out, text.p + at, len);
        at += len;
    }
    return status;
}

/* The longest token that the word from `at` on begins with; 0: none does. */
static size_t longest(const struct vocab *v, const struct word *w, size_t at, uint32_t *id)
{
    size_t n = 0;
    uint32_t node = 0;
    // such a token would begin a word; and of the word itself a token takes something
    if (at && is_block(w->bytes + at, w->n - at))
        return 0;
    for (size_t end = at; end < w->n;) {
        node = trie_next(&v->trie, node, w->bytes[end++]);
        if (node == TRIE_NONE)
            break;
        if (v->trie.values[node] != TRIE_NONE && end > BLOCK_N) {
            n = end - at;
            *id = v->trie.values[node];
        }
    }
    return n;
}

static void put_word(struct encoder *e, struct word *w)
{
    const size_t before = e->n;
    bool whole = w->characters <= WORD_CHARACTERS_MAX;
    for (size_t at = 0; at < w->n && whole;) {
        uint32_t id = TOKEN_NONE;
        size_t n = longest(e->v, w, at, &id);
        whole = n > 0;
        if (whole)
            encoder_put(e, id);
        at += n;
    }
    if (!whole) {
        e->n = before;
        encoder_put(e, e->v->ids[ID_UNKNOWN]);
    }
}

static void word_start(struct word *w)
{
    memcpy(w->bytes, BLOCK, BLOCK_N);
    w->n = BLOCK_N;
    w->characters = 0;
}

static void word_add(struct word *w, uint32_t c)
{
    if (w->characters++ < WORD_CHARACTERS_MAX)
        w->n += utf8_encode(c, w->bytes + w->n);
}

static void word_end(struct encoder *e, struct word *w)
{
    if (w->characters)
        put_word(e, w);
    word_start(w);
}

static void add_lowered(struct word *w, uint32_t c)
{
    uint32_t small[2];
    for (size_t i = 0, n = norm_small(c, small); i < n; i++)
        word_add(w, small[i]);
}

static void add(struct encoder *e, struct word *w, uint32_t c)
{
    const struct vocab *v = e->v;
    if (v->strips_accents && utf8proc_category((int32_t)c) == UTF8PROC_CATEGORY_MN)
        return;
    if (c == ' ') {
        word_end(e, w);
    } else if (is_sign(c)) {
        word_end(e, w);
        word_add(w, c);
        word_end(e, w);
    } else if (v->lowers) {
        add_lowered(w, c);
    } else {
        word_add(w, c);
    }
}

int wordpiece_encode(struct encoder *e, struct slice text)
{
    struct word w;
    int status = clean(&e->escaped, text);
    text = buf_slice(&e->escaped);
    if (!status && e->v->strips_accents)
        status = norm_text(&e->norm, NORM_NFD, text, &text);
    if (status)
        return status;
    word_start(&w);
    for (size_t at = 0; at < text.n;) {
        uint32_t c;
        at += (size_t)utf8_decode(text.p + at, text.n - at, &c);
        add(e, &w, c);
    }
    word_end(e, &w);
    return 0;
}
