/* text/vocab_in.h - what a vocabulary is made of, for the files of text/ alone. */
#ifndef TEXT_VOCAB_IN_H
#define TEXT_VOCAB_IN_H

#include "base/buf.h"
#include "base/map.h"
#include "text/charsmap.h"
#include "text/merge.h"
#include "text/norm.h"
#include "text/pretok.h"
#include "text/special.h"
#include "text/trie.h"
#include "text/vocab.h"

enum vocab_model { VOCAB_SPM, VOCAB_BPE, VOCAB_WORDPIECE, VOCAB_UNIGRAM };

enum vocab_id { ID_BOS, ID_EOS, ID_EOT, ID_EOM, ID_UNKNOWN, ID_PADDING, ID_SEPARATOR, VOCAB_IDS };

/* In tokens of SPM, Unigram and WordPiece, and of some BPE, a space is spelled U+2581. */
#define BLOCK "\xE2\x96\x81"
enum { BLOCK_N = sizeof(BLOCK) - 1 };

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
    struct map by_text; /* SPM and plain BPE; the others: only while it is opened */
    uint32_t ids[VOCAB_IDS];
    uint32_t byte_ids[256]; /* TOKEN_NONE where there is none */
    bool adds_bos;
    bool adds_end;           /* EOS; WordPiece: the separator */
    bool strips;             /* some token has rstrip */
    struct trie special;     /* control and user-defined tokens */
    struct trie user;        /* user-defined tokens */
    size_t shortest_special; /* bytes; SIZE_MAX: there is none */

    /* SPM and Unigram */
    bool space_prefix;
    uint8_t space_tokens; /* most tokens that a space can become; 0 elsewhere */
    bool inner_space;     /* some token has a space after something else */

    /* Unigram and WordPiece */
    struct trie trie; /* of the tokens that text may become */

    /* Unigram */
    struct charsmap charsmap;
    double *scores; /* (n) */
    double unknown_score;
    bool joins_spaces; /* a run of spaces is one, at the ends none */

    /* WordPiece */
    bool lowers; /* and plain BPE */
    bool strips_accents;

    /* BPE */
    struct pretok *pretok;
    bool mixes_lines;  /* some token reaches over a line's end: a text is one word */
    bool each_unknown; /* each unknown character is a token, not a run of them */
    bool whole_words;  /* a word that is a token is taken before any merge */
    struct pair *merges;
    size_t n_merges;
    struct map pairs;
    struct map words; /* from bytes to token, when whole_words */
};

#define NO_WAY UINT32_MAX

/* Unigram: the best way to here, whose last token begins at `from`. */
struct way {
    double score;
    uint32_t from; /* NO_WAY: none leads here */
    uint32_t id;
};

/* One call of vocab_encode. */
struct encoder {
    const struct vocab *v;
    uint32_t *ids;
    size_t max, n; /* n goes on beyond max */
    struct merger merger;
    struct buf plain;   /* a stretch of text without its guards */
    struct buf escaped; /* the stretch with U+2581 for spaces; WordPiece: cleaned */
    struct norm norm;
    struct pretok_walk walk;
    struct way *ways; /* (ways_cap) */
    size_t ways_cap;
    bool after_unknown; /* the last part of the stretch was unknown */
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

/* Builds a trie of the tokens that are wanted; of each text there is one at most. */
MUST_USE int tokens_trie(struct trie *out, const struct vocab *v,
                         bool (*wanted)(const struct vocab *v, uint32_t id),
                         struct realm_error *err);

/* Each fills in its part of the vocabulary, pieces included. */
MUST_USE int spm_open(struct vocab *v, const struct gguf *g, struct realm_error *err);
MUST_USE int bpe_open(struct vocab *v, const struct gguf *g, struct realm_error *err);
MUST_USE int wordpiece_open(struct vocab *v, const struct gguf *g, struct realm_error *err);
MUST_USE int unigram_open(struct vocab *v, const struct gguf *g, struct realm_error *err);

/* Each encodes one stretch of valid UTF-8 without special tokens. */
MUST_USE int spm_encode(struct encoder *e, struct slice text);
MUST_USE int bpe_encode(struct encoder *e, struct slice text);
MUST_USE int wordpiece_encode(struct encoder *e, struct slice text);
MUST_USE int unigram_encode(struct encoder *e, struct slice text);

/* Pieces of tokens that spell spaces as BLOCK; inner_space is found on the way. */
void block_pieces(struct vocab *v);

/* Writes U+2581 for each space, and before the text if prefix.  0 or REALM_E_NOMEM. */
MUST_USE int block_escape(struct buf *out, struct slice text, bool prefix);

/* Writes a space for each U+2581; returns the bytes, at most those of the text. */
uint32_t block_unescape(struct slice text, uint8_t *out);

/* Bytes of the first word: up to a BLOCK that follows something else. */
size_t block_word_end(struct slice text);

static inline bool is_block(const uint8_t *p, size_t n)
{
    return n >= BLOCK_N && memcmp(p, BLOCK, BLOCK_N) == 0;
}

/* Builds v->trie of the tokens that text may become. */
MUST_USE int trie_of_tokens(struct vocab *v, struct realm_error *err);

/* SPM, Unigram and plain BPE: the token, or byte tokens for what none spells (TOKEN_NONE), or
 * where those are missing an unknown token, one for many such parts in a row unless each. */
void encoder_put_part(struct encoder *e, struct slice text, uint32_t id);

/* The token that text alone may become. */
bool token_of(const struct vocab *v, struct slice text, uint32_t *id);

/* SPM and plain BPE: merges the characters of a word and puts what comes of them.  0 or
 * REALM_E_NOMEM. */
MUST_USE int encode_characters(struct encoder *e, struct slice word, merge_lookup lookup);

/* A byte token's byte; false when the text is not <0xHH>. */
bool byte_token_value(struct slice text, uint8_t *value);

#endif
