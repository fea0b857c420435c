#include "ws_client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { READ_S_MAX = 30, HEAD_ROOM = 8192, FRAME_ROOM = 2 << 20, HEAD_BYTES = 14 };

int client_open(uint16_t port, int receive_bytes)
{
    const struct timeval patience = {.tv_sec = READ_S_MAX};
    const struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), yes = 1;
    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    if (receive_bytes)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof(receive_bytes));
    assert_int_equal(connect(fd, (const struct sockaddr *)&at, sizeof(at)), 0);
    return fd;
}

/* A server that has closed takes no more: what it said is read later. */
void client_send(int fd, const void *bytes, size_t n)
{
    const uint8_t *p = bytes;
    while (n) {
        ssize_t put = send(fd, p, n, MSG_NOSIGNAL);
        if (put < 0 && errno == EINTR) // it was stopped and goes on
            continue;
        if (put < 0 && (errno == EPIPE || errno == ECONNRESET))
            return;
        assert_true(put > 0);
        p += put;
        n -= (size_t)put;
    }
}

void client_dribble(int fd, const void *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        client_send(fd, (const uint8_t *)bytes + i, 1);
        usleep(300);
    }
}

/* false: the connection has ended. */
static bool read_all(int fd, void *to, size_t n)
{
    uint8_t *p = to;
    while (n) {
        ssize_t got = recv(fd, p, n, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got == 0 || (got < 0 && errno == ECONNRESET))
            return false;
        if (got < 0)
            fail_msg("reading: %s", strerror(errno));
        p += got;
        n -= (size_t)got;
    }
    return true;
}

const char *client_read_head(int fd)
{
    static char head[HEAD_ROOM];
    size_t n = 0;
    while (n < 4 || memcmp(head + n - 4, "\r\n\r\n", 4) != 0) {
        assert_true(n < sizeof(head) - 1);
        if (!read_all(fd, head + n, 1))
            break;
        n++;
    }
    head[n] = '\0';
    return head;
}

int client_upgraded(uint16_t port)
{
    int fd = client_open(port, 0);
    client_send(fd, WS_HANDSHAKE "\r\n", sizeof(WS_HANDSHAKE "\r\n") - 1);
    const char *head = client_read_head(fd);
    assert_ptr_equal(strstr(head, "HTTP/1.1 101 "), head);
    assert_non_null(strstr(head, "\r\nSec-WebSocket-Accept: " WS_ACCEPT "\r\n"));
    return fd;
}

size_t frame_put(uint8_t *out, uint8_t first, struct slice payload)
{
    static const uint8_t mask[4] = {0x37, 0xfa, 0x21, 0x3d};
    size_t n = 0, more = payload.n < 126 ? 0 : payload.n <= UINT16_MAX ? 2 : 8;
    out[n++] = first;
    out[n++] = (uint8_t)(0x80 | (more == 0 ? payload.n : more == 2 ? 126 : 127));
    for (size_t i = 0; i < more; i++)
        out[n++] = (uint8_t)(payload.n >> 8 * (more - 1 - i));
    memcpy(out + n, mask, sizeof(mask));
    n += sizeof(mask);
    for (size_t i = 0; i < payload.n; i++)
        out[n++] = payload.p[i] ^ mask[i % 4];
    return n;
}

void client_send_frame(int fd, uint8_t first, struct slice payload)
{
    static uint8_t frame[FRAME_ROOM];
    assert_true(payload.n <= sizeof(frame) - HEAD_BYTES);
    client_send(fd, frame, frame_put(frame, first, payload));
}

bool client_read_frame(int fd, struct ws_frame *out)
{
    static uint8_t payload[FRAME_ROOM];
    uint8_t head[2], length[8];
    if (!read_all(fd, head, sizeof(head)))
        return false;
    assert_int_equal(head[0] & ~0x0f, WS_FIN); // one frame, no reserved bit
    assert_int_equal(head[1] & 0x80, 0);       // no mask
    uint64_t n = head[1];
    size_t more = n == 126 ? 2 : n == 127 ? 8 : 0;
    if (more) {
        assert_true(read_all(fd, length, more));
        n = 0;
        for (size_t i = 0; i < more; i++)
            n = n << 8 | length[i];
        assert_true(more == 2 ? n >= 126 : n > UINT16_MAX);
    }
    assert_true(n <= sizeof(payload) && (n <= 125 || !(head[0] & 0x08)));
    assert_true(read_all(fd, payload, n));
    *out = (struct ws_frame){head[0], {payload, n}};
    return true;
}

void client_expect_close(int fd, unsigned code)
{
    struct ws_frame f;
    do {
        if (!client_read_frame(fd, &f))
            fail_msg("the connection ended without a close frame");
    } while (f.first != (WS_FIN | WS_CLOSE));
    if (code == 0) {
        assert_int_equal(f.payload.n, 0);
    } else {
        assert_true(f.payload.n >= 2);
        assert_int_equal(f.payload.p[0] << 8 | f.payload.p[1], code);
    }
    client_expect_end(fd);
}

void client_expect(int fd, uint8_t opcode, struct slice message)
{
    struct ws_frame f;
    assert_true(client_read_frame(fd, &f));
    assert_int_equal(f.first, WS_FIN | opcode);
    assert_int_equal(f.payload.n, message.n);
    if (message.n)
        assert_memory_equal(f.payload.p, message.p, message.n);
}

void client_expect_end(int fd)
{
    struct ws_frame f;
    assert_false(client_read_frame(fd, &f));
    close(fd);
}
