#include "http/head.h"

#include <ctype.h>
#include <realm_http.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "base/utf8.h"

static int refuse(struct http_fault *fault, int status, const char *code, const char *message)
{
    *fault = (struct http_fault){status, code, message};
    return -1;
}

static int malformed(struct http_fault *fault, const char *message)
{
    return refuse(fault, 400, "bad_request", message);
}

/* ---- bytes as they come ---- */

/* The LF after a CR: 1 when it ends the head, else 0 or -1. */
static int end_line(struct head_scan *s, struct http_fault *fault)
{
    bool empty = s->line == 0;
    s->line = 0;
    if (!s->begun) {
        if (empty)
            return malformed(fault, "a request begins with its method");
        s->begun = true;
        return 0;
    }
    if (empty)
        return 1;
    if (++s->fields > HTTP_FIELDS_MAX)
        return refuse(fault, 431, "too_many_headers", "the request has too many header fields");
    return 0;
}

static int scan_byte(struct head_scan *s, uint8_t c, struct http_fault *fault)
{
    bool after_cr = s->cr;
    s->cr = c == '\r';
    if ((c == '\n') != after_cr)
        return malformed(fault, "lines end with CRLF, and CR and LF stand nowhere else");
    if (c == '\n')
        return end_line(s, fault);
    if (c == '\r')
        return 0;
    if ((c < 0x20 && c != '\t') || c == 0x7f)
        return malformed(fault, "the request's head holds control characters");
    if (s->begun && s->line == 0 && (c == ' ' || c == '\t'))
        return malformed(fault, "header fields are not folded");
    if (++s->line > HTTP_LINE_MAX)
        return s->begun ? refuse(fault, 431, "header_too_large", "a header field is over the limit")
                        : refuse(fault, 414, "uri_too_long", "the request line is over the limit");
    return 0;
}

int head_scan(struct head_scan *s, struct slice text, struct http_fault *fault)
{
    while (s->at < text.n) {
        int end = scan_byte(s, text.p[s->at++], fault);
        if (end < 0)
            return -1;
        if (s->at > HTTP_HEAD_MAX)
            return refuse(fault, 431, "header_too_large", "the header fields are over the limit");
        if (end)
            return (int)s->at;
    }
    return 0;
}

/* ---- fields ---- */

const char *head_field(const struct head *h, const char *name)
{
    for (size_t i = 0; i < h->n_fields; i++)
        if (strcmp(h->fields[i].name, name) == 0)
            return h->fields[i].value;
    return NULL;
}

size_t head_field_count(const struct head *h, const char *name)
{
    size_t n = 0;
    for (size_t i = 0; i < h->n_fields; i++)
        n += strcmp(h->fields[i].name, name) == 0;
    return n;
}

bool head_has_token(const char *list, const char *token)
{
    size_t want = strlen(token);
    while (list && *list) {
        list += strspn(list, " \t,");
        size_t n = strcspn(list, " \t,");
        if (n == want && strncasecmp(list, token, n) == 0)
            return true;
        list += n;
    }
    return false;
}

bool head_lists(const struct head *h, const char *name, const char *token)
{
    for (size_t i = 0; i < h->n_fields; i++)
        if (strcmp(h->fields[i].name, name) == 0 && head_has_token(h->fields[i].value, token))
            return true;
    return false;
}

/* Makes the text of n bytes at p a string: the byte behind it is one that nobody needs. */
static const char *ended(char *text, const char *p, size_t n)
{
    char *at = text + (p - text);
    at[n] = '\0';
    return at;
}

/* false: the length or the coding of the body ends in white space, which the parser takes off,
 * and others may not. */
MUST_USE static bool take_fields(struct head *out, char *text, const struct realm_http_field *from,
                                 size_t n)
{
    bool plain = true;
    for (size_t i = 0; i < n; i++) {
        char *name = text + (from[i].name - text);
        for (size_t k = 0; k < from[i].name_len; k++)
            name[k] = (char)tolower((unsigned char)name[k]);
        out->fields[i].name = ended(text, from[i].name, from[i].name_len);
        bool framing =
            strcmp(name, "content-length") == 0 || strcmp(name, "transfer-encoding") == 0;
        plain = plain && !(framing && from[i].value[from[i].value_len] != '\r');
        out->fields[i].value = ended(text, from[i].value, from[i].value_len);
    }
    out->n_fields = n;
    return plain;
}

/* Every header field's line is a field: "name :" and the like are refused by httparse, and
 * nothing of the head is left over. */
static int parse(struct head *out, char *text, size_t n, struct http_fault *fault)
{
    struct realm_http_field fields[HTTP_FIELDS_MAX];
    struct realm_http_head head;
    long length = realm_http_parse(text, n, fields, HTTP_FIELDS_MAX, &head);
    if (length == REALM_HTTP_E_VERSION)
        return refuse(fault, 505, "http_version", "this server speaks HTTP/1.1 and HTTP/1.0");
    if (length == REALM_HTTP_E_FIELDS)
        return refuse(fault, 431, "too_many_headers", "the request has too many header fields");
    if (length != (long)n)
        return malformed(fault, "the request's head is malformed");
    out->method = ended(text, head.method, head.method_len);
    out->path = ended(text, head.target, head.target_len);
    out->minor = head.minor;
    if (!take_fields(out, text, fields, head.n_fields))
        return malformed(fault, "white space after the length or coding of the body");
    out->readable = true;
    out->is_head = strcmp(out->method, "HEAD") == 0;
    return 0;
}

/* ---- the body's length ---- */

static int read_length(struct head *h, struct http_fault *fault)
{
    const char *text = head_field(h, "content-length");
    if (!text)
        return 0;
    if (head_field_count(h, "content-length") > 1)
        return malformed(fault, "Content-Length stands more than once");
    size_t n = strspn(text, "0123456789");
    if (n == 0 || n > 18 || text[n])
        return malformed(fault, "Content-Length is no number");
    for (size_t i = 0; i < n; i++)
        h->content_length = h->content_length * 10 + (unsigned)(text[i] - '0');
    return 0;
}

static int read_body_form(struct head *h, const struct head_rules *rules, struct http_fault *fault)
{
    const char *coding = head_field(h, "transfer-encoding");
    const char *content = head_field(h, "content-encoding");
    if (coding && (h->minor == 0 || head_field(h, "content-length")))
        return malformed(fault, "Transfer-Encoding beside Content-Length, or in HTTP/1.0");
    if (coding && (head_field_count(h, "transfer-encoding") > 1 || strcasecmp(coding, "chunked")))
        return malformed(fault, "Transfer-Encoding must be chunked and nothing else");
    h->chunked = coding != NULL;
    if (read_length(h, fault))
        return -1;
    if (content && (head_field_count(h, "content-encoding") > 1 || strcasecmp(content, "identity")))
        return refuse(fault, 415, "unsupported_encoding", "bodies are not decompressed");
    const char *expect = head_field(h, "expect");
    if (expect && strcasecmp(expect, "100-continue") != 0)
        return refuse(fault, 417, "expectation_failed", "only 100-continue can be expected");
    h->expects = expect && h->minor > 0;
    if (h->content_length > rules->body_bytes_max)
        return refuse(fault, 413, "body_too_large", "the body is over the limit");
    return 0;
}

/* ---- host and target ---- */

/* Length of the host in "host:port", brackets included; 0: it is malformed. */
static size_t host_length(const char *authority)
{
    size_t n;
    if (authority[0] == '[') {
        n = strspn(authority + 1, "0123456789abcdefABCDEF:.") + 2;
        if (strlen(authority) < n || authority[n - 1] != ']')
            return 0;
    } else {
        n = strcspn(authority, ":");
        for (size_t i = 0; i < n; i++)
            if (!isalnum((unsigned char)authority[i]) && !strchr("-._~", authority[i]))
                return 0;
    }
    const char *port = authority + n;
    if (*port == ':')
        port += 1 + strspn(port + 1, "0123456789");
    return *port ? 0 : n;
}

/* Whether "host:port" names a host that a listener on loopback answers for. */
static bool host_allowed(const struct head_rules *rules, const char *authority)
{
    static const char *const own[] = {"localhost", "127.0.0.1", "[::1]"};
    size_t n = host_length(authority);
    if (n == 0)
        return false;
    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
        if (strlen(own[i]) == n && strncasecmp(own[i], authority, n) == 0)
            return true;
    for (size_t i = 0; i < rules->n_hosts; i++)
        if (strlen(rules->hosts[i]) == n && strncasecmp(rules->hosts[i], authority, n) == 0)
            return true;
    return false;
}

static int read_host(struct head *h, const struct head_rules *rules, struct http_fault *fault)
{
    h->host = head_field(h, "host");
    if (head_field_count(h, "host") > 1 || (!h->host && h->minor > 0))
        return malformed(fault, "a request names its Host once");
    if (h->host && host_length(h->host) == 0)
        return malformed(fault, "Host is malformed");
    if (rules->check_host && h->host && !host_allowed(rules, h->host))
        return refuse(fault, 403, "host_not_allowed",
                      "this server does not answer for this host (listen.allowed_hosts)");
    return 0;
}

/* A page of another site must not reach a server that listens on this machine alone, not
 * even blindly: browsers send such requests, and only keep the answer from the page. */
static int read_origin(const struct head *h, const struct head_rules *rules,
                       struct http_fault *fault)
{
    const char *origin = head_field(h, "origin");
    const char *host = origin ? strstr(origin, "://") : NULL;
    if (!origin || !rules->check_host)
        return 0;
    if (host && head_field_count(h, "origin") == 1 && host_allowed(rules, host + 3))
        return 0;
    return refuse(fault, 403, "origin_not_allowed",
                  "pages of this origin may not ask this server (listen.allowed_hosts)");
}

/* "http://host/path" names what "/path" does, if the host is the one of the field. */
static int strip_authority(struct head *h, const struct head_rules *rules, struct http_fault *fault)
{
    const char *scheme = rules->tls ? "https://" : "http://";
    size_t n = strlen(scheme);
    if (h->path[0] == '/')
        return 0;
    if (strncasecmp(h->path, scheme, n) != 0)
        return malformed(fault, "the request's target is no path");
    const char *authority = h->path + n, *path = strchr(authority, '/');
    if (!path || !h->host || strlen(h->host) != (size_t)(path - authority) ||
        strncasecmp(h->host, authority, strlen(h->host)) != 0)
        return malformed(fault, "the request's target and its Host differ");
    h->path = path;
    return 0;
}

/* Decodes in place, but for %2F: such a slash is text of a segment and parts none.  -1: a %
 * that two hexadecimal digits do not follow, or what must not stand in a path. */
static int decode(char *path)
{
    char *to = path;
    for (const char *from = path; *from; from++) {
        unsigned char c = (unsigned char)*from;
        if (c == '%') {
            int high = hex_digit((uint8_t)from[1]);
            int low = high < 0 ? -1 : hex_digit((uint8_t)from[2]);
            if (low < 0)
                return -1;
            c = (unsigned char)(high * 16 + low);
            if (c < 0x20 || c == 0x7f)
                return -1;
            if (c == '/')
                c = '%';
            else
                from += 2;
        }
        if (c == '\\')
            return -1;
        *to++ = (char)c;
    }
    *to = '\0';
    return utf8_valid(path, (size_t)(to - path)) ? 0 : -1;
}

/* No segment is empty (but the last), "." or "..". */
static bool segments_plain(const char *path)
{
    for (const char *at = path; *at; at += strcspn(at, "/")) {
        size_t n = strcspn(++at, "/");
        if ((n == 0 && at[0]) || (n == 1 && at[0] == '.') || (n == 2 && !strncmp(at, "..", 2)))
            return false;
    }
    return true;
}

static int read_target(struct head *h, const struct head_rules *rules, struct http_fault *fault)
{
    static const char *const refused[] = {"CONNECT", "TRACE"};
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
        if (strcmp(h->method, refused[i]) == 0)
            return refuse(fault, 405, "method_not_allowed", "this method is not allowed");
    if (strip_authority(h, rules, fault))
        return -1;
    char *path = (char *)h->path, *query = strchr(path, '?');
    h->query = query ? query + 1 : "";
    if (query)
        *query = '\0';
    if (strchr(h->query, '#') || strchr(path, '#') || decode(path) || !segments_plain(path))
        return malformed(fault, "the request's path is malformed");
    return 0;
}

int head_read(struct head *out, char *text, size_t n, struct head_field *fields,
              const struct head_rules *rules, struct http_fault *fault)
{
    *out = (struct head){.fields = fields, .query = ""};
    if (parse(out, text, n, fault) || read_body_form(out, rules, fault) ||
        read_host(out, rules, fault) || read_origin(out, rules, fault) ||
        read_target(out, rules, fault))
        return -1;
    out->close = head_lists(out, "connection", "close") ||
                 (out->minor == 0 && !head_lists(out, "connection", "keep-alive"));
    return 0;
}
