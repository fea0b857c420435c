#include "tenant/key.h"

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
#include "base/rng.h"

/* 62^43 is just over 2^256, and 62^6 over 2^32. */
enum {
    PREFIX_CHARS = 4,
    SECRET_BYTES = 32,
    SECRET_CHARS = 43,
    SUM_CHARS = 6,
    SECRET_AT = PREFIX_CHARS + KEY_ID_MAX + 1,
    SUM_AT = SECRET_AT + SECRET_CHARS,
};

_Static_assert(SUM_AT + SUM_CHARS == KEY_TEXT, "the parts fit");

static const char prefix[] = "rlm_";
static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/* ---- text ---- */

/* CRC-32 of IEEE 802.3. */
static uint32_t checksum(const char *p, size_t n)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < n; i++) {
        crc ^= (uint8_t)p[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    }
    return ~crc;
}

/* The number, as n words of 32 bits, in so many digits; it ends as 0. */
static void write_digits(char *out, size_t chars, uint32_t *words, size_t n)
{
    for (size_t i = chars; i-- > 0;) {
        uint64_t rest = 0;
        for (size_t w = 0; w < n; w++) {
            uint64_t value = rest << 32 | words[w];
            words[w] = (uint32_t)(value / 62);
            rest = value % 62;
        }
        out[i] = digits[rest];
    }
}

static int draw_id(char *out)
{
    for (int n = 0; n < KEY_ID_MAX;) {
        uint8_t byte;
        if (rng_system(&byte, 1))
            return REALM_E_SYS;
        /* The last few values would make some digits likelier than others. */
        if (byte < 62 * 4)
            out[n++] = digits[byte % 62];
    }
    return 0;
}

int key_draw(char text[KEY_TEXT + 1])
{
    uint32_t words[SECRET_BYTES / 4];
    memcpy(text, prefix, PREFIX_CHARS);
    text[SECRET_AT - 1] = '_';
    if (draw_id(text + PREFIX_CHARS) || rng_system(words, sizeof(words)))
        return REALM_E_SYS;
    write_digits(text + SECRET_AT, SECRET_CHARS, words, ARRAY_LEN(words));
    uint32_t sum = checksum(text, SUM_AT);
    write_digits(text + SUM_AT, SUM_CHARS, &sum, 1);
    text[KEY_TEXT] = '\0';
    OPENSSL_cleanse(words, sizeof(words));
    return 0;
}

static bool is_digit(char c)
{
    return c && strchr(digits, c);
}

int key_split(const char *key, size_t n, struct key_parts *out)
{
    char sum[SUM_CHARS];
    if (!key || n != KEY_TEXT || memcmp(key, prefix, PREFIX_CHARS) != 0 ||
        key[SECRET_AT - 1] != '_')
        return REALM_E_ARG;
    for (size_t i = PREFIX_CHARS; i < n; i++)
        if (i != SECRET_AT - 1 && !is_digit(key[i]))
            return REALM_E_ARG;
    uint32_t crc = checksum(key, SUM_AT);
    write_digits(sum, SUM_CHARS, &crc, 1);
    if (memcmp(sum, key + SUM_AT, SUM_CHARS) != 0)
        return REALM_E_ARG;
    memcpy(out->id, key + PREFIX_CHARS, KEY_ID_MAX);
    out->id[KEY_ID_MAX] = '\0';
    out->secret = (struct slice){(const uint8_t *)key + SECRET_AT, SECRET_CHARS};
    return 0;
}

int key_mac(const uint8_t pepper[KEY_PEPPER], struct slice secret, uint8_t mac[KEY_MAC])
{
    unsigned n = KEY_MAC;
    return HMAC(EVP_sha256(), pepper, KEY_PEPPER, secret.p, secret.n, mac, &n) ? 0 : REALM_E_NOMEM;
}

/* ---- the pepper ---- */

/* 1 when there is no such file. */
static int read_pepper(const char *path, uint8_t pepper[KEY_PEPPER], struct realm_error *err)
{
    uint8_t more;
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 && errno == ENOENT)
        return 1;
    if (fd < 0)
        return err_set(err, REALM_E_IO, "%s cannot be read: %m", path);
    ssize_t n = read(fd, pepper, KEY_PEPPER);
    bool whole = n == KEY_PEPPER && read(fd, &more, 1) == 0;
    int status = 0;
    if (n < 0)
        status = err_set(err, REALM_E_IO, "%s cannot be read: %m", path);
    else if (!whole)
        status = err_set(err, REALM_E_FORMAT, "%s must have %d bytes", path, KEY_PEPPER);
    else if (fstat(fd, &st) || (st.st_mode & 077))
        status = err_set(err, REALM_E_IO, "%s can be read by others: its mode must be 0600", path);
    close(fd);
    return status;
}

/* Under its name only when it is whole and on the disk. */
static int write_pepper(const char *dir, const char *path, const uint8_t pepper[KEY_PEPPER],
                        struct realm_error *err)
{
    char made[CONF_TEXT_MAX + 32];
    snprintf(made, sizeof(made), "%s.new", path);
    (void)unlink(made);
    int fd = open(made, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    bool ok = fd >= 0 && write(fd, pepper, KEY_PEPPER) == KEY_PEPPER && fsync(fd) == 0;
    if (fd >= 0)
        close(fd);
    int folder = ok && rename(made, path) == 0 ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    ok = folder >= 0 && fsync(folder) == 0;
    if (folder >= 0)
        close(folder);
    return ok ? 0 : err_set(err, REALM_E_IO, "%s cannot be written: %m", path);
}

int key_pepper(const char *dir, bool must_exist, uint8_t pepper[KEY_PEPPER],
               struct realm_error *err)
{
    char path[CONF_TEXT_MAX + 16];
    if ((size_t)snprintf(path, sizeof(path), "%s/pepper", dir) >= sizeof(path) - 8)
        return err_set(err, REALM_E_ARG, "the state directory's path is too long");
    int status = read_pepper(path, pepper, err);
    if (status <= 0)
        return status;
    if (must_exist)
        return err_set(err, REALM_E_IO,
                       "%s is missing, and without it no key can be checked: restore it beside the "
                       "database, or remove all keys",
                       path);
    if (rng_system(pepper, KEY_PEPPER))
        return err_set(err, REALM_E_SYS, "the system has no random numbers");
    return write_pepper(dir, path, pepper, err);
}
