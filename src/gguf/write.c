/* Writing through one buffer into a temporary file beside the final one, which
 * is renamed into place when all of it is on the disk. */
#include "gguf/write.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/ckd.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/rng.h"
#include "gguf/gguf_impl.h"
#include "tensor/dtype.h"

enum { BUFFER_BYTES = 1 << 20 };

struct gguf_writer {
    int fd;
    char *path;
    char *temp;
    uint8_t *buffer;
    size_t buffered;
    uint64_t written; /* bytes of the file so far, the buffer's included */
    uint64_t alignment;
    uint64_t n_values, values_done;
    uint64_t n_tensors, tensors_done; /* done: their records */
    uint64_t *bytes;                  /* of each tensor */
    uint64_t data_end;                /* of the tensors recorded, padded, within the data */
    uint64_t current, current_done;   /* the tensor whose data comes, and what came of it */
    struct realm_error err;           /* the first failure; status 0: none */
};

static int fail(struct gguf_writer *w, int status, const char *what)
{
    return err_set(&w->err, status, "%s", what);
}

static int flush(struct gguf_writer *w)
{
    size_t done = 0;
    while (done < w->buffered) {
        ssize_t n = write(w->fd, w->buffer + done, w->buffered - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return fail(w, REALM_E_IO,
                        errno == ENOSPC ? "no space is left on the disk" : "writing failed");
        done += (size_t)n;
    }
    w->buffered = 0;
    return 0;
}

static int put(struct gguf_writer *w, const void *data, size_t n)
{
    const uint8_t *p = data;
    while (n > 0 && !w->err.status) {
        if (w->buffered == BUFFER_BYTES && flush(w))
            break;
        size_t piece = min_size(n, BUFFER_BYTES - w->buffered);
        memcpy(w->buffer + w->buffered, p, piece);
        w->buffered += piece;
        w->written += piece;
        p += piece;
        n -= piece;
    }
    return w->err.status;
}

static int put_u32(struct gguf_writer *w, uint32_t v)
{
    return put(w, &v, sizeof(v));
}

static int put_u64(struct gguf_writer *w, uint64_t v)
{
    return put(w, &v, sizeof(v));
}

static int put_string(struct gguf_writer *w, struct slice text)
{
    if (put_u64(w, text.n))
        return w->err.status;
    return put(w, text.p, text.n);
}

static int pad(struct gguf_writer *w)
{
    while (w->written % w->alignment && !w->err.status) {
        if (put(w, "", 1))
            break;
    }
    return w->err.status;
}

/* Creates the temporary file, with the rights that a new file gets. */
static int create_temp(struct gguf_writer *w)
{
    uint32_t number;
    size_t n = strlen(w->path) + 16;
    w->temp = mem_alloc(n);
    if (!w->temp)
        return REALM_E_NOMEM;
    for (int tries = 0; tries < 8; tries++) {
        if (rng_system(&number, sizeof(number)))
            break;
        snprintf(w->temp, n, "%s.%08x.tmp", w->path, number);
        w->fd = open(w->temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (w->fd >= 0)
            return 0;
        if (errno != EEXIST)
            break;
    }
    mem_free(w->temp);
    w->temp = NULL;
    return REALM_E_IO;
}

static int begin(struct gguf_writer *w, const char *path)
{
    w->path = mem_strdup(path);
    w->buffer = mem_alloc(BUFFER_BYTES);
    w->bytes = mem_array(w->n_tensors, sizeof(*w->bytes));
    if (!w->path || !w->buffer || !w->bytes)
        return REALM_E_NOMEM;
    int status = create_temp(w);
    if (status)
        return status;
    put(w, "GGUF", 4);
    put_u32(w, 3);
    put_u64(w, w->n_tensors);
    return put_u64(w, w->n_values);
}

/* What is there already keeps its place unless it is a file: a device would be gone for good. */
static int check_place(const char *path, struct realm_error *err)
{
    struct stat there;
    if (stat(path, &there) || S_ISREG(there.st_mode))
        return 0;
    return err_set(err, REALM_E_ARG, "%s is %s", path,
                   S_ISDIR(there.st_mode) ? "a folder" : "there already, and no regular file");
}

int gguf_writer_open(struct gguf_writer **out, const char *path, uint64_t values, uint64_t tensors,
                     struct realm_error *err)
{
    *out = NULL;
    if (values > GGUF_KV_MAX || tensors > GGUF_TENSORS_MAX)
        return err_set(err, REALM_E_LIMIT, "%s: too many keys or tensors for a GGUF file", path);
    int status = check_place(path, err);
    if (status)
        return status;
    struct gguf_writer *w = mem_zalloc(sizeof(*w));
    if (!w)
        return err_nomem(err, "writing a file");
    w->fd = -1;
    w->alignment = GGUF_ALIGNMENT_DEFAULT;
    w->n_values = values;
    w->n_tensors = tensors;
    status = begin(w, path);
    if (!status) {
        *out = w;
        return 0;
    }
    int reason = errno;
    gguf_writer_abort(w);
    if (status == REALM_E_NOMEM)
        return err_nomem(err, "writing a file");
    return err_set(err, status, "%s cannot be created: %s", path, strerror(reason));
}

/* The key and type of the next value. */
static int value_head(struct gguf_writer *w, struct slice key, enum gguf_type type)
{
    if (w->err.status)
        return w->err.status;
    if (w->tensors_done || w->values_done == w->n_values)
        return fail(w, REALM_E_ARG, "a value that was not announced");
    w->values_done++;
    put_string(w, key);
    return put_u32(w, type);
}

static int set_alignment(struct gguf_writer *w, struct slice data)
{
    uint32_t alignment = 0;
    struct bytes in = bytes_from(data.p, data.n);
    if (!rd_u32(&in, &alignment) || alignment < GGUF_ALIGNMENT_MIN || (alignment & (alignment - 1)))
        return fail(w, REALM_E_ARG, "an alignment that is no power of two");
    w->alignment = alignment;
    return 0;
}

int gguf_writer_value(struct gguf_writer *w, const struct gguf_value *v)
{
    if (value_head(w, v->key, v->type))
        return w->err.status;
    if (v->type == GGUF_ARRAY) {
        put_u32(w, v->item_type);
        put_u64(w, v->count);
    }
    if (slice_is(v->key, GGUF_ALIGNMENT_KEY) && set_alignment(w, v->data))
        return w->err.status;
    return put(w, v->data.p, v->data.n);
}

int gguf_writer_u32(struct gguf_writer *w, const char *key, uint32_t value)
{
    uint8_t bytes[4];
    memcpy(bytes, &value, 4);
    struct gguf_value v = {slice_of(key), GGUF_U32, GGUF_U32, 1, {bytes, 4}, 0};
    return gguf_writer_value(w, &v);
}

int gguf_writer_string(struct gguf_writer *w, const char *key, const char *value)
{
    if (value_head(w, slice_of(key), GGUF_STRING))
        return w->err.status;
    return put_string(w, slice_of(value));
}

static bool tensor_bytes(const struct gguf_tensor *t, uint64_t *out)
{
    if (t->n_dims < 1 || t->n_dims > GGUF_DIMS_MAX || !dtype_row_bytes(t->dtype, t->dims[0], out))
        return false;
    for (uint32_t i = 1; i < t->n_dims; i++) {
        if (!ckd_mul_u64(*out, t->dims[i], out))
            return false;
    }
    return true;
}

int gguf_writer_tensor(struct gguf_writer *w, const struct gguf_tensor *t)
{
    if (w->err.status)
        return w->err.status;
    if (w->values_done != w->n_values || w->tensors_done == w->n_tensors)
        return fail(w, REALM_E_ARG, "a tensor that was not announced");
    uint64_t bytes, end;
    if (!tensor_bytes(t, &bytes) || !ckd_add_u64(w->data_end, bytes, &end) ||
        !ckd_align_u64(end, w->alignment, &end))
        return fail(w, REALM_E_ARG, "a tensor whose size is no whole number of blocks");
    put_string(w, t->name);
    put_u32(w, t->n_dims);
    for (uint32_t i = 0; i < t->n_dims; i++)
        put_u64(w, t->dims[i]);
    put_u32(w, t->dtype);
    put_u64(w, w->data_end);
    w->bytes[w->tensors_done++] = bytes;
    w->data_end = end;
    return w->tensors_done == w->n_tensors ? pad(w) : w->err.status;
}

int gguf_writer_data(struct gguf_writer *w, const void *data, size_t n)
{
    if (w->err.status)
        return w->err.status;
    if (w->tensors_done != w->n_tensors || w->current == w->n_tensors ||
        n > w->bytes[w->current] - w->current_done)
        return fail(w, REALM_E_ARG, "more data than the tensor has");
    if (put(w, data, n))
        return w->err.status;
    w->current_done += n;
    if (w->current_done < w->bytes[w->current])
        return 0;
    w->current++;
    w->current_done = 0;
    return pad(w);
}

/* Makes the new name last through a crash. */
static int sync_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash ? mem_strndup(path, (size_t)(slash - path) + 1) : mem_strdup(".");
    if (!folder)
        return REALM_E_NOMEM;
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    mem_free(folder);
    if (fd < 0)
        return REALM_E_IO;
    int status = fsync(fd) ? REALM_E_IO : 0;
    close(fd);
    return status;
}

static int finish(struct gguf_writer *w)
{
    if (w->err.status)
        return w->err.status;
    if (w->values_done != w->n_values || w->tensors_done != w->n_tensors ||
        w->current != w->n_tensors)
        return fail(w, REALM_E_ARG, "fewer values or less data than announced");
    if (flush(w))
        return w->err.status;
    if (fsync(w->fd))
        return fail(w, REALM_E_IO, "the file could not be brought to the disk");
    int closed = close(w->fd);
    w->fd = -1;
    if (closed || rename(w->temp, w->path))
        return fail(w, REALM_E_IO, "the file could not get its name");
    mem_free(w->temp); // what it named is the file now
    w->temp = NULL;
    if (sync_folder(w->path))
        return fail(w, REALM_E_IO, "the folder could not be brought to the disk");
    return 0;
}

int gguf_writer_close(struct gguf_writer *w, struct realm_error *err)
{
    int status = finish(w);
    if (status)
        err_set(err, status, "%s: %s", w->path, w->err.message);
    gguf_writer_abort(w);
    return status;
}

void gguf_writer_abort(struct gguf_writer *w)
{
    if (!w)
        return;
    if (w->fd >= 0)
        close(w->fd);
    if (w->temp)
        unlink(w->temp);
    mem_free(w->temp);
    mem_free(w->path);
    mem_free(w->buffer);
    mem_free(w->bytes);
    mem_free(w);
}
