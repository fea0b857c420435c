/* wasm/cache.c - compiled guests on disk, authenticated.
 *
 * A file is {8 bytes magic, 32 bytes HMAC-SHA256 over name, NUL and the
 * SHA-256 of the code, code}. */
#include "wasm/cache.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/rng.h"

enum {
    KEY_BYTES = 32,
    TAG_BYTES = 32,
    MAGIC_BYTES = 8,
    HEADER_BYTES = MAGIC_BYTES + TAG_BYTES,
    CODE_BYTES_MAX = 256 << 20, /* as much as the helper answers with */
};

static const char MAGIC[MAGIC_BYTES] = "RealmGC1";
static const char KEY_NAME[] = "key";

struct cache {
    int dir;
    uint8_t key[KEY_BYTES];
};

static int make_dirs(const char *dir)
{
    char *path = mem_strdup(dir);
    if (!path)
        return REALM_E_NOMEM;
    int status = 0;
    for (char *p = path + 1; !status && *p; p++) {
        if (*p != '/')
            continue;
        *p = '\0';
        if (mkdir(path, 0700) && errno != EEXIST)
            status = REALM_E_SYS;
        *p = '/';
    }
    if (!status && mkdir(path, 0700) && errno != EEXIST)
        status = REALM_E_SYS;
    mem_free(path);
    return status;
}

/* Whether nobody else can have written, or (private) read, what fd is. */
static bool ours(int fd, mode_t kind, mode_t forbidden)
{
    struct stat st;
    return fstat(fd, &st) == 0 && (st.st_mode & S_IFMT) == kind && st.st_uid == geteuid() &&
           (st.st_mode & forbidden) == 0;
}

static int write_all(int fd, const void *data, size_t n)
{
    const uint8_t *p = data;
    while (n) {
        ssize_t wrote = write(fd, p, n);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote <= 0)
            return REALM_E_IO;
        p += wrote;
        n -= (size_t)wrote;
    }
    return 0;
}

static int read_all(int fd, void *data, size_t n)
{
    uint8_t *p = data;
    while (n) {
        ssize_t got = read(fd, p, n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return REALM_E_IO;
        p += got;
        n -= (size_t)got;
    }
    return 0;
}

/* A file of a random name that holds the parts; its name in temp. */
static int write_temp(int dir, char temp[32], const struct slice *parts, size_t n)
{
    uint64_t random;
    int status = rng_system(&random, sizeof(random));
    if (status)
        return status;
    snprintf(temp, 32, "new-%016llx", (unsigned long long)random);
    int fd = openat(dir, temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return REALM_E_SYS;
    for (size_t i = 0; !status && i < n; i++)
        status = write_all(fd, parts[i].p, parts[i].n);
    if (close(fd) && !status)
        status = REALM_E_IO;
    if (status)
        unlinkat(dir, temp, 0);
    return status;
}

/* Another process may make the key at the same moment: the first one stays. */
static int make_key(int dir)
{
    uint8_t key[KEY_BYTES];
    char temp[32];
    int status = rng_system(key, sizeof(key));
    if (!status)
        status = write_temp(dir, temp, &(struct slice){key, sizeof(key)}, 1);
    OPENSSL_cleanse(key, sizeof(key));
    if (status)
        return status;
    if (linkat(dir, temp, dir, KEY_NAME, 0) && errno != EEXIST)
        status = REALM_E_SYS;
    unlinkat(dir, temp, 0);
    return status;
}

static int read_key(int dir, uint8_t key[KEY_BYTES])
{
    int fd = openat(dir, KEY_NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return errno == ENOENT ? REALM_E_NOT_FOUND : REALM_E_SYS;
    int status = ours(fd, S_IFREG, 0077) ? read_all(fd, key, KEY_BYTES) : REALM_E_SYS;
    close(fd);
    return status;
}

static int open_in(struct cache *c, const char *dir, struct realm_error *err)
{
    int status = make_dirs(dir);
    if (!status) {
        c->dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        status = c->dir < 0 ? REALM_E_SYS : 0;
    }
    if (status)
        return err_set(err, status, "the folder for compiled guests cannot be made");
    if (!ours(c->dir, S_IFDIR, 0022))
        return err_set(err, REALM_E_SYS, "others may write to the folder for compiled guests");
    status = read_key(c->dir, c->key);
    if (status == REALM_E_NOT_FOUND) {
        status = make_key(c->dir);
        if (!status)
            status = read_key(c->dir, c->key);
    }
    return status ? err_set(err, REALM_E_SYS, "the key of the compiled guests cannot be used") : 0;
}

int cache_open(struct cache **out, const char *dir, struct realm_error *err)
{
    *out = NULL;
    struct cache *c = mem_zalloc(sizeof(*c));
    if (!c)
        return err_nomem(err, "the cache of compiled guests");
    c->dir = -1;
    int status = open_in(c, dir, err);
    if (status) {
        cache_close(c);
        return status;
    }
    *out = c;
    return 0;
}

void cache_close(struct cache *c)
{
    if (!c)
        return;
    if (c->dir >= 0)
        close(c->dir);
    OPENSSL_cleanse(c->key, sizeof(c->key));
    mem_free(c);
}

int cache_name(struct slice wasm, const char *engine, char out[CACHE_NAME_MAX])
{
    static const char hex[] = "0123456789abcdef";
    uint8_t digest[EVP_MAX_MD_SIZE];
    char text[2 * EVP_MAX_MD_SIZE + 1];
    unsigned n = 0;
    if (!EVP_Digest(wasm.p, wasm.n, digest, &n, EVP_sha256(), NULL))
        return REALM_E_NOMEM;
    for (unsigned i = 0; i < n; i++) {
        text[2 * i] = hex[digest[i] >> 4];
        text[2 * i + 1] = hex[digest[i] & 15];
    }
    text[2 * n] = '\0';
    int length = snprintf(out, CACHE_NAME_MAX, "%s-%s.cwasm", text, engine);
    return length > 0 && length < CACHE_NAME_MAX ? 0 : REALM_E_ARG;
}

static int sign(const struct cache *c, const char *name, struct slice code, uint8_t tag[TAG_BYTES])
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    struct buf all;
    /* The code's digest stands for it, so that one call signs both. */
    if (!EVP_Digest(code.p, code.n, digest, &n, EVP_sha256(), NULL))
        return REALM_E_NOMEM;
    buf_init(&all, CACHE_NAME_MAX + sizeof(digest));
    int status = buf_add(&all, name, strlen(name) + 1);
    if (!status)
        status = buf_add(&all, digest, n);
    if (!status && !HMAC(EVP_sha256(), c->key, KEY_BYTES, all.p, all.n, tag, &n))
        status = REALM_E_NOMEM;
    buf_free(&all);
    return status;
}

/* The file as it is, which may be anything. */
static int read_file(int dir, const char *name, uint8_t header[HEADER_BYTES], struct buf *out)
{
    struct stat st;
    int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return REALM_E_NOT_FOUND;
    int status = REALM_E_FORMAT;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > HEADER_BYTES &&
        (uint64_t)st.st_size <= CODE_BYTES_MAX)
        status = read_all(fd, header, HEADER_BYTES);
    size_t n = status ? 0 : (size_t)st.st_size - HEADER_BYTES;
    if (!status)
        status = buf_reserve(out, n);
    if (!status)
        status = read_all(fd, out->p + out->n, n);
    if (!status)
        out->n += n;
    close(fd);
    return status;
}

bool cache_get(struct cache *c, const char *name, struct buf *out)
{
    uint8_t header[HEADER_BYTES], tag[TAG_BYTES];
    const size_t before = out->n;
    if (read_file(c->dir, name, header, out))
        return false;
    const struct slice code = {out->p + before, out->n - before};
    if (memcmp(header, MAGIC, MAGIC_BYTES) == 0 && sign(c, name, code, tag) == 0 &&
        CRYPTO_memcmp(header + MAGIC_BYTES, tag, TAG_BYTES) == 0)
        return true;
    out->n = before;
    return false;
}

int cache_put(struct cache *c, const char *name, struct slice code)
{
    uint8_t header[HEADER_BYTES];
    char temp[32];
    memcpy(header, MAGIC, MAGIC_BYTES);
    int status = sign(c, name, code, header + MAGIC_BYTES);
    const struct slice parts[] = {{header, HEADER_BYTES}, code};
    if (!status)
        status = write_temp(c->dir, temp, parts, ARRAY_LEN(parts));
    if (!status && renameat(c->dir, temp, c->dir, name)) {
        unlinkat(c->dir, temp, 0);
        status = REALM_E_IO;
    }
    return status;
}
