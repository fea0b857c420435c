/* http/conn.c - one connection: reading, acting on what came, writing. */
#include "http/conn.h"

#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/ckd.h"
#include "base/clock.h"
#include "base/mem.h"
#include "http/ws.h"

enum {
    LINGER_MS = 2000,
    PROBE_AGAIN_MS = 60, /* for a system that answers the first write alone */
    PROBE_LATER_MS = 1000,
    BODY_GRACE_MS = 5000,
    READ_BYTES_MAX = 256 << 10, /* of one connection in one turn */
    STALL_LOOKS = 16,           /* in stall_ms: each asks the system */
};

uint64_t conn_now_ms(const struct conn *c)
{
    return uv_now(&c->s->loop);
}

void conn_touch(struct conn *c)
{
    list_remove(&c->work);
    list_add_tail(&c->s->work, &c->work);
}

void conn_fail(struct conn *c)
{
    c->failed = true;
    conn_touch(c);
}

size_t conn_unsent(const struct conn *c)
{
    return queue_bytes(&c->out);
}

void conn_write(struct conn *c, struct slice bytes)
{
    if (c->failed)
        return;
    if (queue_add(&c->out, bytes.p, bytes.n)) {
        conn_fail(c);
        return;
    }
    conn_touch(c);
}

void conn_close_soon(struct conn *c)
{
    if (c->state == CONN_CLOSING || c->state == CONN_LINGER)
        return;
    c->state = CONN_CLOSING;
    c->deadline_ms = 0;
    conn_touch(c);
}

/* ---- the socket ---- */

static long socket_read(struct conn *c, void *to, size_t n)
{
    if (c->ssl)
        return tls_read(c->ssl, to, n);
    ssize_t got;
    do
        got = recv(c->fd, to, n, 0);
    while (got < 0 && errno == EINTR);
    if (got >= 0)
        return got;
    return errno == EAGAIN || errno == EWOULDBLOCK ? CONN_AGAIN : CONN_ERROR;
}

static long socket_write(struct conn *c, const void *from, size_t n)
{
    if (c->ssl)
        return tls_write(c->ssl, from, n);
    ssize_t put;
    do
        put = send(c->fd, from, n, MSG_NOSIGNAL);
    while (put < 0 && errno == EINTR);
    if (put >= 0)
        return put;
    return errno == EAGAIN || errno == EWOULDBLOCK ? CONN_AGAIN : CONN_ERROR;
}

/* Whether more bytes are wanted now. */
static bool wants_bytes(const struct conn *c)
{
    if (c->eof || c->failed)
        return false;
    bool waits = c->state == CONN_BUSY || c->state == CONN_HEAD;
    return !waits || queue_bytes(&c->in) < HTTP_AHEAD_BYTES_MAX;
}

static void on_poll(uv_poll_t *poll, int status, int events);
static void probe(struct conn *c, uint64_t now_ms);

/* Even where nothing is read or written a reset is to be seen: urgent data, which nobody
 * sends, is always polled for, and what a full buffer leaves unread may end. */
static void set_events(struct conn *c)
{
    int events = UV_PRIORITIZED | (c->blocked ? UV_WRITABLE : 0);
    if (wants_bytes(c))
        events |= UV_READABLE;
    else if (!c->eof && !c->hung_up)
        events |= UV_DISCONNECT;
    if (events == c->events)
        return;
    c->events = events;
    if (uv_poll_start(&c->poll, events, on_poll))
        conn_fail(c);
}

static void take_bytes(struct conn *c, struct slice bytes)
{
    c->s->stats.bytes_in += bytes.n;
    switch (c->state) {
    case CONN_CLOSING:
    case CONN_LINGER:
        break;
    case CONN_TAKEN: // after what came before it was taken
    case CONN_HANDSHAKE:
    case CONN_HEAD:
    case CONN_BODY:
    case CONN_BUSY:
        if (queue_add(&c->in, bytes.p, bytes.n))
            conn_fail(c);
        break;
    }
}

/* What a client that sends nothing any more wants: the answer, or nothing. */
static void note_eof(struct conn *c)
{
    c->eof = true;
    bool answers = c->state == CONN_BUSY && c->x && c->x->head.minor > 0;
    if (answers)
        probe(c, conn_now_ms(c));
    if (c->state == CONN_TAKEN || c->state == CONN_CLOSING || c->state == CONN_HEAD || answers)
        return; // in CONN_HEAD take_head ends it, when what was answered before is sent
    if (queue_bytes(&c->in) == 0 || c->state == CONN_BUSY || c->state == CONN_LINGER)
        conn_fail(c);
}

static void read_some(struct conn *c)
{
    size_t total = 0;
    while (wants_bytes(c) && total < READ_BYTES_MAX) {
        long got = socket_read(c, c->s->scratch, sizeof(c->s->scratch));
        if (got == CONN_AGAIN)
            return;
        if (got == CONN_ERROR) {
            conn_fail(c);
            return;
        }
        if (got == 0) {
            note_eof(c);
            return;
        }
        total += (size_t)got;
        take_bytes(c, (struct slice){c->s->scratch, (size_t)got});
        mem_wipe(c->s->scratch, (size_t)got);
        if ((size_t)got < sizeof(c->s->scratch) && !(c->ssl && tls_pending(c->ssl)))
            return;
    }
}

static void shake(struct conn *c)
{
    bool wants_write;
    int result = tls_handshake(c->ssl, &wants_write);
    c->blocked = result == CONN_AGAIN && wants_write;
    if (result == CONN_ERROR)
        conn_fail(c);
    if (result == 1) {
        c->state = CONN_HEAD;
        c->deadline_ms = conn_now_ms(c) + c->s->limits.idle_ms;
        read_some(c);
    }
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct conn *c = CONTAINER_OF(poll, struct conn, poll);
    conn_touch(c);
    if (status < 0 || events & UV_PRIORITIZED) {
        c->failed = true;
        return;
    }
    if (events & UV_DISCONNECT)
        c->hung_up = true;
    if (events & UV_WRITABLE)
        c->blocked = false;
    if (c->state == CONN_HANDSHAKE)
        shake(c);
    else if (events & UV_READABLE)
        read_some(c);
    /* At once, not when all that came in this turn was read: of a thousand slow ones, say. */
    list_remove(&c->work);
    conn_work(c);
}

/* ---- acting on what came ---- */

static void refuse(struct conn *c, const struct http_exchange *x, const struct http_fault *fault)
{
    c->s->stats.bad_requests++;
    if (fault->status == 0) {
        conn_fail(c);
        return;
    }
    respond_fault(c, x, fault);
    conn_close_soon(c);
}

/* The same while the body comes. */
static void refuse_body(struct conn *c, const struct http_fault *fault)
{
    struct http_exchange *x = c->x;
    c->x = NULL;
    refuse(c, x, fault);
    exchange_free(x);
}

static const struct http_fault SHUTDOWN = {503, "shutdown", "the server is shutting down"};

/* An empty line may stand before a request: some clients end a body with one.  Its CR alone
 * does not begin a request yet. */
static struct slice skip_line(struct conn *c)
{
    struct slice in = queue_view(&c->in);
    if (c->skipped_line || c->scan.at || in.n == 0 || in.p[0] != '\r')
        return in;
    if (in.n == 1)
        return (struct slice){0};
    c->skipped_line = true;
    if (in.p[1] == '\n')
        queue_take(&c->in, 2);
    return queue_view(&c->in);
}

/* Whether what is there may yet become such a line. */
static bool may_skip(const struct conn *c, struct slice in)
{
    return !c->skipped_line && c->scan.at == 0 && in.n == 1 && in.p[0] == '\r';
}

static void continue_100(struct conn *c)
{
    static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
    if (c->x->head.expects && queue_bytes(&c->in) == 0)
        conn_write(c, slice_of(text));
}

static void hand_over(struct conn *c)
{
    struct http_exchange *x = c->x;
    c->state = CONN_BUSY;
    c->deadline_ms = 0;
    c->probe_ms = 0;
    x->arrived_ns = clock_ns(clock_system());
    x->handed = true;
    c->s->stats.requests++;
    c->s->stats.exchanges++;
    if (!http_wants_ws(x) || ws_check(x))
        c->s->handler.request(c->s->handler.ctx, x);
}

/* The body comes next, if anybody wants it. */
static void expect_body(struct conn *c)
{
    c->state = CONN_BODY;
    c->deadline_ms = 0;
    c->x->body_until_ms = conn_now_ms(c) + BODY_GRACE_MS;
    if (exchange_wants_body(c->x))
        continue_100(c);
    else
        hand_over(c);
}

/* true: the state has changed. */
static bool take_head(struct conn *c)
{
    struct http_fault fault;
    struct slice in = skip_line(c);
    if (in.n == 0) {
        if (c->eof || c->s->draining)
            conn_close_soon(c);
        return false;
    }
    if (c->s->draining) {
        refuse(c, NULL, &SHUTDOWN);
        return true;
    }
    /* A client that does not take its answers gets no further ones. */
    if (conn_unsent(c) >= HTTP_AHEAD_BYTES_MAX)
        return false;
    if (c->scan.at == 0)
        c->deadline_ms = conn_now_ms(c) + c->s->limits.head_ms;
    if (may_skip(c, in) && !c->eof)
        return false;
    int length = head_scan(&c->scan, in, &fault);
    if (length == 0 && c->eof)
        conn_close_soon(c);
    if (length == 0)
        return false;
    if (length < 0) {
        refuse(c, NULL, &fault);
        return true;
    }
    fault = (struct http_fault){0};
    struct http_exchange *x = exchange_new(c, (struct slice){in.p, (size_t)length}, &fault);
    queue_take(&c->in, (size_t)length);
    c->scan = (struct head_scan){0};
    c->skipped_line = false;
    if (!x || fault.code) {
        refuse(c, x, &fault);
        if (x)
            exchange_free(x);
        return true;
    }
    c->x = x;
    expect_body(c);
    return true;
}

/* 1: the body is whole; 0: more must come; -1: refused. */
static int read_body(struct conn *c, struct http_fault *fault)
{
    struct http_exchange *x = c->x;
    struct slice in = queue_view(&c->in);
    size_t used = 0;
    int whole;
    if (x->head.chunked) {
        whole = chunked_take(&x->chunked, in, &x->body, &used, fault);
    } else {
        uint64_t left = x->head.content_length - x->body.n;
        used = left < in.n ? (size_t)left : in.n;
        *fault = (struct http_fault){0};
        whole = buf_add(&x->body, in.p, used) ? -1 : used == left;
    }
    queue_take(&c->in, used);
    x->came += used;
    return whole;
}

/* The same, and all bodies together are within the limit, and the payer's within its part. */
static int take_body(struct conn *c, struct http_fault *fault)
{
    struct http_exchange *x = c->x;
    int whole = read_body(c, fault);
    if (whole < 0 || payer_holds(c, &x->paid, x->body.n))
        return whole;
    *fault = (struct http_fault){503, "overloaded", "the server holds as many bytes as it may"};
    return -1;
}

static bool act_body(struct conn *c)
{
    struct http_fault fault;
    int whole = take_body(c, &fault);
    if (whole < 0)
        refuse_body(c, &fault);
    else if (whole)
        hand_over(c);
    else if (c->eof)
        conn_fail(c);
    else if (c->s->draining)
        refuse_body(c, &SHUTDOWN);
    return whole != 0;
}

/* The user may close, which it does to a connection whose queue is empty already. */
static bool act_taken(struct conn *c)
{
    struct queue in = c->in;
    c->in = (struct queue){.b.max = in.b.max};
    if (queue_bytes(&in))
        c->user->bytes(c->user_ctx, c, queue_view(&in));
    queue_free(&in);
    if (c->eof && c->state == CONN_TAKEN)
        conn_close_soon(c);
    return false;
}

static bool act(struct conn *c)
{
    switch (c->state) {
    case CONN_HEAD:
        return take_head(c);
    case CONN_BODY:
        return act_body(c);
    case CONN_TAKEN:
        return act_taken(c);
    case CONN_HANDSHAKE:
    case CONN_BUSY:
    case CONN_CLOSING:
    case CONN_LINGER:
        break;
    }
    return false;
}

/* ---- writing ---- */

static void flush(struct conn *c)
{
    size_t before = conn_unsent(c);
    while (!c->blocked && !c->failed && conn_unsent(c)) {
        struct slice out = queue_view(&c->out);
        long put = socket_write(c, out.p, out.n);
        if (put == CONN_AGAIN) {
            c->blocked = true;
        } else if (put == CONN_ERROR) {
            conn_fail(c);
        } else {
            queue_take(&c->out, (size_t)put);
            c->written += (uint64_t)put;
            c->s->stats.bytes_out += (uint64_t)put;
        }
    }
    /* Requests may have waited for that. */
    if (before >= HTTP_AHEAD_BYTES_MAX && conn_unsent(c) < HTTP_AHEAD_BYTES_MAX)
        conn_touch(c);
}

/* Our side says that nothing more will come, and waits until the client has read all: a
 * socket that is closed with bytes unread takes back what it has sent. */
static void linger(struct conn *c)
{
    if (c->ssl)
        tls_goodbye(c->ssl);
    (void)shutdown(c->fd, SHUT_WR);
    c->state = CONN_LINGER;
    c->deadline_ms = conn_now_ms(c) + LINGER_MS;
    if (c->eof)
        conn_fail(c);
}

void conn_work(struct conn *c)
{
    while (!c->failed && act(c))
        ;
    if (!c->failed && c->probe_ms == 0)
        probe(c, conn_now_ms(c));
    flush(c);
    if (!c->failed && c->state == CONN_CLOSING && conn_unsent(c) == 0)
        linger(c);
    if (!c->failed)
        set_events(c);
    if (c->failed)
        conn_drop(c);
}

/* ---- time ---- */

/* Bytes that the client's system has; what ours holds back for it does not count. */
static uint64_t taken_by_client(const struct conn *c)
{
    int held = 0;
    if (!c->tcp || ioctl(c->fd, SIOCOUTQ, &held) || held < 0 || (uint64_t)held > c->written)
        held = 0;
    return c->written - (uint64_t)held;
}

/* A client that takes no bytes for a while is given up, and so is one that takes a few now
 * and then: in stall_ms it must take what the least rate makes of that, or all there is. */
static void check_stall(struct conn *c, uint64_t now_ms)
{
    if ((conn_unsent(c) == 0 && c->stall.clean == c->written) || now_ms < c->stall.look_ms)
        return;
    c->stall.look_ms = now_ms + c->s->limits.stall_ms / STALL_LOOKS;
    uint64_t taken = taken_by_client(c);
    uint64_t waits = conn_unsent(c) + c->written - taken;
    if (waits == 0) {
        c->stall.until_ms = 0;
        c->stall.clean = c->written;
        return;
    }
    if (c->stall.until_ms == 0 || taken - c->stall.taken >= c->stall.wanted) {
        c->stall.until_ms = now_ms + c->s->limits.stall_ms;
        c->stall.taken = taken;
        uint64_t least = (uint64_t)c->s->limits.body_bytes_per_s * c->s->limits.stall_ms / 1000 + 1;
        c->stall.wanted = waits < least ? waits : least;
        return;
    }
    if (now_ms >= c->stall.until_ms)
        conn_fail(c);
}

/* Each byte buys the time that it may take, up to BODY_GRACE_MS ahead: who sends much at once and
 * then stops is given up as who dribbles. */
static void check_body(struct conn *c, uint64_t now_ms)
{
    struct http_exchange *x = c->x;
    uint64_t rate = c->s->limits.body_bytes_per_s, most = now_ms + BODY_GRACE_MS;
    uint64_t ms = (x->came - x->credited) * 1000 / rate;
    x->credited += ms * rate / 1000;
    x->body_until_ms = x->body_until_ms + ms < most ? x->body_until_ms + ms : most;
    if (now_ms >= x->body_until_ms) {
        const struct http_fault slow = {408, "body_too_slow", "the body comes too slowly"};
        refuse_body(c, &slow);
    }
}

/* Whether the client's system has told ours that the connection is no more. */
static bool is_reset(const struct conn *c)
{
    struct tcp_info info;
    socklen_t n = sizeof(info);
    if (!c->tcp || getsockopt(c->fd, IPPROTO_TCP, TCP_INFO, &info, &n))
        return false;
    return info.tcpi_state == TCP_CLOSE;
}

/* One that sent so far ahead that nothing is read any more cannot say that it leaves. */
static bool may_have_left(const struct conn *c)
{
    return c->state == CONN_BUSY && c->x &&
           (c->eof || c->hung_up || queue_bytes(&c->in) >= HTTP_AHEAD_BYTES_MAX);
}

/* A client that ended its side may still read, or be gone, or go later.  Bytes that mean
 * nothing make the system of one that is gone say so. */
static void probe(struct conn *c, uint64_t now_ms)
{
    static const char interim[] = "HTTP/1.1 102 Processing\r\n\r\n";
    if (!may_have_left(c) || now_ms < c->probe_ms)
        return;
    c->probe_ms = now_ms + (c->probe_ms ? PROBE_LATER_MS : PROBE_AGAIN_MS);
    if (c->x->head.minor == 0 && (c->eof || c->hung_up))
        conn_fail(c); // it knows no 102
    else if (is_reset(c))
        conn_fail(c);
    else if (c->x->head.minor == 0 || conn_unsent(c) > 0)
        return; // the answer itself asks
    else if (c->x->streaming && c->x->events)
        respond_comment(c->x);
    else if (!c->x->streaming)
        conn_write(c, slice_of(interim));
}

static void keep_alive(struct conn *c, uint64_t now_ms)
{
    struct http_exchange *x = c->x;
    if (c->state == CONN_BUSY && x && x->streaming && x->events &&
        now_ms - x->spoke_ms >= c->s->limits.keep_alive_ms)
        respond_comment(x);
}

static void end_of_time(struct conn *c)
{
    if (c->state == CONN_HEAD && c->scan.at) {
        const struct http_fault slow = {408, "header_too_slow", "the header came too slowly"};
        refuse(c, NULL, &slow);
    } else {
        conn_fail(c);
    }
}

void conn_tick(struct conn *c, uint64_t now_ms)
{
    /* A client that is still reading its answer is not idle; check_stall watches it. */
    if (c->state == CONN_HEAD && c->scan.at == 0 && conn_unsent(c) > 0)
        c->deadline_ms = now_ms + c->s->limits.idle_ms;
    if (c->deadline_ms && now_ms >= c->deadline_ms) {
        c->deadline_ms = 0;
        end_of_time(c);
    }
    check_stall(c, now_ms);
    if (c->state == CONN_BODY)
        check_body(c, now_ms);
    probe(c, now_ms);
    keep_alive(c, now_ms);
    if (c->s->draining && c->state == CONN_HEAD && c->scan.at == 0)
        conn_touch(c);
    if (c->state == CONN_TAKEN) {
        if (c->s->draining && !c->drain_told) {
            c->drain_told = true;
            c->user->drain(c->user_ctx, c);
        }
        c->user->tick(c->user_ctx, c, now_ms);
    }
}
