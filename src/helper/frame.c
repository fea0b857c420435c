#include "helper/frame.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include "base/wait.h"

/* Waits until fd is ready for events or the caller gives up. */
static int await(int fd, short events, const struct realm_wait *wait)
{
    for (;;) {
        int status = wait_given_up(wait, NULL);
        if (status)
            return status;
        struct pollfd p = {.fd = fd, .events = events};
        int ready = poll(&p, 1, wait_poll_ms(wait));
        if (ready > 0)
            return 0; /* errors show in the call that follows */
        if (ready < 0 && errno != EINTR)
            return REALM_E_IO;
    }
}

/* Whether a call that moved nothing should be tried again. */
static int retry(int fd, short events, ssize_t moved, const struct realm_wait *wait)
{
    if (moved < 0 && errno == EINTR)
        return 0;
    if (moved < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return await(fd, events, wait);
    return REALM_E_IO;
}

int frame_send(int fd, const void *data, size_t n, const struct realm_wait *wait)
{
    const char *p = data;
    while (n > 0) {
        ssize_t sent = send(fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent > 0) {
            p += sent;
            n -= (size_t)sent;
            continue;
        }
        int status = retry(fd, POLLOUT, sent, wait);
        if (status)
            return status;
    }
    return 0;
}

int frame_recv(int fd, void *data, size_t n, const struct realm_wait *wait)
{
    char *p = data;
    while (n > 0) {
        ssize_t got = recv(fd, p, n, MSG_DONTWAIT);
        if (got > 0) {
            p += got;
            n -= (size_t)got;
            continue;
        }
        int status = retry(fd, POLLIN, got, wait);
        if (status)
            return status;
    }
    return 0;
}
