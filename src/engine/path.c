/* engine/path.c - names of models as files. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/utf8.h"
#include "engine/engine_impl.h"

enum { LINKS_MAX = 16 };

/* dir of path without links, then its last component as it is. */
static bool join_parent(char out[PATH_MAX], const char *path)
{
    char dir[PATH_MAX], real[PATH_MAX];
    const char *slash = strrchr(path, '/');
    const char *last = slash ? slash + 1 : path;
    size_t n = slash ? (size_t)(slash - path) + 1 : 0;
    if (!*last || strcmp(last, ".") == 0 || strcmp(last, "..") == 0 || n >= sizeof(dir))
        return false;
    memcpy(dir, path, n);
    dir[n] = '\0';
    if (!realpath(n ? dir : ".", real))
        return false;
    return snprintf(out, PATH_MAX, "%s/%s", strcmp(real, "/") ? real : "", last) < PATH_MAX;
}

/* Where link, a link without links in its parents, points to; "" : it is none. */
static bool follow(char out[PATH_MAX], const char *link)
{
    char target[PATH_MAX];
    ssize_t n = readlink(link, target, sizeof(target) - 1);
    out[0] = '\0';
    if (n < 0)
        return errno == ENOENT || errno == EINVAL;
    target[n] = '\0';
    int parent = target[0] == '/' ? 0 : (int)(strrchr(link, '/') - link) + 1;
    return snprintf(out, PATH_MAX, "%.*s%s", parent, link, target) < PATH_MAX;
}

int path_canonical(char out[PATH_MAX], const char *path)
{
    if (strlen(path) >= PATH_MAX) {
        errno = ENAMETOOLONG;
        return REALM_E_NOT_FOUND;
    }
    if (realpath(path, out))
        return 0;
    int why = errno;
    char next[PATH_MAX];
    snprintf(next, sizeof(next), "%s", path);
    for (int links = 0; links < LINKS_MAX; links++) {
        char target[PATH_MAX];
        if (!join_parent(out, next) || !follow(target, out))
            break;
        if (!target[0])
            return 0;
        snprintf(next, sizeof(next), "%s", target);
    }
    errno = why;
    return REALM_E_NOT_FOUND;
}

bool path_name_allowed(const char *name)
{
    size_t n = strnlen(name, MODEL_NAME_MAX + 1);
    if (n == 0 || n > MODEL_NAME_MAX || name[0] == '.' || !utf8_valid(name, n))
        return false;
    for (size_t i = 0; i < n; i++)
        if (name[i] == '/' || (unsigned char)name[i] < 0x20)
            return false;
    return true;
}

bool path_identify(struct file_id *out, const char *path)
{
    struct stat st;
    if (lstat(path, &st))
        return false;
    if (!S_ISREG(st.st_mode)) {
        errno = S_ISDIR(st.st_mode) ? EISDIR : EINVAL;
        return false;
    }
    *out = (struct file_id){st.st_dev, st.st_ino, st.st_size, st.st_mtim};
    return true;
}

bool path_same_file(const struct file_id *a, const struct file_id *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size &&
           a->modified.tv_sec == b->modified.tv_sec && a->modified.tv_nsec == b->modified.tv_nsec;
}
