/* A server that echoes, in a thread of its own, for one test. */
#ifndef TEST_WS_SERVER_H
#define TEST_WS_SERVER_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/thread.h"
#include "http/http.h"

enum { PING_MS = 300 }; /* of begin_impatient */

struct server {
    struct http_server *server;
    struct thread thread;
    uint16_t port;
    atomic_uint messages, closed;         /* calls of the handler */
    atomic_uint websockets, bad_requests; /* of the statistics */
    atomic_bool stop, drain;              /* seen when it is woken */
};

extern struct server s;

/* Setup and teardown of cmocka's.  begin_impatient: one that pings often.  end fails if the
 * server does not serve any more, or leaves memory behind. */
int begin(void **state);
int begin_impatient(void **state);
int end(void **state);

/* Waits until the counter has the value; false: it did not in many seconds. */
bool reaches(atomic_uint *counter, unsigned value);

#define WITH(function, before) cmocka_unit_test_setup_teardown(function, before, end)

#endif
