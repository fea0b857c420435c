/* text/unigram.c - the tokeniser of SentencePiece's unigram models.
 *
 * The text is brought into the form the model was trained on, then cut into tokens so
 * that the sum of their scores is the greatest: the best way to each place is the best
 * of the ways over the tokens that end there. */
#include <math.h>
#include <string.h>

#include "base/ckd.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "text/vocab_in.h"

#define SCORES "tokenizer.ggml.scores"

/* How much worse than the worst token a character is that no token spells. */
static const double unknown_penalty = 10;

static int load_charsmap(struct vocab *v, const struct gguf *g, struct realm_error *err)
{
    static const char key[] = "tokenizer.ggml.precompiled_charsmap";
    const struct gguf_value *map = gguf_find(g, key);
    v->charsmap.growth = 1;
    if (!map)
        return 0;
    if (map->type != GGUF_ARRAY || (map->item_type != GGUF_U8 && map->item_type != GGUF_I8))
        return err_set(err, REALM_E_FORMAT, "%s is no array of bytes", key);
    return map->count ? charsmap_init(&v->charsmap, map->data, err) : 0;
}

static int load_flags(struct vocab *v, const struct gguf *g, struct realm_error *err)
{
    int status = gguf_get_bool(g, "tokenizer.ggml.add_space_prefix", &v->space_prefix, err);
    if (status && status != REALM_E_NOT_FOUND)
        return status;
    status = gguf_get_bool(g, "tokenizer.ggml.remove_extra_whitespaces", &v->joins_spaces, err);
    return status == REALM_E_NOT_FOUND ? 0 : status;
}

static double normal_score(const struct vocab *v, bool least)
{
    double best = least ? INFINITY : -INFINITY;
    for (uint32_t id = 0; id < v->n; id++) {
        if (v->tokens[id].kind == TOKEN_NORMAL)
            best = least ? fmin(best, v->scores[id]) : fmax(best, v->scores[id]);
    }
    return isfinite(best) ? best : 0;
}

/* User-defined tokens score so that nothing goes before them. */
static int load_scores(struct vocab *v, const struct gguf *g, struct realm_error *err)
{
    const struct gguf_value *list;
    int status = gguf_get_array(g, SCORES, GGUF_F32, &list, err);
    if (status)
        return status; // looked at before
    v->scores = mem_array(v->n, sizeof(*v->scores));
    if (!v->scores)
        return err_nomem(err, "the scores");
    for (uint32_t id = 0; id < v->n; id++) {
        float score;
        memcpy(&score, list->data.p + id * sizeof(score), sizeof(score));
        if (!isfinite(score))
            return err_set(err, REALM_E_FORMAT, SCORES ": token %u has no finite number", id);
        v->scores[id] = score;
    }
    double greatest = normal_score(v, false);
    v->unknown_score = normal_score(v, true) - unknown_penalty;
    for (uint32_t id = 0; id < v->n; id++) {
        if (v->tokens[id].kind == TOKEN_USER_DEFINED)
            v->scores[id] = v->tokens[id].text_n * greatest - 0.1;
    }
    return 0;
}

int unigram_open(struct vocab *v, const struct gguf *g, struct realm_error *err)
{
    int status = load_flags(v, g, err);
    if (!status)
        status = load_charsmap(v, g, err);
    if (!status)
        status = load_scores(v, g, err);
    if (!status)
        status = trie_of_tokens(v, err);
    if (status)
        return status;
    block_pieces(v);
    v->space_tokens = BLOCK_N;
    map_free(&v->by_text);
    return 0;
}

/* One character of the text, or more that become something else together. */
static struct slice take(const struct vocab *v, struct slice *rest)
{
    static const struct slice replacement = {(const uint8_t *)"\xEF\xBF\xBD", 3};
    struct slice out;
    size_t n;
    if (!charsmap_get(&v->charsmap, *rest, &out, &n)) {
        uint32_t cp;
        int len = utf8_decode(rest->p, rest->n, &cp); // a map may have taken half a character
        n = len > 0 ? (size_t)len : 1;
        out = len > 0 ? (struct slice){rest->p, n} : replacement;
    }
    *rest = (struct slice){rest->p + n, rest->n - n};
    return out;
}

static int escape(struct buf *out, struct slice part)
{
    int status = 0;
    for (size_t i = 0; i < part.n && !status; i++) {
        bool space = part.p[i] == ' ';
        status = buf_add(out, space ? (const void *)BLOCK : &part.p[i], space ? BLOCK_N : 1);
    }
    return status;
}

/* Writes the text as the model knows it into e->escaped. */
static int normalise(struct encoder *e, struct slice text)
{
    const bool joins = e->v->joins_spaces;
    struct buf *out = &e->escaped;
    bool after_space = joins; // the beginning counts as one
    int status = e->v->space_prefix ? buf_add(out, BLOCK, BLOCK_N) : 0;
    while (text.n && !status) {
        struct slice part = take(e->v, &text);
        while (after_space && part.n && part.p[0] == ' ')
            part = (struct slice){part.p + 1, part.n - 1};
        if (part.n)
            after_space = joins && part.p[part.n - 1] == ' ';
        status = escape(out, part);
    }
    while (joins && out->n >= BLOCK_N && is_block(out->p + out->n - BLOCK_N, BLOCK_N))
        out->n -= BLOCK_N;
    return status;
}

static int reserve_ways(struct encoder *e, size_t n)
{
    if (n <= e->ways_cap)
        return 0;
    mem_free(e->ways);
    e->ways_cap = 0;
    e->ways = mem_array(n, sizeof(*e->ways));
    if (!e->ways)
        return REALM_E_NOMEM;
    e->ways_cap = n;
    return 0;
}

static void offer(struct way *to, uint32_t from, double score, uint32_t id)
{
    if (to->from == NO_WAY || score > to->score)
        *to = (struct way){score, from, id};
}

/* Offers the ways over each token that begins at `at`, and over an unknown one if none
 * of them is this character alone. */
static void offer_tokens(struct encoder *e, struct slice word, uint32_t at, uint32_t character)
{
    const struct vocab *v = e->v;
    const double so_far = e->ways[at].score;
    bool alone = false;
    uint32_t node = 0;
    for (uint32_t end = at; end < word.n;) {
        node = trie_next(&v->trie, node, word.p[end]);
        if (node == TRIE_NONE)
            break;
        end++;
        uint32_t id = v->trie.values[node];
        if (id != TRIE_NONE) {
            offer(&e->ways[end], at, so_far + v->scores[id], id);
            alone = alone || end == at + character;
        }
    }
    if (!alone)
        offer(&e->ways[at + character], at, so_far + v->unknown_score, TOKEN_NONE);
}

/* Turns the links of the best way round, so that they lead from the beginning. */
static void put_way(struct encoder *e, struct slice word)
{
    uint32_t next = NO_WAY, at = (uint32_t)word.n;
    while (at) {
        uint32_t from = e->ways[at].from;
        e->ways[at].from = next;
        next = at;
        at = from;
    }
    for (; next != NO_WAY; at = next, next = e->ways[next].from)
        encoder_put_part(e, (struct slice){word.p + at, next - at}, e->ways[next].id);
}

static int encode_word(struct encoder *e, struct slice word)
{
    int status = reserve_ways(e, word.n + 1);
    if (status)
        return status;
    for (size_t i = 0; i <= word.n; i++)
        e->ways[i] = (struct way){0, NO_WAY, TOKEN_NONE};
    e->ways[0].from = 0;
    for (uint32_t at = 0; at < word.n;) {
        uint32_t cp;
        uint32_t character = (uint32_t)utf8_decode(word.p + at, word.n - at, &cp);
        offer_tokens(e, word, at, character);
        at += character;
    }
    put_way(e, word);
    return 0;
}

int unigram_encode(struct encoder *e, struct slice text)
{
    buf_clear(&e->escaped);
    e->after_unknown = false;
    int status = normalise(e, text);
    struct slice rest = buf_slice(&e->escaped);
    if (rest.n >= NO_WAY)
        return REALM_E_LIMIT;
    while (rest.n && !status) {
        // no token reaches over such a border, so that nothing else changes
        size_t n = e->v->inner_space ? rest.n : block_word_end(rest);
        status = encode_word(e, (struct slice){rest.p, n});
        rest = (struct slice){rest.p + n, rest.n - n};
    }
    return status;
}
