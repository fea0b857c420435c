/* gguf/file.h - a GGUF model on disk: one file, or the parts of a split one.
 *
 * Opens the file (and, when its split.count says so, its siblings
 * NAME-00002-of-0000N.gguf beside it), reads and parses every header, and checks
 * that the parts belong together.  Tensor data is read piece by piece. */
#ifndef GGUF_FILE_H
#define GGUF_FILE_H

#include <stdint.h>

#include "base/compiler.h"
#include "base/io.h"
#include "gguf/gguf.h"

struct gguf_file;

/* io_flags: IO_BENEATH for names that do not come from the operator; siblings
 * are always opened with it.  Errors: those of gguf_parse, REALM_E_NOT_FOUND,
 * REALM_E_IO; the sentence names the file by its last component alone. */
MUST_USE int gguf_file_open(struct gguf_file **out, const struct io *io, const char *path,
                            unsigned io_flags, struct realm_error *err);

/* The same over bytes in memory, which are copied (a guest's model). */
MUST_USE int gguf_file_from_memory(struct gguf_file **out, const void *data, size_t n,
                                   struct realm_error *err);
void gguf_file_close(struct gguf_file *f);

/* The first part's header: all keys are read from it. */
const struct gguf *gguf_file_header(const struct gguf_file *f);

/* Tensors of all parts; they lie side by side. */
size_t gguf_file_tensors(const struct gguf_file *f);
const struct gguf_tensor *gguf_file_tensor(const struct gguf_file *f, size_t i);
const struct gguf_tensor *gguf_file_find(const struct gguf_file *f, const char *name);
uint32_t gguf_file_parts(const struct gguf_file *f);
uint64_t gguf_file_bytes(const struct gguf_file *f); /* of all parts */

/* Reads n bytes of tensor t from byte at on.  REALM_E_IO when the file has
 * become shorter or cannot be read.  Any thread. */
MUST_USE int gguf_file_read(const struct gguf_file *f, const struct gguf_tensor *t, uint64_t at,
                            void *dst, size_t n, struct realm_error *err);

#endif
