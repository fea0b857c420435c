/* text/detok.h - tokens of one answer to text, whole characters at a time. */
#ifndef TEXT_DETOK_H
#define TEXT_DETOK_H

#include "text/vocab.h"

/* Bytes of a character whose end has not come yet. */
struct detok {
    const struct vocab *vocab;
    uint8_t tail[4];
    uint8_t tail_n;
    bool strip_space; /* SPM: the answer's first space belongs to the encoding */
    bool special;     /* control tokens show */
};

/* at_start: this is the beginning of a text, so that SPM's space is dropped. */
void detok_init(struct detok *d, const struct vocab *v, bool at_start, bool special);

/* Most bytes that pushing id can give. */
size_t detok_bound(const struct detok *d, uint32_t id);

/* Writes the text that is whole with this token; what can never become a
 * character becomes U+FFFD once for each maximal run.  Returns the bytes. */
size_t detok_push(struct detok *d, uint32_t id, char *out);

/* What is left at the end: nothing, or U+FFFD.  out: 3 bytes. */
size_t detok_end(struct detok *d, char *out);

#endif
