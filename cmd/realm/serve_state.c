/* cmd/realm/serve_state.c - the state directory: for one user, and for one server at a time. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "serve.h"

enum { PATH_BYTES_MAX = 4096 };

/* DIR/NAME in memory of its own; NULL when memory is short or the path too long. */
static char *path_in(const char *dir, const char *name)
{
    struct buf path;
    buf_init(&path, PATH_BYTES_MAX);
    if (buf_addf(&path, "%s%s", dir, name) || !buf_cstr(&path)) {
        buf_free(&path);
        return NULL;
    }
    return (char *)path.p;
}

static int choose_dir(char **out, const char *given, struct realm_error *err)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    *out = NULL;
    if (given)
        *out = mem_strdup(given);
    else if (state && state[0] == '/')
        *out = path_in(state, "/realm");
    else if (home && home[0] == '/')
        *out = path_in(home, "/.local/state/realm");
    else
        return err_set(err, REALM_E_ARG,
                       "there is no place for the state directory: name one with --state DIR");
    return *out ? 0 : err_nomem(err, "the state directory's name");
}

static int choose(struct serve_state *s, const char *given, struct realm_error *err)
{
    int status = choose_dir(&s->dir, given, err);
    if (status)
        return status;
    s->guests = path_in(s->dir, "/guests");
    s->socket = path_in(s->dir, "/admin.sock");
    return s->guests && s->socket ? 0 : err_nomem(err, "the state directory's name");
}

int serve_state_socket(char **out, const char *given, struct realm_error *err)
{
    struct serve_state s = {.lock_fd = -1};
    int status = choose(&s, given, err);
    *out = status ? NULL : s.socket;
    if (!status)
        s.socket = NULL;
    serve_state_close(&s);
    return status;
}

/* Makes the folder and those above it. */
static int make_folders(const char *dir, struct realm_error *err)
{
    char *path = mem_strdup(dir);
    if (!path)
        return err_nomem(err, "the state directory's name");
    int rc = 0;
    for (char *p = path + 1; !rc && *p; p++) {
        if (*p != '/')
            continue;
        *p = '\0';
        rc = mkdir(path, 0700) && errno != EEXIST;
        *p = '/';
    }
    if (!rc)
        rc = mkdir(path, 0700) && errno != EEXIST;
    mem_free(path);
    return rc ? err_set(err, REALM_E_SYS, "the state directory %s cannot be made: %s", dir,
                        strerror(errno))
              : 0;
}

static int check_owner(const char *dir, struct realm_error *err)
{
    struct stat st;
    if (stat(dir, &st))
        return err_set(err, REALM_E_SYS, "the state directory %s: %s", dir, strerror(errno));
    if (!S_ISDIR(st.st_mode))
        return err_set(err, REALM_E_ARG, "the state directory %s is no directory", dir);
    if (st.st_uid != geteuid() || st.st_mode & 022)
        return err_set(err, REALM_E_ARG,
                       "the state directory %s must be this user's, and nobody "
                       "else may write to it (chmod 700)",
                       dir);
    return 0;
}

static int take_lock(struct serve_state *s, struct realm_error *err)
{
    char *path = path_in(s->dir, "/lock");
    if (!path)
        return err_nomem(err, "the state directory's name");
    s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    int status = 0;
    if (s->lock_fd < 0)
        status = err_set(err, REALM_E_SYS, "%s cannot be opened: %s", path, strerror(errno));
    else if (flock(s->lock_fd, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK)
        status = err_set(err, REALM_E_ARG,
                         "another server uses the state directory %s; give this one its own with "
                         "--state DIR",
                         s->dir);
    else if (flock(s->lock_fd, LOCK_EX | LOCK_NB))
        status = err_set(err, REALM_E_SYS, "%s cannot be locked: %s", path, strerror(errno));
    mem_free(path);
    return status;
}

int serve_state_open(struct serve_state *s, const char *given, struct realm_error *err)
{
    *s = (struct serve_state){.lock_fd = -1};
    int status = choose(s, given, err);
    if (!status)
        status = make_folders(s->dir, err);
    if (!status)
        status = check_owner(s->dir, err);
    if (!status)
        status = take_lock(s, err);
    if (status)
        serve_state_close(s);
    return status;
}

/* The file stays: taking away a name that another server may just have opened would let
 * two of them have it. */
void serve_state_close(struct serve_state *s)
{
    if (s->lock_fd >= 0)
        close(s->lock_fd);
    mem_free(s->dir);
    mem_free(s->guests);
    mem_free(s->socket);
    *s = (struct serve_state){.lock_fd = -1};
}
