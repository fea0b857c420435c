/* The same over TLS, with certificates made here. */
#include "util.h"

#include <malloc.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define HOST "Host: localhost\r\n"
#define ECHO "GET /echo HTTP/1.1\r\n" HOST "\r\n"
#define HOLD "GET /hold HTTP/1.1\r\n" HOST "\r\n"

static char cert_path[64], key_path[64];

/* Writes a certificate for the name, signed by itself, and its key. */
static void write_certificate(const char *name)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    assert_true(key && cert);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_gmtime_adj(X509_getm_notBefore(cert), 0);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    X509_set_pubkey(cert, key);
    X509_NAME *subject = X509_get_subject_name(cert);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const uint8_t *)name, -1, -1, 0);
    X509_set_issuer_name(cert, subject);
    assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
    FILE *f = fopen(cert_path, "w");
    assert_true(f && PEM_write_X509(f, cert) == 1 && fclose(f) == 0);
    f = fopen(key_path, "w");
    assert_true(f && PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL) == 1 &&
                fclose(f) == 0);
    X509_free(cert);
    EVP_PKEY_free(key);
}

static void write_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_true(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

static struct app *start(const struct http_limits *limits)
{
    snprintf(cert_path, sizeof(cert_path), "/tmp/realm-http-%d.cert", (int)getpid());
    snprintf(key_path, sizeof(key_path), "/tmp/realm-http-%d.key", (int)getpid());
    write_certificate("first");
    struct app *a = app_open(limits);
    struct realm_error err = {0};
    assert_int_equal(http_set_tls(a->s, cert_path, key_path, &err), 0);
    app_listen(a, &(struct http_listen){.host = "127.0.0.1", .tls = true});
    app_run(a);
    return a;
}

static void stop(struct app *a)
{
    app_stop(a);
    unlink(cert_path);
    unlink(key_path);
}

static SSL_CTX *clients;

static SSL *connect_tls(const struct app *a)
{
    int fd = client(a);
    SSL *ssl = SSL_new(clients);
    assert_true(ssl && SSL_set_fd(ssl, fd) == 1);
    assert_int_equal(SSL_connect(ssl), 1);
    return ssl;
}

static void say(SSL *ssl, const char *text)
{
    assert_int_equal(SSL_write(ssl, text, (int)strlen(text)), (int)strlen(text));
}

/* What comes until the text is there or the end. */
static const char *hear(SSL *ssl, const char *text)
{
    static char all[6 << 20];
    size_t n = 0;
    all[0] = '\0';
    while (!text || !strstr(all, text)) {
        int got = SSL_read(ssl, all + n, (int)(sizeof(all) - 1 - n));
        if (got <= 0)
            break;
        n += (size_t)got;
        all[n] = '\0';
    }
    return all;
}

static void end(SSL *ssl, bool politely)
{
    int fd = SSL_get_fd(ssl);
    if (politely)
        SSL_shutdown(ssl);
    SSL_free(ssl);
    close(fd);
}

static bool is_served_by(const struct app *a, const char *name)
{
    SSL *ssl = connect_tls(a);
    X509 *cert = SSL_get1_peer_certificate(ssl);
    char cn[64] = "";
    X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, cn, sizeof(cn));
    X509_free(cert);
    say(ssl, ECHO);
    assert_non_null(strstr(hear(ssl, "GET /echo"), "200 OK"));
    end(ssl, true);
    return strcmp(cn, name) == 0;
}

static void requests_are_answered(void **state)
{
    (void)state;
    struct app *a = start(NULL);
    SSL *ssl = connect_tls(a);
    const unsigned char *protocol;
    unsigned n;
    SSL_get0_alpn_selected(ssl, &protocol, &n);
    assert_int_equal(n, 8);
    assert_memory_equal(protocol, "http/1.1", 8);
    for (int i = 0; i < 3; i++) {
        say(ssl, ECHO "POST https://localhost/echo HTTP/1.1\r\n" HOST
                      "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
        assert_non_null(strstr(hear(ssl, "hello"), "POST /echo  hello"));
    }
    end(ssl, true);
    stop(a);
}

static void large_bodies_pass_both_ways(void **state)
{
    (void)state;
    struct app *a = start(NULL);
    SSL *ssl = connect_tls(a);
    static char body[3 << 20];
    memset(body, 'b', sizeof(body));
    say(ssl, "POST /echo HTTP/1.1\r\n" HOST "Connection: close\r\nContent-Length: 3145728\r\n\r\n");
    for (size_t at = 0; at < sizeof(body); at += 1 << 20)
        assert_int_equal(SSL_write(ssl, body + at, 1 << 20), 1 << 20);
    const char *all = hear(ssl, NULL);
    assert_non_null(strstr(all, "POST /echo  b"));
    assert_int_equal(strlen(strstr(all, "POST /echo  ")), 12 + sizeof(body));
    end(ssl, true);
    stop(a);
}

static void a_client_that_leaves_is_noticed(void **state)
{
    (void)state;
    struct app *a = start(NULL);
    for (int i = 0; i < 4; i++) {
        SSL *ssl = connect_tls(a);
        say(ssl, i / 2 ? HOLD : "GET /events HTTP/1.1\r\n" HOST "\r\n");
        assert_true(app_waits(a, &a->n_held, 1, SOON_MS));
        end(ssl, i % 2);
        assert_true(app_waits(a, &a->gone, i + 1, SOON_MS));
    }
    stop(a);
}

static void a_client_that_only_ends_its_side_gets_its_answer(void **state)
{
    (void)state;
    struct app *a = start(NULL);
    SSL *ssl = connect_tls(a);
    say(ssl, HOLD);
    assert_true(app_waits(a, &a->n_held, 1, SOON_MS));
    SSL_shutdown(ssl);
    usleep(300000);
    assert_int_equal(app_count(a, &a->gone), 0);
    app_answer(a);
    assert_non_null(strstr(hear(ssl, NULL), "answer"));
    end(ssl, false);
    stop(a);
}

static void set_tls(struct app *a, void *status)
{
    struct realm_error err = {0};
    *(int *)status = http_set_tls(a->s, cert_path, key_path, &err);
    assert_true(*(int *)status == 0 || strstr(err.message, "/tmp/realm-http-"));
}

static int reload(struct app *a)
{
    int status;
    app_do(a, set_tls, &status);
    return status;
}

static void certificates_are_reloaded(void **state)
{
    (void)state;
    struct app *a = start(NULL);
    SSL *before = connect_tls(a);
    assert_true(is_served_by(a, "first"));
    write_certificate("second");
    assert_true(is_served_by(a, "first"));
    assert_int_equal(reload(a), 0);
    assert_true(is_served_by(a, "second"));
    say(before, ECHO); // whoever was there stays
    assert_non_null(strstr(hear(before, "GET /echo"), "200 OK"));
    end(before, true);

    write_text(key_path, "no key\n");
    assert_int_equal(reload(a), REALM_E_FORMAT);
    write_certificate("third");
    write_text(cert_path, "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n");
    assert_int_equal(reload(a), REALM_E_FORMAT);
    unlink(cert_path);
    assert_int_equal(reload(a), REALM_E_IO);
    assert_true(is_served_by(a, "second"));
    stop(a);
}

static void who_does_not_speak_tls_is_dropped(void **state)
{
    (void)state;
    /* Enough for a handshake on a machine that is busy. */
    const struct http_limits limits = {.head_ms = 3000};
    struct app *a = start(&limits);
    int fd = client(a), silent = client(a);
    put(fd, ECHO);
    assert_true(closed_within(fd, SOON_MS));
    assert_true(closed_within(silent, SOON_MS));
    close(fd);
    close(silent);
    assert_int_equal(app_count(a, &a->handled), 0);
    assert_true(is_served_by(a, "first"));
    stop(a);
}

/* The clients are another process, whose memory is not looked at. */
static void idle_connections_are_small(void **state)
{
    (void)state;
    struct app *a = start(NULL);
    enum { N = 100, BYTES_MAX = 16384 };
    is_served_by(a, "first");
    while (app_stats(a).connections > 0)
        usleep(1000);
    size_t before = mallinfo2().uordblks;
    pid_t child = fork();
    if (child == 0) {
        for (int i = 0; i < N; i++) {
            SSL *ssl = connect_tls(a);
            say(ssl, ECHO);
            hear(ssl, "GET /echo");
        }
        pause();
        _exit(0);
    }
    const uint64_t until = now_ms() + SOON_MS;
    while (app_stats(a).requests < N + 1) {
        assert_true(now_ms() < until);
        usleep(10000);
    }
    /* Once the answers have gone. */
    size_t each = SIZE_MAX;
    while (each >= BYTES_MAX && now_ms() < until) {
        usleep(10000);
        each = (mallinfo2().uordblks - before) / N;
    }
    print_message("# an idle connection: %zu bytes\n", each);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    assert_true(each < BYTES_MAX);
    stop(a);
}

int main(void)
{
    static const unsigned char protocols[] = {2,   'h', '2', 8,   'h', 't',
                                              't', 'p', '/', '1', '.', '1'};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_answered),
        cmocka_unit_test(large_bodies_pass_both_ways),
        cmocka_unit_test(a_client_that_leaves_is_noticed),
        cmocka_unit_test(a_client_that_only_ends_its_side_gets_its_answer),
        cmocka_unit_test(certificates_are_reloaded),
        cmocka_unit_test(who_does_not_speak_tls_is_dropped),
        cmocka_unit_test(idle_connections_are_small),
    };
    clients = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_alpn_protos(clients, protocols, sizeof(protocols));
    SSL_CTX_set_mode(clients, SSL_MODE_RELEASE_BUFFERS);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    SSL_CTX_free(clients);
    return failed;
}
