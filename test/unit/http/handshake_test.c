/* From a request to a WebSocket: which are one. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "serve.h"

static struct serve v;
static struct client c;
static struct reply r;

static int up(void **state)
{
    (void)state;
    serve_open(&v, NULL, false);
    return 0;
}

static int down(void **state)
{
    (void)state;
    serve_close(&v);
    assert_int_equal(atomic_load(&v.sockets), atomic_load(&v.sockets_closed));
    return 0;
}

#define KEY "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define VERSION "Sec-WebSocket-Version: 13\r\n"
#define UPGRADE "Upgrade: websocket\r\nConnection: Upgrade\r\n"
#define REQUEST "GET /ws HTTP/1.1\r\nHost: localhost\r\n"

static bool head_has(const char *text)
{
    return strstr(r.head, text) != NULL;
}

static void good_handshakes(void **state)
{
    (void)state;
    static const char *const rows[] = {
        REQUEST UPGRADE KEY VERSION "\r\n",
        REQUEST "upgrade: h2c, WebSocket\r\nConnection: keep-alive, upgrade\r\n" KEY VERSION "\r\n",
        REQUEST
        "Upgrade: websocket\r\nConnection: keep-alive\r\nConnection: Upgrade\r\n" KEY VERSION
        "\r\n",
        REQUEST UPGRADE KEY VERSION "Origin: http://localhost:3000\r\n\r\n",
        REQUEST UPGRADE KEY VERSION "Origin: https://127.0.0.1\r\n\r\n",
        REQUEST UPGRADE KEY VERSION "Sec-WebSocket-Extensions: permessage-deflate; "
                                    "client_max_window_bits\r\n\r\n",
        REQUEST UPGRADE KEY VERSION "Sec-WebSocket-Protocol: chat\r\n\r\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        dial(&c, &v);
        say(&c, rows[i]);
        expect(&c, &r, 101);
        assert_true(head_has("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
        assert_true(head_has("\r\nUpgrade: websocket\r\n"));
        assert_true(head_has("\r\nConnection: Upgrade\r\n"));
        assert_false(head_has("Sec-WebSocket-Extensions"));
        assert_false(head_has("Sec-WebSocket-Protocol"));
        hang_up(&c);
    }
}

static void bad_handshakes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int status;
    } rows[] = {
        {"POST /ws HTTP/1.1\r\nHost: localhost\r\n" UPGRADE KEY VERSION "\r\n", 400},
        {"GET /ws HTTP/1.0\r\nHost: localhost\r\n" UPGRADE KEY VERSION "\r\n", 400},
        {REQUEST "Upgrade: websocket\r\n" KEY VERSION "\r\n", 400},
        {REQUEST "Upgrade: websocket\r\nConnection: close\r\n" KEY VERSION "\r\n", 400},
        {REQUEST UPGRADE KEY VERSION "Content-Length: 1\r\n\r\na", 400},
        {REQUEST UPGRADE VERSION "\r\n", 400},
        {REQUEST UPGRADE VERSION KEY KEY "\r\n", 400},
        {REQUEST UPGRADE VERSION "Sec-WebSocket-Key:\r\n\r\n", 400},
        {REQUEST UPGRADE VERSION "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=\r\n\r\n", 400},
        {REQUEST UPGRADE VERSION "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZR==\r\n\r\n", 400},
        {REQUEST UPGRADE VERSION "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j!Q==\r\n\r\n", 400},
        {REQUEST UPGRADE VERSION "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZTEyMw==\r\n\r\n", 400},
        {REQUEST UPGRADE KEY "\r\n", 426},
        {REQUEST UPGRADE KEY "Sec-WebSocket-Version: 12\r\n\r\n", 426},
        {REQUEST UPGRADE KEY "Sec-WebSocket-Version: 8, 13\r\n\r\n", 426},
        {REQUEST UPGRADE KEY VERSION "Origin: https://evil.example\r\n\r\n", 403},
        {REQUEST UPGRADE KEY VERSION "Origin: http://localhost.evil.example\r\n\r\n", 403},
        {REQUEST UPGRADE KEY VERSION "Origin: null\r\n\r\n", 403},
        {REQUEST UPGRADE KEY VERSION "Origin: file://\r\n\r\n", 403},
        {"GET /ws HTTP/1.1\r\nHost: evil.example\r\n" UPGRADE KEY VERSION "\r\n", 403},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        unsigned before = atomic_load(&v.sockets);
        dial(&c, &v);
        say(&c, rows[i].text);
        expect(&c, &r, rows[i].status);
        assert_true(head_has("\r\nConnection: close\r\n"));
        assert_int_equal(head_has("\r\nSec-WebSocket-Version: 13\r\n"), rows[i].status == 426);
        assert_true(expect_end(&c, 5000));
        hang_up(&c);
        assert_int_equal(atomic_load(&v.sockets), before);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_handshakes),
        cmocka_unit_test(bad_handshakes),
    };
    return cmocka_run_group_tests(tests, up, down);
}
