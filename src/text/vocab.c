#include "text/vocab.h"

#include "base/ckd.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "text/vocab_in.h"

/* Control tokens by which models end a turn. */
static const char *const end_texts[] = {
    "</s>",
    "<eos>",
    "<EOT>",
    "<end_of_turn>",
    "<turn|>",
    "<|tool_response>",
    "<|end|>",
    "<|im_end|>",
    "<|eot|>",
    "<|call|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|return|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<|end_of_turn|>",
    "<|END_OF_TURN_TOKEN|>",
    "<\uFF5Cend\u2581of\u2581sentence\uFF5C>",
};

static bool spelled_special(const struct vocab *v, uint32_t id)
{
    uint8_t kind = v->tokens[id].kind;
    return kind == TOKEN_CONTROL || kind == TOKEN_USER_DEFINED;
}

static void mark_ends(struct vocab *v)
{
    static const enum vocab_id roles[] = {ID_EOS, ID_EOT, ID_EOM};
    for (size_t i = 0; i < ARRAY_LEN(roles); i++) {
        if (v->ids[roles[i]] != TOKEN_NONE)
            v->tokens[v->ids[roles[i]]].ends = true;
    }
    for (uint32_t id = 0; id < v->n; id++) {
        for (size_t i = 0; i < ARRAY_LEN(end_texts) && spelled_special(v, id); i++) {
            if (slice_is(token_text(v, id), end_texts[i]))
                v->tokens[id].ends = true;
        }
    }
}

static uint32_t find_spelled(const struct vocab *v, const char *text)
{
    for (uint32_t id = 0; id < v->n; id++)
        if (spelled_special(v, id) && slice_is(token_text(v, id), text))
            return id;
    return TOKEN_NONE;
}

/* gpt-oss answers in several messages, which end with <|end|>; its turn ends with <|return|>,
 * or with <|call|> where a tool is to be called. */
static void unmark_message_end(struct vocab *v)
{
    uint32_t end = find_spelled(v, "<|end|>");
    if (end != TOKEN_NONE && find_spelled(v, "<|return|>") != TOKEN_NONE &&
        find_spelled(v, "<|call|>") != TOKEN_NONE)
        v->tokens[end].ends = false;
}

static bool contains_ignoring_case(struct slice text, const char *what)
{
    struct slice w = slice_of(what);
    for (size_t i = 0; i + w.n <= text.n; i++) {
        size_t j = 0;
        while (j < w.n && (text.p[i + j] | 0x20) == (w.p[j] | 0x20))
            j++;
        if (j == w.n)
            return true;
    }
    return false;
}

/* Phi-3's special tokens swallow the white space after them.  No key of the file
 * says so: as everywhere, the model's name does. */
static int mark_rstrip(struct vocab *v, const struct gguf *g, struct realm_error *err)
{
    struct slice name;
    int status = gguf_get_string(g, "general.name", &name, err);
    if (status)
        return status == REALM_E_NOT_FOUND ? 0 : status;
    if (!contains_ignoring_case(name, "phi-3") && !contains_ignoring_case(name, "phi3"))
        return 0;
    for (uint32_t id = 0; id < v->n; id++) {
        struct slice text = token_text(v, id);
        v->tokens[id].rstrip = spelled_special(v, id) && !slice_is(text, "<s>") &&
                               !slice_is(text, "<unk>") && !slice_is(text, "<|endoftext|>");
        v->strips = v->strips || v->tokens[id].rstrip;
    }
    return 0;
}

/* Under rules that write U+2581 for spaces, no text has these. */
static bool made_of_spaces(const struct vocab *v, uint32_t id)
{
    struct slice text = token_text(v, id);
    size_t i = 0;
    while (i < text.n && text.p[i] == ' ')
        i++;
    return v->pretok && pretok_rules_of(v->pretok)->blocks && i == text.n;
}

/* Text that is not whole characters cannot be spelled in text that is. */
static bool findable(const struct vocab *v, uint32_t id)
{
    struct slice text = token_text(v, id);
    return spelled_special(v, id) && text.n > 0 && utf8_valid(text.p, text.n) &&
           !made_of_spaces(v, id);
}

static bool findable_user(const struct vocab *v, uint32_t id)
{
    return findable(v, id) && v->tokens[id].kind == TOKEN_USER_DEFINED;
}

static int collect_special(struct vocab *v, struct realm_error *err)
{
    v->shortest_special = SIZE_MAX;
    for (uint32_t id = 0; id < v->n; id++) {
        if (!findable(v, id))
            continue;
        size_t n = token_text(v, id).n;
        if (n > TOKEN_SPECIAL_MAX)
            return err_set(
                err, REALM_E_FORMAT,
                "tokenizer.ggml.tokens: token %u is special and has %zu bytes, most is %d", id, n,
                TOKEN_SPECIAL_MAX);
        v->shortest_special = min_size(v->shortest_special, n);
    }
    int status = tokens_trie(&v->special, v, findable, err);
    return status ? status : tokens_trie(&v->user, v, findable_user, err);
}

/* No text may be lost: what no token spells must have an unknown token. */
static int check_coverage(const struct vocab *v, struct realm_error *err)
{
    if (v->ids[ID_UNKNOWN] != TOKEN_NONE)
        return 0;
    for (unsigned b = 0; b < 0xF5; b++) {
        if (v->byte_ids[b] == TOKEN_NONE && b != 0xC0 && b != 0xC1) { // bytes UTF-8 never has
            return err_set(err, REALM_E_FORMAT,
                           "tokenizer.ggml.tokens: no token for byte 0x%02X and no unknown token",
                           b);
        }
    }
    return 0;
}

static int load_model(struct vocab *v, const struct gguf *g, struct realm_error *err)
{
    struct slice name;
    int status = gguf_get_string(g, "tokenizer.ggml.model", &name, err);
    if (status == REALM_E_NOT_FOUND || (!status && slice_is(name, "none")))
        return err_set(err, REALM_E_NOT_FOUND, "the file has no tokenizer");
    if (status)
        return status;
    if (slice_is(name, "llama")) {
        v->model = VOCAB_SPM;
        v->adds_bos = true;
    } else if (slice_is(name, "gpt2") || slice_is(name, "gemma4") || slice_is(name, "whitespace")) {
        v->model = VOCAB_BPE;
    } else if (slice_is(name, "bert")) {
        v->model = VOCAB_WORDPIECE;
        v->adds_bos = v->adds_end = true;
    } else if (slice_is(name, "t5")) {
        v->model = VOCAB_UNIGRAM;
        v->adds_end = true;
    } else {
        return err_set(err, REALM_E_UNSUPPORTED, "tokenizer.ggml.model: unknown tokenizer \"%.*s\"",
                       (int)min_size(name.n, 64), (const char *)name.p);
    }
    return 0;
}

static int open_model(struct vocab *v, const struct gguf *g, struct realm_error *err)
{
    switch (v->model) {
    case VOCAB_SPM:
        return spm_open(v, g, err);
    case VOCAB_BPE:
        return bpe_open(v, g, err);
    case VOCAB_WORDPIECE:
        return wordpiece_open(v, g, err);
    default:
        return unigram_open(v, g, err);
    }
}

/* The files' own word on what is put around a text. */
static int load_ends(struct vocab *v, const struct gguf *g, struct realm_error *err)
{
    const char *end = v->model == VOCAB_WORDPIECE ? "tokenizer.ggml.add_sep_token"
                                                  : "tokenizer.ggml.add_eos_token";
    int status = gguf_get_bool(g, "tokenizer.ggml.add_bos_token", &v->adds_bos, err);
    if (status && status != REALM_E_NOT_FOUND)
        return status;
    // Gemma 4's first files say no, though the model needs it
    v->adds_bos = v->adds_bos || (v->pretok && pretok_rules_of(v->pretok)->needs_bos);
    status = gguf_get_bool(g, end, &v->adds_end, err);
    return status == REALM_E_NOT_FOUND ? 0 : status;
}

static int load(struct vocab *v, const struct gguf *g, struct realm_error *err)
{
    int status = load_model(v, g, err);
    if (!status)
        status = tokens_load(v, g, err);
    if (!status)
        status = open_model(v, g, err);
    if (!status)
        status = check_coverage(v, err);
    if (!status)
        status = mark_rstrip(v, g, err);
    if (!status)
        status = collect_special(v, err);
    if (status)
        return status;
    mark_ends(v);
    unmark_message_end(v);
    return load_ends(v, g, err);
}

int vocab_open(struct vocab **out, const struct gguf *g, struct realm_error *err)
{
    *out = NULL;
    struct vocab *v = mem_zalloc(sizeof(*v));
    if (!v)
        return err_nomem(err, "the vocabulary");
    int status = load(v, g, err);
    if (status) {
        vocab_close(v);
        return status;
    }
    *out = v;
    return 0;
}

void vocab_close(struct vocab *v)
{
    if (!v)
        return;
    trie_free(&v->special);
    trie_free(&v->user);
    pretok_close(v->pretok);
    trie_free(&v->trie);
    charsmap_free(&v->charsmap);
    mem_free(v->scores);
    map_free(&v->by_text);
    map_free(&v->pairs);
    map_free(&v->words);
    mem_free(v->merges);
    mem_free(v->tokens);
    mem_free(v->texts);
    mem_free(v->pieces);
    mem_free(v);
}

uint32_t vocab_size(const struct vocab *v)
{
    return v->n;
}

enum token_kind vocab_kind(const struct vocab *v, uint32_t id)
{
    ASSERT(id < v->n);
    return v->tokens[id].kind;
}

struct slice vocab_text(const struct vocab *v, uint32_t id)
{
    ASSERT(id < v->n);
    return token_text(v, id);
}

uint32_t vocab_bos(const struct vocab *v)
{
    return v->ids[ID_BOS];
}

uint32_t vocab_eos(const struct vocab *v)
{
    return v->ids[ID_EOS];
}

bool vocab_adds_bos(const struct vocab *v)
{
    return v->adds_bos && v->ids[ID_BOS] != TOKEN_NONE;
}

uint32_t vocab_end(const struct vocab *v)
{
    return v->adds_end ? v->ids[v->model == VOCAB_WORDPIECE ? ID_SEPARATOR : ID_EOS] : TOKEN_NONE;
}

bool vocab_is_end(const struct vocab *v, uint32_t id)
{
    ASSERT(id < v->n);
    return v->tokens[id].ends;
}

static uint64_t map_bytes(const struct map *m)
{
    return m->slots ? (m->mask + 1) * sizeof(*m->slots) : 0;
}

uint64_t vocab_bytes(const struct vocab *v)
{
    return sizeof(*v) + v->n * sizeof(*v->tokens) + 2 * v->texts_n + map_bytes(&v->by_text) +
           map_bytes(&v->pairs) + map_bytes(&v->words) + v->n_merges * sizeof(*v->merges) +
           trie_bytes(&v->special) + trie_bytes(&v->user) + trie_bytes(&v->trie) +
           charsmap_bytes(&v->charsmap) + (v->scores ? v->n * sizeof(*v->scores) : 0) +
           (v->pretok ? pretok_bytes(v->pretok) : 0);
}

struct slice vocab_piece(const struct vocab *v, uint32_t id, bool special)
{
    ASSERT(id < v->n);
    const struct token *t = &v->tokens[id];
    if (!special && (t->kind == TOKEN_CONTROL || t->kind == TOKEN_UNKNOWN))
        return (struct slice){0};
    return (struct slice){v->pieces + t->piece_at, t->piece_n};
}

bool vocab_find_special(const struct vocab *v, struct slice text, size_t from, size_t *start,
                        size_t *len)
{
    struct special found;
    for (; special_find(&v->special, text, from, &found); from = found.start + found.n) {
        *start = found.start;
        *len = found.n;
        if (v->tokens[found.id].kind != TOKEN_USER_DEFINED)
            return true;
    }
    return false;
}
