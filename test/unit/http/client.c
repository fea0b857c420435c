#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "serve.h"

enum { PATIENCE_S = SOON_MS / 1000 };

bool wait_until(const atomic_uint *n, unsigned want, unsigned ms)
{
    uint64_t end = clock_ms(clock_system()) + ms;
    while (atomic_load(n) != want) {
        const struct timespec pause = {.tv_nsec = 1000000};
        if (clock_ms(clock_system()) > end)
            return false;
        nanosleep(&pause, NULL);
    }
    return true;
}

void wait_ticks(const struct serve *v, unsigned n)
{
    const unsigned begin = atomic_load(&v->ticks);
    const uint64_t end = clock_ms(clock_system()) + SOON_MS;
    while (atomic_load(&v->ticks) - begin <= n) { // the first may have begun already
        const struct timespec pause = {.tv_nsec = 1000000};
        assert_true(clock_ms(clock_system()) < end);
        nanosleep(&pause, NULL);
    }
}

int dial_plain(const struct serve *v)
{
    const struct sockaddr_in at = {.sin_family = AF_INET,
                                   .sin_port = htons(v->port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const struct timeval patience = {.tv_sec = PATIENCE_S};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&at, sizeof(at)), 0);
    return fd;
}

void dial(struct client *c, const struct serve *v)
{
    c->n = c->used = 0;
    c->ended = false;
    c->ssl = NULL;
    c->ctx = NULL;
    c->fd = dial_plain(v);
    if (!v->tls)
        return;
    /* A read that has a limit fails where the process is stopped and goes on. */
    const struct timeval for_ever = {0};
    assert_int_equal(setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &for_ever, sizeof(for_ever)), 0);
    c->ctx = SSL_CTX_new(TLS_client_method());
    assert_non_null(c->ctx);
    c->ssl = SSL_new(c->ctx);
    assert_non_null(c->ssl);
    assert_int_equal(SSL_set_fd(c->ssl, c->fd), 1);
    assert_int_equal(SSL_connect(c->ssl), 1);
}

static void drop(struct client *c)
{
    SSL_free(c->ssl);
    SSL_CTX_free(c->ctx);
    close(c->fd);
}

void hang_up(struct client *c)
{
    if (c->ssl)
        (void)SSL_shutdown(c->ssl);
    drop(c);
}

void hang_up_hard(struct client *c)
{
    const struct linger now = {.l_onoff = 1};
    assert_int_equal(setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
    drop(c);
}

bool say_bytes(struct client *c, const void *p, size_t n)
{
    const uint8_t *at = p;
    while (n > 0) {
        ssize_t put = c->ssl ? SSL_write(c->ssl, at, (int)n) : send(c->fd, at, n, MSG_NOSIGNAL);
        if (put <= 0)
            return false;
        at += put;
        n -= (size_t)put;
    }
    return true;
}

void say(struct client *c, const char *text)
{
    assert_true(say_bytes(c, text, strlen(text)));
}

static ssize_t read_some(struct client *c, uint8_t *to, size_t n)
{
    if (c->ssl)
        return SSL_read(c->ssl, to, (int)n);
    ssize_t got;
    do
        got = recv(c->fd, to, n, 0);
    while (got < 0 && errno == EINTR);
    return got;
}

bool client_read(struct client *c)
{
    assert_true(c->n < sizeof(c->in));
    ssize_t got = read_some(c, c->in + c->n, sizeof(c->in) - c->n);
    if (got <= 0) {
        c->ended = got == 0 || c->ssl || errno == ECONNRESET;
        return false;
    }
    c->n += (size_t)got;
    return true;
}

bool expect_end(struct client *c, unsigned ms)
{
    uint64_t end = clock_ms(clock_system()) + ms;
    while (!c->ended) {
        uint64_t now = clock_ms(clock_system());
        struct pollfd p = {.fd = c->fd, .events = POLLIN};
        if (now >= end)
            return false;
        int ready = poll(&p, 1, (int)(end - now));
        if (ready < 0 && errno == EINTR) // it was stopped and goes on
            continue;
        if (ready != 1)
            return false;
        (void)client_read(c);
    }
    return true;
}

/* ---- replies ---- */

static const char *find(const struct client *c, size_t from, const char *what)
{
    return c->n > from ? memmem(c->in + from, c->n - from, what, strlen(what)) : NULL;
}

/* The value of a field in a reply's head, or NULL. */
static const char *field(const char *head, const char *name)
{
    size_t n = strlen(name);
    for (const char *at = strstr(head, "\r\n"); at; at = strstr(at + 2, "\r\n"))
        if (strncasecmp(at + 2, name, n) == 0 && at[2 + n] == ':')
            return at + 3 + n + strspn(at + 3 + n, " ");
    return NULL;
}

/* Waits for the text `what` at or after `from`; its end. */
static bool read_past(struct client *c, size_t from, const char *what, size_t *end)
{
    const char *found;
    while (!(found = find(c, from, what)))
        if (!client_read(c))
            return false;
    *end = (size_t)((const uint8_t *)found - c->in) + strlen(what);
    return true;
}

static bool read_to(struct client *c, size_t end)
{
    while (c->n < end)
        if (!client_read(c))
            return false;
    return true;
}

/* Decodes in place. */
static bool read_chunks(struct client *c, size_t at, struct reply *r)
{
    size_t to = at, line;
    r->body = (struct slice){c->in + at, 0};
    for (;;) {
        if (!read_past(c, at, "\r\n", &line))
            return false;
        size_t n = strtoul((const char *)c->in + at, NULL, 16);
        if (!read_to(c, line + n + 2))
            return false;
        assert_memory_equal(c->in + line + n, "\r\n", 2);
        at = line + n + 2;
        if (n == 0)
            break;
        memmove(c->in + to, c->in + line, n);
        to += n;
        r->body.n += n;
        r->chunks++;
    }
    c->used = at;
    return true;
}

static bool read_body(struct client *c, size_t at, struct reply *r)
{
    const char *length = field(r->head, "Content-Length");
    const char *coding = field(r->head, "Transfer-Encoding");
    assert_false(length && coding);
    if (coding)
        return read_chunks(c, at, r);
    size_t end = at;
    if (length) {
        end = at + strtoul(length, NULL, 10);
        if (!read_to(c, end))
            return false;
    } else {
        while (client_read(c))
            ;
        end = c->n;
    }
    r->body = (struct slice){c->in + at, end - at};
    c->used = end;
    return c->ended || length;
}

bool hear(struct client *c, struct reply *r, bool no_body)
{
    size_t end;
    *r = (struct reply){0};
    memmove(c->in, c->in + c->used, c->n - c->used);
    c->n -= c->used;
    c->used = 0;
    for (size_t at = 0;; r->interim++, at = end) {
        if (!read_past(c, at, "\r\n\r\n", &end))
            return false;
        r->head = (const char *)c->in + at;
        c->in[end - 2] = '\0';
        assert_memory_equal(r->head, "HTTP/1.1 ", 9);
        r->status = (int)strtol(r->head + 9, NULL, 10);
        if (r->status >= 200 || r->status == 101)
            break;
    }
    c->used = end;
    return no_body || r->status == 101 || read_body(c, end, r);
}

void expect(struct client *c, struct reply *r, int status)
{
    if (!hear(c, r, false))
        fail_msg("no whole reply; %zu bytes, %s", c->n, c->ended ? "closed" : "open");
    if (r->status != status)
        fail_msg("want %d, got: %s", status, r->head);
}
