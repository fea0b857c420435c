/* api/reason.h - tells a model's reasoning, between <think> and </think>, from its answer.
 *
 * Text comes in pieces of any size; what may be the beginning of a tag is held back. */
#ifndef API_REASON_H
#define API_REASON_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/compiler.h"

enum reason_state {
    REASON_OFF,    /* everything is answer */
    REASON_START,  /* nothing but white space has come */
    REASON_INSIDE, /* reasoning */
    REASON_GAP,    /* white space after the closing tag */
    REASON_ANSWER,
};

struct reason {
    enum reason_state state;
    bool begun;    /* reasoning has, past the white space that it starts with */
    char held[64]; /* what may become a tag, with the white space before it */
    size_t n_held;
};

/* thinking: the prompt ended within reasoning. */
void reason_init(struct reason *r, bool on, bool thinking);

/* Appends what is certain.  REALM_E_NOMEM, REALM_E_LIMIT. */
MUST_USE int reason_push(struct reason *r, const char *text, size_t n, struct buf *answer,
                         struct buf *reasoning);
/* What was held back, at the end. */
MUST_USE int reason_end(struct reason *r, struct buf *answer, struct buf *reasoning);

/* Whether a template knows of think tags, and whether a prompt ends within them. */
bool reason_known(const char *chat_template);
bool reason_open(const char *prompt, size_t n);

#endif
