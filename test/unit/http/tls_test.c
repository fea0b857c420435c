/* TLS with certificates made here. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "base/mem.h"
#include "serve.h"

#define HOST "Host: localhost\r\n"
#define GET(path) "GET " path " HTTP/1.1\r\n" HOST "\r\n"

static struct serve v;
static struct client c;
static struct reply r;
static uint64_t live_before;

static int up(void **state)
{
    (void)state;
    const struct http_limits limits = {.keep_alive_ms = 200};
    live_before = mem_live();
    serve_make_certificate("first");
    serve_open(&v, &limits, true);
    return 0;
}

static int down(void **state)
{
    (void)state;
    serve_close(&v);
    serve_remove_certificate();
    assert_int_equal(mem_live(), live_before);
    return 0;
}

/* The name in the certificate that the server shows. */
static void shows(const char *name)
{
    char got[64] = "";
    X509 *cert = SSL_get1_peer_certificate(c.ssl);
    assert_non_null(cert);
    X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, got, sizeof(got));
    X509_free(cert);
    assert_string_equal(got, name);
}

static void body_is(const char *text)
{
    assert_int_equal(r.body.n, strlen(text));
    assert_memory_equal(r.body.p, text, r.body.n);
}

static void requests(void **state)
{
    (void)state;
    dial(&c, &v);
    shows("first");
    for (int i = 0; i < 5; i++) {
        say(&c, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello");
        expect(&c, &r, 200);
        body_is("hello");
    }
    say(&c, GET("/big?3000000") GET("/events?2"));
    expect(&c, &r, 200);
    assert_int_equal(r.body.n, 3000000);
    expect(&c, &r, 200);
    assert_int_equal(r.chunks, 2);
    say(&c, "GET https://localhost/echo HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
    expect(&c, &r, 200);
    assert_false(client_read(&c));
    assert_int_equal(SSL_get_shutdown(c.ssl) & SSL_RECEIVED_SHUTDOWN, SSL_RECEIVED_SHUTDOWN);
    hang_up(&c);
}

/* Records of one byte, and more in one record than one read takes. */
static void bodies(void **state)
{
    (void)state;
    static char body[600000];
    static const char head[] = "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 600000\r\n\r\n";
    memset(body, 'x', sizeof(body));
    dial(&c, &v);
    for (size_t i = 0; i < sizeof(head) - 1; i++)
        assert_true(say_bytes(&c, head + i, 1));
    assert_true(say_bytes(&c, body, sizeof(body)));
    expect(&c, &r, 200);
    assert_int_equal(r.body.n, sizeof(body));
    assert_memory_equal(r.body.p, body, sizeof(body));
    hang_up(&c);
}

static void another_certificate(void **state)
{
    (void)state;
    static struct client old;
    dial(&old, &v);
    serve_make_certificate("second");
    serve_tell(&v, SERVE_RELOAD);
    say(&old, GET("/echo")); // the old connection goes on
    expect(&old, &r, 200);
    dial(&c, &v);
    shows("second");
    say(&c, GET("/echo"));
    expect(&c, &r, 200);
    hang_up(&c);
    hang_up(&old);
}

static void bad_certificates(void **state)
{
    (void)state;
    struct realm_error err = {0};
    struct http_server *s;
    const struct http_options options = {0};
    const struct http_handler handler = {0};
    const struct http_listen at = {.host = "127.0.0.1", .tls = true};
    assert_int_equal(http_open(&s, &options, &handler, &err), 0);
    assert_int_not_equal(http_listen(s, &at, NULL, &err), 0);
    assert_int_not_equal(http_set_tls(s, "/nowhere/cert", "/nowhere/key", &err), 0);
    assert_true(strlen(err.message) > 0);
    assert_int_not_equal(http_set_tls(s, "/dev/null", "/dev/null", &err), 0);
    assert_int_not_equal(http_listen(s, &at, NULL, &err), 0);
    http_close(s);
}

/* What is no handshake ends, and nothing waits for the rest of one for ever. */
static void no_handshake(void **state)
{
    (void)state;
    static const char *const texts[] = {
        GET("/echo"), "\x16\x03\x01\x02", "\x16\x03\x01\xff\xff\x01\x01\x01\x01", "", "\0\0\0\0",
    };
    static struct serve own;
    serve_open(&own, &(struct http_limits){.head_ms = 500}, true);
    struct serve plain = {.port = own.port};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        dial(&c, &plain);
        say(&c, texts[i]);
        assert_true(expect_end(&c, SOON_MS));
        assert_null(memmem(c.in, c.n, "HTTP", 4));
        hang_up(&c);
    }
    assert_int_equal(atomic_load(&own.requests), 0);
    wait_ticks(&own, 1);
    assert_true(wait_until(&own.connections, 0, SOON_MS));
    serve_close(&own);
    dial(&c, &v); // garbage in place of a record
    assert_int_equal(send(c.fd, "GET / HTTP/1.1\r\n\r\n", 18, 0), 18);
    assert_true(expect_end(&c, SOON_MS));
    hang_up(&c);
}

static void leaves(void **state)
{
    (void)state;
    static void (*const ways[])(struct client *) = {hang_up, hang_up_hard};
    static const char *const texts[] = {GET("/hold"), GET("/open")};
    for (size_t i = 0; i < ARRAY_LEN(ways) * ARRAY_LEN(texts); i++) {
        unsigned gone = atomic_load(&v.gone);
        dial(&c, &v);
        say(&c, texts[i / 2]);
        assert_true(wait_until(&v.held_now, 1, SOON_MS));
        ways[i % 2](&c);
        assert_true(wait_until(&v.gone, gone + 1, SOON_MS));
    }
    assert_true(wait_until(&v.connections, 0, SOON_MS));
}

static void comments(void **state)
{
    (void)state;
    dial(&c, &v);
    say(&c, GET("/open"));
    while (!memmem(c.in, c.n, ": \n\n", 4))
        assert_true(client_read(&c));
    serve_tell(&v, SERVE_ANSWER);
    expect(&c, &r, 200);
    hang_up(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests),         cmocka_unit_test(bodies),
        cmocka_unit_test(no_handshake),     cmocka_unit_test(leaves),
        cmocka_unit_test(comments),         cmocka_unit_test(another_certificate),
        cmocka_unit_test(bad_certificates),
    };
    return cmocka_run_group_tests(tests, up, down);
}
