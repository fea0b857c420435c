#include "helper/frame.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include "base/clock.h"

/* Waits until fd is ready for events or the time is up. */
static int await(int fd, short events, uint64_t deadline_ns)
{
    for (;;) {
        int timeout_ms = -1;
        if (deadline_ns) {
            uint64_t now = clock_ns(clock_system());
            if (now >= deadline_ns)
                return REALM_E_DEADLINE;
            uint64_t left_ms = (deadline_ns - now) / 1000000u + 1;
            timeout_ms = left_ms > 60000 ? 60000 : (int)left_ms;
        }
        struct pollfd p = {.fd = fd, .events = events};
        int ready = poll(&p, 1, timeout_ms);
        if (ready > 0)
            return 0; /* errors show in the call that follows */
        if (ready < 0 && errno != EINTR)
            return REALM_E_IO;
    }
}

/* Whether a call that moved nothing should be tried again. */
static int retry(int fd, short events, ssize_t moved, uint64_t deadline_ns)
{
    if (moved < 0 && errno == EINTR)
        return 0;
    if (moved < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return await(fd, events, deadline_ns);
    return REALM_E_IO;
}

int frame_send(int fd, const void *data, size_t n, uint64_t deadline_ns)
{
    const char *p = data;
    while (n > 0) {
        ssize_t sent = send(fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent > 0) {
            p += sent;
            n -= (size_t)sent;
            continue;
        }
        int status = retry(fd, POLLOUT, sent, deadline_ns);
        if (status)
            return status;
    }
    return 0;
}

int frame_recv(int fd, void *data, size_t n, uint64_t deadline_ns)
{
    char *p = data;
    while (n > 0) {
        ssize_t got = recv(fd, p, n, MSG_DONTWAIT);
        if (got > 0) {
            p += got;
            n -= (size_t)got;
            continue;
        }
        int status = retry(fd, POLLIN, got, deadline_ns);
        if (status)
            return status;
    }
    return 0;
}
