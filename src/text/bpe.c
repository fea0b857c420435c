/* text/bpe.c - BPE by a list of merges, the tokeniser of GPT-2 and its descendants.
 *
 * Text is cut into words (text/pretok.h); in each word the pair of neighbours that
 * stands first in the list of merges becomes one token, until no pair of the list is
 * left.  Tokens are spelled with one visible character for each byte, and a word begins
 * as its bytes.  Those of plain rules are spelled as they are: a word begins as its
 * characters, and one that is no token is spelled by byte tokens <0xHH>, or unknown. */
#include <string.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "text/vocab_in.h"

static const struct pretok_rules *rules_of(const struct vocab *v)
{
    return pretok_rules_of(v->pretok);
}

/* Whether GPT-2 spells this byte by the character of the same number. */
static bool is_itself(unsigned b)
{
    return (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
}

/* The others are spelled, in their order, from U+0100 on. */
static void byte_characters(uint32_t out[256])
{
    uint32_t next = 0x100;
    for (unsigned b = 0; b < 256; b++)
        out[b] = is_itself(b) ? b : next++;
}

/* The bytes that a text stands for, or false when it has another character. */
static bool decode(const int16_t byte_of[0x200], struct slice text, uint8_t *out, uint32_t *n)
{
    *n = 0;
    for (size_t i = 0; i < text.n;) {
        uint32_t cp;
        int len = utf8_decode(text.p + i, text.n - i, &cp);
        if (len <= 0 || cp >= 0x200 || byte_of[cp] < 0)
            return false;
        out[(*n)++] = (uint8_t)byte_of[cp];
        i += (size_t)len;
    }
    return true;
}

static struct slice piece(const struct vocab *v, uint32_t id)
{
    return (struct slice){v->pieces + v->tokens[id].piece_at, v->tokens[id].piece_n};
}

static int fill_pieces(struct vocab *v)
{
    uint32_t characters[256];
    int16_t byte_of[0x200];
    byte_characters(characters);
    memset(byte_of, 0xFF, sizeof(byte_of));
    for (int b = 0; b < 256; b++)
        byte_of[characters[b]] = (int16_t)b;
    uint32_t at = 0;
    for (uint32_t id = 0; id < v->n; id++) {
        struct token *t = &v->tokens[id];
        struct slice text = token_text(v, id);
        bool spelled = t->kind == TOKEN_NORMAL || t->kind == TOKEN_UNUSED;
        t->piece_at = at;
        if (t->kind == TOKEN_BYTE) {
            (void)byte_token_value(text, &v->pieces[at]); // checked when it was loaded
            t->piece_n = 1;
        } else if (!spelled || rules_of(v)->plain ||
                   !decode(byte_of, text, v->pieces + at, &t->piece_n)) {
            memcpy(v->pieces + at, text.p, text.n);
            t->piece_n = (uint32_t)text.n;
        } else if (t->piece_n == 1) {
            v->byte_ids[v->pieces[at]] = id;
        } else if (v->whole_words && map_put(&v->words, piece(v, id), id) < 0) {
            return REALM_E_NOMEM;
        }
        at += t->piece_n;
    }
    return 0;
}

/* Runs of spaces that a model's own file calls added tokens are written as spaces into GGUF
 * files, and as U+2581 into the merges that make them. */
static bool find_spaces(const struct vocab *v, struct slice text, uint32_t *id)
{
    uint8_t spaces[BLOCK_N * TOKEN_SPECIAL_MAX];
    if (!rules_of(v)->blocks || text.n > sizeof(spaces))
        return false;
    uint32_t n = block_unescape(text, spaces);
    return n * BLOCK_N == text.n && map_get(&v->by_text, (struct slice){spaces, n}, id);
}

static int find_part(const struct vocab *v, size_t merge, struct slice text, uint32_t *id,
                     struct realm_error *err)
{
    int shown = (int)(text.n < 64 ? text.n : 64);
    if (!map_get(&v->by_text, text, id) && !find_spaces(v, text, id)) {
        return err_set(err, REALM_E_FORMAT, "tokenizer.ggml.merges: merge %zu: no token \"%.*s\"",
                       merge, shown, (const char *)text.p);
    }
    if (!token_mergeable(v, *id)) {
        return err_set(err, REALM_E_FORMAT,
                       "tokenizer.ggml.merges: merge %zu: token %u \"%.*s\" is not text", merge,
                       *id, shown, (const char *)text.p);
    }
    return 0;
}

/* Reads "left right" and looks up both and what they become, which takes the
 * line without its space. */
static int read_merge(struct vocab *v, size_t i, struct slice line, struct buf *joined,
                      struct realm_error *err)
{
    const uint8_t *space = line.n > 1 ? memchr(line.p + 1, ' ', line.n - 1) : NULL;
    if (!space || space + 1 == line.p + line.n) {
        return err_set(err, REALM_E_FORMAT,
                       "tokenizer.ggml.merges: merge %zu is not two tokens with a space between",
                       i);
    }
    struct slice left = {line.p, (size_t)(space - line.p)};
    struct slice right = {space + 1, line.n - left.n - 1};
    struct pair *m = &v->merges[i];
    buf_clear(joined);
    int status = buf_add(joined, left.p, left.n);
    if (!status)
        status = buf_add(joined, right.p, right.n);
    if (status)
        return err_nomem(err, "the merges");
    if ((status = find_part(v, i, left, &m->left, err)) ||
        (status = find_part(v, i, right, &m->right, err)))
        return status;
    return find_part(v, i, buf_slice(joined), &m->id, err);
}

static struct slice pair_key(const struct pair *p)
{
    return (struct slice){(const uint8_t *)p, 2 * sizeof(uint32_t)};
}

static int load_merges(struct vocab *v, const struct gguf *g, struct realm_error *err)
{
    const struct gguf_value *list;
    int status = gguf_get_array(g, "tokenizer.ggml.merges", GGUF_STRING, &list, err);
    if (status == REALM_E_NOT_FOUND)
        return err_set(err, REALM_E_FORMAT, "tokenizer.ggml.merges is missing");
    if (status)
        return status;
    struct buf joined;
    buf_init(&joined, SIZE_MAX);
    v->n_merges = (size_t)list->count;
    v->merges = mem_array(v->n_merges, sizeof(*v->merges));
    if (!v->merges || map_init(&v->pairs, v->n_merges)) {
        status = err_nomem(err, "the merges");
        goto out;
    }
    struct bytes it = bytes_from(list->data.p, list->data.n);
    for (size_t i = 0; i < v->n_merges; i++) {
        status = read_merge(v, i, gguf_next_string(&it), &joined, err);
        if (status)
            goto out;
        // of a pair listed twice the first place counts
        if (map_put(&v->pairs, pair_key(&v->merges[i]), (uint32_t)i) < 0) {
            status = err_nomem(err, "the merges");
            goto out;
        }
    }
out:
    buf_free(&joined);
    return status;
}

/* Some converters call byte tokens normal ones: of such a vocabulary the spelling tells. */
static void find_bytes(struct vocab *v)
{
    for (uint32_t id = 0; id < v->n; id++) {
        uint8_t b;
        if (v->tokens[id].kind == TOKEN_NORMAL && byte_token_value(token_text(v, id), &b) &&
            v->byte_ids[b] == TOKEN_NONE) {
            v->tokens[id].kind = TOKEN_BYTE;
            v->byte_ids[b] = id;
        }
    }
}

static bool has_other_than(struct slice text, uint8_t byte)
{
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] != byte)
            return true;
    }
    return false;
}

static void find_mixed_lines(struct vocab *v)
{
    for (uint32_t id = 0; id < v->n && !v->mixes_lines; id++) {
        struct slice text = token_text(v, id);
        v->mixes_lines = text.n && memchr(text.p, '\n', text.n) && has_other_than(text, '\n');
    }
}

static void fill_blocks(struct vocab *v)
{
    uint32_t id;
    find_bytes(v);
    block_pieces(v);
    find_mixed_lines(v);
    v->space_tokens = token_of(v, slice_of(BLOCK), &id) ? 1 : BLOCK_N;
}

/* Two tokenisers are called by their rules. */
static int load_rules(struct vocab *v, const struct gguf *g, struct realm_error *err)
{
    struct slice pre = slice_of("default"), model = {0};
    int status = gguf_get_string(g, "tokenizer.ggml.model", &model, err);
    if (!status && slice_is(model, "gpt2"))
        status = gguf_get_string(g, "tokenizer.ggml.pre", &pre, err);
    else
        pre = model;
    if (status && status != REALM_E_NOT_FOUND)
        return status;
    status = pretok_open(&v->pretok, pre, err);
    if (status)
        return status;
    v->whole_words = rules_of(v)->whole_words;
    v->adds_bos = rules_of(v)->adds_bos;
    v->each_unknown = rules_of(v)->drops_spaces;
    if (!rules_of(v)->drops_spaces)
        return 0;
    status = gguf_get_bool(g, "tokenizer.ggml.normalizer.lowercase", &v->lowers, err);
    return status == REALM_E_NOT_FOUND ? 0 : status;
}

int bpe_open(struct vocab *v, const struct gguf *g, struct realm_error *err)
{
    int status = load_rules(v, g, err);
    if (status)
        return status;
    if (rules_of(v)->blocks)
        fill_blocks(v);
    else if ((v->whole_words && map_init(&v->words, v->n)) || fill_pieces(v))
        return err_nomem(err, "the words of the vocabulary");
    status = load_merges(v, g, err);
    if (!rules_of(v)->plain)
        map_free(&v->by_text); // ids are all that encoding needs
    return status;
}

static bool lookup_pair(const void *ctx, const uint8_t *word, const struct symbol *left,
                        const struct symbol *right, struct candidate *out)
{
    (void)word;
    const struct vocab *v = ctx;
    struct pair key = {.left = left->id, .right = right->id};
    if (!map_get(&v->pairs, pair_key(&key), &out->rank))
        return false;
    out->id = v->merges[out->rank].id;
    return true;
}

static void put(struct encoder *e, uint32_t id)
{
    encoder_put(e, id != TOKEN_NONE ? id : e->v->ids[ID_UNKNOWN]);
}

static int encode_word(struct encoder *e, struct slice word)
{
    const struct vocab *v = e->v;
    uint32_t whole;
    if (rules_of(v)->plain)
        return encode_characters(e, word, lookup_pair);
    if (v->whole_words && map_get(&v->words, word, &whole)) {
        encoder_put(e, whole);
        return 0;
    }
    int status = merger_reserve(&e->merger, word.n);
    if (status)
        return status;
    struct symbol *s = e->merger.symbols;
    for (uint32_t i = 0; i < word.n; i++)
        s[i] = (struct symbol){.at = i, .n = 1, .id = v->byte_ids[word.p[i]]};
    merger_run(&e->merger, word.p, word.n, lookup_pair, v);
    for (uint32_t i = 0; i != MERGE_END; i = s[i].next)
        put(e, s[i].id);
    return 0;
}

static int normalise(struct encoder *e, struct slice *text)
{
    int status;
    if (rules_of(e->v)->composes)
        return norm_text(&e->norm, NORM_NFC, *text, text);
    if (e->v->lowers)
        return norm_lower(&e->norm, *text, text);
    if (!rules_of(e->v)->blocks)
        return 0;
    status = block_escape(&e->escaped, *text, false);
    *text = buf_slice(&e->escaped);
    return status;
}

static bool is_space(struct slice word)
{
    uint32_t c;
    (void)utf8_decode(word.p, word.n, &c);
    return utf8_is_space(c);
}

int bpe_encode(struct encoder *e, struct slice text)
{
    struct slice word;
    int status = normalise(e, &text);
    e->after_unknown = false;
    if (status || e->v->mixes_lines)
        return status ? status : encode_word(e, text);
    pretok_walk_start(&e->walk, text);
    while ((status = pretok_walk_next(&e->walk, &word)) == 1) {
        bool dropped = rules_of(e->v)->drops_spaces && is_space(word);
        status = dropped ? 0 : encode_word(e, word);
        if (status)
            return status;
    }
    return status;
}
