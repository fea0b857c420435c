/* text/pretok.h - cuts text into the words that byte-level BPE merges within.
 *
 * A pre-tokeniser is a list of regular expressions (text/pretok_rules.h): the first
 * cuts the text into its matches and what lies between them, the second cuts each of
 * those, and so on.  No text is ever lost. */
#ifndef TEXT_PRETOK_H
#define TEXT_PRETOK_H

#include <stdbool.h>
#include <stddef.h>

#include "base/bytes.h"
#include "base/compiler.h"
#include "realm/status.h"
#include "text/pretok_rules.h"

struct pretok;

/* By the name in tokenizer.ggml.pre: REALM_E_UNSUPPORTED when it is unknown,
 * REALM_E_NOMEM. */
MUST_USE int pretok_open(struct pretok **out, struct slice name, struct realm_error *err);
void pretok_close(struct pretok *p);
const struct pretok_rules *pretok_rules_of(const struct pretok *p);
size_t pretok_bytes(const struct pretok *p);

/* What one stage has still to cut, and the match that was found ahead. */
struct pretok_window {
    size_t at, end;
    size_t match_at, match_end; /* empty: not searched yet */
    size_t left;                /* characters of the match, where it is cut into threes */
};

struct pretok_walk {
    const struct pretok *pretok;
    void *match; /* the regular expressions' scratch */
    struct slice text;
    struct pretok_window windows[PRETOK_STAGES_MAX];
};

MUST_USE int pretok_walk_open(struct pretok_walk *w, const struct pretok *p);
void pretok_walk_close(struct pretok_walk *w);

/* Starts on text, valid UTF-8; words can be less than whole characters. */
void pretok_walk_start(struct pretok_walk *w, struct slice text);

/* 1 and the next word; 0 at the end; REALM_E_NOMEM or REALM_E_LIMIT. */
MUST_USE int pretok_walk_next(struct pretok_walk *w, struct slice *word);

#endif
