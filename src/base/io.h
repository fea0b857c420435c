/* base/io.h - reading files through a table of functions, so that tests can
 * make each read fail or come short. */
#ifndef BASE_IO_H
#define BASE_IO_H

#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "realm/status.h"

enum io_flags {
    IO_BENEATH = 1, /* follow no link anywhere in the path (names from requests) */
};

struct io {
    /* Opens a regular file for reading: 0, or REALM_E_NOT_FOUND (missing, not
     * readable, a link under IO_BENEATH) or REALM_E_IO (not a regular file,
     * anything else).  errno is then such that io_why tells more. */
    int (*open)(void *ctx, const char *path, unsigned flags, int *fd, uint64_t *size);
    /* Bytes read, 0 at the end, or REALM_E_IO.  May read less than n. */
    int64_t (*pread)(void *ctx, int fd, void *dst, size_t n, uint64_t offset);
    void (*close)(void *ctx, int fd);
    void *ctx;
};

/* The file system. */
const struct io *io_system(void);

/* Why a file could not be opened, for the end of a sentence.  error: errno; of what is there
 * and is no regular file EISDIR or EINVAL. */
const char *io_why(int error);

/* Reads exactly n bytes: 0, or REALM_E_IO when the file ends before. */
MUST_USE int io_read_exact(const struct io *io, int fd, void *dst, size_t n, uint64_t offset);

/* The whole file in memory that the caller frees with mem_free, with a NUL that
 * *n does not count.  bytes_max: a larger file is refused (REALM_E_LIMIT). */
MUST_USE int io_read_file(const struct io *io, const char *path, uint64_t bytes_max, uint8_t **out,
                          size_t *n, struct realm_error *err);

#endif
