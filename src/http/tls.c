/* http/tls.c - OpenSSL over the connection's socket. */
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <string.h>

#include "base/err.h"
#include "http/conn.h"

static int fail(struct ssl_ctx_st *tls, struct realm_error *err, const char *what, const char *path)
{
    unsigned long code = ERR_get_error();
    bool system = code && ERR_SYSTEM_ERROR(code);
    const char *why = !code    ? NULL
                      : system ? strerror(ERR_GET_REASON(code))
                               : ERR_reason_error_string(code);
    ERR_clear_error();
    SSL_CTX_free(tls);
    return err_set(err, system ? REALM_E_IO : REALM_E_FORMAT, "the TLS %s %s cannot be used: %s",
                   what, path, why ? why : "OpenSSL does not say why");
}

static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_n,
                           const unsigned char *in, unsigned in_n, void *ctx)
{
    static const unsigned char ours[] = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'};
    (void)ssl;
    (void)ctx;
    unsigned char *chosen;
    if (SSL_select_next_proto(&chosen, out_n, ours, sizeof(ours), in, in_n) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_NOACK;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

/* A key with a password is refused: nobody is there to type it. */
static int no_password(char *to, int n, int writing, void *ctx)
{
    (void)to;
    (void)n;
    (void)writing;
    (void)ctx;
    return -1;
}

int tls_context(struct ssl_ctx_st **out, const char *cert_path, const char *key_path,
                struct realm_error *err)
{
    *out = NULL;
    ERR_clear_error();
    SSL_CTX *tls = SSL_CTX_new(TLS_server_method());
    if (!tls)
        return err_nomem(err, "TLS");
    SSL_CTX_set_min_proto_version(tls, TLS1_2_VERSION);
    SSL_CTX_set_mode(tls, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_options(tls, SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF |
                                 SSL_OP_CLEANSE_PLAINTEXT);
    SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_default_passwd_cb(tls, no_password);
    SSL_CTX_set_alpn_select_cb(tls, choose_protocol, NULL);
    if (SSL_CTX_use_certificate_chain_file(tls, cert_path) != 1)
        return fail(tls, err, "certificate", cert_path);
    if (SSL_CTX_use_PrivateKey_file(tls, key_path, SSL_FILETYPE_PEM) != 1)
        return fail(tls, err, "key", key_path);
    if (SSL_CTX_check_private_key(tls) != 1)
        return fail(tls, err, "key", key_path);
    *out = tls;
    return 0;
}

void tls_context_free(struct ssl_ctx_st *tls)
{
    SSL_CTX_free(tls);
}

struct ssl_st *tls_open(struct ssl_ctx_st *tls, int fd)
{
    SSL *ssl = SSL_new(tls);
    if (ssl && SSL_set_fd(ssl, fd) == 1) {
        SSL_set_accept_state(ssl);
        return ssl;
    }
    SSL_free(ssl);
    ERR_clear_error();
    return NULL;
}

void tls_close(struct ssl_st *ssl)
{
    SSL_free(ssl);
}

/* What a call that did not succeed means. */
static long outcome(struct ssl_st *ssl, int result)
{
    int why = SSL_get_error(ssl, result);
    ERR_clear_error();
    if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE)
        return CONN_AGAIN;
    return why == SSL_ERROR_ZERO_RETURN ? 0 : CONN_ERROR;
}

int tls_handshake(struct ssl_st *ssl, bool *wants_write)
{
    ERR_clear_error();
    int result = SSL_accept(ssl);
    *wants_write = result != 1 && SSL_want_write(ssl);
    if (result == 1)
        return 1;
    return outcome(ssl, result) == CONN_AGAIN ? CONN_AGAIN : CONN_ERROR;
}

long tls_read(struct ssl_st *ssl, void *to, size_t n)
{
    ERR_clear_error();
    int got = SSL_read(ssl, to, n > INT32_MAX ? INT32_MAX : (int)n);
    return got > 0 ? got : outcome(ssl, got);
}

long tls_write(struct ssl_st *ssl, const void *from, size_t n)
{
    ERR_clear_error();
    int put = SSL_write(ssl, from, n > INT32_MAX ? INT32_MAX : (int)n);
    if (put > 0)
        return put;
    return outcome(ssl, put) == CONN_AGAIN ? CONN_AGAIN : CONN_ERROR;
}

bool tls_pending(const struct ssl_st *ssl)
{
    return SSL_pending(ssl) > 0;
}

void tls_goodbye(struct ssl_st *ssl)
{
    ERR_clear_error();
    (void)SSL_shutdown(ssl);
    ERR_clear_error();
}
