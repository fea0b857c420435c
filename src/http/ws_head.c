/* http/ws_head.c - the head of a WebSocket frame, as strictly as the RFC has it. */
#include "http/ws.h"

enum {
    FIN = 0x80,
    RESERVED = 0x70,
    OPCODE = 0x0f,
    CONTROL = 0x08,
    MASKED = 0x80,
    LENGTH = 0x7f,
    LENGTH_16 = 126,
    LENGTH_64 = 127,
    BINARY = 2, /* the last opcode of data, and the last of control */
    PONG = 10,
    MASK_BYTES = 4,
};

static bool known(uint8_t opcode)
{
    return opcode <= (opcode & CONTROL ? PONG : BINARY);
}

/* Reads the length that n bytes at p are; false: fewer bytes would do, or it is negative. */
static bool read_length(uint64_t *out, const uint8_t *p, size_t n)
{
    uint64_t length = 0;
    for (size_t i = 0; i < n; i++)
        length = length << 8 | p[i];
    *out = length;
    return n == 2 ? length >= LENGTH_16 : length > UINT16_MAX && length <= INT64_MAX;
}

int ws_head_read(struct ws_head *out, const uint8_t *p, size_t n)
{
    if (n >= 1 && ((p[0] & RESERVED) || !known(p[0] & OPCODE)))
        return -1;
    if (n < 2)
        return 0;
    uint8_t length = p[1] & LENGTH;
    *out = (struct ws_head){
        .length = length,
        .opcode = p[0] & OPCODE,
        .fin = p[0] & FIN,
        .control = p[0] & CONTROL,
    };
    if (!(p[1] & MASKED) || (out->control && (!out->fin || length > WS_CONTROL_BYTES_MAX)))
        return -1;
    size_t more = length == LENGTH_16 ? 2 : length == LENGTH_64 ? 8 : 0;
    if (n < 2 + more)
        return 0;
    if (more && !read_length(&out->length, p + 2, more))
        return -1;
    return n < 2 + more + MASK_BYTES ? 0 : (int)(2 + more + MASK_BYTES);
}
