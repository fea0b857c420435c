#include "tenant/spool.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/map.h"

enum { SLOT_BYTES = 1024, MAGIC = 0x52535031, CHUNK_BYTES = 64 << 10 };

static const off_t FILE_BYTES = (off_t)LEDGER_SPOOL_ROWS_MAX * SLOT_BYTES;

struct slot {
    uint32_t magic, row_bytes;
    uint64_t sum;
    struct ledger_row row;
};

union slot_bytes {
    struct slot slot;
    uint8_t bytes[SLOT_BYTES];
};

_Static_assert(sizeof(union slot_bytes) == SLOT_BYTES, "a row fits its slot");

static uint64_t sum_of(const struct ledger_row *row)
{
    static const uint64_t key[2] = {MAGIC, SLOT_BYTES};
    return map_hash(key, row, sizeof(*row));
}

static bool read_slot(int fd, uint32_t at, union slot_bytes *s)
{
    return pread(fd, s, SLOT_BYTES, (off_t)at * SLOT_BYTES) == SLOT_BYTES;
}

/* A slot that was not written to its end was never acknowledged. */
static int count(struct spool *s, const char *path, struct realm_error *err)
{
    union slot_bytes b;
    for (s->n = 0; s->n < LEDGER_SPOOL_ROWS_MAX; s->n++) {
        if (!read_slot(s->fd, s->n, &b))
            return err_set(err, REALM_E_IO, "%s cannot be read", path);
        if (b.slot.magic == 0)
            break;
        if (b.slot.magic != MAGIC || b.slot.row_bytes != sizeof(b.slot.row))
            return err_set(err, REALM_E_FORMAT,
                           "%s holds rows of another version of realm: start that one once more, "
                           "so that it moves them into the database",
                           path);
        if (b.slot.sum != sum_of(&b.slot.row))
            break;
    }
    return 0;
}

/* Zeros from `from` to `to`, the end first: what is left of rows when that breaks off still begins
 * at the front, where it is found again. */
static int blank(int fd, off_t from, off_t to)
{
    static const uint8_t zeros[CHUNK_BYTES];
    while (from < to) {
        size_t n = (size_t)((to - from - 1) % CHUNK_BYTES + 1);
        to -= (off_t)n;
        if (pwrite(fd, zeros, n, to) != (ssize_t)n)
            return REALM_E_IO;
    }
    return 0;
}

int spool_open(struct spool *s, const char *dir, struct realm_error *err)
{
    char path[CONF_TEXT_MAX + 16];
    struct stat st;
    snprintf(path, sizeof(path), "%s/realm.spool", dir);
    s->n = 0;
    s->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (s->fd < 0)
        return err_set(err, REALM_E_IO, "%s cannot be opened: %m", path);
    int status = fstat(s->fd, &st) ? REALM_E_IO : 0;
    if (!status && st.st_size < FILE_BYTES)
        status = blank(s->fd, st.st_size / SLOT_BYTES * SLOT_BYTES, FILE_BYTES);
    if (!status && st.st_size < FILE_BYTES && fsync(s->fd))
        status = REALM_E_IO;
    if (status)
        return err_set(err, status, "%s cannot be made: %m", path);
    int synced = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_DSYNC);
    if (synced < 0)
        return err_set(err, REALM_E_IO, "%s cannot be opened: %m", path);
    close(s->fd);
    s->fd = synced;
    return count(s, path, err);
}

void spool_close(struct spool *s)
{
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
}

int spool_add(struct spool *s, const struct ledger_row *row)
{
    union slot_bytes b;
    if (s->n >= LEDGER_SPOOL_ROWS_MAX)
        return REALM_E_IO;
    memset(&b, 0, sizeof(b));
    memcpy(&b.slot.row, row, sizeof(*row));
    b.slot.magic = MAGIC;
    b.slot.row_bytes = sizeof(b.slot.row);
    b.slot.sum = sum_of(&b.slot.row);
    if (pwrite(s->fd, &b, SLOT_BYTES, (off_t)s->n * SLOT_BYTES) != SLOT_BYTES)
        return REALM_E_IO;
    s->n++;
    return 0;
}

int spool_read(const struct spool *s, uint32_t at, struct ledger_row *row)
{
    union slot_bytes b;
    if (!read_slot(s->fd, at, &b))
        return REALM_E_IO;
    memcpy(row, &b.slot.row, sizeof(*row));
    return 0;
}

/* Behind the last row there may be some of a chunk that was cleared in part. */
int spool_clear(struct spool *s)
{
    off_t end = ((off_t)s->n * SLOT_BYTES / CHUNK_BYTES + 1) * CHUNK_BYTES;
    int status = blank(s->fd, 0, end < FILE_BYTES ? end : FILE_BYTES);
    if (!status)
        s->n = 0;
    return status;
}
