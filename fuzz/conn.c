/* A connection over any bytes, through the whole server and a socket.
 *
 * The first byte says how the rest is cut into pieces.  The requests that are handed over
 * may not depend on the cuts: the input is sent whole first, then in pieces, and both
 * times the same must come out.  A request whose path ends in "s" is answered by a stream,
 * one that ends in "l" later. */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/map.h"
#include "base/mem.h"
#include "http/conn.h"

enum { TURNS_MAX = 2000 };

struct seen {
    uint64_t hash;
    uint64_t requests;
};

static struct http_server *server;
static struct seen seen;
static struct http_exchange *later;

static void add(const void *p, size_t n)
{
    const uint64_t key[2] = {seen.hash, n};
    seen.hash = map_hash(key, p, n);
}

static void request(void *ctx, struct http_exchange *x)
{
    (void)ctx;
    const char *path = http_path(x);
    struct slice body = http_body(x);
    size_t n = strlen(path);
    ASSERT(path[0] == '/' && !strstr(path, "/../") && !strstr(path, "//"));
    ASSERT(body.n <= HTTP_BODY_MAX);
    seen.requests++;
    add(http_method(x), strlen(http_method(x)));
    add(path, n);
    add(http_query(x), strlen(http_query(x)));
    for (size_t i = 0; i < x->head.n_fields; i++) {
        add(x->head.fields[i].name, strlen(x->head.fields[i].name));
        add(x->head.fields[i].value, strlen(x->head.fields[i].value));
    }
    add(body.p, body.n);
    if (path[n - 1] == 's') {
        http_stream_start(x, 200, "text/event-stream", NULL, 0);
        http_stream_event(x, "name", body);
        http_stream_end(x);
    } else if (path[n - 1] == 'l' && !later) {
        later = x;
    } else {
        http_respond(x, 200, "text/plain", NULL, 0, body);
    }
}

static void nothing(void *ctx)
{
    (void)ctx;
}

static void gone(void *ctx, struct http_exchange *x)
{
    (void)ctx;
    ASSERT(x == later);
    later = NULL;
}

/* One turn of the loop; whatever the server sends is read. */
static void turn(int fd)
{
    static uint8_t sink[64 << 10];
    uv_run(&server->loop, UV_RUN_NOWAIT);
    while (recv(fd, sink, sizeof(sink), MSG_DONTWAIT) > 0)
        ;
}

static void answer_later(int fd)
{
    turn(fd);
    if (!later)
        return;
    struct http_exchange *x = later;
    later = NULL;
    http_respond(x, 404, "text/plain", NULL, 0, slice_of("later"));
}

static struct seen feed(const uint8_t *data, size_t n, size_t piece, bool check_host)
{
    int fds[2];
    seen = (struct seen){0};
    ASSERT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
    const struct conn_origin from = {
        .fd = fds[0], .loopback = true, .check_host = check_host, .counted = true};
    ASSERT(conn_open(server, &from));
    server->stats.connections++;
    size_t turns = 0;
    for (size_t at = 0; at < n;) {
        size_t want = n - at < piece ? n - at : piece;
        ssize_t sent = send(fds[1], data + at, want, MSG_NOSIGNAL);
        if (sent < 0 && (errno != EAGAIN || ++turns > TURNS_MAX))
            break;
        at += sent > 0 ? (size_t)sent : 0;
        answer_later(fds[1]);
    }
    shutdown(fds[1], SHUT_WR);
    for (turns = 0; server->stats.connections > 0 && turns < TURNS_MAX; turns++)
        answer_later(fds[1]);
    ASSERT(server->stats.connections == 0 && server->stats.exchanges == 0 && !later);
    uv_run(&server->loop, UV_RUN_NOWAIT); // the handle's end
    close(fds[1]);
    return seen;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (!server) {
        struct realm_error err;
        const struct http_options options = {0};
        const struct http_handler handler = {
            .request = request, .gone = gone, .tick = nothing, .wake = nothing};
        ASSERT(http_open(&server, &options, &handler, &err) == 0);
    }
    if (n == 0)
        return 0;
    uint64_t live = mem_live();
    size_t piece = (data[0] & 0x7f) + 1u;
    if (n / piece > 200)
        piece = n / 200; // a turn of the loop is not cheap
    bool check_host = data[0] & 0x80;
    struct seen whole = feed(data + 1, n - 1, n, check_host);
    struct seen pieces = feed(data + 1, n - 1, piece, check_host);
    ASSERT(whole.hash == pieces.hash && whole.requests == pieces.requests);
    ASSERT(mem_live() == live);
    return 0;
}
