/* http/ws_frames.c - frames by wslay, and the limits that it does not have. */
#include <string.h>
#include <wslay/wslay.h>

#include "base/ckd.h"
#include "base/mem.h"
#include "http/ws.h"

enum { REASON_MAX = 123, PINGS_WINDOW_MS = 1000 };

struct ws_frames {
    wslay_event_context_ptr wslay;
    struct ws_events events;
    struct slice in;    /* what wslay has not asked for yet */
    uint32_t fragments; /* of the message that is coming */
    uint32_t pings;     /* since window_ms */
    uint64_t window_ms, now_ms;
    bool failed; /* memory is short */
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

/* Ends the connection: nothing that comes from now on is read. */
static void give_up(struct ws_frames *f, uint16_t code, const char *reason)
{
    if (ws_frames_end(f, code, reason))
        f->failed = true;
    wslay_event_shutdown_read(f->wslay);
}

static void on_frame(wslay_event_context_ptr wslay,
                     const struct wslay_event_on_frame_recv_start_arg *frame, void *ctx)
{
    struct ws_frames *f = ctx;
    (void)wslay;
    if (frame->opcode == WSLAY_PING) {
        if (f->now_ms - f->window_ms >= PINGS_WINDOW_MS) {
            f->window_ms = f->now_ms;
            f->pings = 0;
        }
        if (++f->pings > WS_PINGS_PER_S_MAX)
            give_up(f, WSLAY_CODE_POLICY_VIOLATION, "too many pings");
    } else if (frame->opcode == WSLAY_CONNECTION_CLOSE) {
        if (frame->payload_length == 1) // half a code, which wslay takes for none
            give_up(f, WSLAY_CODE_PROTOCOL_ERROR, "");
    } else if (!wslay_is_ctrl_frame(frame->opcode)) {
        f->fragments = frame->opcode == WSLAY_CONTINUATION_FRAME ? f->fragments + 1 : 1;
        if (f->fragments > WS_FRAGMENTS_MAX)
            give_up(f, WSLAY_CODE_MESSAGE_TOO_BIG, "too many fragments");
    }
}

static void on_message(wslay_event_context_ptr wslay, const struct wslay_event_on_msg_recv_arg *m,
                       void *ctx)
{
    struct ws_frames *f = ctx;
    if (wslay_is_ctrl_frame(m->opcode) || !wslay_event_get_read_enabled(wslay))
        return;
    f->events.message(f->events.ctx, m->opcode == WSLAY_TEXT_FRAME,
                      (struct slice){m->msg, m->msg_length});
}

int ws_frames_open(struct ws_frames **out, const struct ws_events *events)
{
    static const struct wslay_event_callbacks callbacks = {
        .recv_callback = on_recv,
        .send_callback = on_send,
        .on_frame_recv_start_callback = on_frame,
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
    f->events = *events;
    *out = f;
    return 0;
}

void ws_frames_close(struct ws_frames *f)
{
    if (!f)
        return;
    wslay_event_context_free(f->wslay);
    mem_free(f);
}

bool ws_frames_ending(const struct ws_frames *f)
{
    return wslay_event_get_close_received(f->wslay) || wslay_event_get_close_sent(f->wslay) ||
           !wslay_event_get_read_enabled(f->wslay);
}

/* A frame that wslay cannot read ends the connection without a word from it. */
static void say_broken(struct ws_frames *f)
{
    static const uint8_t frame[] = {0x80 | WSLAY_CONNECTION_CLOSE, 2,
                                    WSLAY_CODE_PROTOCOL_ERROR >> 8,
                                    WSLAY_CODE_PROTOCOL_ERROR & 0xff};
    if (!wslay_event_get_close_sent(f->wslay))
        f->events.write(f->events.ctx, (struct slice){frame, sizeof(frame)});
}

bool ws_frames_take(struct ws_frames *f, struct slice bytes, uint64_t now_ms)
{
    f->in = bytes;
    f->now_ms = now_ms;
    int failed = wslay_event_recv(f->wslay);
    f->in = (struct slice){0};
    if (failed == WSLAY_ERR_CALLBACK_FAILURE)
        say_broken(f);
    if (!failed)
        failed = wslay_event_send(f->wslay);
    return !failed && !f->failed &&
           (wslay_event_want_read(f->wslay) || wslay_event_want_write(f->wslay));
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
    size_t n = strnlen(reason, REASON_MAX);
    int status = wslay_event_queue_close(f->wslay, code, (const uint8_t *)reason, n);
    if (status == WSLAY_ERR_NO_MORE_MSG)
        return 0;
    return status || wslay_event_send(f->wslay) ? REALM_E_NOMEM : 0;
}
