/* Files, parts and reads.  Immutable once open, so that any thread may read. */
#include "gguf/file.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/ckd.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/map.h"
#include "base/mem.h"
#include "gguf/split.h"

static const size_t FIRST_READ = 1 * MiB;

struct part {
    int fd;         /* -1: all of the file is in bytes */
    uint64_t size;  /* of the file */
    uint8_t *bytes; /* its beginning, which header looks into */
    size_t n;
    struct gguf *header;
};

struct gguf_file {
    const struct io *io;
    struct part *parts;
    uint32_t n_parts;
    struct gguf_tensor *tensors; /* of all parts, in their order */
    size_t n_tensors;
    struct map names; /* -> index into tensors */
};

static const char *last_component(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static int read_more(const struct io *io, struct part *p, size_t n, struct realm_error *err)
{
    uint8_t *bytes = mem_realloc_array(p->bytes, n, 1);
    if (!bytes)
        return err_nomem(err, "a GGUF header");
    p->bytes = bytes;
    if (io_read_exact(io, p->fd, bytes + p->n, n - p->n, p->n))
        return err_set(err, REALM_E_IO, "reading failed between offsets %zu and %zu", p->n, n);
    p->n = n;
    return 0;
}

static int read_header(const struct io *io, struct part *p, struct realm_error *err)
{
    size_t want = FIRST_READ;
    for (;;) {
        size_t n = want < p->size ? want : (size_t)p->size;
        int status = read_more(io, p, n, err);
        if (!status)
            status = gguf_parse(&p->header, p->bytes, p->n, p->size, err);
        if (status != GGUF_MORE)
            return status;
        want *= 2; // ends: the parser refuses headers above GGUF_HEADER_MAX
    }
}

static int open_part(const struct io *io, struct part *p, const char *path, unsigned flags,
                     struct realm_error *err)
{
    p->fd = -1;
    int status = io->open(io->ctx, path, flags, &p->fd, &p->size);
    if (status) {
        p->fd = -1;
        err_set(err, status, "%s", io_why(errno));
    } else {
        status = read_header(io, p, err);
    }
    return status ? err_prefix(err, status, "%s", last_component(path)) : 0;
}

/* Links on the way to the operator's file are followed once, here, so that the
 * siblings can be opened without following any. */
static char *resolve_folder(const char *path, unsigned flags)
{
    char folder[PATH_MAX], resolved[PATH_MAX];
    const char *name = last_component(path);
    size_t n = (size_t)(name - path);
    if ((flags & IO_BENEATH) || n >= sizeof(folder))
        return mem_strdup(path);
    memcpy(folder, path, n);
    folder[n] = '\0';
    if (!realpath(n ? folder : ".", resolved))
        return mem_strdup(path);
    size_t resolved_n = strlen(resolved), name_n = strlen(name);
    char *whole = mem_alloc(resolved_n + 1 + name_n + 1);
    if (whole) {
        memcpy(whole, resolved, resolved_n);
        whole[resolved_n] = '/';
        memcpy(whole + resolved_n + 1, name, name_n + 1);
    }
    return whole;
}

static int open_sibling(struct gguf_file *f, const char *first, uint32_t no, uint32_t count,
                        struct realm_error *err)
{
    char *path;
    int status = split_sibling(first, no, count, &path, err);
    if (status)
        return err_prefix(err, status, "%s", last_component(first));
    f->parts[no].fd = -1;
    f->n_parts = no + 1;
    status = open_part(f->io, &f->parts[no], path, IO_BENEATH, err);
    if (!status) {
        status = split_check(f->parts[0].header, f->parts[no].header, no, err);
        if (status)
            err_prefix(err, status, "%s", last_component(path));
    }
    mem_free(path);
    return status;
}

static int open_siblings(struct gguf_file *f, const char *path, unsigned flags, uint32_t count,
                         struct realm_error *err)
{
    struct part *parts = mem_realloc_array(f->parts, count, sizeof(*parts));
    if (!parts)
        return err_nomem(err, "the parts of a model");
    f->parts = parts;
    memset(parts + 1, 0, (count - 1) * sizeof(*parts));
    char *first = resolve_folder(path, flags);
    if (!first)
        return err_nomem(err, "the name of a part");
    int status = 0;
    for (uint32_t no = 1; no < count && !status; no++)
        status = open_sibling(f, first, no, count, err);
    mem_free(first);
    return status;
}

static int add_tensors(struct gguf_file *f, uint32_t part, struct realm_error *err)
{
    const struct gguf *g = f->parts[part].header;
    for (size_t i = 0; i < gguf_tensors(g); i++) {
        struct gguf_tensor *t = &f->tensors[f->n_tensors];
        *t = *gguf_tensor(g, i);
        t->part = part;
        int status = map_put(&f->names, t->name, cast_u32(f->n_tensors));
        if (status > 0)
            return err_set(err, REALM_E_FORMAT, "tensor \"%.*s\" is in two parts",
                           (int)min_size(t->name.n, 100), (const char *)t->name.p);
        if (status)
            return err_nomem(err, "the names of tensors");
        f->n_tensors++;
    }
    return 0;
}

/* One table over the tensors of all parts. */
static int join(struct gguf_file *f, uint32_t tensors, struct realm_error *err)
{
    size_t n = 0;
    for (uint32_t i = 0; i < f->n_parts; i++)
        n += gguf_tensors(f->parts[i].header);
    if (tensors != UINT32_MAX && tensors != n)
        return err_set(err, REALM_E_FORMAT, "key split.tensors.count is %u, the parts have %zu",
                       tensors, n);
    if (n > GGUF_TENSORS_MAX)
        return err_set(err, REALM_E_LIMIT, "the parts have %zu tensors, the limit is %d", n,
                       GGUF_TENSORS_MAX);
    f->tensors = mem_array(n, sizeof(*f->tensors));
    if (!f->tensors || map_init(&f->names, n))
        return err_nomem(err, "the table of tensors");
    int status = 0;
    for (uint32_t i = 0; i < f->n_parts && !status; i++)
        status = add_tensors(f, i, err);
    return status;
}

static struct gguf_file *file_new(const struct io *io)
{
    struct gguf_file *f = mem_zalloc(sizeof(*f));
    if (!f)
        return NULL;
    f->io = io;
    f->parts = mem_zarray(1, sizeof(*f->parts));
    if (!f->parts) {
        mem_free(f);
        return NULL;
    }
    f->n_parts = 1;
    f->parts[0].fd = -1;
    return f;
}

static int open_all(struct gguf_file *f, const char *path, unsigned flags, struct realm_error *err)
{
    int status = open_part(f->io, &f->parts[0], path, flags, err);
    if (status)
        return status;
    struct split_keys keys;
    status = split_keys_read(f->parts[0].header, &keys, err);
    if (!status && keys.no != 0)
        status = err_set(err, REALM_E_FORMAT, "this is part %u of %u; open the first", keys.no + 1,
                         keys.count);
    if (!status && keys.count > 1) {
        status = open_siblings(f, path, flags, keys.count, err);
        if (status)
            return status; // the sentence names the part already
    }
    if (!status)
        status = join(f, keys.tensors, err);
    return status ? err_prefix(err, status, "%s", last_component(path)) : 0;
}

int gguf_file_open(struct gguf_file **out, const struct io *io, const char *path, unsigned io_flags,
                   struct realm_error *err)
{
    *out = NULL;
    struct gguf_file *f = file_new(io);
    if (!f)
        return err_nomem(err, "a model file");
    int status = open_all(f, path, io_flags, err);
    if (status)
        gguf_file_close(f);
    else
        *out = f;
    return status;
}

static int open_copy(struct gguf_file *f, const void *data, size_t n, struct realm_error *err)
{
    struct part *p = &f->parts[0];
    p->bytes = mem_alloc(n);
    if (!p->bytes)
        return err_nomem(err, "a model's bytes");
    if (n)
        memcpy(p->bytes, data, n);
    p->n = n;
    p->size = n;
    int status = gguf_parse(&p->header, p->bytes, n, n, err);
    ASSERT(status != GGUF_MORE);
    if (status)
        return status;
    struct split_keys keys;
    status = split_keys_read(p->header, &keys, err);
    if (status)
        return status;
    if (keys.count > 1)
        return err_set(err, REALM_E_FORMAT, "part %u of %u cannot be read from memory", keys.no + 1,
                       keys.count);
    return join(f, keys.tensors, err);
}

int gguf_file_from_memory(struct gguf_file **out, const void *data, size_t n,
                          struct realm_error *err)
{
    *out = NULL;
    struct gguf_file *f = file_new(NULL);
    if (!f)
        return err_nomem(err, "a model file");
    int status = open_copy(f, data, n, err);
    if (status)
        gguf_file_close(f);
    else
        *out = f;
    return status;
}

void gguf_file_close(struct gguf_file *f)
{
    if (!f)
        return;
    for (uint32_t i = 0; i < f->n_parts; i++) {
        struct part *p = &f->parts[i];
        if (p->fd >= 0)
            f->io->close(f->io->ctx, p->fd);
        gguf_close(p->header);
        mem_free(p->bytes);
    }
    map_free(&f->names);
    mem_free(f->tensors);
    mem_free(f->parts);
    mem_free(f);
}

const struct gguf *gguf_file_header(const struct gguf_file *f)
{
    return f->parts[0].header;
}

size_t gguf_file_tensors(const struct gguf_file *f)
{
    return f->n_tensors;
}

const struct gguf_tensor *gguf_file_tensor(const struct gguf_file *f, size_t i)
{
    ASSERT(i < f->n_tensors);
    return &f->tensors[i];
}

const struct gguf_tensor *gguf_file_find(const struct gguf_file *f, const char *name)
{
    uint32_t i;
    return map_get(&f->names, slice_of(name), &i) ? &f->tensors[i] : NULL;
}

uint32_t gguf_file_parts(const struct gguf_file *f)
{
    return f->n_parts;
}

uint64_t gguf_file_bytes(const struct gguf_file *f)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < f->n_parts; i++)
        sum += f->parts[i].size;
    return sum;
}

int gguf_file_read(const struct gguf_file *f, const struct gguf_tensor *t, uint64_t at, void *dst,
                   size_t n, struct realm_error *err)
{
    ASSERT(t->part < f->n_parts && at <= t->bytes && n <= t->bytes - at);
    const struct part *p = &f->parts[t->part];
    if (p->fd < 0) {
        if (n)
            memcpy(dst, p->bytes + t->offset + at, n);
        return 0;
    }
    if (io_read_exact(f->io, p->fd, dst, n, t->offset + at))
        return err_set(err, REALM_E_IO,
                       "tensor \"%.*s\": reading %zu bytes at offset %llu failed; the file has "
                       "become shorter or is damaged",
                       (int)min_size(t->name.n, 100), (const char *)t->name.p, n,
                       (unsigned long long)(t->offset + at));
    return 0;
}
