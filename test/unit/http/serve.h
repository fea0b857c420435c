/* A server of src/http in a thread, with a small handler, and clients on plain sockets.
 *
 * /echo gives the body back, /events and /chunks a stream of ?N pieces, /big ?N bytes;
 * /hold answers when serve_answer says so, /open is a stream that ends then, /flood one that
 * never stops; /ws is a WebSocket that echoes. */
#ifndef TEST_HTTP_SERVE_H
#define TEST_HTTP_SERVE_H

#include <stdatomic.h>

#include "base/thread.h"
#include "http/http.h"

enum {
    HELD_MAX = 64,
    SOON_MS = 30000, /* for what must come, on a machine of any speed */
};

struct serve {
    struct http_server *s;
    struct thread thread;
    uint16_t port;
    bool tls;
    atomic_uint orders; /* of enum serve_order */
    atomic_uint requests, gone, held_now, sockets, sockets_closed;
    atomic_uint connections, exchanges, refused; /* as of the last tick */
    atomic_uint ticks;
    struct http_exchange *held[HELD_MAX]; /* the server's thread's */
    struct http_exchange *flood;
};

/* Both join: they are done some time after. */
enum serve_order { SERVE_ANSWER = 1, SERVE_DRAIN = 2, SERVE_STOP = 4, SERVE_RELOAD = 8 };

void serve_open(struct serve *v, const struct http_limits *limits, bool tls);
void serve_tell(struct serve *v, enum serve_order order);
void serve_join(struct serve *v);  /* until http_run has returned, which somebody ordered */
void serve_close(struct serve *v); /* stops it where it still runs */
/* Certificate and key that serve_open and SERVE_RELOAD read, newly made. */
void serve_make_certificate(const char *name);
void serve_remove_certificate(void);
extern char serve_cert_path[64], serve_key_path[64];

/* Until *n is want, at most ms; whether it is. */
bool wait_until(const atomic_uint *n, unsigned want, unsigned ms);
/* Until so many whole ticks have passed. */
void wait_ticks(const struct serve *v, unsigned n);

/* ----------------------------------------------------------------- clients -- */

enum { CLIENT_BYTES_MAX = 4 << 20 };

struct client {
    int fd;
    struct ssl_st *ssl;
    struct ssl_ctx_st *ctx;
    size_t n, used; /* bytes in `in`; those of them that were replies */
    bool ended;     /* the server has closed, or reset */
    uint8_t in[CLIENT_BYTES_MAX];
};

struct reply {
    int status;
    unsigned interim; /* 1xx that came before it */
    const char *head;
    struct slice body;
    size_t chunks;
};

int dial_plain(const struct serve *v); /* a socket */
void dial(struct client *c, const struct serve *v);
void hang_up(struct client *c);
void hang_up_hard(struct client *c); /* RST */
void say(struct client *c, const char *text);
bool say_bytes(struct client *c, const void *p, size_t n); /* false: the server closed */
/* One whole reply; false: the connection ended, or nothing came for seconds. */
bool hear(struct client *c, struct reply *r, bool no_body);
/* The next reply has this status. */
void expect(struct client *c, struct reply *r, int status);
bool expect_end(struct client *c, unsigned ms); /* whatever comes before it */
/* Reads more; false at the end. */
bool client_read(struct client *c);

#endif
