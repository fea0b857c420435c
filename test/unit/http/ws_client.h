/* A client of WebSockets that writes whatever bytes it is told to. */
#ifndef TEST_WS_CLIENT_H
#define TEST_WS_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

enum { WS_TEXT = 1, WS_BINARY = 2, WS_CLOSE = 8, WS_PING = 9, WS_PONG = 10, WS_FIN = 0x80 };

/* Key and answer are the RFC's own. */
#define WS_KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define WS_ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
#define WS_HANDSHAKE                                                                     \
    "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" \
    "Sec-WebSocket-Key: " WS_KEY "\r\nSec-WebSocket-Version: 13\r\n"

struct ws_frame {
    uint8_t first; /* fin, reserved bits, opcode */
    struct slice payload;
};

/* A client whose reads fail after some seconds.  receive_bytes: room for what it does not
 * read; 0: the system's. */
int client_open(uint16_t port, int receive_bytes);
void client_send(int fd, const void *bytes, size_t n);
/* Each byte in a packet of its own. */
void client_dribble(int fd, const void *bytes, size_t n);
/* The head of an answer of HTTP: a string that lives until the next call. */
const char *client_read_head(int fd);
/* A client that is connected. */
int client_upgraded(uint16_t port);

/* Writes a masked frame and returns its bytes; out has room for 14 more than the payload. */
size_t frame_put(uint8_t *out, uint8_t first, struct slice payload);
void client_send_frame(int fd, uint8_t first, struct slice payload);
/* The next frame of the server; false: the connection has ended.  Fails the test if no server
 * may send that frame.  The payload lives until the next call. */
bool client_read_frame(int fd, struct ws_frame *out);
/* The server closes with the code (0: with none), and then the connection.  Frames before are
 * skipped.  Closes fd. */
void client_expect_close(int fd, unsigned code);
/* The next frame is that message. */
void client_expect(int fd, uint8_t opcode, struct slice message);
/* The connection ends without a word; closes fd. */
void client_expect_end(int fd);

#endif
