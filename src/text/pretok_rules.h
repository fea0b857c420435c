/* text/pretok_rules.h - the published rules by which pre-tokenisers cut.
 *
 * The expressions are those of the models' own tokenizer.json files, written so
 * that the time they take does not depend on what they are matched with: what can
 * be possessive is, and nothing that fails is scanned again.  \s and \w are spelled
 * out, since PCRE2's differ from those the models were trained with. */
#ifndef TEXT_PRETOK_RULES_H
#define TEXT_PRETOK_RULES_H

#include <stdbool.h>

#include "base/bytes.h"

enum { PRETOK_STAGES_MAX = 6 };

enum pretok_stage_flags {
    STAGE_COVERS = 1, /* matches wherever it is tried: never searches */
    STAGE_BYTES = 2,  /* looks at bytes; so do all stages after it */
    STAGE_THREES = 4, /* a match is cut into threes of characters from its end */
};

struct pretok_stage {
    const char *pattern; /* NULL: there is none */
    unsigned flags;
};

struct pretok_rules {
    struct pretok_stage stages[PRETOK_STAGES_MAX];
    bool adds_bos;     /* unless the file says otherwise */
    bool needs_bos;    /* whatever the file says */
    bool whole_words;  /* a word that is a token is taken before any merge */
    bool composes;     /* the text is brought into form NFC first */
    bool plain;        /* tokens are spelled as they are, not byte by byte */
    bool blocks;       /* plain, but for a space, which is U+2581 */
    bool drops_spaces; /* what lies between words is white space, and no token */
};

/* By the name in tokenizer.ggml.pre; NULL: unknown. */
const struct pretok_rules *pretok_rules(struct slice name);

#endif
