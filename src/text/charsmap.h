/* text/charsmap.h - SentencePiece's compiled map of characters.
 *
 * tokenizer.ggml.precompiled_charsmap holds a number of bytes (32 bits, little endian),
 * so many bytes of a double array of 32-bit units, and replacements, each with a NUL
 * after it.  A unit is reached from its parent by an exclusive or with a byte:
 *
 *     bits 0-7    the byte by which it is reached
 *     bit 8       the unit at its offset is a value: where a replacement begins
 *     bits 9-30   offset to its children, bit 9 telling whether in units or in 256 units
 *     bit 31      it is a value itself */
#ifndef TEXT_CHARSMAP_H
#define TEXT_CHARSMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/compiler.h"
#include "realm/status.h"

struct charsmap {
    uint32_t *units; /* NULL: there is no map */
    size_t n_units;
    uint8_t *texts; /* replacements, the last byte a NUL */
    size_t n_texts;
    size_t growth; /* most bytes that come of a byte; 1 or more */
};

/* Copies the map and walks through all of it: REALM_E_FORMAT says what is wrong. */
MUST_USE int charsmap_init(struct charsmap *m, struct slice file, struct realm_error *err);
void charsmap_free(struct charsmap *m);
size_t charsmap_bytes(const struct charsmap *m);

/* What the longest beginning of text that the map knows becomes, and its length in *n;
 * false when it knows none.  Beginnings over CHARSMAP_KEY_MAX are not looked for. */
bool charsmap_get(const struct charsmap *m, struct slice text, struct slice *out, size_t *n);

#endif
