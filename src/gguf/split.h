/* gguf/split.h - the keys and names by which the parts of a split model know
 * each other: split.no (from 0), split.count, split.tensors.count, and
 * NAME-00001-of-00003.gguf. */
#ifndef GGUF_SPLIT_H
#define GGUF_SPLIT_H

#include "gguf/gguf.h"

struct split_keys {
    uint32_t no;
    uint32_t count;   /* 1: not split */
    uint32_t tensors; /* of all parts; UINT32_MAX: not said */
};

MUST_USE int split_keys_read(const struct gguf *g, struct split_keys *out, struct realm_error *err);

/* The path of part no (from 0), which lies beside the first part's.  0 and a
 * string for mem_free, or REALM_E_FORMAT when first is not named like a first
 * part of count, REALM_E_NOMEM. */
MUST_USE int split_sibling(const char *first, uint32_t no, uint32_t count, char **out,
                           struct realm_error *err);

/* Whether part, the no-th, may stand beside first: its split keys fit, and a
 * key that it has beyond them first has too, with the same value. */
MUST_USE int split_check(const struct gguf *first, const struct gguf *part, uint32_t no,
                         struct realm_error *err);

#endif
