/* wasm/guest_text.h - bytes of a guest that are to be text. */
#ifndef WASM_GUEST_TEXT_H
#define WASM_GUEST_TEXT_H

#include <stddef.h>

#include "base/buf.h"
#include "base/compiler.h"

/* Appends the bytes with U+FFFD in place of what is not UTF-8. */
MUST_USE int guest_text_add(struct buf *out, const void *bytes, size_t n);

#endif
