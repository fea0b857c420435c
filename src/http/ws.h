/* http/ws.h - WebSocket, inside src/http: the handshake, and frames as a machine over bytes. */
#ifndef HTTP_WS_H
#define HTTP_WS_H

#include "http/conn.h"

/* ws_handshake.c */
/* Whether the handshake is one; else it has been answered and x is dead. */
bool ws_check(struct http_exchange *x);
void ws_answer_101(const struct http_exchange *x);

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
/* Whether a closing handshake has begun, by either side. */
bool ws_frames_ending(const struct ws_frames *f);

#endif
