/* http/ws_frames.c - frames by wslay, and the limits that it does not have.
 *
 * wslay gets a frame's head when it is whole and has been found good, and a control frame when
 * all of it is there: of a close frame in two parts it would skip two bytes of each. */
#include <string.h>
#include <wslay/wslay.h>

#include "base/ckd.h"
#include "base/mem.h"
#include "http/ws.h"

enum { REASON_BYTES_MAX = 123, PINGS_WINDOW_MS = 1000 };

struct ws_frames {
    wslay_event_context_ptr wslay;
    struct ws_events events;
    struct slice in;        /* what wslay has not asked for yet */
    uint64_t left;          /* bytes of a data frame's payload that are to come */
    uint64_t message_bytes; /* of the message that is coming, as its frames announce them */
    uint64_t message_max;
    bool guarded;       /* wslay is not to keep copies of data: it comes together in `own` */
    bool payload;       /* wslay has a data frame's */
    struct buf own;     /* of the message that is coming, while guarded */
    uint32_t fragments; /* its frames */
    uint32_t pings;     /* since window_ms */
    uint64_t window_ms, now_ms;
    uint64_t since_ms, came; /* of what has come in part: when it began, its bytes */
    bool open;               /* the last data frame was not its message's last */
    bool failed;             /* memory is short */
    uint8_t held_n;
    uint8_t held[WS_HEAD_BYTES_MAX + WS_CONTROL_BYTES_MAX]; /* a head, or a control frame */
};

static ssize_t on_recv(wslay_event_context_ptr wslay, uint8_t *to, size_t n, int flags, void *ctx)
{
    struct ws_frames *f = ctx;
    (void)flags;
    size_t take = min_size(n, f->in.n);
    if (take == 0) {
        wslay_event_set_error(wslay, WSLAY_ERR_WOULDBLOCK);
        return -1;
    }
    memcpy(to, f->in.p, take);
    f->in.p += take;
    f->in.n -= take;
    return (ssize_t)take;
}

static ssize_t on_send(wslay_event_context_ptr wslay, const uint8_t *bytes, size_t n, int flags,
                       void *ctx)
{
    struct ws_frames *f = ctx;
    (void)wslay;
    (void)flags;
    f->events.write(f->events.ctx, (struct slice){bytes, n});
    return (ssize_t)n;
}

void ws_frames_refuse(struct ws_frames *f, uint16_t code, const char *reason)
{
    if (ws_frames_end(f, code, reason))
        f->failed = true;
    wslay_event_shutdown_read(f->wslay);
}

static void wipe(struct buf *b)
{
    mem_wipe(b->p, b->n);
    buf_clear(b);
}

/* Bytes of a frame, in wslay's own buffer. */
static void on_chunk(wslay_event_context_ptr wslay,
                     const struct wslay_event_on_frame_recv_chunk_arg *chunk, void *ctx)
{
    struct ws_frames *f = ctx;
    (void)wslay;
    if (!f->guarded || !f->payload || chunk->data_length == 0)
        return;
    if (buf_add(&f->own, chunk->data, chunk->data_length))
        f->failed = true;
    mem_wipe((void *)chunk->data, chunk->data_length);
}

static void on_message(wslay_event_context_ptr wslay, const struct wslay_event_on_msg_recv_arg *m,
                       void *ctx)
{
    struct ws_frames *f = ctx;
    struct slice message = {m->msg, m->msg_length};
    (void)wslay;
    if (wslay_is_ctrl_frame(m->opcode) || f->failed)
        return;
    if (f->guarded)
        message = buf_slice(&f->own);
    f->events.message(f->events.ctx, m->opcode == WSLAY_TEXT_FRAME, message);
    wipe(&f->own);
}

int ws_frames_open(struct ws_frames **out, const struct ws_events *events)
{
    static const struct wslay_event_callbacks callbacks = {
        .recv_callback = on_recv,
        .send_callback = on_send,
        .on_frame_recv_chunk_callback = on_chunk,
        .on_msg_recv_callback = on_message,
    };
    *out = NULL;
    struct ws_frames *f = mem_zalloc(sizeof(*f));
    if (!f)
        return REALM_E_NOMEM;
    if (wslay_event_context_server_init(&f->wslay, &callbacks, f)) {
        mem_free(f);
        return REALM_E_NOMEM;
    }
    wslay_event_config_set_max_recv_msg_length(f->wslay, WS_MESSAGE_MAX);
    buf_init(&f->own, WS_KEY_MESSAGE_MAX);
    f->message_max = WS_MESSAGE_MAX;
    f->events = *events;
    *out = f;
    return 0;
}

void ws_frames_close(struct ws_frames *f)
{
    if (!f)
        return;
    wslay_event_context_free(f->wslay);
    wipe(&f->own);
    buf_free(&f->own);
    mem_free(f);
}

int ws_frames_guard(struct ws_frames *f, bool on)
{
    if (on && buf_reserve(&f->own, WS_KEY_MESSAGE_MAX))
        return REALM_E_NOMEM;
    f->guarded = on;
    f->message_max = on ? WS_KEY_MESSAGE_MAX : WS_MESSAGE_MAX;
    wslay_event_config_set_no_buffering(f->wslay, on);
    return 0;
}

bool ws_frames_ending(const struct ws_frames *f)
{
    return wslay_event_get_close_received(f->wslay) || wslay_event_get_close_sent(f->wslay) ||
           !wslay_event_get_read_enabled(f->wslay);
}

bool ws_frames_partial(const struct ws_frames *f, uint64_t *since_ms, uint64_t *bytes)
{
    *since_ms = f->since_ms;
    *bytes = f->came;
    return f->held_n || f->left || f->open;
}

static bool reads(const struct ws_frames *f)
{
    return !f->failed && wslay_event_get_read_enabled(f->wslay);
}

static void feed(struct ws_frames *f, struct slice bytes)
{
    f->in = bytes;
    if (wslay_event_recv(f->wslay) || wslay_event_send(f->wslay))
        f->failed = true;
    f->in = (struct slice){0};
}

static void begin_control(struct ws_frames *f, const struct ws_head *h)
{
    if (h->opcode == WSLAY_CONNECTION_CLOSE && h->length == 1)
        ws_frames_refuse(f, WSLAY_CODE_PROTOCOL_ERROR, "half of a close code");
    if (h->opcode != WSLAY_PING)
        return;
    if (f->now_ms - f->window_ms >= PINGS_WINDOW_MS) {
        f->window_ms = f->now_ms;
        f->pings = 0;
    }
    if (++f->pings > WS_PINGS_PER_S_MAX)
        ws_frames_refuse(f, WSLAY_CODE_POLICY_VIOLATION, "too many pings");
}

static void begin_data(struct ws_frames *f, const struct ws_head *h)
{
    bool goes_on = h->opcode == WSLAY_CONTINUATION_FRAME;
    if (goes_on != f->open) {
        ws_frames_refuse(f, WSLAY_CODE_PROTOCOL_ERROR, "messages are mixed up");
        return;
    }
    f->fragments = goes_on ? f->fragments + 1 : 1;
    f->message_bytes = goes_on ? f->message_bytes : 0;
    if (f->message_bytes > f->message_max || h->length > f->message_max - f->message_bytes) {
        ws_frames_refuse(f, WSLAY_CODE_MESSAGE_TOO_BIG, "the message is over the limit");
    } else if (f->fragments > WS_FRAGMENTS_MAX) {
        ws_frames_refuse(f, WSLAY_CODE_MESSAGE_TOO_BIG, "too many fragments");
    } else {
        f->message_bytes += h->length;
        f->left = h->length;
        f->open = !h->fin;
    }
}

/* A byte of a head, or of a control frame. */
static void take_byte(struct ws_frames *f, uint8_t byte)
{
    struct ws_head h;
    f->held[f->held_n++] = byte;
    int n = ws_head_read(&h, f->held, f->held_n);
    if (n < 0)
        ws_frames_refuse(f, WSLAY_CODE_PROTOCOL_ERROR, "malformed frame");
    if (n <= 0 || (h.control && f->held_n < (size_t)n + h.length))
        return;
    if (h.control)
        begin_control(f, &h);
    else
        begin_data(f, &h);
    if (reads(f))
        feed(f, (struct slice){f->held, f->held_n});
    f->held_n = 0;
}

/* Returns how many of the bytes it took. */
static size_t take_some(struct ws_frames *f, struct slice bytes)
{
    if (!f->left) {
        take_byte(f, bytes.p[0]);
        return 1;
    }
    size_t n = f->left < bytes.n ? (size_t)f->left : bytes.n;
    f->left -= n;
    f->payload = true;
    feed(f, (struct slice){bytes.p, n});
    f->payload = false;
    return n;
}

bool ws_frames_take(struct ws_frames *f, struct slice bytes, uint64_t now_ms)
{
    uint64_t since_ms, came;
    f->now_ms = now_ms;
    while (bytes.n && reads(f)) {
        if (!ws_frames_partial(f, &since_ms, &came)) {
            f->since_ms = now_ms;
            f->came = 0;
        }
        size_t n = take_some(f, bytes);
        f->came += n;
        bytes = (struct slice){bytes.p + n, bytes.n - n};
    }
    return reads(f) || (!f->failed && wslay_event_want_write(f->wslay));
}

static int queue(struct ws_frames *f, uint8_t opcode, struct slice text)
{
    const struct wslay_event_msg m = {opcode, text.p, text.n};
    int status = wslay_event_queue_msg(f->wslay, &m);
    /* A closing handshake has begun: there is nothing to say any more. */
    if (status == WSLAY_ERR_NO_MORE_MSG)
        return 0;
    return status || wslay_event_send(f->wslay) ? REALM_E_NOMEM : 0;
}

int ws_frames_send(struct ws_frames *f, bool text, struct slice message)
{
    return queue(f, text ? WSLAY_TEXT_FRAME : WSLAY_BINARY_FRAME, message);
}

int ws_frames_ping(struct ws_frames *f)
{
    return queue(f, WSLAY_PING, (struct slice){0});
}

int ws_frames_end(struct ws_frames *f, uint16_t code, const char *reason)
{
    size_t n = strnlen(reason, REASON_BYTES_MAX);
    int status = wslay_event_queue_close(f->wslay, code, (const uint8_t *)reason, n);
    if (status == WSLAY_ERR_NO_MORE_MSG)
        return 0;
    return status || wslay_event_send(f->wslay) ? REALM_E_NOMEM : 0;
}
