/* test/unit/http/util.h - a server on a thread of its own, and clients that write bytes.
 *
 * What the server's handler does depends on the path:
 *   /echo         answers "METHOD PATH QUERY BODY"
 *   /hold         answers when told to
 *   /events       starts an event stream, goes on when told to
 *   /pieces       starts a plain stream, goes on when told to
 *   /count        starts a stream, writes three pieces and ends it
 *   /big?N        answers N bytes
 *   /flood?N      an event stream of N events at once, held open then
 *   /split        answers with a header that would like to be two
 *   anything else 404
 * Threads: the server's and the test's; what both use is under the mutex. */
#ifndef TEST_HTTP_UTIL_H
#define TEST_HTTP_UTIL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/thread.h"
#include "http/http.h"

enum {
    HELD_MAX = 64,
    SOON_MS = 30000, /* for what must come, on a machine of any speed */
};

struct app {
    struct http_server *s;
    struct thread thread;
    struct mutex lock;
    struct cond changed;
    /* The rest under the lock. */
    struct http_exchange *held[HELD_MAX]; /* unanswered */
    int n_held;
    int handled, gone, wakes, ticks, signals;
    bool returned; /* http_run */
    void (*job)(struct app *a, void *arg);
    void *job_arg;
    uint16_t port;
};

/* limits may be NULL.  Listens at 127.0.0.1. */
struct app *app_start(const struct http_limits *limits);
/* The two halves of it, for what must happen before the loop runs. */
struct app *app_open(const struct http_limits *limits);
void app_listen(struct app *a, const struct http_listen *at);
void app_run(struct app *a);
/* Stops the server, closes it, checks that no memory is left. */
void app_stop(struct app *a);
/* Runs job on the server's thread and waits for its end. */
void app_do(struct app *a, void (*job)(struct app *a, void *arg), void *arg);
void app_answer(struct app *a);            /* the exchange held longest, "answer" */
void app_event(struct app *a, char *data); /* to all held */
void app_end(struct app *a);               /* the stream held longest */
void app_drain(struct app *a);
struct http_stats app_stats(struct app *a);
int app_count(struct app *a, const int *number); /* what it is now */
/* Waits until the number has the value; false after ms. */
bool app_waits(struct app *a, const int *number, int value, int ms);
/* Until it is so large or larger. */
bool app_reaches(struct app *a, const int *number, int value, int ms);
bool app_returned(struct app *a, int ms);

/* A client's socket. */
int client(const struct app *a);
int client_small(const struct app *a); /* takes few bytes */
int client_unix(const char *path);
void connect_socket(const struct app *a, int fd);
int socket_file(const char *path); /* a listening socket */
size_t conn_bytes(void);           /* of a connection of the server */
void put(int fd, const char *text);
void put_n(int fd, const void *p, size_t n);
/* What comes until the text is there, the end or ms have passed; in a buffer of its own. */
const char *get_until(int fd, const char *text, int ms);
/* Puts it and waits until the server has read it. */
void put_read(struct app *a, int fd, const char *text);
/* All that comes until the connection ends, which it must. */
const char *get_all(int fd);
/* Whether the server has closed the connection within ms. */
bool closed_within(int fd, int ms);
void reset(int fd); /* closes with RST */

/* Sends text on a connection of its own; returns all that is answered. */
const char *ask(const struct app *a, const char *text);
/* Checks the status, "Connection: close" and the end of a refusal, and its code. */
void refused(const struct app *a, const char *text, size_t n, int status, const char *code);

uint64_t now_ms(void);

#endif
