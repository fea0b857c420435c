/* gguf/write.h - writing a GGUF file (version 3).
 *
 * The order of calls: open, values, tensors' records, then the data of each
 * tensor in the order of their records, close.  The first failure is kept and
 * every later call returns it.  The file appears under its name only when
 * gguf_writer_close succeeds; a file that was there before is replaced, and nothing
 * else is: REALM_E_ARG. */
#ifndef GGUF_WRITE_H
#define GGUF_WRITE_H

#include "base/compiler.h"
#include "gguf/gguf.h"

struct gguf_writer;

MUST_USE int gguf_writer_open(struct gguf_writer **out, const char *path, uint64_t values,
                              uint64_t tensors, struct realm_error *err);
/* A value as another file had it, bytes and all. */
MUST_USE int gguf_writer_value(struct gguf_writer *w, const struct gguf_value *v);
MUST_USE int gguf_writer_u32(struct gguf_writer *w, const char *key, uint32_t value);
MUST_USE int gguf_writer_string(struct gguf_writer *w, const char *key, const char *value);
/* name, n_dims, dims and dtype of t are used. */
MUST_USE int gguf_writer_tensor(struct gguf_writer *w, const struct gguf_tensor *t);
MUST_USE int gguf_writer_data(struct gguf_writer *w, const void *data, size_t n);
/* Ends the file and frees w, whatever happened; removes the file on failure. */
MUST_USE int gguf_writer_close(struct gguf_writer *w, struct realm_error *err);
/* Frees w and removes what was written. */
void gguf_writer_abort(struct gguf_writer *w);

#endif
