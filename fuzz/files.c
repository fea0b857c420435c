/* Model files of one or more parts, read through an io that comes short or fails,
 * and what was read written as one file that must read the same.
 *
 * Input: a byte with the number of parts less one, a byte with the most bytes
 * that one read gives (0: all), a byte with the number of the read that fails (0:
 * none), two bytes with the length of each part but the last, then the parts. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/mem.h"
#include "gguf/file.h"
#include "gguf/write.h"

enum { PARTS_MAX = 4 };

struct disk {
    struct slice parts[PARTS_MAX];
    uint32_t n_parts;
    size_t piece;       /* the most that a read gives */
    unsigned reads;     /* so far */
    unsigned fail_read; /* its number; 0: none */
    int open;           /* files */
};

static int disk_open(void *ctx, const char *path, unsigned flags, int *fd, uint64_t *size)
{
    struct disk *d = ctx;
    unsigned no, count;
    const char *name = strrchr(path, '/');
    ASSERT(name && sscanf(name, "/m-%5u-of-%5u.gguf", &no, &count) == 2 && no >= 1);
    ASSERT(no == 1 || (flags & IO_BENEATH));
    if (no > d->n_parts)
        return REALM_E_NOT_FOUND;
    *fd = (int)no - 1;
    *size = d->parts[no - 1].n;
    d->open++;
    return 0;
}

static int64_t disk_pread(void *ctx, int fd, void *dst, size_t n, uint64_t offset)
{
    struct disk *d = ctx;
    struct slice part = d->parts[fd];
    if (++d->reads == d->fail_read)
        return REALM_E_IO;
    if (offset >= part.n)
        return 0;
    if (n > part.n - offset)
        n = part.n - (size_t)offset;
    if (n > d->piece)
        n = d->piece;
    memcpy(dst, part.p + offset, n);
    return (int64_t)n;
}

static void disk_close(void *ctx, int fd)
{
    struct disk *d = ctx;
    ASSERT(fd >= 0 && (uint32_t)fd < d->n_parts);
    d->open--;
}

/* Takes the input apart; false when it is too short. */
static bool insert(struct disk *d, struct bytes in)
{
    uint8_t parts, piece, fail_read;
    uint16_t n;
    if (!rd_u8(&in, &parts) || !rd_u8(&in, &piece) || !rd_u8(&in, &fail_read))
        return false;
    *d = (struct disk){.n_parts = 1 + parts % PARTS_MAX, .fail_read = fail_read};
    d->piece = piece ? piece : SIZE_MAX;
    size_t lengths[PARTS_MAX];
    for (uint32_t i = 0; i + 1 < d->n_parts; i++) {
        if (!rd_u16(&in, &n))
            return false;
        lengths[i] = n;
    }
    for (uint32_t i = 0; i < d->n_parts; i++) {
        size_t left = bytes_left(&in);
        size_t take = i + 1 < d->n_parts && lengths[i] < left ? lengths[i] : left;
        if (!rd_slice(&in, take, &d->parts[i]))
            return false;
    }
    return true;
}

/* The tensor's bytes, or NULL when reading fails. */
static uint8_t *read_tensor(const struct gguf_file *f, const struct gguf_tensor *t)
{
    struct realm_error err = {0};
    uint8_t *data = mem_alloc(t->bytes);
    ASSERT(data);
    if (gguf_file_read(f, t, 0, data, t->bytes, &err) == 0)
        return data;
    ASSERT(err.message[0]);
    mem_free(data);
    return NULL;
}

/* The keys that a file of one part has no use for. */
static bool is_split(const struct gguf_value *v)
{
    return v->key.n >= 6 && memcmp(v->key.p, "split.", 6) == 0;
}

static int write_values(struct gguf_writer *w, const struct gguf *g)
{
    int status = 0;
    for (size_t i = 0; i < gguf_values(g) && !status; i++) {
        if (!is_split(gguf_value(g, i)))
            status = gguf_writer_value(w, gguf_value(g, i));
    }
    return status;
}

static int write_tensors(struct gguf_writer *w, const struct gguf_file *f)
{
    int status = 0;
    for (size_t i = 0; i < gguf_file_tensors(f) && !status; i++)
        status = gguf_writer_tensor(w, gguf_file_tensor(f, i));
    for (size_t i = 0; i < gguf_file_tensors(f) && !status; i++) {
        const struct gguf_tensor *t = gguf_file_tensor(f, i);
        uint8_t *data = read_tensor(f, t);
        if (!data)
            return REALM_E_IO;
        status = gguf_writer_data(w, data, t->bytes / 2);
        if (!status && t->bytes)
            status = gguf_writer_data(w, data + t->bytes / 2, t->bytes - t->bytes / 2);
        mem_free(data);
    }
    return status;
}

/* 0, or REALM_E_IO when f cannot be read; nothing else stops a valid model. */
static int write_copy(const struct gguf_file *f, const char *path)
{
    const struct gguf *g = gguf_file_header(f);
    struct gguf_writer *w;
    struct realm_error err = {0};
    uint64_t values = 0;
    for (size_t i = 0; i < gguf_values(g); i++)
        values += !is_split(gguf_value(g, i));
    int status = gguf_writer_open(&w, path, values, gguf_file_tensors(f), &err);
    ASSERT(status == 0);
    status = write_values(w, g);
    ASSERT(status == 0);
    status = write_tensors(w, f);
    if (status == REALM_E_IO) {
        gguf_writer_abort(w);
        return status;
    }
    status = gguf_writer_close(w, &err);
    ASSERT(status == 0);
    return 0;
}

static void check_values(const struct gguf *a, const struct gguf *b)
{
    for (size_t i = 0, j = 0; i < gguf_values(a); i++) {
        const struct gguf_value *v = gguf_value(a, i);
        if (is_split(v))
            continue;
        const struct gguf_value *w = gguf_value(b, j++);
        ASSERT(slice_equal(v->key, w->key) && v->type == w->type && v->count == w->count);
        ASSERT(v->item_type == w->item_type && slice_equal(v->data, w->data));
    }
    ASSERT(gguf_alignment(a) == gguf_alignment(b));
}

static void check_copy(struct disk *d, const struct gguf_file *f, const char *path)
{
    struct gguf_file *copy;
    struct realm_error err = {0};
    int status = gguf_file_open(&copy, io_system(), path, 0, &err);
    ASSERT(status == 0);
    d->fail_read = 0;
    check_values(gguf_file_header(f), gguf_file_header(copy));
    ASSERT(gguf_file_tensors(f) == gguf_file_tensors(copy) && gguf_file_parts(copy) == 1);
    for (size_t i = 0; i < gguf_file_tensors(f); i++) {
        const struct gguf_tensor *t = gguf_file_tensor(f, i), *u = gguf_file_tensor(copy, i);
        ASSERT(slice_equal(t->name, u->name) && t->dtype == u->dtype && t->n_dims == u->n_dims);
        ASSERT(memcmp(t->dims, u->dims, sizeof(t->dims)) == 0 && t->bytes == u->bytes);
        uint8_t *a = read_tensor(f, t), *b = read_tensor(copy, u);
        ASSERT(a && b && memcmp(a, b, t->bytes) == 0);
        mem_free(a);
        mem_free(b);
    }
    gguf_file_close(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct disk disk;
    if (!insert(&disk, bytes_from(data, n)))
        return 0;
    struct io io = {disk_open, disk_pread, disk_close, &disk};
    struct gguf_file *f;
    struct realm_error err = {0};
    uint64_t live = mem_live();
    char path[64];
    snprintf(path, sizeof(path), "./m-00001-of-%05u.gguf", disk.n_parts);
    int status = gguf_file_open(&f, &io, path, 0, &err);
    ASSERT(status == 0 ? f != NULL : status < 0 && !f && err.message[0]);
    ASSERT(disk.open == (f ? (int)gguf_file_parts(f) : 0));
    if (f) {
        snprintf(path, sizeof(path), "copy-%ld.gguf", (long)getpid());
        if (write_copy(f, path) == 0) {
            check_copy(&disk, f, path);
            unlink(path);
        }
        gguf_file_close(f);
    }
    ASSERT(disk.open == 0 && mem_live() == live);
    return 0;
}
