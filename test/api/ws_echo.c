/* A server that sends each WebSocket message back, for Autobahn's fuzzing client, which
 * knows nothing of Realm. */
#include <stdio.h>
#include <string.h>

#include "http/http.h"

static struct http_server *server;

static void on_request(void *ctx, struct http_exchange *x)
{
    (void)ctx;
    if (http_wants_ws(x))
        (void)http_ws_accept(x);
    else
        http_respond(x, 404, "text/plain", NULL, 0, slice_of("a WebSocket is wanted\n"));
}

static void on_gone(void *ctx, struct http_exchange *x)
{
    (void)ctx;
    (void)x;
}

static void on_message(void *ctx, struct http_ws *ws, bool text, struct slice message)
{
    (void)ctx;
    http_ws_send_as(ws, text, message);
}

static void on_closed(void *ctx, struct http_ws *ws)
{
    (void)ctx;
    (void)ws;
}

static void nothing(void *ctx)
{
    (void)ctx;
}

static void on_signal(void *ctx, int sig)
{
    (void)ctx;
    (void)sig;
    http_stop(server);
}

int main(void)
{
    const struct http_handler handler = {.request = on_request,
                                         .gone = on_gone,
                                         .ws_message = on_message,
                                         .ws_closed = on_closed,
                                         .wake = nothing,
                                         .tick = nothing,
                                         .signal = on_signal};
    const struct http_options options = {0};
    const struct http_listen at = {.host = "127.0.0.1"};
    struct realm_error err = {0};
    uint16_t port;
    if (http_open(&server, &options, &handler, &err) || http_listen(server, &at, &port, &err)) {
        fprintf(stderr, "ws_echo: %s\n", err.message);
        return 1;
    }
    printf("listening on ws://127.0.0.1:%u\n", port);
    fflush(stdout);
    http_run(server);
    http_close(server);
    return 0;
}
