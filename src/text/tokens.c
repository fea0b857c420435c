/* text/tokens.c - reads the list of tokens, their kinds and scores, and the ids
 * that have a role, and checks every one of them. */
#include <math.h>

#include "base/ckd.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"
#include "text/vocab_in.h"

#define TOKENS "tokenizer.ggml.tokens"
#define TYPES "tokenizer.ggml.token_type"
#define SCORES "tokenizer.ggml.scores"

bool byte_token_value(struct slice text, uint8_t *value)
{
    if (text.n != 6 || memcmp(text.p, "<0x", 3) != 0 || text.p[5] != '>')
        return false;
    int high = hex_digit(text.p[3]), low = hex_digit(text.p[4]);
    if (high < 0 || low < 0)
        return false;
    *value = (uint8_t)(high << 4 | low);
    return true;
}

static int alloc_tokens(struct vocab *v, const struct gguf_value *list, struct realm_error *err)
{
    if (list->count == 0 || list->count > MODEL_VOCAB_MAX) {
        return err_set(err, REALM_E_FORMAT, TOKENS ": %llu tokens, want 1 to %d",
                       (unsigned long long)list->count, MODEL_VOCAB_MAX);
    }
    v->n = (uint32_t)list->count;
    v->texts_n = list->data.n - v->n * sizeof(uint64_t); // each has its length before it
    if (v->texts_n > UINT32_MAX)
        return err_set(err, REALM_E_FORMAT, TOKENS ": over 4 GiB of text");
    v->tokens = mem_zarray(v->n, sizeof(*v->tokens));
    v->texts = mem_alloc(v->texts_n);
    v->pieces = mem_alloc(v->texts_n); // none is longer than its token's text
    if (!v->tokens || !v->texts || !v->pieces || map_init(&v->by_text, v->n))
        return err_nomem(err, "the vocabulary");
    return 0;
}

static int load_texts(struct vocab *v, const struct gguf *g, struct realm_error *err)
{
    const struct gguf_value *list;
    int status = gguf_get_array(g, TOKENS, GGUF_STRING, &list, err);
    if (status == REALM_E_NOT_FOUND)
        return err_set(err, REALM_E_FORMAT, TOKENS " is missing");
    if (status || (status = alloc_tokens(v, list, err)))
        return status;
    struct bytes it = bytes_from(list->data.p, list->data.n);
    uint32_t at = 0;
    for (uint32_t id = 0; id < v->n; id++) {
        struct slice text = gguf_next_string(&it);
        if (text.n > TOKEN_TEXT_MAX) {
            return err_set(err, REALM_E_FORMAT, TOKENS ": token %u has %zu bytes, most is %d", id,
                           text.n, TOKEN_TEXT_MAX);
        }
        if (text.n)
            memcpy(v->texts + at, text.p, text.n);
        v->tokens[id] =
            (struct token){.text_at = at, .text_n = (uint32_t)text.n, .kind = TOKEN_NORMAL};
        v->longest = max_size(v->longest, text.n);
        at += (uint32_t)text.n;
    }
    return 0;
}

/* Fills by_text.  Tokens without a text, which nothing can spell, may be many. */
static int index_texts(struct vocab *v, struct realm_error *err)
{
    for (uint32_t id = 0; id < v->n; id++) {
        struct slice text = token_text(v, id);
        int put = text.n ? map_put(&v->by_text, text, id) : 0;
        if (put < 0)
            return err_nomem(err, "the vocabulary");
        if (put) {
            uint32_t first = 0;
            (void)map_get(&v->by_text, text, &first);
            return err_set(err, REALM_E_FORMAT, TOKENS ": token %u has the text of token %u", id,
                           first);
        }
    }
    return 0;
}

/* An array with one item for each token; *data is NULL when it is absent. */
static int per_token(const struct vocab *v, const struct gguf *g, const char *key,
                     enum gguf_type type, const uint8_t **data, struct realm_error *err)
{
    const struct gguf_value *list;
    *data = NULL;
    int status = gguf_get_array(g, key, type, &list, err);
    if (status)
        return status == REALM_E_NOT_FOUND ? 0 : status;
    if (list->count != v->n) {
        return err_set(err, REALM_E_FORMAT, "%s: %llu items for %u tokens", key,
                       (unsigned long long)list->count, v->n);
    }
    *data = list->data.p;
    return 0;
}

static int load_kinds(struct vocab *v, const struct gguf *g, struct realm_error *err)
{
    const uint8_t *data;
    int status = per_token(v, g, TYPES, GGUF_I32, &data, err);
    if (status || !data)
        return status;
    for (uint32_t id = 0; id < v->n; id++) {
        int32_t kind;
        memcpy(&kind, data + id * sizeof(kind), sizeof(kind));
        if (kind < TOKEN_NORMAL || kind > TOKEN_BYTE)
            return err_set(err, REALM_E_FORMAT, TYPES ": token %u has type %d", id, kind);
        v->tokens[id].kind = (uint8_t)kind;
    }
    return 0;
}

/* A number that grows as the score falls. */
static uint32_t rank_of(float score)
{
    float positive_zero = score + 0.0f;
    uint32_t bits;
    memcpy(&bits, &positive_zero, sizeof(bits));
    return bits & 0x80000000u ? bits : 0x7FFFFFFFu - bits;
}

static int load_scores(struct vocab *v, const struct gguf *g, struct realm_error *err)
{
    const uint8_t *data;
    int status = per_token(v, g, SCORES, GGUF_F32, &data, err);
    if (status)
        return status;
    if (!data)
        return err_set(err, REALM_E_FORMAT, SCORES " is missing");
    for (uint32_t id = 0; id < v->n; id++) {
        float score;
        memcpy(&score, data + id * sizeof(score), sizeof(score));
        if (isnan(score))
            return err_set(err, REALM_E_FORMAT, SCORES ": token %u has no number", id);
        v->tokens[id].rank = rank_of(score);
    }
    return 0;
}

/* SPM hashes both sides of each merge, Unigram walks along each token from every place: the
 * longest token multiplies the time that a text takes. */
static int check_lengths(const struct vocab *v, struct realm_error *err)
{
    for (uint32_t id = 0; id < v->n; id++) {
        if (token_mergeable(v, id) && v->tokens[id].text_n > TOKEN_SPECIAL_MAX)
            return err_set(err, REALM_E_FORMAT,
                           TOKENS ": token %u has %u bytes, most is %d in such a tokenizer", id,
                           v->tokens[id].text_n, TOKEN_SPECIAL_MAX);
    }
    return 0;
}

static int load_bytes(struct vocab *v, struct realm_error *err)
{
    for (unsigned b = 0; b < 256; b++)
        v->byte_ids[b] = TOKEN_NONE;
    for (uint32_t id = 0; id < v->n; id++) {
        if (v->tokens[id].kind != TOKEN_BYTE)
            continue;
        struct slice text = token_text(v, id);
        uint8_t b;
        if (!byte_token_value(text, &b)) {
            return err_set(err, REALM_E_FORMAT, TOKENS ": byte token %u is spelled \"%.*s\"", id,
                           (int)min_size(text.n, 32), (const char *)text.p);
        }
        if (v->byte_ids[b] != TOKEN_NONE) {
            return err_set(err, REALM_E_FORMAT, TOKENS ": token %u is byte %u like token %u", id, b,
                           v->byte_ids[b]);
        }
        v->byte_ids[b] = id;
    }
    return 0;
}

/* SPM files may leave these out: the places where its trainer puts them. */
static void default_ids(struct vocab *v)
{
    static const struct {
        enum vocab_id role;
        uint32_t id;
        enum token_kind kind;
    } usual[] = {
        {ID_UNKNOWN, 0, TOKEN_UNKNOWN}, {ID_BOS, 1, TOKEN_CONTROL}, {ID_EOS, 2, TOKEN_CONTROL}};
    for (size_t i = 0; i < ARRAY_LEN(usual); i++) {
        if (usual[i].id < v->n && v->tokens[usual[i].id].kind == usual[i].kind)
            v->ids[usual[i].role] = usual[i].id;
    }
}

/* WordPiece files may leave these out, too; their spelling is always the same. */
static void bert_ids(struct vocab *v)
{
    static const struct {
        enum vocab_id role;
        const char *text;
    } usual[] = {{ID_UNKNOWN, "[UNK]"}, {ID_BOS, "[CLS]"}, {ID_SEPARATOR, "[SEP]"}};
    for (size_t i = 0; i < ARRAY_LEN(usual); i++)
        (void)map_get(&v->by_text, slice_of(usual[i].text), &v->ids[usual[i].role]);
}

static int load_ids(struct vocab *v, const struct gguf *g, struct realm_error *err)
{
    static const char *const keys[VOCAB_IDS] = {
        [ID_BOS] = "tokenizer.ggml.bos_token_id",
        [ID_EOS] = "tokenizer.ggml.eos_token_id",
        [ID_EOT] = "tokenizer.ggml.eot_token_id",
        [ID_EOM] = "tokenizer.ggml.eom_token_id",
        [ID_UNKNOWN] = "tokenizer.ggml.unknown_token_id",
        [ID_PADDING] = "tokenizer.ggml.padding_token_id",
        [ID_SEPARATOR] = "tokenizer.ggml.seperator_token_id", // as files spell it
    };
    for (int role = 0; role < VOCAB_IDS; role++)
        v->ids[role] = TOKEN_NONE;
    if (v->model == VOCAB_SPM)
        default_ids(v);
    if (v->model == VOCAB_WORDPIECE)
        bert_ids(v);
    for (int role = 0; role < VOCAB_IDS; role++) {
        uint32_t id;
        int status = gguf_get_u32(g, keys[role], &id, err);
        if (status == REALM_E_NOT_FOUND)
            continue;
        if (status)
            return status;
        if (id >= v->n) {
            return err_set(err, REALM_E_FORMAT, "%s: id %u, but there are %u tokens", keys[role],
                           id, v->n);
        }
        v->ids[role] = id;
    }
    return 0;
}

int tokens_load(struct vocab *v, const struct gguf *g, struct realm_error *err)
{
    int status = load_texts(v, g, err);
    if (!status)
        status = index_texts(v, err);
    if (!status)
        status = load_kinds(v, g, err);
    if (!status && (v->model == VOCAB_SPM || v->model == VOCAB_UNIGRAM)) {
        status = load_scores(v, g, err);
        if (!status)
            status = check_lengths(v, err);
    }
    if (!status)
        status = load_bytes(v, err);
    return status ? status : load_ids(v, g, err);
}

int tokens_trie(struct trie *out, const struct vocab *v,
                bool (*wanted)(const struct vocab *v, uint32_t id), struct realm_error *err)
{
    size_t n = 0;
    struct trie_item *items = mem_array(v->n, sizeof(*items));
    if (!items)
        return err_nomem(err, "the vocabulary");
    for (uint32_t id = 0; id < v->n; id++)
        if (wanted(v, id))
            items[n++] = (struct trie_item){token_text(v, id), id};
    int status = trie_init(out, items, n);
    mem_free(items);
    if (status == REALM_E_LIMIT)
        return err_set(err, REALM_E_FORMAT, TOKENS ": their tree has over %d nodes",
                       TOKEN_NODES_MAX);
    return status ? err_nomem(err, "the vocabulary") : 0;
}
