/* WebSocket frames, as Autobahn's cases 1 to 7 send them, against a server that echoes. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "base/ckd.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "serve.h"

enum {
    FIN = 0x80,
    CONT = 0,
    TEXT = 1,
    BINARY = 2,
    CLOSE = 8,
    PING = 9,
    PONG = 10,
    BIG = 1 << 20,
};

static struct serve v;
static struct client c;
static struct reply r;
static uint64_t live_before;
static uint8_t big[BIG + 1];

static int up(void **state)
{
    (void)state;
    live_before = mem_live();
    for (size_t i = 0; i < sizeof(big); i++)
        big[i] = (uint8_t)('a' + i % 26);
    serve_open(&v, NULL, false);
    return 0;
}

static int down(void **state)
{
    (void)state;
    unsigned sockets = atomic_load(&v.sockets);
    assert_true(wait_until(&v.sockets_closed, sockets, SOON_MS));
    serve_close(&v);
    assert_int_equal(mem_live(), live_before);
    return 0;
}

/* ---- a client ---- */

#define KEY "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define VERSION "Sec-WebSocket-Version: 13\r\n"
#define UPGRADE "Upgrade: websocket\r\nConnection: Upgrade\r\n"
#define REQUEST "GET /ws HTTP/1.1\r\nHost: localhost\r\n"

static void connect_ws(void)
{
    const int yes = 1;
    dial(&c, &v);
    assert_int_equal(setsockopt(c.fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes)), 0);
    say(&c, REQUEST UPGRADE KEY VERSION "\r\n");
    expect(&c, &r, 101);
}

/* A frame's head with its mask, the length in the shortest form. */
static size_t put_head(uint8_t out[14], uint8_t first, uint64_t n, const uint8_t mask[4])
{
    size_t at = 2;
    out[0] = first;
    out[1] = (uint8_t)(0x80 | (n < 126 ? n : n < 65536 ? 126 : 127));
    int bytes = n < 126 ? 0 : n < 65536 ? 2 : 8;
    while (bytes-- > 0)
        out[at++] = (uint8_t)(n >> (8 * bytes));
    memcpy(out + at, mask, 4);
    return at + 4;
}

static const uint8_t mask[4] = {0x37, 0xfa, 0x21, 0x3d};

/* false: the server has closed. */
static bool send_frame(uint8_t first, const void *p, size_t n)
{
    static uint8_t out[14 + sizeof(big)];
    size_t at = put_head(out, first, n, mask);
    for (size_t i = 0; i < n; i++)
        out[at + i] = ((const uint8_t *)p)[i] ^ mask[i % 4];
    return say_bytes(&c, out, at + n);
}

static void send_text(uint8_t first, const char *text)
{
    assert_true(send_frame(first, text, strlen(text)));
}

struct frame {
    uint8_t first;
    struct slice payload;
};

/* false: the connection ended. */
static bool hear_frame(struct frame *f)
{
    memmove(c.in, c.in + c.used, c.n - c.used);
    c.n -= c.used;
    c.used = 0;
    for (;;) {
        uint64_t n = c.n > 1 ? c.in[1] : 0;
        size_t at = n == 126 ? 4 : n == 127 ? 10 : 2;
        assert_true(n < 128); // a server does not mask
        if (c.n >= at) {
            for (size_t i = 2; i < at; i++)
                n = i == 2 ? c.in[i] : n << 8 | c.in[i];
            assert_true(at == 2 || n > (at == 4 ? 125 : 65535));
            f->first = c.in[0];
            f->payload = (struct slice){c.in + at, (size_t)n};
            c.used = at + (size_t)n;
            if (c.n >= c.used)
                return true;
        }
        if (!client_read(&c))
            return false;
    }
}

static void expect_frame(uint8_t first, const void *p, size_t n)
{
    struct frame f;
    assert_true(hear_frame(&f));
    if (f.first == (FIN | CLOSE) && first != f.first)
        fail_msg("closed with %d", f.payload.n > 1 ? f.payload.p[0] << 8 | f.payload.p[1] : 0);
    assert_int_equal(f.first, first);
    assert_int_equal(f.payload.n, n);
    if (n)
        assert_memory_equal(f.payload.p, p, n);
}

/* A close frame with the code (0: none), after which the server ends the connection. */
static void expect_close(const char *name, unsigned code)
{
    struct frame f;
    if (!hear_frame(&f))
        fail_msg("%s: ended without a close frame", name);
    unsigned got = f.payload.n > 1 ? (unsigned)(f.payload.p[0] << 8 | f.payload.p[1]) : 0;
    if (f.first != (FIN | CLOSE) || got != code)
        fail_msg("%s: frame %02x, code %u instead of %u", name, f.first, got, code);
    assert_true(f.payload.n <= 125);
    if (!expect_end(&c, SOON_MS))
        fail_msg("%s: the connection stays open", name);
    if (c.n != c.used)
        fail_msg("%s: %zu bytes after the close frame", name, c.n - c.used);
    hang_up(&c);
}

static void say_goodbye(const char *name)
{
    (void)send_frame(FIN | CLOSE, "\x03\xe8", 2);
    expect_close(name, 1000);
}

/* ---- 1: echoes ---- */

static void echoes(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 125, 126, 127, 128, 65535, 65536, BIG};
    connect_ws();
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
        for (uint8_t kind = TEXT; kind <= BINARY; kind++) {
            assert_true(send_frame(FIN | kind, big, sizes[i]));
            expect_frame(FIN | kind, big, sizes[i]);
        }
    assert_true(send_frame(FIN | BINARY, "\xff\0\xfe", 3));
    expect_frame(FIN | BINARY, "\xff\0\xfe", 3);
    say_goodbye("echoes");
}

/* One byte at a time, in the handshake's segment, and several at once. */
static void cut_anywhere(void **state)
{
    (void)state;
    uint8_t out[14 + 5];
    size_t n = put_head(out, FIN | TEXT, 5, mask);
    for (size_t i = 0; i < 5; i++)
        out[n + i] = (uint8_t)("hello"[i] ^ mask[i % 4]);
    n += 5;
    connect_ws();
    for (size_t i = 0; i < n; i++)
        assert_true(say_bytes(&c, out + i, 1));
    expect_frame(FIN | TEXT, "hello", 5);
    say_goodbye("cut");

    char text[512];
    int head = snprintf(text, sizeof(text), REQUEST UPGRADE KEY VERSION "\r\n");
    memcpy(text + head, out, n);
    memcpy(text + head + n, out, n);
    dial(&c, &v);
    assert_true(say_bytes(&c, text, (size_t)head + 2 * n));
    expect(&c, &r, 101);
    expect_frame(FIN | TEXT, "hello", 5);
    expect_frame(FIN | TEXT, "hello", 5);
    say_goodbye("behind the handshake");
}

/* ---- 2: pings ---- */

static void pings(void **state)
{
    (void)state;
    connect_ws();
    assert_true(send_frame(FIN | PING, "", 0));
    expect_frame(FIN | PONG, "", 0);
    assert_true(send_frame(FIN | PING, "\0\xff\xfe\xfd", 4));
    expect_frame(FIN | PONG, "\0\xff\xfe\xfd", 4);
    assert_true(send_frame(FIN | PING, big, 125));
    expect_frame(FIN | PONG, big, 125);
    send_text(FIN | PONG, "unasked");
    for (char i = '0'; i < '9'; i++)
        assert_true(send_frame(FIN | PING, &i, 1));
    for (char i = '0'; i < '9'; i++)
        expect_frame(FIN | PONG, &i, 1);
    say_goodbye("pings");
    connect_ws();
    const uint64_t begin = clock_ms(clock_system());
    for (int i = 0; i < 4 * WS_PINGS_PER_S_MAX && send_frame(FIN | PING, "", 0); i++)
        ;
    struct frame f;
    uint64_t pongs = 0;
    while (hear_frame(&f) && f.first == (FIN | PONG))
        pongs++;
    const uint64_t seconds = (clock_ms(clock_system()) - begin) / 1000;
    assert_in_range(pongs, WS_PINGS_PER_S_MAX, (1 + seconds) * WS_PINGS_PER_S_MAX);
    c.used = 0;
    expect_close("ping flood", 1008);
}

/* ---- 3 to 5: frames that are none ---- */

struct piece {
    uint8_t first;
    const char *p;
    size_t n;
};

struct row {
    const char *name;
    unsigned code;
    struct piece pieces[5];
};

#define P(first, text)                  \
    {                                   \
        (first), text, sizeof(text) - 1 \
    }

static void all_closed(const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        connect_ws();
        for (size_t k = 0; k < ARRAY_LEN(rows[i].pieces) && rows[i].pieces[k].p; k++)
            if (!send_frame(rows[i].pieces[k].first, rows[i].pieces[k].p, rows[i].pieces[k].n))
                break;
        expect_close(rows[i].name, rows[i].code);
    }
}

#define LONG_126                                                      \
    "123456789012345678901234567890123456789012345678901234567890123" \
    "123456789012345678901234567890123456789012345678901234567890123"

static void broken_frames(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"RSV1", 1002, {P(FIN | 0x40 | TEXT, "a")}},
        {"RSV2", 1002, {P(FIN | 0x20 | BINARY, "a")}},
        {"RSV3", 1002, {P(FIN | 0x10 | PING, "")}},
        {"RSV of a close", 1002, {P(FIN | 0x70 | CLOSE, "")}},
        {"opcode 3", 1002, {P(FIN | 3, "")}},
        {"opcode 4", 1002, {P(FIN | 4, "a")}},
        {"opcode 5", 1002, {P(FIN | 5, "")}},
        {"opcode 6", 1002, {P(FIN | 6, "")}},
        {"opcode 7", 1002, {P(FIN | 7, "")}},
        {"opcode 11", 1002, {P(FIN | 11, "")}},
        {"opcode 12", 1002, {P(FIN | 12, "a")}},
        {"opcode 13", 1002, {P(FIN | 13, "")}},
        {"opcode 14", 1002, {P(FIN | 14, "")}},
        {"opcode 15", 1002, {P(FIN | 15, "")}},
        {"ping of 126 bytes", 1002, {P(FIN | PING, LONG_126)}},
        {"close of 126 bytes", 1002, {P(FIN | CLOSE, LONG_126)}},
        {"ping in fragments", 1002, {P(PING, "a"), P(FIN | CONT, "b")}},
        {"pong in fragments", 1002, {P(PONG, "a"), P(FIN | CONT, "b")}},
        {"close in fragments", 1002, {P(CLOSE, "")}},
        {"continuation of nothing", 1002, {P(FIN | CONT, "a")}},
        {"open continuation of nothing", 1002, {P(CONT, "a"), P(FIN | CONT, "a")}},
        {"text within fragments", 1002, {P(TEXT, "a"), P(FIN | TEXT, "b")}},
        {"binary within fragments", 1002, {P(TEXT, "a"), P(BINARY, "b")}},
    };
    all_closed(rows, ARRAY_LEN(rows));
}

static void broken_heads(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        unsigned code;
        uint8_t n, bytes[16];
    } rows[] = {
        {"unmasked text", 1002, 3, {0x81, 1, 'a'}},
        {"unmasked ping", 1002, 2, {0x89, 0}},
        {"unmasked close", 1002, 2, {0x88, 0}},
        {"125 in 16 bits", 1002, 8, {0x81, 0xfe, 0, 125, 1, 2, 3, 4}},
        {"0 in 16 bits", 1002, 8, {0x82, 0xfe, 0, 0, 1, 2, 3, 4}},
        {"65535 in 64 bits", 1002, 14, {0x81, 0xff, 0, 0, 0, 0, 0, 0, 255, 255, 1, 2, 3, 4}},
        {"1 in 64 bits", 1002, 15, {0x81, 0xff, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 3, 4, 5}},
        {"2^63", 1002, 14, {0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4}},
        {"2^64-1", 1002, 14, {0x82, 0xff, 255, 255, 255, 255, 255, 255, 255, 255, 1, 2, 3, 4}},
        {"2^63-1", 1009, 15, {0x82, 0xff, 127, 255, 255, 255, 255, 255, 255, 255, 1, 2, 3, 4, 5}},
        {"1 MiB + 1", 1009, 15, {0x81, 0xff, 0, 0, 0, 0, 0, 16, 0, 1, 1, 2, 3, 4, 5}},
        {"ping of 64 bits", 1002, 14, {0x89, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4}},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        connect_ws();
        assert_true(say_bytes(&c, rows[i].bytes, rows[i].n));
        expect_close(rows[i].name, rows[i].code);
    }
}

/* What came whole before is answered. */
static void broken_later(void **state)
{
    (void)state;
    connect_ws();
    send_text(FIN | TEXT, "first");
    send_text(FIN | 3, "");
    expect_frame(FIN | TEXT, "first", 5);
    expect_close("opcode 3 after a message", 1002);
    connect_ws();
    send_text(TEXT, "a");
    send_text(FIN | CONT, "b");
    send_text(FIN | CONT, "c");
    expect_frame(FIN | TEXT, "ab", 2);
    expect_close("continuation after the last", 1002);
}

static void fragments(void **state)
{
    (void)state;
    connect_ws();
    send_text(TEXT, "frag");
    send_text(FIN | PING, "between");
    expect_frame(FIN | PONG, "between", 7);
    send_text(CONT, "");
    send_text(FIN | PONG, "unasked");
    send_text(CONT, "men");
    send_text(FIN | CONT, "ts");
    expect_frame(FIN | TEXT, "fragments", 9);
    send_text(BINARY, "");
    send_text(FIN | CONT, "");
    expect_frame(FIN | BINARY, "", 0);
    for (int i = 0; i < WS_FRAGMENTS_MAX; i++)
        send_text((uint8_t)((i == 0 ? TEXT : CONT) | (i == WS_FRAGMENTS_MAX - 1 ? FIN : 0)), "x");
    struct frame f;
    assert_true(hear_frame(&f));
    assert_int_equal(f.payload.n, WS_FRAGMENTS_MAX);
    for (int i = 0; i < WS_FRAGMENTS_MAX + 1; i++)
        if (!send_frame(i == 0 ? TEXT : CONT, "", 0))
            break;
    expect_close("too many fragments", 1009);
    connect_ws();
    assert_true(send_frame(BINARY, big, BIG));
    (void)send_frame(FIN | CONT, "x", 1);
    expect_close("fragments of more than 1 MiB", 1009);
    connect_ws();
    assert_true(send_frame(BINARY, big, BIG));
    send_text(FIN | CONT, "");
    expect_frame(FIN | BINARY, big, BIG);
    say_goodbye("fragments of 1 MiB");
}

/* ---- 6: UTF-8 ---- */

static void good_texts(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5",
        "\xc2\x80",
        "\xe0\xa0\x80",
        "\xf0\x90\x80\x80",
        "\xed\x9f\xbf",
        "\xee\x80\x80",
        "\xef\xbf\xbd",
        "\xf4\x8f\xbf\xbf",
        "\xef\xbf\xbf",
        "\xf0\x9f\x98\x80\x7f\x01",
    };
    connect_ws();
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        size_t n = strlen(texts[i]);
        send_text(FIN | TEXT, texts[i]);
        expect_frame(FIN | TEXT, texts[i], n);
        for (size_t k = 0; k < n; k++) // each byte a fragment
            assert_true(send_frame((uint8_t)((k == 0 ? TEXT : CONT) | (k == n - 1 ? FIN : 0)),
                                   texts[i] + k, 1));
        expect_frame(FIN | TEXT, texts[i], n);
    }
    say_goodbye("good texts");
}

static void bad_texts(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"continuation byte", 1007, {P(FIN | TEXT, "a\x80")}},
        {"after a character", 1007, {P(FIN | TEXT, "\xe2\x9c\x85\x85")}},
        {"overlong slash", 1007, {P(FIN | TEXT, "\xc0\xaf")}},
        {"overlong in 3", 1007, {P(FIN | TEXT, "\xe0\x9f\xbf")}},
        {"overlong in 4", 1007, {P(FIN | TEXT, "\xf0\x8f\xbf\xbf")}},
        {"surrogate", 1007, {P(FIN | TEXT, "\xed\xa0\x80")}},
        {"over U+10FFFF", 1007, {P(FIN | TEXT, "\xf4\x90\x80\x80")}},
        {"5 bytes", 1007, {P(FIN | TEXT, "\xf8\x88\x80\x80\x80")}},
        {"FE", 1007, {P(FIN | TEXT, "\xfe")}},
        {"FF", 1007, {P(FIN | TEXT, "\xff")}},
        {"cut at the end", 1007, {P(FIN | TEXT, "a\xe2\x9c")}},
        {"cut at the last fragment", 1007, {P(TEXT, "a\xe2"), P(FIN | CONT, "\x9c")}},
        {"wrong in the second fragment", 1007, {P(TEXT, "\xce"), P(CONT, "\xce")}},
        {"cut by a fragment", 1007, {P(TEXT, "\xf0\x9f"), P(CONT, ""), P(FIN | CONT, "x")}},
        {"in an open fragment", 1007, {P(TEXT, "\xff")}},
    };
    all_closed(rows, ARRAY_LEN(rows));
    /* At the first wrong byte: the frame's rest never comes. */
    uint8_t out[14 + 3];
    size_t n = put_head(out, FIN | TEXT, 1000, mask);
    out[n] = 'a' ^ mask[0];
    out[n + 1] = 0xed ^ mask[1];
    out[n + 2] = 0xa0 ^ mask[2];
    connect_ws();
    assert_true(say_bytes(&c, out, n + 3));
    expect_close("within a frame", 1007);
}

/* ---- 7: closing ---- */

static void close_with(unsigned code, const char *reason, unsigned want)
{
    uint8_t out[125] = {(uint8_t)(code >> 8), (uint8_t)code};
    char name[32];
    size_t n = strlen(reason);
    snprintf(name, sizeof(name), "close %u", code);
    memcpy(out + 2, reason, n);
    connect_ws();
    assert_true(send_frame(FIN | CLOSE, out, 2 + n));
    expect_close(name, want);
}

static void close_codes(void **state)
{
    (void)state;
    static const unsigned good[] = {1000, 1001, 1002, 1003, 1007, 1008, 1009,
                                    1010, 1011, 3000, 3999, 4000, 4999};
    static const unsigned bad[] = {0,    1,    999,  1004, 1005, 1006,  1015, 1016,
                                   1100, 2000, 2999, 5000, 5001, 32768, 65535};
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        close_with(good[i], "", good[i]);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        close_with(bad[i], "why", 1002);
    close_with(1000, &LONG_126[3], 1000); // a reason of 123 bytes
    close_with(1000, "\xe2\x9c\x85", 1000);
    close_with(1000, "\xe2\x9c", 1007);
    close_with(1000, "\xff", 1007);
    connect_ws();
    assert_true(send_frame(FIN | CLOSE, "\x03", 1));
    expect_close("a close of 1 byte", 1002);
    connect_ws();
    assert_true(send_frame(FIN | CLOSE, "", 0));
    expect_close("a close without a code", 0);
}

static void after_the_close(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"two", 1000, {P(FIN | CLOSE, "\x03\xe8"), P(FIN | CLOSE, "\x03\xe9")}},
        {"a ping", 1000, {P(FIN | CLOSE, "\x03\xe8"), P(FIN | PING, "a")}},
        {"a text", 1000, {P(FIN | CLOSE, "\x03\xe8"), P(FIN | TEXT, "a")}},
        {"what is no frame", 1000, {P(FIN | CLOSE, "\x03\xe8"), P(0x7f, "a")}},
        {"within fragments", 1000, {P(TEXT, "a"), P(FIN | CLOSE, "\x03\xe8"), P(FIN | CONT, "b")}},
    };
    all_closed(rows, ARRAY_LEN(rows));
    connect_ws();
    assert_true(send_frame(FIN | TEXT, big, 256 << 10));
    (void)send_frame(FIN | CLOSE, "\x03\xe8", 2);
    (void)send_frame(FIN | PING, "", 0);
    expect_frame(FIN | TEXT, big, 256 << 10);
    expect_close("after 256 KiB", 1000);
}

static void without_a_close(void **state)
{
    (void)state;
    unsigned closed = atomic_load(&v.sockets_closed);
    connect_ws();
    send_text(TEXT, "half");
    hang_up(&c);
    assert_true(wait_until(&v.sockets_closed, ++closed, SOON_MS));
    connect_ws();
    send_text(TEXT, "half");
    hang_up_hard(&c);
    assert_true(wait_until(&v.sockets_closed, ++closed, SOON_MS));
    connect_ws();
    send_text(FIN | TEXT, "a");
    assert_int_equal(shutdown(c.fd, SHUT_WR), 0);
    expect_frame(FIN | TEXT, "a", 1);
    assert_true(expect_end(&c, SOON_MS));
    hang_up(&c);
    assert_true(wait_until(&v.sockets_closed, ++closed, SOON_MS));
}

/* A server that drains says 1001, and does not wait for ever. */
static void drained(void **state)
{
    (void)state;
    static struct serve own;
    serve_open(&own, NULL, false);
    dial(&c, &own);
    say(&c, REQUEST UPGRADE KEY VERSION "\r\n");
    expect(&c, &r, 101);
    serve_tell(&own, SERVE_DRAIN);
    struct frame f;
    assert_true(hear_frame(&f));
    assert_int_equal(f.first, FIN | CLOSE);
    assert_memory_equal(f.payload.p, "\x03\xe9", 2);
    assert_true(send_frame(FIN | CLOSE, f.payload.p, f.payload.n));
    serve_join(&own);
    assert_int_equal(atomic_load(&own.sockets_closed), 1);
    hang_up(&c);
    serve_close(&own);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(echoes),          cmocka_unit_test(cut_anywhere),
        cmocka_unit_test(pings),           cmocka_unit_test(broken_frames),
        cmocka_unit_test(broken_heads),    cmocka_unit_test(broken_later),
        cmocka_unit_test(fragments),       cmocka_unit_test(good_texts),
        cmocka_unit_test(bad_texts),       cmocka_unit_test(close_codes),
        cmocka_unit_test(after_the_close), cmocka_unit_test(without_a_close),

        cmocka_unit_test(drained),
    };
    return cmocka_run_group_tests(tests, up, down);
}
