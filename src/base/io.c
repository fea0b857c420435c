#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/ckd.h"
#include "base/err.h"
#include "base/mem.h"

static int open_fd(const char *path, unsigned flags)
{
    int mode = O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY;
    if (!(flags & IO_BENEATH))
        return open(path, mode);
    struct open_how how = {.flags = (unsigned)mode, .resolve = RESOLVE_NO_SYMLINKS};
    int fd = (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how));
    if (fd < 0 && errno == ENOSYS)
        fd = open(path, mode | O_NOFOLLOW); /* kernels before 5.6 guard the last name alone */
    return fd;
}

static int system_open(void *ctx, const char *path, unsigned flags, int *out, uint64_t *size)
{
    (void)ctx;
    int fd = open_fd(path, flags);
    if (fd < 0)
        return errno == EMFILE || errno == ENFILE || errno == EIO || errno == ENOMEM
                   ? REALM_E_IO
                   : REALM_E_NOT_FOUND;
    struct stat st = {0};
    if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
        close(fd);
        errno = S_ISDIR(st.st_mode) ? EISDIR : EINVAL;
        return REALM_E_IO;
    }
    *out = fd;
    *size = (uint64_t)st.st_size;
    return 0;
}

static int64_t system_pread(void *ctx, int fd, void *dst, size_t n, uint64_t offset)
{
    (void)ctx;
    if (offset > INT64_MAX)
        return REALM_E_IO;
    for (;;) {
        ssize_t got = pread(fd, dst, n, (off_t)offset);
        if (got >= 0)
            return got;
        if (errno != EINTR)
            return REALM_E_IO;
    }
}

static void system_close(void *ctx, int fd)
{
    (void)ctx;
    close(fd);
}

const struct io *io_system(void)
{
    static const struct io system = {system_open, system_pread, system_close, NULL};
    return &system;
}

const char *io_why(int error)
{
    switch (error) {
    case ENOENT:
    case ENOTDIR:
        return "no such file";
    case EACCES:
    case EPERM:
        return "this user is not allowed to read it";
    case EISDIR:
        return "a folder, not a file";
    case EINVAL:
    case ENXIO: // a socket
        return "not a regular file";
    case ELOOP:
        return "a link that leads nowhere, or that is not followed here";
    case EMFILE:
    case ENFILE:
        return "too many files are open";
    default:
        return "it cannot be opened";
    }
}

int io_read_exact(const struct io *io, int fd, void *dst, size_t n, uint64_t offset)
{
    uint8_t *p = dst;
    while (n > 0) {
        int64_t got = io->pread(io->ctx, fd, p, n, offset);
        if (got <= 0 || (uint64_t)got > n)
            return REALM_E_IO;
        p += got;
        n -= (size_t)got;
        offset += (uint64_t)got;
    }
    return 0;
}

int io_read_file(const struct io *io, const char *path, uint64_t bytes_max, uint8_t **out,
                 size_t *n, struct realm_error *err)
{
    *out = NULL;
    int fd;
    uint64_t size;
    int status = io->open(io->ctx, path, 0, &fd, &size);
    if (status)
        return err_set(err, status, "%s: %s", path, io_why(errno));
    uint8_t *p = NULL;
    if (size > bytes_max || size > SIZE_MAX - 1)
        status = err_set(err, REALM_E_LIMIT, "%s has %llu bytes, the limit is %llu", path,
                         (unsigned long long)size, (unsigned long long)bytes_max);
    else if (!(p = mem_alloc((size_t)size + 1)))
        status = err_nomem(err, path);
    else if (io_read_exact(io, fd, p, (size_t)size, 0))
        status = err_set(err, REALM_E_IO, "%s could not be read to its end", path);
    io->close(io->ctx, fd);
    if (status) {
        mem_free(p);
        return status;
    }
    p[size] = '\0';
    *out = p;
    *n = (size_t)size;
    return 0;
}
