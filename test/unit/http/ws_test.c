/* WebSocket: a real server that echoes, and clients that keep to no rule.  Rows W-S1 and W-S2:
 * each malformed byte has its answer, and the server goes on serving. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"
#include "ws_client.h"
#include "ws_server.h"

#define BYTES(text) ((struct slice){(const uint8_t *)(text), sizeof(text) - 1})

/* ---- the handshake ---- */

static int asked(const char *request)
{
    int fd = client_open(s.port, 0);
    client_send(fd, request, strlen(request));
    return fd;
}

static void handshakes(void **state)
{
#define START "GET / HTTP/1.1\r\nHost: localhost\r\n"
#define UPGRADE "Upgrade: websocket\r\nConnection: Upgrade\r\n"
#define KEY "Sec-WebSocket-Key: " WS_KEY "\r\n"
#define V13 "Sec-WebSocket-Version: 13\r\n"
    static const struct {
        const char *request, *answer;
    } rows[] = {
        {START UPGRADE KEY V13, "101"},
        {START "Upgrade: WebSocket\r\nConnection: keep-alive, upgrade\r\n" KEY V13, "101"},
        {START UPGRADE KEY V13 "Sec-WebSocket-Protocol: chat, realm\r\n", "101"},
        {START UPGRADE KEY V13
         "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n",
         "101"},
        {START "Connection: Upgrade\r\n" KEY V13, "200"}, // no upgrade is asked for
        {START "Upgrade: h2c\r\nConnection: Upgrade\r\n" KEY V13, "200"},
        {START "Upgrade: websocket\r\n" KEY V13, "400"},
        {START "Upgrade: websocket\r\nConnection: keep-alive\r\n" KEY V13, "400"},
        {"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n" UPGRADE KEY V13, "400"},
        {"HEAD / HTTP/1.1\r\nHost: localhost\r\n" UPGRADE KEY V13, "400"},
        {"GET / HTTP/1.0\r\nHost: localhost\r\n" UPGRADE KEY V13, "400"},
        {START UPGRADE KEY, "426"},
        {START UPGRADE KEY "Sec-WebSocket-Version: 8\r\n", "426"},
        {START UPGRADE KEY "Sec-WebSocket-Version: 013\r\n", "426"},
        {START UPGRADE V13, "400"},
        {START UPGRADE V13 KEY KEY, "400"},
        {START UPGRADE V13 "Sec-WebSocket-Key: \r\n", "400"},
        {START UPGRADE V13 "Sec-WebSocket-Key: c2hvcnQ=\r\n", "400"},
        {START UPGRADE V13 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=\r\n", "400"},
        {START UPGRADE V13 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZSE=\r\n", "400"}, // 17 bytes
        {START UPGRADE V13 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZR==\r\n", "400"},
        {START UPGRADE V13 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j$Q==\r\n", "400"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int fd = asked(rows[i].request);
        client_send(fd, "\r\n", 2);
        const char *head = client_read_head(fd);
        if (strncmp(head, "HTTP/1.1 ", 9) != 0 || strncmp(head + 9, rows[i].answer, 3) != 0)
            fail_msg("row %zu: %s", i, head);
        assert_null(strstr(head, "Sec-WebSocket-Extensions"));
        assert_null(strstr(head, "Sec-WebSocket-Protocol"));
        bool old = strcmp(rows[i].answer, "426") == 0;
        assert_int_equal(strstr(head, "\r\nSec-WebSocket-Version: 13\r\n") != NULL, old);
        assert_int_equal(strstr(head, "\r\nConnection: close\r\n") != NULL,
                         rows[i].answer[0] == '4');
        close(fd);
    }
    assert_true(reaches(&s.bad_requests, 16));
}

/* A page of another site can make a browser connect to this machine. */
static void origins(void **state)
{
    static const struct {
        const char *fields, *answer;
    } rows[] = {
        {"Origin: http://localhost:3000\r\n", "101"},
        {"Origin: https://127.0.0.1\r\n", "101"},
        {"Origin: http://[::1]:80\r\n", "101"},
        {"Origin: https://realm.example\r\n", "101"},
        {"Origin: https://evil.example\r\n", "403"},
        {"Origin: https://localhost.evil.example\r\n", "403"},
        {"Origin: https://evil.example/://localhost\r\n", "403"},
        {"Origin: https://realm.example@evil.example\r\n", "403"},
        {"Origin: null\r\n", "403"},
        {"Origin: \r\n", "403"},
        {"Origin: http://localhost\r\nOrigin: https://evil.example\r\n", "403"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int fd = asked(WS_HANDSHAKE);
        client_send(fd, rows[i].fields, strlen(rows[i].fields));
        client_send(fd, "\r\n", 2);
        const char *head = client_read_head(fd);
        if (strncmp(head, "HTTP/1.1 ", 9) != 0 || strncmp(head + 9, rows[i].answer, 3) != 0)
            fail_msg("%s: %s", rows[i].fields, head);
        close(fd);
    }
}

static void a_message_in_the_handshakes_packet(void **state)
{
    uint8_t bytes[512] = WS_HANDSHAKE "\r\n";
    size_t n = strlen((const char *)bytes);
    (void)state;
    n += frame_put(bytes + n, WS_FIN | WS_TEXT, slice_of("early"));
    int fd = client_open(s.port, 0);
    client_send(fd, bytes, n);
    assert_non_null(strstr(client_read_head(fd), " 101 "));
    client_expect(fd, WS_TEXT, slice_of("early"));
    close(fd);
}

/* ---- W-S1: frames ---- */

static void malformed_frames(void **state)
{
    static const struct {
        struct slice bytes;
        unsigned code;
    } rows[] = {
        {BYTES("\x81\x01x"), 1002},                                    // no mask
        {BYTES("\x89\x00"), 1002},                                     // nor a ping
        {BYTES("\xc1\x81"), 1002},                                     // reserved bits
        {BYTES("\xa1\x81"), 1002},                                     //
        {BYTES("\x91\x81"), 1002},                                     //
        {BYTES("\x83"), 1002},                                         // unknown opcodes
        {BYTES("\x87"), 1002},                                         //
        {BYTES("\x8b"), 1002},                                         //
        {BYTES("\x8f"), 1002},                                         //
        {BYTES("\x81\xfe\x00\x7d"), 1002},                             // 125 in 16 bits
        {BYTES("\x81\xff\x00\x00\x00\x00\x00\x00\xff\xff"), 1002},     // 65535 in 64 bits
        {BYTES("\x81\xff\x80\x00\x00\x00\x00\x00\x00\x00"), 1002},     // 2^63
        {BYTES("\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff"), 1002},     // 2^64 - 1
        {BYTES("\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff____"), 1009}, // 2^63 - 1
        {BYTES("\x82\xff\x00\x00\x00\x00\x00\x10\x00\x01____"), 1009}, // 1 MiB and a byte
        {BYTES("\x09\x80"), 1002},                                     // a ping in parts
        {BYTES("\x08\x80"), 1002},                                     // a close in parts
        {BYTES("\x89\xfe\x00\x7e"), 1002},                             // a ping of 126 bytes
        {BYTES("\x88\xfe"), 1002},                                     //
        {BYTES("\x8a\xff"), 1002},                                     //
        {BYTES("\x80\x80____"), 1002},                                 // goes on with nothing
        {BYTES("\x00\x80____"), 1002},                                 //
        {BYTES("\x01\x80____\x81\x80____"), 1002},                     // begins in the middle
        {BYTES("\x02\x80____\x89\x80____\x82\x80____"), 1002},         //
        {BYTES("\x81\x80____\x80\x80____"), 1002},                     // goes on after the end
        {BYTES("\x01\xfe\x00\x80____"), 0},                            // nothing is wrong yet
    };
    (void)state;
    for (size_t i = 0; i < 2 * ARRAY_LEN(rows); i++) {
        int fd = client_upgraded(s.port);
        struct slice bytes = rows[i / 2].bytes;
        if (i % 2)
            client_dribble(fd, bytes.p, bytes.n);
        else
            client_send(fd, bytes.p, bytes.n);
        if (rows[i / 2].code == 0) {
            close(fd);
            continue;
        }
        client_expect_close(fd, rows[i / 2].code);
    }
    assert_true(reaches(&s.closed, 2 * ARRAY_LEN(rows)));
}

/* Sends a message of n frames of piece bytes each. */
static void send_in_pieces(int fd, unsigned n, size_t piece)
{
    static uint8_t payload[WS_MESSAGE_MAX];
    for (unsigned i = 0; i < n; i++) {
        uint8_t first = i ? 0 : WS_BINARY;
        client_send_frame(fd, i + 1 < n ? first : WS_FIN | first, (struct slice){payload, piece});
    }
}

static void messages_up_to_the_limits(void **state)
{
    static uint8_t zeros[WS_MESSAGE_MAX];
    static const struct {
        unsigned frames, piece, code;
    } rows[] = {
        {1, 0, 0},
        {1, 125, 0},
        {1, 126, 0},
        {1, 65535, 0},
        {1, 65536, 0},
        {1, WS_MESSAGE_MAX, 0},
        {16, WS_MESSAGE_MAX / 16, 0},
        {WS_FRAGMENTS_MAX, 0, 0},
        {WS_FRAGMENTS_MAX, WS_MESSAGE_MAX / WS_FRAGMENTS_MAX, 0},
        {1, WS_MESSAGE_MAX + 1, 1009},
        {2, WS_MESSAGE_MAX / 2 + 1, 1009},
        {WS_FRAGMENTS_MAX + 1, 0, 1009},
        {WS_FRAGMENTS_MAX + 1, 1, 1009},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int fd = client_upgraded(s.port);
        unsigned messages = atomic_load(&s.messages);
        if (rows[i].piece > WS_MESSAGE_MAX) // the head says enough
            client_send(fd, "\x82\xff\x00\x00\x00\x00\x00\x10\x00\x01____", 14);
        else
            send_in_pieces(fd, rows[i].frames, rows[i].piece);
        if (rows[i].code) {
            client_expect_close(fd, rows[i].code);
            assert_int_equal(atomic_load(&s.messages), messages);
            continue;
        }
        client_expect(fd, WS_BINARY, (struct slice){zeros, (size_t)rows[i].frames * rows[i].piece});
        close(fd);
    }
}

/* A million frames of nothing, all of one message. */
static void a_flood_of_empty_fragments(void **state)
{
    static uint8_t frames[6 << 16];
    int fd = client_upgraded(s.port);
    (void)state;
    for (size_t i = 0; i < sizeof(frames); i += 6)
        memcpy(frames + i, "\x00\x80____", 6);
    client_send(fd, "\x01\x80____", 6);
    for (unsigned i = 0; i < 16; i++)
        client_send(fd, frames, sizeof(frames));
    client_expect_close(fd, 1009);
    assert_int_equal(atomic_load(&s.messages), 0);
}

/* No more in each second than may be; the first second's have been read. */
static void expect_pongs_then_close(int fd, uint64_t begin_ms)
{
    struct ws_frame f;
    uint64_t more = 0;
    while (client_read_frame(fd, &f) && f.first == (WS_FIN | WS_PONG))
        more++;
    assert_int_equal(f.first, WS_FIN | WS_CLOSE);
    assert_int_equal(f.payload.p[0] << 8 | f.payload.p[1], 1008);
    assert_in_range(more, 0, (clock_ms(clock_system()) - begin_ms) / 1000 * WS_PINGS_PER_S_MAX);
    client_expect_end(fd);
}

static void pings(void **state)
{
    static uint8_t bytes[4 * WS_PINGS_PER_S_MAX * 160];
    uint8_t payload[125];
    size_t n = 0;
    (void)state;
    for (size_t i = 0; i < sizeof(payload); i++)
        payload[i] = (uint8_t)(i * 37);
    const struct slice full = {payload, sizeof(payload)};
    int fd = client_upgraded(s.port);
    /* One amid a message does not disturb it. */
    client_send_frame(fd, WS_TEXT, slice_of("in "));
    client_send_frame(fd, WS_FIN | WS_PING, full);
    client_send_frame(fd, WS_FIN | WS_PONG, slice_of("nobody asked"));
    client_send_frame(fd, WS_FIN, slice_of("two"));
    client_expect(fd, WS_PONG, full);
    client_expect(fd, WS_TEXT, slice_of("in two"));
    close(fd);
    for (unsigned i = 0; i < 4 * WS_PINGS_PER_S_MAX; i++)
        n += frame_put(bytes + n, WS_FIN | WS_PING, full);
    fd = client_upgraded(s.port);
    const uint64_t begin = clock_ms(clock_system());
    client_send(fd, bytes, n);
    for (unsigned i = 0; i < WS_PINGS_PER_S_MAX; i++)
        client_expect(fd, WS_PONG, full);
    expect_pongs_then_close(fd, begin);
}

/* ---- W-S2: UTF-8 ---- */

static void text_that_is_cut(void **state)
{
    static const char text[] = "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\xef\xbf\xbf\xf4\x8f\xbf\xbf";
    size_t n = sizeof(text) - 1;
    (void)state;
    int fd = client_upgraded(s.port);
    for (size_t i = 0; i <= n; i++) {
        client_send_frame(fd, WS_TEXT, (struct slice){(const uint8_t *)text, i});
        client_send_frame(fd, 0, slice_of(""));
        client_send_frame(fd, WS_FIN, (struct slice){(const uint8_t *)text + i, n - i});
        client_expect(fd, WS_TEXT, slice_of(text));
    }
    uint8_t frame[64];
    client_dribble(fd, frame, frame_put(frame, WS_FIN | WS_TEXT, slice_of(text)));
    client_expect(fd, WS_TEXT, slice_of(text));
    close(fd);
}

/* The answer comes at the first wrong byte, though the message would go on. */
static void text_that_is_none(void **state)
{
    static const struct slice rows[] = {
        BYTES("\x80"),           BYTES("ab\xff"),
        BYTES("\xc0"),           BYTES("\xc1"),
        BYTES("\xe0\x80"),       BYTES("\xed\xa0"),
        BYTES("\xf0\x80"),       BYTES("\xf4\x90"),
        BYTES("\xf5"),           BYTES("\xc3("),
        BYTES("\xe2\x82("),      BYTES("\xf0\x9f\x98("),
        BYTES("ok\xe2\x82\xff"), BYTES("\xce\xba\xe1\xbd\xed\xa0"),
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint8_t frame[512] = {0}, payload[200] = {0};
        memcpy(payload, rows[i].p, rows[i].n);
        size_t all = frame_put(frame, WS_TEXT, (struct slice){payload, sizeof(payload)});
        int fd = client_upgraded(s.port);
        client_send(fd, frame, all - (sizeof(payload) - rows[i].n));
        client_expect_close(fd, 1007);
    }
    /* Half a character at the end of the message; of a binary one it is nobody's business. */
    int fd = client_upgraded(s.port);
    client_send_frame(fd, WS_FIN | WS_BINARY, slice_of("\xe2\x82"));
    client_expect(fd, WS_BINARY, slice_of("\xe2\x82"));
    client_send_frame(fd, WS_FIN | WS_TEXT, slice_of("\xe2\x82"));
    client_expect_close(fd, 1007);
    assert_int_equal(atomic_load(&s.messages), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(handshakes, begin),
        WITH(origins, begin),
        WITH(a_message_in_the_handshakes_packet, begin),
        WITH(malformed_frames, begin),
        WITH(messages_up_to_the_limits, begin),
        WITH(a_flood_of_empty_fragments, begin),
        WITH(pings, begin),
        WITH(text_that_is_cut, begin),
        WITH(text_that_is_none, begin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
