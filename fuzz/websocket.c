/* A WebSocket client's bytes, after the handshake.
 *
 * The input's first byte says how the rest is cut into packets.  However it is cut, the server
 * hears the same messages and writes the same bytes: whole frames, the last of which is a close
 * frame if it gave up.  Texts are UTF-8 and nothing is larger than the limits. */
#include <string.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/ckd.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "http/ws.h"

enum { WRITTEN_BYTES_MAX = 64 << 20, CLOSE_FRAME = 0x88, CLOSE_PAYLOAD_MAX = 125 };

struct talk {
    struct ws_frames *frames;
    struct buf out;   /* what the server wrote */
    struct buf heard; /* its messages, one after the other */
    uint32_t messages;
    bool more; /* the connection goes on */
};

static void on_write(void *ctx, struct slice bytes)
{
    struct talk *t = ctx;
    ASSERT(buf_add(&t->out, bytes.p, bytes.n) == 0);
}

/* Echoes; some messages make the server say goodbye. */
static void on_message(void *ctx, bool text, struct slice message)
{
    struct talk *t = ctx;
    ASSERT(message.n <= WS_MESSAGE_MAX);
    ASSERT(!text || utf8_valid(message.p, message.n));
    t->messages++;
    ASSERT(buf_add(&t->heard, text ? "T" : "B", 1) == 0);
    ASSERT(buf_add(&t->heard, message.p, message.n) == 0);
    ASSERT(ws_frames_send(t->frames, text, message) == 0);
    if (slice_is(message, "end"))
        ASSERT(ws_frames_end(t->frames, 1001, "bye") == 0);
}

/* Takes the server's frames apart; nothing may follow a close frame. */
static bool check_written(struct slice out)
{
    bool closed = false;
    while (out.n) {
        ASSERT(!closed && out.n >= 2 && (out.p[0] & 0xf0) == 0x80 && out.p[1] < 0x80);
        size_t more = out.p[1] == 126 ? 2 : out.p[1] == 127 ? 8 : 0;
        uint64_t length = more ? 0 : out.p[1];
        ASSERT(out.n >= 2 + more);
        for (size_t i = 0; i < more; i++)
            length = length << 8 | out.p[2 + i];
        ASSERT(length <= out.n - 2 - more);
        closed = out.p[0] == CLOSE_FRAME;
        const uint8_t *payload = out.p + 2 + more;
        if (out.p[0] & 0x08)
            ASSERT(length <= CLOSE_PAYLOAD_MAX);
        if (closed)
            ASSERT(length == 0 || (length >= 2 && utf8_valid(payload + 2, length - 2)));
        out = (struct slice){payload + length, out.n - 2 - more - (size_t)length};
    }
    return closed;
}

/* cut 0: all at once; else packets of up to cut bytes. */
static void talk(struct talk *t, struct slice bytes, uint8_t cut)
{
    const struct ws_events events = {on_message, on_write, t};
    unsigned seed = cut;
    size_t taken = bytes.n;
    *t = (struct talk){.more = true};
    buf_init(&t->out, WRITTEN_BYTES_MAX);
    buf_init(&t->heard, WRITTEN_BYTES_MAX);
    ASSERT(ws_frames_open(&t->frames, &events) == 0);
    while (bytes.n && t->more) {
        seed = seed * 1103515245 + 12345;
        size_t n = cut ? min_size(1 + (seed >> 16) % cut, bytes.n) : bytes.n;
        /* A packet is a block of its own, so that reading past its end is seen. */
        uint8_t *packet = mem_alloc(n);
        ASSERT(packet);
        memcpy(packet, bytes.p, n);
        t->more = ws_frames_take(t->frames, (struct slice){packet, n}, 1);
        mem_free(packet);
        bytes = (struct slice){bytes.p + n, bytes.n - n};
    }
    uint64_t since_ms, came;
    bool partial = ws_frames_partial(t->frames, &since_ms, &came);
    ASSERT(!partial || (since_ms == 1 && came));
    bool closed = check_written(buf_slice(&t->out));
    /* Not more than the client sent: no few bytes make many. */
    ASSERT(t->out.n <= taken + 2 + CLOSE_PAYLOAD_MAX);
    ASSERT(t->more || closed);
    ASSERT(!closed || ws_frames_ending(t->frames));
    ws_frames_close(t->frames);
}

static bool same(const struct buf *a, const struct buf *b)
{
    return a->n == b->n && (a->n == 0 || memcmp(a->p, b->p, a->n) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct talk whole, cut;
    if (n < 2)
        return 0;
    talk(&whole, (struct slice){data + 1, n - 1}, 0);
    talk(&cut, (struct slice){data + 1, n - 1}, data[0] ? data[0] : 1);
    ASSERT(whole.more == cut.more && whole.messages == cut.messages);
    ASSERT(same(&whole.heard, &cut.heard) && same(&whole.out, &cut.out));
    buf_free(&whole.out);
    buf_free(&whole.heard);
    buf_free(&cut.out);
    buf_free(&cut.heard);
    ASSERT(mem_live() == 0);
    return 0;
}
