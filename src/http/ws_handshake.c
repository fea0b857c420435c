/* http/ws_handshake.c - from a request to a WebSocket (RFC 6455, section 4.2). */
#include <openssl/evp.h>
#include <string.h>
#include <strings.h>

#include "http/ws.h"

enum { KEY_CHARS = 24, ACCEPT_CHARS = 28 };

bool http_wants_ws(const struct http_exchange *x)
{
    return head_lists(&x->head, "upgrade", "websocket");
}

/* Base64 of 16 bytes. */
static bool good_key(const char *key)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    return strlen(key) == KEY_CHARS && strspn(key, alphabet) == KEY_CHARS - 2 &&
           strcmp(key + KEY_CHARS - 2, "==") == 0 && strchr("AQgw", key[KEY_CHARS - 3]);
}

static void refuse(struct http_exchange *x, int status, const char *code, const char *message)
{
    const struct http_fault fault = {status, code, message};
    struct conn *c = x->c;
    x->head.close = true;
    respond_fault(c, x, &fault);
    c->s->stats.bad_requests++;
    exchange_done(x);
}

static void refuse_version(struct http_exchange *x)
{
    static const struct http_header right[] = {{"Sec-WebSocket-Version", "13"},
                                               {"Upgrade", "websocket"}};
    x->c->s->stats.bad_requests++;
    x->head.close = true;
    http_respond(x, 426, "text/plain", right, ARRAY_LEN(right),
                 slice_of("WebSocket version 13 is spoken\n"));
}

bool ws_check(struct http_exchange *x)
{
    const char *key = head_field(&x->head, "sec-websocket-key");
    const char *version = head_field(&x->head, "sec-websocket-version");
    if (strcmp(x->head.method, "GET") != 0 || x->head.minor == 0 || x->body.n ||
        !head_lists(&x->head, "connection", "upgrade")) {
        refuse(x, 400, "bad_handshake", "a WebSocket begins with a GET that asks for the upgrade");
    } else if (!version || strcmp(version, "13") != 0) {
        refuse_version(x);
    } else if (!key || head_field_count(&x->head, "sec-websocket-key") > 1 || !good_key(key)) {
        refuse(x, 400, "bad_handshake", "Sec-WebSocket-Key is malformed");
    } else {
        return true;
    }
    return false;
}

static void accept_value(const char *key, char out[ACCEPT_CHARS + 1])
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    unsigned char text[KEY_CHARS + sizeof(guid)], digest[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    memcpy(text, key, KEY_CHARS);
    memcpy(text + KEY_CHARS, guid, sizeof(guid) - 1);
    out[0] = '\0';
    if (EVP_Digest(text, KEY_CHARS + sizeof(guid) - 1, digest, &n, EVP_sha1(), NULL) == 1)
        (void)EVP_EncodeBlock((unsigned char *)out, digest, (int)n);
}

void ws_answer_101(const struct http_exchange *x)
{
    char accept[ACCEPT_CHARS + 1];
    accept_value(head_field(&x->head, "sec-websocket-key"), accept);
    conn_write(x->c, slice_of("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                              "Connection: Upgrade\r\nSec-WebSocket-Accept: "));
    conn_write(x->c, slice_of(accept));
    conn_write(x->c, slice_of("\r\nx-request-id: "));
    conn_write(x->c, slice_of(http_shown_id(x)));
    conn_write(x->c, slice_of("\r\n\r\n"));
}
