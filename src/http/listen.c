#include "http/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/err.h"
#include "base/map.h"
#include "base/mem.h"

enum {
    BACKLOG = 1024,
    ACCEPTS_MAX = 16, /* in a turn of the loop */
    LINGERING_MAX = 64,
    SEND_BUFFER_BYTES = 128 << 10, /* so that a client that does not read is noticed */
    ALIVE_IDLE_S = 15,             /* of silence, until its system is asked whether it is there */
    ALIVE_AGAIN_S = 5,
    ALIVE_TIMES = 3,
};

/* ---- accepting ---- */

static bool is_loopback(const uint8_t address[16])
{
    static const uint8_t mapped[13] = {[10] = 0xff, [11] = 0xff, [12] = 127};
    static const uint8_t six[16] = {[15] = 1};
    return memcmp(address, mapped, sizeof(mapped)) == 0 || memcmp(address, six, 16) == 0;
}

static void read_address(const struct sockaddr_storage *from, uint8_t out[16])
{
    memset(out, 0, 16);
    if (from->ss_family == AF_INET6) {
        memcpy(out, &((const struct sockaddr_in6 *)from)->sin6_addr, 16);
    } else if (from->ss_family == AF_INET) {
        out[10] = out[11] = 0xff;
        memcpy(out + 12, &((const struct sockaddr_in *)from)->sin_addr, 4);
    }
}

static struct list *bucket(struct http_server *s, const uint8_t address[16])
{
    return &s->ips[map_hash(s->ip_key, address, 16) % HTTP_IP_BUCKETS];
}

static bool too_many_from(struct http_server *s, const uint8_t address[16])
{
    uint32_t n = 0;
    const struct list *head = bucket(s, address);
    for (struct list *i = head->next; i != head; i = i->next)
        n += memcmp(CONTAINER_OF(i, struct conn, by_ip)->address, address, 16) == 0;
    return n >= s->limits.connections_per_ip_max;
}

static void take(struct listener *l, int fd, const struct sockaddr_storage *from)
{
    struct http_server *s = l->s;
    struct conn_origin origin = {
        .fd = fd,
        .tag = l->tag,
        .tcp = l->tcp,
        .check_host = l->loopback && l->tcp,
        .tls = l->tls ? s->tls : NULL,
    };
    read_address(from, origin.address);
    origin.loopback = !l->tcp || is_loopback(origin.address);
    bool full = s->stats.connections >= s->limits.connections_max ||
                (!origin.loopback && too_many_from(s, origin.address));
    origin.counted = !full;
    if (full) {
        s->stats.connections_refused++;
        origin.tls = NULL; // no handshake for one that is refused
    }
    if (full && s->lingering >= LINGERING_MAX) {
        close(fd);
        return;
    }
    struct conn *c = conn_open(s, &origin);
    if (!c)
        return;
    if (full) {
        static const struct http_fault fault = {503, "too_many_connections",
                                                "the server has too many connections"};
        s->lingering++;
        respond_fault(c, NULL, &fault);
        conn_close_soon(c);
        return;
    }
    s->stats.connections++;
    s->stats.connections_accepted++;
    if (!origin.loopback)
        list_add_tail(bucket(s, origin.address), &c->by_ip);
}

/* What connections inherit from the one that listens.  Wishes: they work without. */
static void set_options(int fd)
{
    const int yes = 1, bytes = SEND_BUFFER_BYTES, idle_s = ALIVE_IDLE_S, again_s = ALIVE_AGAIN_S;
    const int times = ALIVE_TIMES;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &yes, sizeof(yes));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &again_s, sizeof(again_s));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &times, sizeof(times));
}

static int accept_one(struct listener *l, struct sockaddr_storage *from)
{
    socklen_t n = sizeof(*from);
    memset(from, 0, sizeof(*from));
    int fd;
    do
        fd = accept4(l->fd, (struct sockaddr *)from, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);
    while (fd < 0 && (errno == EINTR || errno == ECONNABORTED));
    return fd;
}

static void on_connection(uv_poll_t *poll, int status, int events);

/* The process has no descriptor left: one that was kept lets the client be told.  false:
 * there is none to be told with. */
static bool refuse_with_spare(struct listener *l)
{
    static const char text[] =
        "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nretry-after-ms: 1000\r\n"
        "Connection: close\r\n"
        "Content-Type: application/json\r\nContent-Length: 142\r\n\r\n"
        "{\"error\":{\"message\":\"the server has too many connections\","
        "\"type\":\"server_error\",\"param\":null,\"code\":\"too_many_connections\","
        "\"request_id\":null}}";
    struct http_server *s = l->s;
    struct sockaddr_storage from;
    int fd = -1;
    for (size_t i = 0; i < HTTP_SPARE_FDS && fd < 0; i++) {
        if (s->spare[i] < 0)
            continue;
        close(s->spare[i]); // another thread may be quicker to take it
        s->spare[i] = -1;
        fd = accept_one(l, &from);
    }
    int why = errno;
    if (fd >= 0) {
        if (!l->tls)
            (void)!send(fd, text, sizeof(text) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
        (void)shutdown(fd, SHUT_WR);
        (void)!recv(fd, s->scratch, sizeof(s->scratch), MSG_DONTWAIT); // unread, it would reset
        close(fd);
        s->stats.connections_refused++;
    }
    spares_open(s);
    errno = why;
    return fd >= 0;
}

static void on_connection(uv_poll_t *poll, int status, int events)
{
    struct listener *l = CONTAINER_OF(poll, struct listener, poll);
    struct sockaddr_storage from;
    (void)events;
    for (int i = 0; status == 0 && i < ACCEPTS_MAX; i++) {
        int fd = accept_one(l, &from);
        if (fd >= 0) {
            take(l, fd, &from);
            continue;
        }
        if ((errno == EMFILE || errno == ENFILE) && refuse_with_spare(l))
            continue;
        if (errno != EAGAIN && errno != EWOULDBLOCK) {
            /* No use in being told again at once. */
            l->paused = true;
            (void)uv_poll_stop(&l->poll);
        }
        return;
    }
}

void listeners_resume(struct http_server *s)
{
    spares_open(s);
    for (size_t i = 0; i < s->n_listeners; i++) {
        struct listener *l = s->listeners[i];
        if (l->paused && l->fd >= 0 && !uv_poll_start(&l->poll, UV_READABLE, on_connection))
            l->paused = false;
    }
}

/* ---- listening ---- */

static int fail_fd(int fd, struct realm_error *err, const struct http_listen *at)
{
    int why = errno;
    if (fd >= 0)
        close(fd);
    if (at->unix_path)
        return err_set(err, REALM_E_SYS, "cannot listen at %s: %s", at->unix_path, strerror(why));
    return err_set(err, REALM_E_SYS, "cannot listen at %s port %u: %s", at->host, at->port,
                   strerror(why));
}

/* A socket file that nobody answers at is what a process left that is gone. */
static bool is_stale(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    bool refused =
        connect(fd, (const struct sockaddr *)address, sizeof(*address)) && errno == ECONNREFUSED;
    close(fd);
    return refused;
}

static int listen_unix(const struct http_listen *at, int *out, struct realm_error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t n = strlen(at->unix_path);
    if (n >= sizeof(address.sun_path))
        return err_set(err, REALM_E_ARG, "%s is too long for a socket's path", at->unix_path);
    memcpy(address.sun_path, at->unix_path, n);
    struct stat st;
    if (!lstat(at->unix_path, &st) && S_ISSOCK(st.st_mode) && is_stale(&address))
        (void)unlink(at->unix_path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return fail_fd(fd, err, at);
    mode_t old = umask(0177);
    int failed = bind(fd, (struct sockaddr *)&address, sizeof(address));
    int why = errno;
    umask(old);
    errno = why;
    if (failed || listen(fd, BACKLOG))
        return fail_fd(fd, err, at);
    *out = fd;
    return 0;
}

static int find_address(const struct http_listen *at, struct addrinfo **found,
                        struct realm_error *err)
{
    char port[8];
    const struct addrinfo hints = {.ai_family = AF_UNSPEC,
                                   .ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    snprintf(port, sizeof(port), "%u", at->port);
    int why = getaddrinfo(at->host, port, &hints, found);
    return why ? err_set(err, REALM_E_SYS, "cannot listen at %s: %s", at->host, gai_strerror(why))
               : 0;
}

static uint16_t port_of(int fd)
{
    struct sockaddr_storage at;
    socklen_t n = sizeof(at);
    if (getsockname(fd, (struct sockaddr *)&at, &n))
        return 0;
    return ntohs(at.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&at)->sin6_port
                                          : ((struct sockaddr_in *)&at)->sin_port);
}

static int listen_tcp(const struct http_listen *at, int *out, bool *loopback,
                      struct realm_error *err)
{
    struct addrinfo *found;
    int status = find_address(at, &found, err), yes = 1;
    if (status)
        return status;
    uint8_t address[16];
    struct sockaddr_storage storage = {0};
    memcpy(&storage, found->ai_addr, found->ai_addrlen);
    read_address(&storage, address);
    *loopback = is_loopback(address);
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
        set_options(fd);
    }
    if (fd < 0 || bind(fd, found->ai_addr, found->ai_addrlen) || listen(fd, BACKLOG))
        status = fail_fd(fd, err, at);
    freeaddrinfo(found);
    *out = fd;
    return status;
}

static int start(struct http_server *s, struct listener *l, struct realm_error *err)
{
    if (uv_poll_init(&s->loop, &l->poll, l->fd))
        return err_set(err, REALM_E_SYS, "the event loop takes no listener");
    s->listeners[s->n_listeners++] = l;
    if (uv_poll_start(&l->poll, UV_READABLE, on_connection))
        return err_set(err, REALM_E_SYS, "the event loop takes no listener");
    return 0;
}

int http_listen(struct http_server *s, const struct http_listen *at, uint16_t *port,
                struct realm_error *err)
{
    if (s->n_listeners == HTTP_LISTENERS_MAX)
        return err_set(err, REALM_E_ARG, "at most %d places to listen at", HTTP_LISTENERS_MAX);
    if (at->tls && !s->tls)
        return err_set(err, REALM_E_ARG, "TLS has no certificate");
    struct listener *l = mem_zalloc(sizeof(*l));
    if (!l)
        return err_nomem(err, "a listener");
    *l = (struct listener){.s = s, .fd = -1, .tag = at->tag, .tls = at->tls, .tcp = !at->unix_path};
    int status =
        at->unix_path ? listen_unix(at, &l->fd, err) : listen_tcp(at, &l->fd, &l->loopback, err);
    if (!status && at->unix_path && !(l->unix_path = mem_strdup(at->unix_path)))
        status = err_nomem(err, "a listener");
    if (status) {
        if (l->fd >= 0 && at->unix_path)
            close(l->fd);
        mem_free(l);
        return status;
    }
    if (port)
        *port = l->tcp ? port_of(l->fd) : 0;
    return start(s, l, err);
}

int http_listen_check(const struct http_listen *at, struct realm_error *err)
{
    int fd;
    bool loopback;
    int status = listen_tcp(at, &fd, &loopback, err);
    if (!status)
        close(fd);
    return status;
}

void listeners_close(struct http_server *s)
{
    for (size_t i = 0; i < s->n_listeners; i++) {
        struct listener *l = s->listeners[i];
        if (l->fd < 0)
            continue;
        (void)uv_poll_stop(&l->poll);
        close(l->fd);
        l->fd = -1;
        if (l->unix_path)
            (void)unlink(l->unix_path);
    }
}

void listeners_free(struct http_server *s)
{
    for (size_t i = 0; i < s->n_listeners; i++) {
        mem_free(s->listeners[i]->unix_path);
        mem_free(s->listeners[i]);
    }
    s->n_listeners = 0;
}

void spares_open(struct http_server *s)
{
    for (size_t i = 0; i < HTTP_SPARE_FDS; i++)
        if (s->spare[i] < 0)
            s->spare[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

void spares_close(struct http_server *s)
{
    for (size_t i = 0; i < HTTP_SPARE_FDS; i++)
        if (s->spare[i] >= 0)
            close(s->spare[i]);
}
