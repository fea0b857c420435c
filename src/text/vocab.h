/* text/vocab.h - tokens and their texts, and from text to tokens and back.
 *
 * A vocabulary is immutable once open and shared by all threads.  Its tokeniser
 * is chosen by the file's tokenizer.ggml.model ("llama": SPM; "gpt2", "gemma4" and
 * "whitespace": BPE; "bert": WordPiece; "t5": Unigram) and tokenizer.ggml.pre (the
 * pre-tokeniser of "gpt2"). */
#ifndef TEXT_VOCAB_H
#define TEXT_VOCAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/compiler.h"
#include "gguf/gguf.h"

#define TOKEN_NONE UINT32_MAX

enum token_kind {
    TOKEN_NORMAL = 1,
    TOKEN_UNKNOWN = 2,
    TOKEN_CONTROL = 3,
    TOKEN_USER_DEFINED = 4,
    TOKEN_UNUSED = 5,
    TOKEN_BYTE = 6,
};

struct vocab;

/* Builds the vocabulary from the file's tokenizer.ggml.* keys, copying what it
 * needs.  REALM_E_NOT_FOUND: the file has no tokenizer; REALM_E_UNSUPPORTED: an
 * unknown tokeniser or pre-tokeniser, by name; REALM_E_FORMAT: names the key or
 * the token id. */
MUST_USE int vocab_open(struct vocab **out, const struct gguf *g, struct realm_error *err);
void vocab_close(struct vocab *v);

uint32_t vocab_size(const struct vocab *v);
enum token_kind vocab_kind(const struct vocab *v, uint32_t id); /* id < size */
struct slice vocab_text(const struct vocab *v, uint32_t id);    /* as the file spells it */
uint32_t vocab_bos(const struct vocab *v);                      /* TOKEN_NONE: there is none */
uint32_t vocab_eos(const struct vocab *v);
bool vocab_adds_bos(const struct vocab *v);
uint32_t vocab_end(const struct vocab *v); /* put after a text: EOS or a separator, or none */
/* Ends a turn: eos, eot, and control tokens that common templates end with
 * (<|im_end|>, <|eot_id|>, <|end|>, <end_of_turn>, <|endoftext|> ...; but for gpt-oss's <|end|>,
 * behind which its answer goes on). */
bool vocab_is_end(const struct vocab *v, uint32_t id);
uint64_t vocab_bytes(const struct vocab *v); /* memory held */

enum vocab_flags {
    VOCAB_BOS = 1,     /* put BOS first if the vocabulary adds one */
    VOCAB_SPECIAL = 2, /* control and user-defined tokens spelled in the text become ids */
    VOCAB_END = 4,     /* put last what the vocabulary adds after a text, if anything */
};

/* A character of the text that is dropped when it is read under VOCAB_SPECIAL;
 * what follows right after it, or has it in its middle, is not taken for a special
 * token.  So a renderer can mark what users wrote.  U+FDD0, which no text contains. */
#define VOCAB_GUARD "\xEF\xB7\x90"

/* Most ids that n bytes of text can become, those around it included. */
size_t vocab_bound(const struct vocab *v, size_t n);

/* Ids that a text becomes at least, BOS left out: told from its length, so that what is
 * far too long need not be read. */
size_t vocab_least(const struct vocab *v, const char *text, size_t n, unsigned flags);

/* Turns valid UTF-8 into at most max ids; *n is how many.  Time is linear in the
 * text but for a log factor.  REALM_E_UTF8; REALM_E_TOO_SMALL with *n the number
 * wanted; REALM_E_NOMEM; REALM_E_LIMIT for texts over 1 GiB. */
MUST_USE int vocab_encode(const struct vocab *v, const char *text, size_t n, unsigned flags,
                          uint32_t *ids, size_t max, size_t *n_ids);

/* The bytes that one token stands for, not always whole UTF-8: a view into the
 * vocabulary.  Control tokens give nothing unless special.  */
struct slice vocab_piece(const struct vocab *v, uint32_t id, bool special);

/* Where reading the text from `from` on under VOCAB_SPECIAL would first give a token
 * that plain text cannot (user-defined ones it can).  false when it gives none. */
bool vocab_find_special(const struct vocab *v, struct slice text, size_t from, size_t *start,
                        size_t *len);

#endif
