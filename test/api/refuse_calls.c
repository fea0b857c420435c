/* For LD_PRELOAD: REFUSE_CALL=NAME and REFUSE_FROM=N have the system refuse the N-th call of that
 * name in a process, and all later ones. */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

static bool refused(const char *name)
{
    static atomic_long calls;
    const char *which = getenv("REFUSE_CALL"), *from = getenv("REFUSE_FROM");
    return which && from && strcmp(which, name) == 0 &&
           atomic_fetch_add(&calls, 1) + 1 >= strtol(from, NULL, 10);
}

static void *next(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *), void *arg)
{
    static int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    if (refused("pthread_create"))
        return EAGAIN;
    *(void **)&real = next("pthread_create");
    return real(thread, attr, start, arg);
}

int eventfd(unsigned count, int flags)
{
    static int (*real)(unsigned, int);
    if (refused("eventfd")) {
        errno = EMFILE;
        return -1;
    }
    *(void **)&real = next("eventfd");
    return real(count, flags);
}

int epoll_create1(int flags)
{
    static int (*real)(int);
    if (refused("epoll_create1")) {
        errno = EMFILE;
        return -1;
    }
    *(void **)&real = next("epoll_create1");
    return real(flags);
}
