/* cmd/realm/pull_file.c - one file from a hub to a folder.
 *
 * It grows as NAME.part under a lock (flock), so that two pulls do not write into one file, and
 * gets its name when it is whole, on the disk and what the hub's checksum says.  NAME.part.tag
 * remembers of which content the bytes are: they are thrown away when the hub has another. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "base/ckd.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/io.h"
#include "base/mem.h"
#include "cmd.h"
#include "gguf/gguf.h"
#include "pull.h"
#include "tensor/dtype.h"

enum { BLOCK = 1 << 20, LOCK_TRIES = 10, SHOW_MS = 250, TAG_MAX = 512 };

struct part {
    const struct pull_job *job;
    const struct pull_file *file;
    char *path, *part_path, *tag_path, *url;
    int fd;          /* of part_path, locked; -1 */
    uint64_t at;     /* bytes that are there */
    bool resumed;    /* some of them were there before */
    bool useless;    /* not what it should be: going on would not mend it */
    bool other_type; /* weights that this build does not run */
    char etag[PULL_ETAG_MAX];
    uint64_t shown_ms, shown_at; /* the last line of progress */
    double rate;                 /* bytes a second, smoothed */
};

/* ---- names ---- */

static char *text_add(const char *a, const char *b, const char *c, const char *d)
{
    struct buf text;
    buf_init(&text, 8192);
    if (buf_addf(&text, "%s%s%s%s", a, b, c, d) || !buf_cstr(&text))
        buf_free(&text);
    return (char *)text.p;
}

static char *make_url(const struct pull_source *from, const struct pull_file *f)
{
    struct buf url;
    buf_init(&url, 8192);
    int status = buf_addf(&url, "%s/%s/resolve/", from->hub, from->model);
    if (!status)
        status = pull_url_escape(&url, from->revision, false);
    if (!status)
        status = buf_addch(&url, '/');
    if (!status)
        status = pull_url_escape(&url, f->path, true);
    if (status || !buf_cstr(&url))
        buf_free(&url);
    return (char *)url.p;
}

static int make_names(struct part *p, struct realm_error *err)
{
    const char *dir = p->job->dir, *name = p->file->name;
    p->path = text_add(dir, "/", name, "");
    p->part_path = text_add(dir, "/", name, ".part");
    p->tag_path = text_add(dir, "/", name, ".part.tag");
    p->url = make_url(p->job->from, p->file);
    return p->path && p->part_path && p->tag_path && p->url ? 0 : err_nomem(err, "the file's name");
}

static int failed(const struct part *p, const char *what, struct realm_error *err)
{
    int why = errno;
    bool full = why == ENOSPC || why == EDQUOT;
    return err_set(err, full ? REALM_E_NO_ROOM : REALM_E_IO, "%s %s: %s%s", what, p->part_path,
                   strerror(why), full ? "; what has come is kept" : "");
}

/* ---- progress ---- */

static void show(struct part *p, const char *doing, uint64_t at)
{
    uint64_t now = clock_ms(clock_system());
    if (now - p->shown_ms < SHOW_MS)
        return;
    if (p->shown_ms && at > p->shown_at) {
        double rate = (double)(at - p->shown_at) * 1000 / (double)(now - p->shown_ms);
        p->rate = p->rate > 0 ? 0.85 * p->rate + 0.15 * rate : rate;
    }
    p->shown_ms = now;
    p->shown_at = at;
    char line[256], left[40] = "", size[16];
    double seconds = p->rate > 0 ? (double)(p->file->size - at) / p->rate : 0;
    if (p->rate > 0 && seconds < 100 * 3600)
        snprintf(left, sizeof(left), ", %.0f:%02.0f left",
                 (seconds - (double)((int)seconds % 60)) / 60, (double)((int)seconds % 60));
    snprintf(line, sizeof(line), "%s%.60s %3.0f %% of %s, %.1f MB/s%s", doing, p->file->name,
             p->file->size ? 100.0 * (double)at / (double)p->file->size : 100.0,
             pull_size(size, p->file->size), p->rate * 1e-6, left);
    progress_line(line);
}

static void show_from(struct part *p)
{
    p->shown_ms = 0;
    p->rate = 0;
}

/* ---- what the bytes are of ---- */

static void content_name(const struct pull_file *f, char *out, size_t n)
{
    const char *oid = f->sha256[0] ? f->sha256 : f->git[0] ? f->git : "-";
    snprintf(out, n, "%s %llu\n", oid, (unsigned long long)f->size);
}

/* Whether the tag says that the part's bytes are of the file's content. */
static bool tag_fits(struct part *p)
{
    char name[TAG_MAX];
    uint8_t *tag;
    size_t n;
    struct realm_error err;
    content_name(p->file, name, sizeof(name));
    p->etag[0] = '\0';
    if (io_read_file(io_system(), p->tag_path, TAG_MAX, &tag, &n, &err))
        return false;
    size_t name_n = strlen(name);
    bool fits = n > name_n && memcmp(tag, name, name_n) == 0 && tag[n - 1] == '\n';
    size_t etag_n = fits ? n - name_n - 1 : 0;
    fits = fits && etag_n < sizeof(p->etag);
    for (size_t i = 0; i < etag_n && fits; i++)
        fits = tag[name_n + i] >= ' ' && tag[name_n + i] != 0x7f;
    if (fits) {
        memcpy(p->etag, tag + name_n, etag_n);
        p->etag[etag_n] = '\0';
    }
    mem_free(tag);
    return fits && (name[0] != '-' || p->etag[0]); // something must tell contents apart
}

static int write_tag(struct part *p, struct realm_error *err)
{
    char text[TAG_MAX];
    content_name(p->file, text, sizeof(text));
    size_t n = strlen(text);
    n += (size_t)snprintf(text + n, sizeof(text) - n, "%s\n", p->etag);
    int fd = open(p->tag_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0)
        return failed(p, "cannot write beside", err);
    bool written = write(fd, text, n) == (ssize_t)n;
    int status = written ? 0 : failed(p, "cannot write beside", err);
    close(fd);
    return status;
}

static int start_over(struct part *p, struct realm_error *err)
{
    p->at = 0;
    p->resumed = false;
    p->etag[0] = '\0';
    return ftruncate(p->fd, 0) ? failed(p, "cannot empty", err) : 0;
}

/* ---- the body as it comes ---- */

static uint64_t part_offset(void *ctx)
{
    const struct part *p = ctx;
    return p->at;
}

static int part_begin(void *ctx, uint64_t offset, const char *etag, struct realm_error *err)
{
    struct part *p = ctx;
    show_from(p);
    if (offset > 0)
        return 0;
    int status = start_over(p, err);
    snprintf(p->etag, sizeof(p->etag), "%s", etag);
    return status ? status : write_tag(p, err);
}

static int part_data(void *ctx, const void *data, size_t n, struct realm_error *err)
{
    static const char magic[] = "GGUF";
    struct part *p = ctx;
    const char *bytes = data;
    for (size_t i = 0; i < n && p->at + i < 4; i++)
        if (bytes[i] != magic[p->at + i]) {
            p->useless = true;
            return err_set(err, REALM_E_FORMAT, "no GGUF file: it does not begin with GGUF");
        }
    if (n > p->file->size - p->at) {
        p->useless = true;
        return err_set(err, REALM_E_FORMAT, "longer than the hub says: %llu bytes",
                       (unsigned long long)p->file->size);
    }
    while (n) {
        ssize_t wrote = pwrite(p->fd, bytes, n, (off_t)p->at);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote <= 0)
            return failed(p, "cannot write", err);
        bytes += wrote;
        n -= (size_t)wrote;
        p->at += (uint64_t)wrote;
    }
    show(p, "", p->at);
    return 0;
}

static bool part_whole(void *ctx)
{
    const struct part *p = ctx;
    return p->at == p->file->size;
}

/* ---- whether it is what it should be ---- */

/* Feeds the file's bytes. */
static int digest_file(struct part *p, int fd, EVP_MD_CTX *md, struct realm_error *err)
{
    uint8_t *block = mem_alloc(BLOCK);
    int status = block ? 0 : err_nomem(err, "a checksum");
    show_from(p);
    for (uint64_t at = 0; at < p->file->size && !status;) {
        ssize_t n = pread(fd, block, BLOCK, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (atomic_load(p->job->stop))
            status = err_set(err, REALM_E_CANCELLED, "stopped");
        else if (n <= 0 || EVP_DigestUpdate(md, block, (size_t)n) != 1)
            status = err_set(err, REALM_E_IO, "cannot be read back");
        else
            at += (uint64_t)n;
        show(p, "checking ", at);
    }
    mem_free(block);
    return status;
}

static int digest(struct part *p, int fd, char hex[PULL_SHA256_HEX + 1], struct realm_error *err)
{
    char head[40];
    uint8_t raw[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    bool git = !p->file->sha256[0];
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    if (!md || EVP_DigestInit_ex(md, git ? EVP_sha1() : EVP_sha256(), NULL) != 1) {
        EVP_MD_CTX_free(md);
        return err_nomem(err, "a checksum");
    }
    int head_n = snprintf(head, sizeof(head), "blob %llu", (unsigned long long)p->file->size);
    int status = 0;
    if (git && EVP_DigestUpdate(md, head, (size_t)head_n + 1) != 1) // with its NUL
        status = err_set(err, REALM_E_SYS, "libcrypto fails");
    if (!status)
        status = digest_file(p, fd, md, err);
    if (!status && EVP_DigestFinal_ex(md, raw, &n) != 1)
        status = err_set(err, REALM_E_SYS, "libcrypto fails");
    for (unsigned i = 0; i < n && i < PULL_SHA256_HEX / 2; i++)
        snprintf(hex + 2 * i, 3, "%02x", raw[i]);
    EVP_MD_CTX_free(md);
    return status;
}

/* REALM_E_FORMAT when the bytes are not the hub's. */
static int check_content(struct part *p, int fd, struct realm_error *err)
{
    char hex[PULL_SHA256_HEX + 1] = "";
    const char *want = p->file->sha256[0] ? p->file->sha256 : p->file->git;
    if (!want[0])
        return 0;
    int status = digest(p, fd, hex, err);
    if (!status && strcmp(hex, want) != 0)
        status = err_set(err, REALM_E_FORMAT,
                         "damaged: its checksum is %.16s..., the hub says "
                         "%.16s...",
                         hex, want);
    return status;
}

static void look_at_types(struct part *p, const struct gguf *g)
{
    for (size_t i = 0; i < gguf_tensors(g); i++)
        if (!dtype_info(gguf_tensor(g, i)->dtype)->runs)
            p->other_type = true;
}

/* Parses the header, as much of the file as it takes. */
static int check_gguf(struct part *p, struct realm_error *err)
{
    struct gguf *g = NULL;
    uint8_t *bytes = NULL;
    int status = GGUF_MORE;
    for (uint64_t want = BLOCK; status == GGUF_MORE; want *= 2) {
        size_t n = (size_t)(want < p->file->size ? want : p->file->size);
        mem_free(bytes);
        bytes = mem_alloc(n);
        if (!bytes)
            return err_nomem(err, "a GGUF header");
        status = io_read_exact(io_system(), p->fd, bytes, n, 0);
        status = status ? err_set(err, status, "cannot be read back")
                        : gguf_parse(&g, bytes, n, p->file->size, err);
        if (status < 0 && status != REALM_E_NOMEM && status != REALM_E_IO)
            err_prefix(err, status, "no GGUF file that this build reads");
    }
    if (g)
        look_at_types(p, g);
    gguf_close(g);
    mem_free(bytes);
    return status;
}

/* ---- files there already ---- */

static bool is_regular(const char *path, uint64_t *size)
{
    struct stat s;
    if (stat(path, &s) || !S_ISREG(s.st_mode))
        return false;
    *size = (uint64_t)s.st_size;
    return true;
}

uint64_t pull_file_missing(const struct pull_job *j, const struct pull_file *f)
{
    uint64_t size = 0;
    struct part p = {.job = j, .file = f};
    struct realm_error err;
    uint64_t missing = f->size;
    if (!make_names(&p, &err)) {
        if (is_regular(p.path, &size))
            missing = 0;
        else if (is_regular(p.part_path, &size))
            missing -= size < missing ? size : missing;
    }
    mem_free(p.path);
    mem_free(p.part_path);
    mem_free(p.tag_path);
    mem_free(p.url);
    return missing;
}

/* PULL_WAS_THERE, 0 where nothing has the name, or what is wrong with what has. */
static int look_for_whole(struct part *p, struct realm_error *err)
{
    uint64_t size;
    struct stat s;
    if (lstat(p->path, &s))
        return 0;
    int fd = open(p->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || !is_regular(p->path, &size)) {
        if (fd >= 0)
            close(fd);
        return err_set(err, REALM_E_IO, "there already, but no file that can be read");
    }
    int status = REALM_E_FORMAT;
    if (size == p->file->size)
        status = check_content(p, fd, err);
    close(fd);
    if (status == REALM_E_FORMAT)
        return err_set(err, status,
                       "there already in %.150s, and not the hub's; move it away "
                       "or name another folder with --to",
                       p->job->dir);
    return status ? status : PULL_WAS_THERE;
}

/* ---- the lock ---- */

static bool has_name(int fd, const char *path)
{
    struct stat a, b;
    return fstat(fd, &a) == 0 && lstat(path, &b) == 0 && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino;
}

/* Another pull may give the file its name between our open and our lock: then once more. */
static int open_part(struct part *p, struct realm_error *err)
{
    for (int i = 0; i < LOCK_TRIES; i++) {
        p->fd = open(p->part_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0644);
        struct stat s;
        if (p->fd < 0 || fstat(p->fd, &s))
            return failed(p, "cannot write", err);
        if (!S_ISREG(s.st_mode))
            return err_set(err, REALM_E_IO, "%s is no file", p->part_path);
        if (flock(p->fd, LOCK_EX | LOCK_NB)) {
            if (errno == EWOULDBLOCK)
                return err_set(err, REALM_E_IO, "being fetched by another `realm pull`");
            return failed(p, "cannot lock", err);
        }
        if (has_name(p->fd, p->part_path)) {
            p->at = (uint64_t)s.st_size;
            return 0;
        }
        close(p->fd);
        p->fd = -1;
    }
    return err_set(err, REALM_E_IO, "being fetched by others");
}

/* ---- all of it ---- */

static int fetch(struct part *p, struct realm_error *err)
{
    const struct pull_sink sink = {part_offset, part_begin, part_data, part_whole, p->etag, p};
    if (p->at == p->file->size && p->at > 0)
        return 0;
    return pull_http_get(p->job->http, p->url, &sink, err);
}

static int fetch_and_check(struct part *p, struct realm_error *err)
{
    int status = fetch(p, err);
    if (!status && fsync(p->fd))
        status = failed(p, "cannot write", err);
    return status ? status : check_content(p, p->fd, err);
}

/* What went on from before may be wrong where a fresh copy is not. */
static int fetch_whole(struct part *p, struct realm_error *err)
{
    int status = fetch_and_check(p, err);
    if (status == REALM_E_FORMAT && p->resumed && !p->useless) {
        progress_clear();
        fprintf(stderr, "%s: %s; it comes once more from the start\n", p->file->name, err->message);
        status = start_over(p, err);
        if (!status)
            status = fetch_and_check(p, err);
    }
    p->useless |= status == REALM_E_FORMAT;
    return status;
}

static int sync_dir(const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int status = fd < 0 || fsync(fd) ? REALM_E_IO : 0;
    if (fd >= 0)
        close(fd);
    return status;
}

static int give_name(struct part *p, struct realm_error *err)
{
    if (rename(p->part_path, p->path) || sync_dir(p->job->dir))
        return failed(p, "cannot rename", err);
    unlink(p->tag_path);
    progress_clear();
    if (p->other_type)
        fprintf(stderr, "%s: has weights of a type that this build does not run\n", p->file->name);
    return PULL_FETCHED;
}

static int go_on(struct part *p, struct realm_error *err)
{
    bool fits = p->at <= p->file->size && p->at > 0 && tag_fits(p);
    int status = fits ? 0 : start_over(p, err);
    if (status)
        return status;
    p->resumed = fits;
    if (fits) {
        char size[16];
        fprintf(stderr, "%s: goes on after %s\n", p->file->name, pull_size(size, p->at));
    }
    status = fetch_whole(p, err);
    if (status)
        return status;
    status = check_gguf(p, err);
    p->useless |= status == REALM_E_FORMAT;
    return status ? status : give_name(p, err);
}

/* Leaves no part that is empty or cannot become the file; we hold its lock. */
static void tidy_up(struct part *p, int status)
{
    struct stat s;
    bool empty = fstat(p->fd, &s) == 0 && s.st_size == 0;
    if ((empty || p->useless) && status != PULL_FETCHED && has_name(p->fd, p->part_path)) {
        unlink(p->tag_path);
        unlink(p->part_path);
    }
}

int pull_file_get(const struct pull_job *j, const struct pull_file *f, struct realm_error *err)
{
    struct part p = {.job = j, .file = f, .fd = -1};
    int status = make_names(&p, err);
    if (!status)
        status = look_for_whole(&p, err);
    if (!status && !(status = open_part(&p, err))) {
        status = look_for_whole(&p, err); // another pull may just have ended
        if (!status)
            status = go_on(&p, err);
        tidy_up(&p, status);
    }
    progress_clear();
    if (p.fd >= 0)
        close(p.fd);
    mem_free(p.path);
    mem_free(p.part_path);
    mem_free(p.tag_path);
    mem_free(p.url);
    return status;
}
