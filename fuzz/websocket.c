/* WebSocket frames of any bytes, answered by an echo.
 *
 * The first byte says in which pieces the rest comes: the messages are those of the whole
 * in one piece. */
#include "base/assert.h"
#include "base/ckd.h"
#include "base/limits.h"
#include "base/utf8.h"
#include "http/ws.h"

struct seen {
    struct ws_frames *frames;
    uint64_t messages, bytes, hash, written;
};

static void on_message(void *ctx, bool text, struct slice message)
{
    struct seen *s = ctx;
    ASSERT(message.n <= WS_MESSAGE_MAX);
    ASSERT(!text || utf8_valid(message.p, message.n));
    s->messages++;
    s->bytes += message.n;
    for (size_t i = 0; i < message.n; i++)
        s->hash = (s->hash ^ message.p[i]) * 0x100000001b3;
    ASSERT(ws_frames_send(s->frames, text, message) == 0);
}

static void on_write(void *ctx, struct slice bytes)
{
    ((struct seen *)ctx)->written += bytes.n;
}

static struct seen take(struct slice bytes, size_t step)
{
    struct seen s = {0};
    const struct ws_events events = {on_message, on_write, &s};
    bool more = true;
    ASSERT(ws_frames_open(&s.frames, &events) == 0);
    for (size_t at = 0; at < bytes.n && more; at += step) {
        struct slice piece = {bytes.p + at, min_size(step, bytes.n - at)};
        more = ws_frames_take(s.frames, piece, 0);
        ASSERT(more || ws_frames_ending(s.frames));
    }
    /* An answer to each byte at most, but for a close frame. */
    ASSERT(s.written <= bytes.n + 125 + 2);
    ASSERT(ws_frames_end(s.frames, 1001, "gone") == 0);
    ws_frames_close(s.frames);
    return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    struct slice bytes = {data + 1, size - 1};
    struct seen whole = take(bytes, bytes.n), pieces = take(bytes, 1 + data[0] % 32);
    ASSERT(whole.messages == pieces.messages && whole.bytes == pieces.bytes &&
           whole.hash == pieces.hash);
    return 0;
}
