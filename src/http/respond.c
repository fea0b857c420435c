/* http/respond.c - answers as bytes. */
#include <stdio.h>
#include <string.h>

#include "base/ckd.h"
#include "http/conn.h"

static const char *reason_of(int status)
{
    static const struct {
        int status;
        const char *reason;
    } reasons[] = {
        {200, "OK"},
        {204, "No Content"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {417, "Expectation Failed"},
        {422, "Unprocessable Content"},
        {426, "Upgrade Required"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {499, "Client Closed Request"},
        {500, "Internal Server Error"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
        {507, "Insufficient Storage"},
    };
    for (size_t i = 0; i < ARRAY_LEN(reasons); i++)
        if (reasons[i].status == status)
            return reasons[i].reason;
    return "Unknown";
}

static void text(struct conn *c, const char *s)
{
    conn_write(c, slice_of(s));
}

/* "Name: value\r\n"; a value cannot end its line. */
static void field(struct conn *c, const char *name, const char *value)
{
    text(c, name);
    text(c, ": ");
    conn_write(c, (struct slice){(const uint8_t *)value, strcspn(value, "\r\n")});
    text(c, "\r\n");
}

static void head(struct conn *c, int status, const char *type, const struct http_header *headers,
                 size_t n_headers, const char *id)
{
    char line[80];
    snprintf(line, sizeof(line), "HTTP/1.1 %d %s\r\n", status, reason_of(status));
    text(c, line);
    field(c, "Date", server_date(c->s));
    if (type)
        field(c, "Content-Type", type);
    if (id)
        field(c, "x-request-id", id);
    field(c, "X-Content-Type-Options", "nosniff");
    for (size_t i = 0; i < n_headers; i++)
        field(c, headers[i].name, headers[i].value);
}

static void end_head(struct conn *c, bool close, bool old)
{
    if (close)
        field(c, "Connection", "close");
    else if (old)
        field(c, "Connection", "keep-alive");
    text(c, "\r\n");
}

static void length(struct conn *c, size_t n)
{
    char value[24];
    snprintf(value, sizeof(value), "%zu", n);
    field(c, "Content-Length", value);
}

static bool closes(const struct http_exchange *x)
{
    return x->head.close || x->c->s->draining || x->c->eof;
}

/* An answer that is whole takes its memory anyway: the limit on what a client has not read is
 * for what was there before it. */
static void make_room(struct conn *c, size_t n)
{
    size_t limit = c->s->limits.unsent_bytes_max;
    bool behind = conn_unsent(c) > limit;
    c->out.b.max = behind ? limit : max_size(limit, c->out.b.n + HTTP_HEAD_MAX + n);
}

void http_respond(struct http_exchange *x, int status, const char *type,
                  const struct http_header *headers, size_t n_headers, struct slice body)
{
    struct conn *c = x->c;
    make_room(c, body.n);
    head(c, status, type, headers, n_headers, http_shown_id(x));
    length(c, body.n);
    end_head(c, closes(x), x->head.minor == 0);
    if (!x->head.is_head)
        conn_write(c, body);
    exchange_done(x);
}

void http_stream_start(struct http_exchange *x, int status, const char *type,
                       const struct http_header *headers, size_t n_headers)
{
    struct conn *c = x->c;
    c->out.b.max = c->s->limits.unsent_bytes_max;
    x->streaming = true;
    x->events = type && strcmp(type, "text/event-stream") == 0;
    x->chunks = x->head.minor > 0;
    x->head.close = x->head.close || !x->chunks;
    x->spoke_ms = conn_now_ms(c);
    head(c, status, type, headers, n_headers, http_shown_id(x));
    if (x->events) {
        field(c, "Cache-Control", "no-cache");
        field(c, "X-Accel-Buffering", "no"); // proxies are to pass events on as they come
    }
    if (x->chunks)
        field(c, "Transfer-Encoding", "chunked");
    end_head(c, closes(x), false);
}

/* A chunk whose bytes come in parts. */
static void chunk(struct http_exchange *x, const struct slice *parts, size_t n)
{
    size_t total = 0;
    char size[24];
    for (size_t i = 0; i < n; i++)
        total += parts[i].n;
    if (total == 0 || x->head.is_head)
        return;
    x->spoke_ms = conn_now_ms(x->c);
    snprintf(size, sizeof(size), "%zx\r\n", total);
    if (x->chunks)
        text(x->c, size);
    for (size_t i = 0; i < n; i++)
        conn_write(x->c, parts[i]);
    if (x->chunks)
        text(x->c, "\r\n");
}

void http_stream_write(struct http_exchange *x, struct slice bytes)
{
    chunk(x, &bytes, 1);
}

void http_stream_event(struct http_exchange *x, const char *event, struct slice data)
{
    struct slice parts[] = {slice_of("event: "), slice_of(event ? event : ""),
                            slice_of(event ? "\ndata: " : "data: "), data, slice_of("\n\n")};
    size_t skip = event ? 0 : 2;
    chunk(x, parts + skip, ARRAY_LEN(parts) - skip);
}

void respond_comment(struct http_exchange *x)
{
    struct slice comment = slice_of(": \n\n");
    chunk(x, &comment, 1);
}

void http_stream_end(struct http_exchange *x)
{
    if (x->chunks && !x->head.is_head)
        text(x->c, "0\r\n\r\n");
    exchange_done(x);
}

bool http_streaming(const struct http_exchange *x)
{
    return x->streaming;
}

/* ---- refusals ---- */

static const char *type_of(int status)
{
    return status >= 500 ? "server_error" : "invalid_request_error";
}

static void write_refusal(struct http_refusal *r, struct conn *c, const struct http_exchange *x)
{
    const struct http_handler *h = &c->s->handler;
    snprintf(r->body, sizeof(r->body),
             "{\"error\":{\"message\":\"%s\",\"type\":\"%s\",\"param\":null,"
             "\"code\":\"%s\",\"request_id\":\"%s\"}}",
             r->message, type_of(r->status), r->code, r->id);
    if (h->refusal && x && x->head.readable)
        h->refusal(h->ctx, x, r);
}

void respond_fault(struct conn *c, const struct http_exchange *x, const struct http_fault *fault)
{
    struct http_refusal r = {.status = fault->status, .code = fault->code};
    struct http_header headers[3];
    size_t n = 0;
    char made[32];
    r.message = fault->message;
    r.id = x ? http_shown_id(x) : made;
    if (!x)
        server_new_id(c->s, made);
    write_refusal(&r, c, x);
    if (fault->status == 503) {
        headers[n++] = (struct http_header){"Retry-After", "1"};
        headers[n++] = (struct http_header){"retry-after-ms", "1000"};
    }
    if (r.id_field)
        headers[n++] = (struct http_header){r.id_field, r.id};
    head(c, fault->status, "application/json", headers, n, r.id);
    length(c, strlen(r.body));
    end_head(c, true, false);
    if (!x || !x->head.readable || !x->head.is_head)
        text(c, r.body);
}
