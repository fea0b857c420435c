/* http/conn.h - connections and exchanges, for the files of src/http alone.
 *
 * A connection owns its socket, what came in and is not used yet, and what is to go out.
 * It has at most one exchange: what a client sends ahead of an answer waits in `in`.
 *
 * All work is done in one place, conn_work, which is called for a connection when its socket was
 * read, and, after the loop has polled and before it polls again, for those that conn_touch has
 * put on the server's list.
 * The functions of http.h only queue bytes, mark and touch.  So several writes of one turn
 * leave in one system call, and gone is never called from within a call.
 *
 * Another protocol takes a connection over with conn_take: from then on the bytes that come
 * in go to its conn_user, and it writes with conn_write.
 *
 * Threads: the loop's. */
#ifndef HTTP_CONN_H
#define HTTP_CONN_H

#include <uv.h>

#include "base/buf.h"
#include "base/list.h"
#include "http/chunked.h"
#include "http/head.h"
#include "http/http.h"

struct conn;
struct ssl_st;
struct ssl_ctx_st;

/* Bytes that are taken at the front and added at the end.  Keys may be among them: none stays
 * behind in memory that the queue gives up, or in bytes that were taken. */
struct queue {
    struct buf b;
    size_t at; /* b's bytes before it are taken */
};

static inline struct slice queue_view(const struct queue *q)
{
    return (struct slice){q->b.n > q->at ? q->b.p + q->at : NULL, q->b.n - q->at};
}
static inline size_t queue_bytes(const struct queue *q)
{
    return q->b.n - q->at;
}
MUST_USE int queue_reserve(struct queue *q, size_t more); /* 0, REALM_E_NOMEM, REALM_E_LIMIT */
MUST_USE int queue_add(struct queue *q, const void *p, size_t n);
void queue_take(struct queue *q, size_t n);
void queue_free(struct queue *q);

/* ------------------------------------------------------------- connections -- */

/* Who has taken a connection over.  Called from the loop, never from within a call. */
struct conn_user {
    /* Plaintext that came in.  The view is dead afterwards. */
    void (*bytes)(void *ctx, struct conn *c, struct slice in);
    /* Every HTTP_TICK_MS, for timeouts. */
    void (*tick)(void *ctx, struct conn *c, uint64_t now_ms);
    /* The server drains: time to say goodbye; the server waits for the connection's end. */
    void (*drain)(void *ctx, struct conn *c);
    /* Once, whatever ended it; c is dead afterwards. */
    void (*closed)(void *ctx, struct conn *c);
};

enum conn_state {
    CONN_HANDSHAKE, /* of TLS */
    CONN_HEAD,      /* idle, or a head is coming */
    CONN_BODY,
    CONN_BUSY,    /* x is with the handler */
    CONN_TAKEN,   /* user has it */
    CONN_CLOSING, /* until out is sent */
    CONN_LINGER,  /* our side is shut down; until the client has read that */
};

/* How far a client gets on with taking its answer. */
struct stall {
    uint64_t until_ms; /* 0: nothing is waited for */
    uint64_t taken;    /* bytes that the client had taken when the wait began */
    uint64_t wanted;   /* bytes that it must take until until_ms */
    uint64_t clean;    /* bytes written when it had taken all */
    uint64_t look_ms;  /* when to look again */
};

struct conn {
    uv_poll_t poll;
    struct http_server *s;
    struct list all, work, by_ip;
    struct ssl_st *ssl; /* NULL: plain */
    struct http_exchange *x;
    const struct conn_user *user;
    void *user_ctx;
    struct queue in, out;
    struct head_scan scan;
    struct stall stall;
    uint64_t written;     /* bytes given to the socket */
    uint64_t deadline_ms; /* of the state; 0: none */
    uint64_t probe_ms;    /* when to ask again whether the client is there; 0: not asked yet */
    enum conn_state state;
    int fd;
    int events; /* that are polled for */
    int tag;
    uint8_t address[16]; /* of the client, IPv4 as mapped */
    bool tcp;
    bool loopback;   /* the client is on this machine */
    bool check_host; /* the listener is bound to loopback */
    bool eof;        /* the client sends nothing any more */
    bool hung_up;    /* so it is, but what it sent before is not read yet */
    bool failed;     /* to be dropped; nothing is written any more */
    bool blocked;    /* the socket takes no more at the moment */
    bool counted;    /* among the server's connections: not one that was refused */
    bool skipped_line;
    bool drain_told;
    bool crowded;   /* its payer has too many */
    uint32_t payer; /* as the handler said; 0: nobody knows */
};

/* Has conn_work called soon. */
void conn_touch(struct conn *c);
/* Queues bytes to go out.  When memory is short or more than unsent_bytes_max wait, the
 * connection has failed: it is dropped soon, and further bytes are thrown away. */
void conn_write(struct conn *c, struct slice bytes);
/* Bytes queued that the socket has not taken yet. */
size_t conn_unsent(const struct conn *c);
/* Closes when what is queued is sent; what comes in is thrown away from now on.  closed
 * follows where a user has it. */
void conn_close_soon(struct conn *c);
/* Drops the connection soon, whatever is queued. */
void conn_fail(struct conn *c);
uint64_t conn_now_ms(const struct conn *c);
/* Counts c, for which no bytes are held, to payer; c->crowded says then whether it is one too
 * many. */
void conn_set_payer(struct conn *c, uint32_t payer);

/* Makes x's connection the user's: x is freed, what came after its request goes to
 * user->bytes soon.  The caller has read what it needs of x.  Never fails. */
struct conn *conn_take(struct http_exchange *x, const struct conn_user *user, void *ctx);

/* For server.c. */
struct conn_origin {
    int fd;
    int tag;
    bool tcp, loopback, check_host, counted;
    uint8_t address[16];
    struct ssl_ctx_st *tls; /* NULL: plain */
};
/* A connection over a socket that was accepted, which it owns from here on; NULL: it could
 * not be made, and the socket is closed. */
struct conn *conn_open(struct http_server *s, const struct conn_origin *from);
/* Reads on, acts on what is there, writes; drops what has failed. */
void conn_work(struct conn *c);
/* Ends it at once; calls gone or closed. */
void conn_drop(struct conn *c);
/* Deadlines, keep-alive comments, probes. */
void conn_tick(struct conn *c, uint64_t now_ms);

/* ---------------------------------------------------------------- exchanges -- */

enum { HTTP_ID_MAX = 128 };

struct http_exchange {
    struct conn *c;
    void *user;
    struct head head;
    char *text; /* that head's are views of */
    size_t text_bytes;
    struct buf body;
    struct chunked chunked;
    uint64_t arrived_ns;
    uint64_t paid;          /* bytes of the body that are counted to the connection's payer */
    uint64_t came;          /* bytes of the body, as they came */
    uint64_t credited;      /* of these, for which time was given */
    uint64_t body_until_ms; /* when more must have come */
    uint64_t spoke_ms;      /* when the stream last had bytes */
    char id[32];
    bool handed; /* the handler knows it */
    bool streaming, events, chunks;
    struct head_field fields[]; /* head.n_fields, then the head's text */
};

/* Reads a whole head: the exchange, or NULL and *fault (status 0: memory is short).  The
 * exchange may be there although the fault is set, for the answer's id and form. */
struct http_exchange *exchange_new(struct conn *c, struct slice text, struct http_fault *fault);
/* Asks the handler who pays for x, and whether its body, if it has one, is to be read. */
bool exchange_wants_body(struct http_exchange *x);
/* What has come of a request or a message, and waits for the rest, is counted to whoever sends it:
 * *paid becomes `bytes`; false: there is no room for so many. */
MUST_USE bool payer_holds(struct conn *c, uint64_t *paid, uint64_t bytes);
void exchange_free(struct http_exchange *x);
/* After the answer: the connection is free for the next request, or closes. */
void exchange_done(struct http_exchange *x);

/* respond.c: a refusal of this layer, in OpenAI's shape if the handler gives it no other, with
 * `Connection: close`; x may be NULL where no head could be read. */
void respond_fault(struct conn *c, const struct http_exchange *x, const struct http_fault *fault);
/* A comment in an event stream. */
void respond_comment(struct http_exchange *x);

/* ------------------------------------------------------------------- server -- */

enum {
    HTTP_IP_BUCKETS = 256,
    HTTP_LISTENERS_MAX = 16,
    HTTP_SPARE_FDS = 2,
    HTTP_SCRATCH_BYTES = 64 << 10,
};

struct listener {
    uv_poll_t poll;
    struct http_server *s;
    int fd;
    int tag;
    bool tls, tcp, loopback;
    bool paused;     /* no descriptor was free to refuse with */
    char *unix_path; /* NULL: TCP */
};

enum { HTTP_PAYERS = 1024 };

struct http_server {
    uv_loop_t loop;
    uv_async_t wake;
    uv_timer_t timer;
    uv_idle_t idle;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_signal_t signals[3];
    struct http_limits limits; /* none is 0 */
    struct http_handler handler;
    const char *const *hosts;
    size_t n_hosts;
    struct list conns; /* all; those that had their tick last are at the end */
    struct list work;  /* those for conn_work */
    struct list ips[HTTP_IP_BUCKETS];
    uint64_t ip_key[2];
    uint64_t id_key, id_high, id_next;
    struct listener *listeners[HTTP_LISTENERS_MAX];
    size_t n_listeners;
    struct ssl_ctx_st *tls;
    int spare[HTTP_SPARE_FDS]; /* -1: none */
    uint32_t to_tick;          /* connections of this round that had no tick yet */
    uint32_t lingering;        /* refused connections that are still open */
    uint64_t bodies_bytes;     /* of all exchanges and messages, within HTTP_BODIES_BYTES_MAX */
    uint64_t payer_bytes[HTTP_PAYERS]; /* the same of each payer, or of some together */
    uint32_t payer_conns[HTTP_PAYERS]; /* connections, but those of payer 0 */
    bool draining;
    bool closing;
    int64_t date_s;
    char date[40]; /* of date_s, as HTTP writes it */
    struct http_stats stats;
    uint8_t scratch[HTTP_SCRATCH_BYTES]; /* what a read fills */
};

/* The Date of an answer. */
const char *server_date(struct http_server *s);
void server_new_id(struct http_server *s, char out[32]);

/* ---------------------------------------------------------------------- tls -- */

/* What a read or write of a connection says beside a count of bytes. */
enum { CONN_AGAIN = -1, CONN_ERROR = -2 };

MUST_USE int tls_context(struct ssl_ctx_st **out, const char *cert_path, const char *key_path,
                         struct realm_error *err);
void tls_context_free(struct ssl_ctx_st *tls);
struct ssl_st *tls_open(struct ssl_ctx_st *tls, int fd); /* NULL: memory is short */
void tls_close(struct ssl_st *ssl);
/* 1: done; CONN_AGAIN; CONN_ERROR.  *wants_write: the socket must take bytes first. */
int tls_handshake(struct ssl_st *ssl, bool *wants_write);
/* Bytes, 0 at the end; CONN_AGAIN; CONN_ERROR. */
long tls_read(struct ssl_st *ssl, void *to, size_t n);
long tls_write(struct ssl_st *ssl, const void *from, size_t n);
bool tls_pending(const struct ssl_st *ssl); /* plaintext that no poll tells of */
void tls_goodbye(struct ssl_st *ssl);       /* close_notify */

#endif
