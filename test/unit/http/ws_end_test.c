/* How a WebSocket ends: by either side, by time, by want of memory.  Row W-S3. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "ws_client.h"
#include "ws_server.h"

/* ---- by a close ---- */

static size_t close_payload(uint8_t *out, unsigned code, const char *reason)
{
    out[0] = (uint8_t)(code >> 8);
    out[1] = (uint8_t)code;
    memcpy(out + 2, reason, strlen(reason));
    return 2 + strlen(reason);
}

static void close_codes(void **state)
{
    static const struct {
        uint16_t sent, answered;
    } rows[] = {
        {1000, 1000}, {1001, 1001}, {1002, 1002}, {1003, 1003},  {1007, 1007}, {1008, 1008},
        {1009, 1009}, {1010, 1010}, {1011, 1011}, {3000, 3000},  {4999, 4999}, {0, 1002},
        {1, 1002},    {999, 1002},  {1004, 1002}, {1005, 1002},  {1006, 1002}, {1015, 1002},
        {1016, 1002}, {2999, 1002}, {5000, 1002}, {65535, 1002},
    };
    uint8_t payload[125];
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        size_t n = close_payload(payload, rows[i].sent, "");
        int fd = client_upgraded(s.port);
        client_send_frame(fd, WS_FIN | WS_CLOSE, (struct slice){payload, n});
        client_expect_close(fd, rows[i].answered);
    }
    int fd = client_upgraded(s.port);
    client_send_frame(fd, WS_FIN | WS_CLOSE, slice_of(""));
    client_expect_close(fd, 0);
    fd = client_upgraded(s.port);
    client_send_frame(fd, WS_FIN | WS_CLOSE, slice_of("\x03"));
    client_expect_close(fd, 1002);
    fd = client_upgraded(s.port);
    client_send_frame(fd, WS_FIN | WS_CLOSE, slice_of("\x03\xe8\xc3("));
    client_expect_close(fd, 1007);
}

/* However TCP cuts it, a reason is read as it is. */
static void a_reason_in_two_packets(void **state)
{
    uint8_t payload[125], frame[160];
    size_t n = close_payload(payload, 1000, "\xf0\x9f\x98\x80 \xe2\x82\xac bye");
    size_t all = frame_put(frame, WS_FIN | WS_CLOSE, (struct slice){payload, n});
    (void)state;
    for (size_t i = 1; i < all; i++) {
        int fd = client_upgraded(s.port);
        client_send(fd, frame, i);
        usleep(2000);
        client_send(fd, frame + i, all - i);
        client_expect_close(fd, 1000);
    }
}

static void nothing_counts_after_a_close(void **state)
{
    uint8_t bytes[256];
    size_t n = frame_put(bytes, WS_FIN | WS_CLOSE, slice_of("\x03\xe8"));
    (void)state;
    n += frame_put(bytes + n, WS_FIN | WS_TEXT, slice_of("late"));
    n += frame_put(bytes + n, WS_FIN | WS_PING, slice_of("late"));
    memset(bytes + n, 0xff, 16);
    int fd = client_upgraded(s.port);
    client_send(fd, bytes, n + 16);
    client_send_frame(fd, WS_FIN | WS_TEXT, slice_of("later"));
    client_expect(fd, WS_CLOSE, slice_of("\x03\xe8"));
    client_expect_end(fd);
    assert_true(reaches(&s.closed, 1));
    assert_int_equal(atomic_load(&s.messages), 0);
}

static void the_server_closes(void **state)
{
    struct ws_frame f;
    (void)state;
    int fd = client_upgraded(s.port), mute = client_upgraded(s.port);
    client_send_frame(fd, WS_FIN | WS_TEXT, slice_of("close"));
    client_send_frame(mute, WS_FIN | WS_TEXT, slice_of("close"));
    client_expect(fd, WS_CLOSE,
                  slice_of("\x0f\xa0"
                           "bye"));
    assert_true(reaches(&s.closed, 2));
    /* The client may not have read it yet: what it says is no news to anybody. */
    client_send_frame(fd, WS_FIN | WS_TEXT, slice_of("crossing"));
    client_send_frame(fd, WS_FIN | WS_CLOSE, slice_of("\x0f\xa0"));
    client_expect_end(fd);
    assert_int_equal(atomic_load(&s.messages), 2);
    /* One that never answers is left after some seconds. */
    assert_true(client_read_frame(mute, &f));
    client_expect_end(mute);
}

static void who_vanishes_is_noticed(void **state)
{
    (void)state;
    int fd = client_upgraded(s.port);
    client_send_frame(fd, WS_TEXT, slice_of("half a mess"));
    close(fd);
    assert_true(reaches(&s.closed, 1));
    assert_int_equal(atomic_load(&s.messages), 0);
}

/* ---- by time and space ---- */

/* Answers four pings at least, and goes on until somebody is left; how long it heard nothing at
 * most.  false: it was left itself. */
static bool answer_pings(int fd, uint64_t *longest_ms)
{
    struct ws_frame f;
    *longest_ms = 0;
    for (unsigned i = 0; i < 4 || atomic_load(&s.closed) == 0; i++) {
        uint64_t last = clock_ms(clock_system());
        bool there = client_read_frame(fd, &f);
        uint64_t ms = clock_ms(clock_system()) - last;
        *longest_ms = ms > *longest_ms ? ms : *longest_ms;
        if (!there)
            return false;
        assert_int_equal(f.first, WS_FIN | WS_PING);
        client_send_frame(fd, WS_FIN | WS_PONG, f.payload);
    }
    client_send_frame(fd, WS_FIN | WS_TEXT, slice_of("here"));
    while (client_read_frame(fd, &f))
        if (f.first != (WS_FIN | WS_PING))
            return slice_is(f.payload, "here");
    return false;
}

/* One that says nothing and one that answers.  Where the machine kept either side asleep, one may
 * be left as the other is: false. */
static bool only_the_mute_is_left(void)
{
    struct ws_frame f;
    uint64_t longest_ms, begin = clock_ms(clock_system());
    int mute = client_upgraded(s.port), alive = client_upgraded(s.port);
    uint64_t opened_ms = clock_ms(clock_system()) - begin;
    bool stays = answer_pings(alive, &longest_ms);
    assert_true(reaches(&s.closed, stays ? 1 : 2));
    bool asked = client_read_frame(mute, &f);
    assert_true(!asked || f.first == (WS_FIN | WS_PING));
    if (!stays || !asked)
        assert_true(longest_ms > PING_MS * 3 / 2 || opened_ms > PING_MS / 2);
    if (asked)
        assert_false(client_read_frame(mute, &f));
    close(mute);
    close(alive);
    assert_true(reaches(&s.closed, 2));
    atomic_store(&s.closed, 0);
    return stays && asked;
}

static void who_never_answers_pings_is_left(void **state)
{
    bool seen = false;
    (void)state;
    for (int i = 0; i < 20 && !seen; i++)
        seen = only_the_mute_is_left();
    assert_true(seen);
}

/* A byte now and then is a sign of life, and yet keeps memory for nothing. */
static void a_message_that_never_ends(void **state)
{
    (void)state;
    int fd = client_upgraded(s.port);
    client_send(fd, "\x82\xff\x00\x00\x00\x00\x00\x10\x00\x00____", 14);
    for (unsigned i = 0; atomic_load(&s.closed) == 0 && i < 300; i++) {
        client_send(fd, "_", 1);
        usleep(100000);
    }
    client_expect_close(fd, 1008);
}

static void who_does_not_read_is_left(void **state)
{
    static const char *const asks[] = {"flood", "drown"}; // over stall_ms; over the bytes unsent
    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(asks); i++) {
        int fd = client_open(s.port, 4096);
        client_send(fd, WS_HANDSHAKE "\r\n", sizeof(WS_HANDSHAKE "\r\n") - 1);
        (void)client_read_head(fd);
        client_send_frame(fd, WS_FIN | WS_TEXT, slice_of(asks[i]));
        assert_true(reaches(&s.closed, i + 1));
        close(fd);
    }
}

static void goodbye_when_the_server_drains(void **state)
{
    struct ws_frame f;
    (void)state;
    int fd = client_upgraded(s.port);
    client_send_frame(fd, WS_FIN | WS_TEXT, slice_of("here"));
    client_expect(fd, WS_TEXT, slice_of("here"));
    atomic_store(&s.drain, true);
    http_wake(s.server);
    assert_true(client_read_frame(fd, &f));
    assert_int_equal(f.first, WS_FIN | WS_CLOSE);
    assert_int_equal(f.payload.p[0] << 8 | f.payload.p[1], 1001);
    client_send_frame(fd, WS_FIN | WS_CLOSE, slice_of("\x03\xe9"));
    client_expect_end(fd);
    assert_int_equal(atomic_load(&s.closed), 1);
}

/* Whichever allocation fails, the client is answered or left, and the next one is served. */
static void memory_that_is_short(void **state)
{
    (void)state;
    unsigned served = 0;
    for (uint64_t n = 1; served < 3; n++) {
        int fd = client_open(s.port, 0);
        struct ws_frame f;
        assert_true(n < 100);
        mem_fail_at(n, 0);
        client_send(fd, WS_HANDSHAKE "\r\n", sizeof(WS_HANDSHAKE "\r\n") - 1);
        client_send_frame(fd, WS_FIN | WS_TEXT, slice_of("short"));
        bool whole = strstr(client_read_head(fd), " 101 ") && client_read_frame(fd, &f) &&
                     slice_is(f.payload, "short");
        mem_fail_at(0, 0);
        served += whole;
        close(fd);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(close_codes, begin),
        WITH(a_reason_in_two_packets, begin),
        WITH(nothing_counts_after_a_close, begin),
        WITH(the_server_closes, begin),
        WITH(who_vanishes_is_noticed, begin),
        WITH(who_never_answers_pings_is_left, begin_impatient),
        WITH(a_message_that_never_ends, begin),
        WITH(who_does_not_read_is_left, begin),
        WITH(goodbye_when_the_server_drains, begin),
        WITH(memory_that_is_short, begin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
