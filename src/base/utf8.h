/* base/utf8.h - UTF-8 as the Unicode standard defines it: no overlong forms,
 * no surrogates, nothing above U+10FFFF. */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool utf8_valid(const void *p, size_t n);

/* Decodes the character at p: returns its length 1 to 4 and the code point.
 * 0: the bytes are no character.  -1: they may become one with more bytes. */
int utf8_decode(const uint8_t *p, size_t n, uint32_t *cp);

/* Writes cp's 1 to 4 bytes; cp must be a scalar value. */
size_t utf8_encode(uint32_t cp, uint8_t out[4]);

/* Whether Unicode calls it White_Space. */
bool utf8_is_space(uint32_t cp);

/* Length of the longest prefix that does not end within a character.  Bytes
 * that can never become a character count as whole. */
size_t utf8_whole(const void *p, size_t n);

/* Bytes of the maximal run at p that is no character (for one U+FFFD), >= 1. */
size_t utf8_bad_run(const uint8_t *p, size_t n);

#endif
