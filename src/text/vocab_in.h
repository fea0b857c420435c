/* text/vocab_in.h - what a vocabulary is made of, for the files of text/ alone. */
#ifndef TEXT_VOCAB_IN_H
#define TEXT_VOCAB_IN_H

#include "base/buf.h"
#include "base/map.h"
#include "text/merge.h"
#include "text/pretok.h"
#include "text/special.h"
#include "text/vocab.h"

enum vocab_model { VOCAB_SPM, VOCAB_BPE };

enum vocab_id { ID_BOS, ID_EOS, ID_EOT, ID_EOM, ID_UNKNOWN, ID_PADDING, VOCAB_IDS };

struct token {
    uint32_t text_at, text_n;   /* in vocab.texts */
    uint32_t piece_at, piece_n; /* in vocab.pieces */
    uint32_t rank;              /* SPM: by score, the highest first */
    uint8_t kind;
    bool ends;   /* a turn */
    bool rstrip; /* swallows the white space after it */
};

/* Two tokens that become a third; its place in the list is its rank. */
struct pair {
    uint32_t left, right; /* together the key in vocab.pairs */
    uint32_t id;
};

struct vocab {
    enum vocab_model model;
    uint32_t n;
    struct token *tokens;
    uint8_t *texts, *pieces;
    size_t texts_n;
    size_t longest;     /* bytes of a token's text */
    struct map by_text; /* BPE: only while it is opened */
    uint32_t ids[VOCAB_IDS];
    uint32_t byte_ids[256]; /* TOKEN_NONE where there is none */
    bool adds_bos;
    bool strips;                /* some token has rstrip */
    struct special_set special; /* control and user-defined tokens */
    struct special_set user;    /* user-defined tokens */

    /* SPM */
    bool space_prefix;
    uint8_t space_tokens; /* most tokens that a space can become; 0 in BPE */
    bool inner_space;     /* some token has a space after something else */

    /* BPE */
    struct pretok *pretok;
    bool whole_words; /* a word that is a token is taken before any merge */
    struct pair *merges;
    size_t n_merges;
    struct map pairs;
    struct map words; /* from bytes to token, when whole_words */
};

/* One call of vocab_encode. */
struct encoder {
    const struct vocab *v;
    uint32_t *ids;
    size_t max, n; /* n goes on beyond max */
    struct merger merger;
    struct buf plain;   /* a stretch of text without its guards */
    struct buf escaped; /* SPM: the stretch with U+2581 for spaces */
    struct pretok_walk walk;
};

static inline struct slice token_text(const struct vocab *v, uint32_t id)
{
    return (struct slice){v->texts + v->tokens[id].text_at, v->tokens[id].text_n};
}

/* Whether text that is not marked as special may become this token. */
static inline bool token_mergeable(const struct vocab *v, uint32_t id)
{
    uint8_t kind = v->tokens[id].kind;
    return kind == TOKEN_NORMAL || kind == TOKEN_USER_DEFINED || kind == TOKEN_UNUSED;
}

static inline void encoder_put(struct encoder *e, uint32_t id)
{
    if (e->n < e->max)
        e->ids[e->n] = id;
    e->n++;
}

/* Reads the tokens, their kinds and scores, and the ids with a role. */
MUST_USE int tokens_load(struct vocab *v, const struct gguf *g, struct realm_error *err);

/* Each fills in its part of the vocabulary, pieces included. */
MUST_USE int spm_open(struct vocab *v, const struct gguf *g, struct realm_error *err);
MUST_USE int bpe_open(struct vocab *v, const struct gguf *g, struct realm_error *err);

/* Each encodes one stretch of valid UTF-8 without special tokens. */
MUST_USE int spm_encode(struct encoder *e, struct slice text, bool prefix);
MUST_USE int bpe_encode(struct encoder *e, struct slice text);

/* A byte token's byte; false when the text is not <0xHH>. */
bool byte_token_value(struct slice text, uint8_t *value);

#endif
