#include "tenant/spool.h"

#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/map.h"

enum { SLOT_BYTES = 1024, MAGIC = 0x52535032, CHUNK_BYTES = 64 << 10 };

static const off_t FILE_BYTES = (off_t)LEDGER_SPOOL_SLOTS_MAX * SLOT_BYTES;

struct spooled {
    uint32_t magic, n_slots;
    uint64_t sum;
    struct ledger_row row; /* as far as it is in use */
};

enum { ROW_SLOTS_MAX = (sizeof(struct spooled) + SLOT_BYTES - 1) / SLOT_BYTES };

union spooled_bytes {
    struct spooled as;
    uint8_t bytes[ROW_SLOTS_MAX * SLOT_BYTES];
};

_Static_assert(offsetof(struct spooled, row.parts[1]) <= SLOT_BYTES, "most rows fit one slot");

static uint32_t slots_of(const struct ledger_row *row)
{
    size_t bytes = offsetof(struct spooled, row) + ledger_row_bytes(row);
    return (uint32_t)((bytes + SLOT_BYTES - 1) / SLOT_BYTES);
}

/* Of the slots behind the sum. */
static uint64_t sum_of(const union spooled_bytes *b)
{
    static const uint64_t key[2] = {MAGIC, SLOT_BYTES};
    const size_t from = offsetof(struct spooled, row);
    return map_hash(key, b->bytes + from, b->as.n_slots * SLOT_BYTES - from);
}

/* The slots from `at` that a row may have; what there is no more of is zero. */
static bool read_slots(int fd, uint32_t at, union spooled_bytes *b)
{
    memset(b, 0, sizeof(*b));
    return pread(fd, b, sizeof(*b), (off_t)at * SLOT_BYTES) >= SLOT_BYTES;
}

/* Whether it was written to its end. */
static bool is_whole(const union spooled_bytes *b)
{
    return b->as.n_slots >= 1 && b->as.n_slots <= ROW_SLOTS_MAX && b->as.sum == sum_of(b);
}

/* A row that was not written to its end was never acknowledged. */
static int count(struct spool *s, const char *path, struct realm_error *err)
{
    union spooled_bytes b;
    for (s->n = 0; s->n < LEDGER_SPOOL_SLOTS_MAX; s->n += b.as.n_slots) {
        if (!read_slots(s->fd, s->n, &b))
            return err_set(err, REALM_E_IO, "%s cannot be read", path);
        if (b.as.magic == 0)
            break;
        if (b.as.magic != MAGIC)
            return err_set(err, REALM_E_FORMAT,
                           "%s holds rows of another version of realm: start that one once more, "
                           "so that it moves them into the database",
                           path);
        if (!is_whole(&b))
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
    union spooled_bytes b;
    const uint32_t n = slots_of(row);
    const size_t bytes = (size_t)n * SLOT_BYTES;
    if (n > LEDGER_SPOOL_SLOTS_MAX - s->n)
        return REALM_E_IO;
    memset(&b, 0, sizeof(b));
    memcpy(&b.as.row, row, ledger_row_bytes(row));
    b.as.magic = MAGIC;
    b.as.n_slots = n;
    b.as.sum = sum_of(&b);
    if (pwrite(s->fd, &b, bytes, (off_t)s->n * SLOT_BYTES) != (ssize_t)bytes)
        return REALM_E_IO;
    s->n += n;
    return 0;
}

int spool_read(const struct spool *s, uint32_t *at, struct ledger_row *row)
{
    union spooled_bytes b;
    if (!read_slots(s->fd, *at, &b) || !is_whole(&b))
        return REALM_E_IO;
    *row = b.as.row;
    *at += b.as.n_slots;
    return 0;
}

/* Behind the last row there may be what is left of one, and of the chunk into which it reached and
 * which was cleared in part. */
int spool_clear(struct spool *s)
{
    off_t end = ((off_t)(s->n + ROW_SLOTS_MAX) * SLOT_BYTES / CHUNK_BYTES + 1) * CHUNK_BYTES;
    int status = blank(s->fd, 0, end < FILE_BYTES ? end : FILE_BYTES);
    if (!status)
        s->n = 0;
    return status;
}
