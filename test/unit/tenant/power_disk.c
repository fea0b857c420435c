#include "power_disk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <unistd.h>

#include "base/thread.h"

enum { DATABASE, LOG, JOURNAL, FILES, OTHER = FILES };
enum { IMAGE_BYTES_MAX = 8 << 20, SECTOR = 512, PATH_BYTES = 128 };

static const char *const endings[FILES] = {"", "-wal", "-journal"};

struct image {
    uint8_t bytes[IMAGE_BYTES_MAX]; /* zeros from n on */
    size_t n;
};

static struct {
    struct mutex lock; /* guards all below */
    char paths[FILES][PATH_BYTES];
    struct image now[FILES], safe[FILES]; /* safe: as of the last sync */
    struct image left[FILES];             /* after the failure */
    bool gone[FILES];                     /* deleted, which the folder's sync makes safe */
    unsigned changes;                     /* until it fails; 0: it does not */
    bool failed;
    void (*seen)(void *ctx);
    void *ctx;
} disk;

struct power_file {
    sqlite3_file base;
    int which;
    bool syncs_folder;  /* the next sync does, too, as SQLite has it of a log that it opens */
    sqlite3_file *real; /* behind this */
};

static sqlite3_vfs power, *system_vfs;

/* ---- what is left ---- */

static void cut(struct image *image, size_t n)
{
    memset(image->bytes + n, 0, image->n - n);
    image->n = n;
}

static void copy(struct image *to, const struct image *from)
{
    if (to->n > from->n)
        cut(to, from->n);
    memcpy(to->bytes, from->bytes, from->n);
    to->n = from->n;
}

/* How much of what was not safe is there: nothing, all, or any part. */
static void leave_one(struct image *left, const struct image *now, const struct image *safe)
{
    int kind = rand() % 4;
    copy(left, kind == 0 ? safe : now);
    if (kind < 2)
        return;
    const size_t n = rand() % 2 ? now->n : safe->n, most = now->n > safe->n ? now->n : safe->n;
    for (size_t at = 0; at < most; at += SECTOR)
        memcpy(left->bytes + at, (rand() % 2 ? now : safe)->bytes + at, SECTOR);
    left->n = most;
    cut(left, n);
}

/* With the lock. */
static void changed(void)
{
    if (disk.changes == 0 || --disk.changes)
        return;
    for (int i = 0; i < FILES; i++)
        leave_one(&disk.left[i], &disk.now[i], &disk.safe[i]);
    disk.seen(disk.ctx);
    disk.failed = true;
}

void power_fail_after(unsigned changes, void (*seen)(void *ctx), void *ctx)
{
    mutex_lock(&disk.lock);
    disk.seen = seen;
    disk.ctx = ctx;
    disk.failed = false;
    disk.changes = changes;
    mutex_unlock(&disk.lock);
}

bool power_failed(void)
{
    mutex_lock(&disk.lock);
    bool failed = disk.failed;
    mutex_unlock(&disk.lock);
    return failed;
}

static void path_in(const struct world *w, const char *ending, char path[PATH_BYTES])
{
    snprintf(path, PATH_BYTES, "%s/realm.db%s", w->dir, ending);
}

void power_leave(const struct world *to)
{
    char path[PATH_BYTES];
    path_in(to, "-shm", path);
    (void)unlink(path);
    for (int i = 0; i < FILES; i++) {
        path_in(to, endings[i], path);
        (void)unlink(path);
        if (i != DATABASE && disk.left[i].n == 0)
            continue;
        FILE *f = fopen(path, "wb");
        assert_non_null(f);
        assert_int_equal(fwrite(disk.left[i].bytes, 1, disk.left[i].n, f), disk.left[i].n);
        assert_int_equal(fclose(f), 0);
    }
}

/* ---- files ---- */

static struct power_file *file_of(sqlite3_file *file)
{
    return (struct power_file *)file;
}

static int on_close(sqlite3_file *file)
{
    struct power_file *p = file_of(file);
    return p->real->pMethods->xClose(p->real);
}

static int on_read(sqlite3_file *file, void *to, int n, sqlite3_int64 at)
{
    struct power_file *p = file_of(file);
    return p->real->pMethods->xRead(p->real, to, n, at);
}

static int on_write(sqlite3_file *file, const void *from, int n, sqlite3_int64 at)
{
    struct power_file *p = file_of(file);
    mutex_lock(&disk.lock);
    int code = p->real->pMethods->xWrite(p->real, from, n, at);
    if (p->which != OTHER) {
        struct image *now = &disk.now[p->which];
        const size_t end = (size_t)at + (size_t)n;
        assert_true(code == SQLITE_OK && end <= IMAGE_BYTES_MAX);
        memcpy(now->bytes + at, from, (size_t)n);
        now->n = end > now->n ? end : now->n;
        disk.gone[p->which] = false;
        changed();
    }
    mutex_unlock(&disk.lock);
    return code;
}

static int on_truncate(sqlite3_file *file, sqlite3_int64 n)
{
    struct power_file *p = file_of(file);
    mutex_lock(&disk.lock);
    int code = p->real->pMethods->xTruncate(p->real, n);
    if (p->which != OTHER) {
        struct image *now = &disk.now[p->which];
        assert_true(code == SQLITE_OK && (size_t)n <= now->n);
        cut(now, (size_t)n);
        changed();
    }
    mutex_unlock(&disk.lock);
    return code;
}

/* With the lock. */
static void sync_folder(void)
{
    for (int i = 0; i < FILES; i++) {
        if (disk.gone[i])
            cut(&disk.safe[i], 0);
        disk.gone[i] = false;
    }
}

/* The real disk need not. */
static int on_sync(sqlite3_file *file, int flags)
{
    struct power_file *p = file_of(file);
    if (p->which == OTHER)
        return p->real->pMethods->xSync(p->real, flags);
    mutex_lock(&disk.lock);
    copy(&disk.safe[p->which], &disk.now[p->which]);
    if (p->syncs_folder)
        sync_folder();
    p->syncs_folder = false;
    changed();
    mutex_unlock(&disk.lock);
    return SQLITE_OK;
}

static int on_size(sqlite3_file *file, sqlite3_int64 *n)
{
    struct power_file *p = file_of(file);
    return p->real->pMethods->xFileSize(p->real, n);
}

static int on_lock(sqlite3_file *file, int kind)
{
    struct power_file *p = file_of(file);
    return p->real->pMethods->xLock(p->real, kind);
}

static int on_unlock(sqlite3_file *file, int kind)
{
    struct power_file *p = file_of(file);
    return p->real->pMethods->xUnlock(p->real, kind);
}

static int on_check_lock(sqlite3_file *file, int *held)
{
    struct power_file *p = file_of(file);
    return p->real->pMethods->xCheckReservedLock(p->real, held);
}

static int on_control(sqlite3_file *file, int op, void *arg)
{
    struct power_file *p = file_of(file);
    return p->real->pMethods->xFileControl(p->real, op, arg);
}

static int on_sector_size(sqlite3_file *file)
{
    struct power_file *p = file_of(file);
    return p->real->pMethods->xSectorSize(p->real);
}

static int on_characteristics(sqlite3_file *file)
{
    struct power_file *p = file_of(file);
    return p->real->pMethods->xDeviceCharacteristics(p->real);
}

static int on_map(sqlite3_file *file, int region, int bytes, int extend, void volatile **out)
{
    struct power_file *p = file_of(file);
    return p->real->pMethods->xShmMap(p->real, region, bytes, extend, out);
}

static int on_map_lock(sqlite3_file *file, int at, int n, int flags)
{
    struct power_file *p = file_of(file);
    return p->real->pMethods->xShmLock(p->real, at, n, flags);
}

static void on_barrier(sqlite3_file *file)
{
    struct power_file *p = file_of(file);
    p->real->pMethods->xShmBarrier(p->real);
}

static int on_unmap(sqlite3_file *file, int removes)
{
    struct power_file *p = file_of(file);
    return p->real->pMethods->xShmUnmap(p->real, removes);
}

static const sqlite3_io_methods methods = {
    .iVersion = 2,
    .xClose = on_close,
    .xRead = on_read,
    .xWrite = on_write,
    .xTruncate = on_truncate,
    .xSync = on_sync,
    .xFileSize = on_size,
    .xLock = on_lock,
    .xUnlock = on_unlock,
    .xCheckReservedLock = on_check_lock,
    .xFileControl = on_control,
    .xSectorSize = on_sector_size,
    .xDeviceCharacteristics = on_characteristics,
    .xShmMap = on_map,
    .xShmLock = on_map_lock,
    .xShmBarrier = on_barrier,
    .xShmUnmap = on_unmap,
};

/* ---- the folder ---- */

static int which(const char *path)
{
    for (int i = 0; i < FILES; i++)
        if (path && strcmp(path, disk.paths[i]) == 0)
            return i;
    return OTHER;
}

static int on_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *file, int flags, int *out)
{
    struct power_file *p = file_of(file);
    (void)vfs;
    const int logs = SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_JOURNAL;
    *p = (struct power_file){.which = which(path),
                             .syncs_folder = flags & SQLITE_OPEN_CREATE && flags & logs,
                             .real = (sqlite3_file *)(p + 1)};
    int code = system_vfs->xOpen(system_vfs, path, p->real, flags, out);
    if (code == SQLITE_OK)
        p->base.pMethods = &methods;
    return code;
}

static int on_delete(sqlite3_vfs *vfs, const char *path, int syncs)
{
    (void)vfs;
    mutex_lock(&disk.lock);
    int code = system_vfs->xDelete(system_vfs, path, syncs), i = which(path);
    if (code == SQLITE_OK && i != OTHER) {
        cut(&disk.now[i], 0);
        disk.gone[i] = true;
        if (syncs)
            sync_folder();
        changed();
    }
    mutex_unlock(&disk.lock);
    return code;
}

/* The log moves into the database often. */
static int set_up(sqlite3 *sql, char **error, const struct sqlite3_api_routines *routines)
{
    (void)error;
    (void)routines;
    return sqlite3_wal_autocheckpoint(sql, 12);
}

static void begin(void)
{
    system_vfs = sqlite3_vfs_find(NULL);
    power = *system_vfs;
    power.zName = "power";
    power.szOsFile = (int)sizeof(struct power_file) + system_vfs->szOsFile;
    power.xOpen = on_open;
    power.xDelete = on_delete;
    assert_int_equal(mutex_init(&disk.lock), 0);
    assert_int_equal(sqlite3_vfs_register(&power, 1), SQLITE_OK);
    assert_int_equal(sqlite3_auto_extension((void (*)(void))set_up), SQLITE_OK);
}

void power_watch(const struct world *w)
{
    if (!system_vfs)
        begin();
    for (int i = 0; i < FILES; i++) {
        struct image *now = &disk.now[i];
        path_in(w, endings[i], disk.paths[i]);
        cut(now, 0);
        FILE *f = fopen(disk.paths[i], "rb");
        if (f) {
            now->n = fread(now->bytes, 1, IMAGE_BYTES_MAX, f);
            assert_int_equal(fclose(f), 0);
        }
        copy(&disk.safe[i], now);
        disk.gone[i] = false;
    }
}
