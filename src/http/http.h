/* http/http.h - HTTP/1.1, server-sent events and WebSocket on one event loop.
 *
 * Knows no model and no tenant: it turns bytes into requests, and answers into
 * bytes.  A request is handed over when it is whole and within the limits; what is
 * ambiguous, too large or too slow never reaches the handler.
 *
 * Threads: all functions are for the thread that calls http_run, but http_wake,
 * which any thread may call.  The handler is called on that thread, with no lock
 * held, and must not block.
 *
 * Life of an exchange: from handler.request until it is answered (http_respond, or
 * http_stream_end) or until handler.gone says that nobody reads the answer any more.
 * After either the pointer is dead.  A client that leaves, stalls or is cut off by
 * shutdown makes gone, never a failure of a call here; gone is never called from
 * within a call of these functions. */
#ifndef HTTP_HTTP_H
#define HTTP_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/compiler.h"
#include "realm/status.h"

struct http_server;
struct http_exchange;
struct http_ws;

/* 0 stands for the default, which base/limits.h has. */
struct http_limits {
    uint32_t connections_max;
    uint32_t connections_per_ip_max; /* but from loopback */
    uint64_t body_bytes_max;
    uint32_t head_ms;          /* from a request's first byte to the end of its head */
    uint32_t idle_ms;          /* of a connection without a request */
    uint32_t stall_ms;         /* of a client that takes no bytes of its answer */
    uint32_t body_bytes_per_s; /* a body that comes more slowly is given up */
    uint32_t keep_alive_ms;    /* a stream without bytes for so long gets a comment */
    uint32_t ws_ping_ms;       /* a WebSocket that is silent for so long is pinged; twice: gone */
    uint64_t unsent_bytes_max; /* of an answer that a client does not read */
};

struct http_options {
    struct http_limits limits;
    /* Hosts (without port) that requests may name, beside localhost, 127.0.0.1 and
     * [::1], on listeners bound to loopback: against DNS rebinding.  Views that outlive
     * the server. */
    const char *const *hosts;
    size_t n_hosts;
};

/* A request that this layer refuses. */
enum { HTTP_REFUSAL_MAX = 512 };
struct http_refusal {
    int status;
    const char *code, *message; /* nothing in them needs to be escaped, nor in id */
    const char *id;             /* what x-request-id says */
    char body[HTTP_REFUSAL_MAX];
    const char *id_field; /* a further name of the field with the id; NULL: none */
};

struct http_handler {
    /* Whether the body of x, whose head alone is there, is worth reading; if not, x is handed over
     * without it, and its connection closes after the answer.  So nobody who is going to be
     * refused costs memory.  *payer: any number for whoever sends it, 0: nobody knows; no payer's
     * bodies, and no known one's connections, come to hold more than is left to all others
     * (base/fair.h).  NULL: every body is, of payer 0. */
    bool (*wants_body)(void *ctx, const struct http_exchange *x, uint32_t *payer);
    void (*request)(void *ctx, struct http_exchange *x);
    /* May write another body, as long as that has room, to the refusal of x, whose head could be
     * read: the form is its clients'.  NULL: none is. */
    void (*refusal)(void *ctx, const struct http_exchange *x, struct http_refusal *r);
    /* The client of x left before its answer was whole. */
    void (*gone)(void *ctx, struct http_exchange *x);
    /* A whole message, UTF-8 when text. */
    void (*ws_message)(void *ctx, struct http_ws *ws, bool text, struct slice message);
    /* The server drains: ws is to be closed (http_ws_close) as soon as nothing of it runs.  NULL:
     * it is, at once. */
    void (*ws_drain)(void *ctx, struct http_ws *ws);
    /* ws is dead afterwards; called once for each http_ws_accept. */
    void (*ws_closed)(void *ctx, struct http_ws *ws);
    void (*wake)(void *ctx);            /* some time after http_wake; calls join */
    void (*tick)(void *ctx);            /* every HTTP_TICK_MS */
    void (*signal)(void *ctx, int sig); /* SIGINT, SIGTERM or SIGHUP came */
    void *ctx;
};

enum { HTTP_TICK_MS = 100 };

/* REALM_E_NOMEM, REALM_E_SYS. */
MUST_USE int http_open(struct http_server **out, const struct http_options *options,
                       const struct http_handler *handler, struct realm_error *err);
/* After http_run has returned, or instead of it.  Calls gone and ws_closed for what is
 * still open. */
void http_close(struct http_server *s);

/* One place to listen at. */
struct http_listen {
    const char *host; /* an address; NULL with unix_path */
    uint16_t port;    /* 0 picks one */
    const char
        *unix_path; /* a socket file, made with mode 0600; one that nobody answers at is replaced */
    bool tls;       /* with the certificate of http_set_tls */
    int tag;        /* what http_tag says of its exchanges */
};

/* *port (may be NULL) is the one in use.  REALM_E_SYS: the sentence names address and
 * reason; REALM_E_NOMEM. */
MUST_USE int http_listen(struct http_server *s, const struct http_listen *at, uint16_t *port,
                         struct realm_error *err);

/* Whether http_listen could listen there, as far as one can know before: errors as its own. */
MUST_USE int http_listen_check(const struct http_listen *at, struct realm_error *err);

/* Reads certificate chain and key (PEM); connections from now on use them.  On failure
 * the old ones stay.  REALM_E_IO, REALM_E_FORMAT, REALM_E_NOMEM. */
MUST_USE int http_set_tls(struct http_server *s, const char *cert_path, const char *key_path,
                          struct realm_error *err);

/* Serves until http_stop, or after http_drain until the last exchange is answered and the
 * last WebSocket closed. */
void http_run(struct http_server *s);
/* Takes no connection any more, and no further request on those there are. */
void http_drain(struct http_server *s);
/* Ends at once; gone and ws_closed are called by http_close. */
void http_stop(struct http_server *s);
/* Has the loop call handler.wake soon.  Any thread; cheap when one is pending. */
void http_wake(struct http_server *s);

/* ---------------------------------------------------------------- requests -- */

/* Texts are views that live as long as the exchange. */
const char *http_method(const struct http_exchange *x); /* "GET" */
/* Decoded but for %2F, without query; of a request that is refused as it came. */
const char *http_path(const struct http_exchange *x);
const char *http_query(const struct http_exchange *x); /* as it came, without '?'; "" */
/* A header field's value; NULL: absent.  name in lower case. */
const char *http_field(const struct http_exchange *x, const char *name);
/* How often the field is there. */
size_t http_field_count(const struct http_exchange *x, const char *name);
struct slice http_body(const struct http_exchange *x);
/* Ours, unique, for logs: "req_" and 24 hexadecimal digits. */
const char *http_id(const struct http_exchange *x);
/* What the answer's x-request-id says: the client's own if it sent a sane one, else ours. */
const char *http_shown_id(const struct http_exchange *x);
int http_tag(const struct http_exchange *x);
bool http_from_loopback(const struct http_exchange *x);
/* Its payer has more connections than are left to all others: this one closes after the answer. */
bool http_crowded(const struct http_exchange *x);
/* The client's address, IPv4 as mapped; zero for a socket file. */
const uint8_t *http_address(const struct http_exchange *x);
/* Monotonic time of the request's last byte. */
uint64_t http_arrived_ns(const struct http_exchange *x);
/* Whether that is longer ago than a stream may be silent (keep_alive_ms). */
bool http_arrived_long_ago(const struct http_exchange *x);
void http_set_user(struct http_exchange *x, void *user);
void *http_user(const struct http_exchange *x);

/* ----------------------------------------------------------------- answers -- */

struct http_header {
    const char *name, *value;
};

/* The whole answer.  Date, Content-Length, Connection and x-request-id are added; a HEAD
 * request gets no body. */
void http_respond(struct http_exchange *x, int status, const char *type,
                  const struct http_header *headers, size_t n_headers, struct slice body);

/* An answer in pieces: chunked, or until the end of the connection for HTTP/1.0.  type
 * "text/event-stream" gets Cache-Control: no-cache and keep-alive comments. */
void http_stream_start(struct http_exchange *x, int status, const char *type,
                       const struct http_header *headers, size_t n_headers);
void http_stream_write(struct http_exchange *x, struct slice bytes);
/* One server-sent event; event NULL: only data.  data has no line breaks. */
void http_stream_event(struct http_exchange *x, const char *event, struct slice data);
void http_stream_end(struct http_exchange *x);
bool http_streaming(const struct http_exchange *x);

/* --------------------------------------------------------------- WebSocket -- */

/* Whether x asks to become one; a broken handshake is answered by the layer itself. */
bool http_wants_ws(const struct http_exchange *x);
/* Answers 101; x is dead and the connection is ws.  NULL: memory is short, and x is as one
 * whose client has left: gone follows. */
struct http_ws *http_ws_accept(struct http_exchange *x);
void http_ws_set_user(struct http_ws *ws, void *user);
void *http_ws_user(const struct http_ws *ws);
/* To whom the connection and messages that come in are counted, as bodies are (wants_body).
 * false: it is one connection more than the payer may have, to be closed. */
MUST_USE bool http_ws_set_payer(struct http_ws *ws, uint32_t payer);
const char *http_ws_id(const struct http_ws *ws); /* as http_id */
bool http_ws_from_loopback(const struct http_ws *ws);
/* While a secret is to come: messages have at most WS_KEY_MESSAGE_MAX bytes instead of
 * WS_MESSAGE_MAX, and nothing of them stays in memory. */
void http_ws_guard(struct http_ws *ws, bool on);
void http_ws_send(struct http_ws *ws, struct slice text);
/* The same with text false for a binary message. */
void http_ws_send_as(struct http_ws *ws, bool text, struct slice message);
/* Starts the closing handshake; ws_closed follows. */
void http_ws_close(struct http_ws *ws, uint16_t code, const char *reason);

/* ------------------------------------------------------------------- counts -- */

struct http_stats {
    uint64_t connections_accepted, connections_refused, requests, bad_requests;
    uint64_t bytes_in, bytes_out;
    uint32_t connections, exchanges, websockets;
};

void http_stats(const struct http_server *s, struct http_stats *out);

#endif
