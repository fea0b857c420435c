/* http/ws.h - WebSocket, inside src/http: the handshake, and frames as a machine over bytes.
 *
 * wslay takes messages apart and puts them together.  What it is lenient with, or ends without
 * a word, is looked at before it gets the bytes.  Threads: the loop's. */
#ifndef HTTP_WS_H
#define HTTP_WS_H

#include "http/conn.h"

/* ws_handshake.c */
/* Whether the handshake is one; else it has been answered and x is dead. */
bool ws_check(struct http_exchange *x);
void ws_answer_101(const struct http_exchange *x);

/* ws_head.c: the head of a client's frame (RFC 6455, section 5.2). */
enum { WS_HEAD_BYTES_MAX = 14, WS_CONTROL_BYTES_MAX = 125 };

struct ws_head {
    uint64_t length; /* of the payload */
    uint8_t opcode;
    bool fin;
    bool control;
};

/* p: the first n bytes of a frame.  Returns the head's length; 0: more must come; -1: no client
 * may send that. */
MUST_USE int ws_head_read(struct ws_head *out, const uint8_t *p, size_t n);

/* ws_frames.c: one connection's frames.  Knows no socket. */
struct ws_frames;

struct ws_events {
    void (*message)(void *ctx, bool text, struct slice message);
    void (*write)(void *ctx, struct slice bytes);
    void *ctx;
};

MUST_USE int ws_frames_open(struct ws_frames **out, const struct ws_events *events);
void ws_frames_close(struct ws_frames *f);
/* Bytes of the client.  false: the connection has nothing more to say, once what was written
 * is sent. */
bool ws_frames_take(struct ws_frames *f, struct slice bytes, uint64_t now_ms);
/* Each queues and writes; REALM_E_NOMEM. */
MUST_USE int ws_frames_send(struct ws_frames *f, bool text, struct slice message);
MUST_USE int ws_frames_ping(struct ws_frames *f);
MUST_USE int ws_frames_end(struct ws_frames *f, uint16_t code, const char *reason);
/* Ends the connection: nothing that comes from now on is read. */
void ws_frames_refuse(struct ws_frames *f, uint16_t code, const char *reason);
/* As http_ws_guard; REALM_E_NOMEM.  Between two messages alone, or while one is handed over. */
MUST_USE int ws_frames_guard(struct ws_frames *f, bool on);
/* Whether a message or a frame has come in part: since when, and how many bytes of it. */
bool ws_frames_partial(const struct ws_frames *f, uint64_t *since_ms, uint64_t *bytes);
/* Whether a closing handshake has begun, by either side. */
bool ws_frames_ending(const struct ws_frames *f);

#endif
