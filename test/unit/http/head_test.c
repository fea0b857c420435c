/* Heads of requests: what each one means, or why it is refused, whole and byte by byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/ckd.h"
#include "base/mem.h"
#include "http/head.h"

enum { BODY_MAX = 1000, CODE_MAX = 32 };

struct result {
    struct head head;
    struct http_fault fault; /* status 0: accepted */
    char *text;              /* what head's views point into */
    struct head_field fields[HTTP_FIELDS_MAX];
    size_t length;
};

static const char *const hosts[] = {"model.example"};
static const struct head_rules open_rules = {.body_bytes_max = BODY_MAX};
static const struct head_rules loopback_rules = {
    .body_bytes_max = BODY_MAX, .check_host = true, .hosts = hosts, .n_hosts = 1};
static const struct head_rules tls_rules = {.body_bytes_max = BODY_MAX, .tls = true};

/* Scans text in steps of `step` bytes, then takes it apart. */
static void read_head(struct slice text, size_t step, const struct head_rules *rules,
                      struct result *out)
{
    struct head_scan scan = {0};
    int length = 0;
    *out = (struct result){0};
    for (size_t at = 0; at < text.n && length == 0; at += step) {
        size_t n = min_size(at + step, text.n);
        length = head_scan(&scan, (struct slice){text.p, n}, &out->fault);
    }
    if (length < 0)
        return;
    if (length == 0) {
        out->fault = (struct http_fault){-1, "incomplete", ""};
        return;
    }
    out->length = (size_t)length;
    out->text = mem_alloc(out->length + 1);
    assert_non_null(out->text);
    memcpy(out->text, text.p, out->length);
    bool read = head_read(&out->head, out->text, out->length, out->fields, rules, &out->fault) == 0;
    if (read)
        out->fault = (struct http_fault){0};
    else
        assert_true(out->fault.status != 0);
}

static const size_t steps[] = {SIZE_MAX / 2, 1, 7};

static void refused(const char *name, struct slice text, const struct head_rules *rules, int status,
                    const char *code)
{
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        struct result r;
        read_head(text, steps[i], rules, &r);
        if (r.fault.status != status || strcmp(r.fault.code ? r.fault.code : "", code) != 0)
            fail_msg("%s, step %zu: got %d %s, want %d %s", name, steps[i], r.fault.status,
                     r.fault.code ? r.fault.code : "accepted", status, code);
        mem_free(r.text);
    }
}

#define TEXT(s)                             \
    {                                       \
        (const uint8_t *)(s), sizeof(s) - 1 \
    }
#define LINE "GET / HTTP/1.1\r\n"
#define HOST "Host: a\r\n"
#define POST "POST / HTTP/1.1\r\nHost: a\r\n"

struct bad {
    const char *name;
    struct slice text;
    int status;
    const char *code;
};

static void all_refused(const struct bad *rows, size_t n, const struct head_rules *rules)
{
    for (size_t i = 0; i < n; i++)
        refused(rows[i].name, rows[i].text, rules, rows[i].status, rows[i].code);
}

#define BAD(name, text)                      \
    {                                        \
        name, TEXT(text), 400, "bad_request" \
    }

static void ambiguous_lengths(void **state)
{
    (void)state;
    static const struct bad rows[] = {
        BAD("both", POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
        BAD("both, TE first", POST "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n"),
        BAD("two CL that differ", POST "Content-Length: 5\r\nContent-Length: 6\r\n\r\n"),
        BAD("two CL that agree", POST "Content-Length: 5\r\ncontent-length: 5\r\n\r\n"),
        BAD("CL +5", POST "Content-Length: +5\r\n\r\n"),
        BAD("CL -5", POST "Content-Length: -5\r\n\r\n"),
        BAD("CL 5,5", POST "Content-Length: 5,5\r\n\r\n"),
        BAD("CL 5, 5", POST "Content-Length: 5, 5\r\n\r\n"),
        BAD("CL 0x5", POST "Content-Length: 0x5\r\n\r\n"),
        BAD("CL 5 with a space", POST "Content-Length: 5 \r\n\r\n"),
        BAD("CL 5 5", POST "Content-Length: 5 5\r\n\r\n"),
        BAD("CL empty", POST "Content-Length:\r\n\r\n"),
        BAD("CL 1e1", POST "Content-Length: 1e1\r\n\r\n"),
        BAD("CL of 19 digits", POST "Content-Length: 1000000000000000000\r\n\r\n"),
        BAD("CL 2^64+5", POST "Content-Length: 18446744073709551621\r\n\r\n"),
        BAD("CL with letters", POST "Content-Length: five\r\n\r\n"),
        BAD("CL with Arabic digits", POST "Content-Length: \xd9\xa5\r\n\r\n"),
        BAD("TE chunked, identity", POST "Transfer-Encoding: chunked, identity\r\n\r\n"),
        BAD("TE gzip, chunked", POST "Transfer-Encoding: gzip, chunked\r\n\r\n"),
        BAD("TE twice", POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
        BAD("TE xchunked", POST "Transfer-Encoding: xchunked\r\n\r\n"),
        BAD("TE chunked;a", POST "Transfer-Encoding: chunked;a\r\n\r\n"),
        BAD("TE \"chunked\"", POST "Transfer-Encoding: \"chunked\"\r\n\r\n"),
        BAD("TE with VT", POST "Transfer-Encoding: \x0b"
                               "chunked\r\n\r\n"),
        BAD("TE empty", POST "Transfer-Encoding:\r\n\r\n"),
        BAD("TE identity", POST "Transfer-Encoding: identity\r\n\r\n"),
        BAD("space before the colon of TE", POST "Transfer-Encoding : chunked\r\n\r\n"),
        BAD("tab before the colon of TE", POST "Transfer-Encoding\t: chunked\r\n\r\n"),
        BAD("TE in HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
    };
    all_refused(rows, ARRAY_LEN(rows), &open_rules);
}

static void malformed_lines(void **state)
{
    (void)state;
    static const struct bad rows[] = {
        BAD("bare LF after the request line", "GET / HTTP/1.1\n" HOST "\r\n"),
        BAD("bare LF after a field", LINE "Host: a\n\r\n"),
        BAD("bare LF as the last line", LINE HOST "\n"),
        BAD("bare CR in a value", LINE "Host: a\rb\r\n\r\n"),
        BAD("bare CR in the request line", "GET /\r HTTP/1.1\r\n" HOST "\r\n"),
        BAD("CR CR LF", LINE "Host: a\r\r\n\r\n"),
        BAD("obs-fold by a space", LINE HOST "X: a\r\n b\r\n\r\n"),
        BAD("obs-fold by a tab", LINE HOST "X: a\r\n\tb\r\n\r\n"),
        BAD("the first field folded", LINE " Host: a\r\n\r\n"),
        BAD("NUL in a value", LINE HOST "X: a\0b\r\n\r\n"),
        BAD("NUL in a name", LINE HOST "X\0: a\r\n\r\n"),
        BAD("NUL in the target", "GET /\0 HTTP/1.1\r\n" HOST "\r\n"),
        BAD("BEL in a value", LINE HOST "X: \x07\r\n\r\n"),
        BAD("DEL in a value", LINE HOST "X: \x7f\r\n\r\n"),
        BAD("space before a colon", LINE HOST "X : a\r\n\r\n"),
        BAD("a field without a colon", LINE HOST "X\r\n\r\n"),
        BAD("a field without a name", LINE HOST ": a\r\n\r\n"),
        BAD("a name with a quote", LINE HOST "\"X\": a\r\n\r\n"),
        BAD("a name that is no ASCII", LINE HOST "\xc3\xa4: a\r\n\r\n"),
        BAD("nothing", "\r\n\r\n"),
        BAD("HTTP/0.9", "GET /\r\n\r\n"),
        BAD("no target", "GET HTTP/1.1\r\n" HOST "\r\n"),
        BAD("two spaces", "GET  / HTTP/1.1\r\n" HOST "\r\n"),
        BAD("a tab for a space", "GET\t/\tHTTP/1.1\r\n" HOST "\r\n"),
        BAD("a space at the begin", " GET / HTTP/1.1\r\n" HOST "\r\n"),
        BAD("a space at the end", "GET / HTTP/1.1 \r\n" HOST "\r\n"),
        BAD("a method with a colon", "GET: / HTTP/1.1\r\n" HOST "\r\n"),
        {"a space in the target", TEXT("GET /a b HTTP/1.1\r\n" HOST "\r\n"), 505, "http_version"},
        {"http in lower case", TEXT("GET / http/1.1\r\n" HOST "\r\n"), 505, "http_version"},
        BAD("HTTP/1.1x", "GET / HTTP/1.1x\r\n" HOST "\r\n"),
        {"HTTP/1.", TEXT("GET / HTTP/1.\r\n" HOST "\r\n"), 505, "http_version"},
        BAD("a TLS hello", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
        {"HTTP/2.0", TEXT("GET / HTTP/2.0\r\n" HOST "\r\n"), 505, "http_version"},
        {"HTTP/2's preface", TEXT("PRI * HTTP/2.0\r\n\r\n"), 505, "http_version"},
        {"HTTP/1.2", TEXT("GET / HTTP/1.2\r\n" HOST "\r\n"), 505, "http_version"},
        {"HTTP/0.9 named", TEXT("GET / HTTP/0.9\r\n" HOST "\r\n"), 505, "http_version"},
    };
    all_refused(rows, ARRAY_LEN(rows), &open_rules);
}

static void bodies_and_methods(void **state)
{
    (void)state;
    static const struct bad rows[] = {
        {"gzip", TEXT(POST "Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\n"), 415,
         "unsupported_encoding"},
        {"identity, gzip",
         TEXT(POST "Content-Encoding: identity\r\nContent-Encoding: gzip\r\n"
                   "Content-Length: 5\r\n\r\n"),
         415, "unsupported_encoding"},
        {"expectation", TEXT(POST "Expect: magic\r\nContent-Length: 5\r\n\r\n"), 417,
         "expectation_failed"},
        {"over the limit", TEXT(POST "Content-Length: 1001\r\n\r\n"), 413, "body_too_large"},
        {"over the limit, expected",
         TEXT(POST "Expect: 100-continue\r\nContent-Length: 999999999999999999\r\n\r\n"), 413,
         "body_too_large"},
        {"CONNECT", TEXT("CONNECT a:443 HTTP/1.1\r\n" HOST "\r\n"), 405, "method_not_allowed"},
        {"TRACE", TEXT("TRACE / HTTP/1.1\r\n" HOST "\r\n"), 405, "method_not_allowed"},
        BAD("OPTIONS *", "OPTIONS * HTTP/1.1\r\n" HOST "\r\n"),
    };
    all_refused(rows, ARRAY_LEN(rows), &open_rules);
}

static void bad_hosts(void **state)
{
    (void)state;
    static const struct bad rows[] = {
        BAD("none", LINE "\r\n"),
        BAD("empty", LINE "Host:\r\n\r\n"),
        BAD("two", LINE HOST HOST "\r\n"),
        BAD("two in one", LINE "Host: a, b\r\n\r\n"),
        BAD("with a path", LINE "Host: a/b\r\n\r\n"),
        BAD("with a name before it", LINE "Host: u@a\r\n\r\n"),
        BAD("with a port that is none", LINE "Host: a:80x\r\n\r\n"),
        BAD("with two ports", LINE "Host: a:80:80\r\n\r\n"),
        BAD("with an open bracket", LINE "Host: [::1\r\n\r\n"),
        BAD("with a bracket alone", LINE "Host: [\r\n\r\n"),
        BAD("with text after brackets", LINE "Host: [::1]x\r\n\r\n"),
        BAD("with a port alone", LINE "Host: :80\r\n\r\n"),
        BAD("no ASCII", LINE "Host: \xc3\xa4\r\n\r\n"),
        BAD("absolute form of another host", "GET http://b/ HTTP/1.1\r\n" HOST "\r\n"),
        BAD("absolute form of a longer host", "GET http://ab/ HTTP/1.1\r\n" HOST "\r\n"),
        BAD("absolute form of another port", "GET http://a:80/ HTTP/1.1\r\n" HOST "\r\n"),
        BAD("absolute form with a name", "GET http://u@a/ HTTP/1.1\r\n" HOST "\r\n"),
        BAD("absolute form of another scheme", "GET https://a/ HTTP/1.1\r\n" HOST "\r\n"),
        BAD("absolute form of a file", "GET file:///etc/passwd HTTP/1.1\r\n" HOST "\r\n"),
        BAD("absolute form without a Host", "GET http://a/ HTTP/1.0\r\n\r\n"),
        BAD("no path", "GET a HTTP/1.1\r\n" HOST "\r\n"),
    };
    all_refused(rows, ARRAY_LEN(rows), &open_rules);
    static const struct bad rebound[] = {
        {"evil", TEXT(LINE "Host: evil.example\r\n\r\n"), 403, "host_not_allowed"},
        {"evil with our name", TEXT(LINE "Host: localhost.evil.example\r\n\r\n"), 403,
         "host_not_allowed"},
        {"a part of our name", TEXT(LINE "Host: local\r\n\r\n"), 403, "host_not_allowed"},
        {"another address", TEXT(LINE "Host: 127.0.0.2:80\r\n\r\n"), 403, "host_not_allowed"},
        {"evil, absolute", TEXT("GET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\n\r\n"),
         403, "host_not_allowed"},
        BAD("none", LINE "\r\n"),
    };
    all_refused(rebound, ARRAY_LEN(rebound), &loopback_rules);
}

static void bad_paths(void **state)
{
    (void)state;
#define PATH(path) BAD(path, "GET " path " HTTP/1.1\r\n" HOST "\r\n")
    static const struct bad rows[] = {
        PATH("/%2e%2e/"),   PATH("/.."),        PATH("/../a"),         PATH("/a/../b"),
        PATH("/a/%2E%2e"),  PATH("/a/.%2e/b"),  PATH("/./a"),          PATH("/."),
        PATH("/%2e"),       PATH("//v1"),       PATH("/v1//models"),   PATH("//"),
        PATH("/%2fa/../b"), PATH("/a%2F/.."),   PATH("/a%5cb"),        PATH("/%00"),
        PATH("/a%00.json"), PATH("/%0d%0aX:a"), PATH("/%7f"),          PATH("/%"),
        PATH("/%2"),        PATH("/%zz"),       PATH("/%2x"),          PATH("/a#b"),
        PATH("/a?b#c"),     PATH("/%c0%af"),    PATH("/%c0%ae%c0%ae"), PATH("/%e0%80%af"),
        PATH("/\xc0\xaf"),  PATH("/%ed%a0%80"), PATH("/%f4%90%80%80"), PATH("/%80"),
        PATH("/%e2%9c"),    PATH("/%u002e"),    PATH("/..\\a"),
    };
#undef PATH
    all_refused(rows, ARRAY_LEN(rows), &open_rules);
}

/* A head with `line_bytes` in its request line, and fields of field_bytes each. */
static struct slice make(struct buf *b, size_t line_bytes, size_t n_fields, size_t field_bytes)
{
    buf_init(b, 16 * MiB);
    assert_int_equal(buf_addf(b, "GET /"), 0);
    while (b->n < line_bytes - strlen(" HTTP/1.1"))
        assert_int_equal(buf_addch(b, 'a'), 0);
    assert_int_equal(buf_addf(b, " HTTP/1.1\r\n"), 0);
    for (size_t i = 0; i < n_fields; i++) {
        size_t begin = b->n;
        assert_int_equal(i == 0 ? buf_addf(b, "Host:a") : buf_addf(b, "X-%zu:", i), 0);
        while (i && b->n - begin < field_bytes)
            assert_int_equal(buf_addch(b, 'x'), 0);
        assert_int_equal(buf_addf(b, "\r\n"), 0);
    }
    assert_int_equal(buf_addf(b, "\r\n"), 0);
    return buf_slice(b);
}

static void sizes(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        size_t line, fields, field;
        int status;
        const char *code;
    } rows[] = {
        {"the longest line", HTTP_LINE_MAX, 1, 8, 0, ""},
        {"a byte more", HTTP_LINE_MAX + 1, 1, 8, 414, "uri_too_long"},
        {"64 KiB", 64 * KiB, 1, 8, 414, "uri_too_long"},
        {"the longest field", 16, 2, HTTP_LINE_MAX, 0, ""},
        {"a longer field", 16, 2, HTTP_LINE_MAX + 1, 431, "header_too_large"},
        {"a field of 1 MiB", 16, 2, 1 * MiB, 431, "header_too_large"},
        {"as many fields as can be", 16, HTTP_FIELDS_MAX, 8, 0, ""},
        {"one more", 16, HTTP_FIELDS_MAX + 1, 8, 431, "too_many_headers"},
        {"10 000 fields", 16, 10000, 8, 431, "too_many_headers"},
        {"fields of 32 KiB together", 16, 6, HTTP_LINE_MAX, 431, "header_too_large"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf b;
        struct slice text = make(&b, rows[i].line, rows[i].fields, rows[i].field);
        refused(rows[i].name, text, &open_rules, rows[i].status, rows[i].code);
        buf_free(&b);
    }
    /* The answer needs no end of what is too long. */
    struct buf b;
    struct slice text = make(&b, 16, 2, 1 * MiB);
    text.n = HTTP_LINE_MAX + 200;
    refused("without its end", text, &open_rules, 431, "header_too_large");
    buf_free(&b);
}

/* Each prefix of a good head wants more. */
static void cut_short(void **state)
{
    (void)state;
    static const char text[] = LINE HOST "X: y\r\n\r\n";
    for (size_t n = 0; n < sizeof(text) - 1; n++)
        refused("a prefix", (struct slice){(const uint8_t *)text, n}, &open_rules, -1,
                "incomplete");
}

struct good {
    struct slice text;
    const struct head_rules *rules;
    const char *method, *path, *query, *host;
    uint64_t content_length;
    unsigned minor;
    bool chunked, close, expects;
};

static void accepted(const struct good *g, size_t step)
{
    struct result r;
    char with_more[512];
    assert_true(g->text.n + 8 < sizeof(with_more));
    memcpy(with_more, g->text.p, g->text.n);
    memcpy(with_more + g->text.n, "\r\n\0GET ", 8);
    read_head((struct slice){(const uint8_t *)with_more, g->text.n + 8}, step, g->rules, &r);
    if (r.fault.status)
        fail_msg("%s: got %d %s", g->text.p, r.fault.status, r.fault.message);
    assert_int_equal(r.length, g->text.n);
    assert_string_equal(r.head.method, g->method);
    assert_string_equal(r.head.path, g->path);
    assert_string_equal(r.head.query, g->query);
    if (g->host)
        assert_string_equal(r.head.host, g->host);
    else
        assert_null(r.head.host);
    assert_int_equal(r.head.content_length, g->content_length);
    assert_int_equal(r.head.minor, g->minor);
    assert_int_equal(r.head.chunked, g->chunked);
    assert_int_equal(r.head.close, g->close);
    assert_int_equal(r.head.expects, g->expects);
    assert_int_equal(r.head.is_head, strcmp(g->method, "HEAD") == 0);
    assert_true(r.head.readable);
    mem_free(r.text);
}

static void good_heads(void **state)
{
    (void)state;
    const struct head_rules *any = &open_rules, *local = &loopback_rules;
    const struct good rows[] = {
        {TEXT(LINE HOST "\r\n"), any, "GET", "/", "", "a", .minor = 1},
        {TEXT("GET / HTTP/1.0\r\n\r\n"), any, "GET", "/", "", NULL, .close = true},
        {TEXT("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"), any, "GET", "/", "", NULL,
         .minor = 0},
        {TEXT(LINE HOST "Connection: close\r\n\r\n"), any, "GET", "/", "", "a", .minor = 1,
         .close = true},
        {TEXT(LINE HOST "Connection: upgrade ,\tClose\r\n\r\n"), any, "GET", "/", "", "a",
         .minor = 1, .close = true},
        {TEXT(LINE HOST "Connection: upgrade\r\nConnection: close\r\n\r\n"), any, "GET", "/", "",
         "a", .minor = 1, .close = true},
        {TEXT(LINE HOST "Connection: closed\r\n\r\n"), any, "GET", "/", "", "a", .minor = 1},
        {TEXT("GET /a%2Fb%2f%41 HTTP/1.1\r\n" HOST "\r\n"), any, "GET", "/a%2Fb%2fA", "", "a",
         .minor = 1},
        {TEXT("HEAD /v1/models?a=%2f&b=//.. HTTP/1.1\r\n" HOST "\r\n"), any, "HEAD", "/v1/models",
         "a=%2f&b=//..", "a", .minor = 1},
        {TEXT(POST "Content-Length:5\r\n\r\n"), any, "POST", "/", "", "a", .minor = 1,
         .content_length = 5},
        {TEXT(POST "Content-Length: 1000\r\n\r\n"), any, "POST", "/", "", "a", .minor = 1,
         .content_length = 1000},
        {TEXT(POST "content-LENGTH: \t000000000000000005\r\n\r\n"), any, "POST", "/", "", "a",
         .minor = 1, .content_length = 5},
        {TEXT(POST "Transfer-Encoding: Chunked\r\n\r\n"), any, "POST", "/", "", "a", .minor = 1,
         .chunked = true},
        {TEXT(POST "Expect: 100-Continue\r\nContent-Length: 1\r\n\r\n"), any, "POST", "/", "", "a",
         .minor = 1, .content_length = 1, .expects = true},
        {TEXT("POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n"), any, "POST",
         "/", "", NULL, .content_length = 1, .close = true},
        {TEXT(POST "Content-Encoding: identity\r\n\r\n"), any, "POST", "/", "", "a", .minor = 1},
        {TEXT("GET /%41b%20c%25/d/ HTTP/1.1\r\n" HOST "\r\n"), any, "GET", "/Ab c%/d/", "", "a",
         .minor = 1},
        {TEXT("GET /%E2%9c%85/\xE2\x9C\x85 HTTP/1.1\r\n" HOST "\r\n"), any, "GET",
         "/\xE2\x9C\x85/\xE2\x9C\x85", "", "a", .minor = 1},
        {TEXT("GET /...%2e/.a/a..?? HTTP/1.1\r\n" HOST "\r\n"), any, "GET", "/..../.a/a..", "?",
         "a", .minor = 1},
        {TEXT("GET http://A/x?y HTTP/1.1\r\n" HOST "\r\n"), any, "GET", "/x", "y", "a", .minor = 1},
        {TEXT("GET https://a/x HTTP/1.1\r\n" HOST "\r\n"), &tls_rules, "GET", "/x", "", "a",
         .minor = 1},
        {TEXT(LINE "Host: LocalHost:8080\r\n\r\n"), local, "GET", "/", "", "LocalHost:8080",
         .minor = 1},
        {TEXT(LINE "Host: [::1]:1\r\n\r\n"), local, "GET", "/", "", "[::1]:1", .minor = 1},
        {TEXT(LINE "Host: 127.0.0.1\r\n\r\n"), local, "GET", "/", "", "127.0.0.1", .minor = 1},
        {TEXT(LINE "Host: Model.example:80\r\n\r\n"), local, "GET", "/", "", "Model.example:80",
         .minor = 1},
        {TEXT("GET / HTTP/1.0\r\n\r\n"), local, "GET", "/", "", NULL, .close = true},
        {TEXT("OPTIONS / HTTP/1.1\r\n" HOST "\r\n"), any, "OPTIONS", "/", "", "a", .minor = 1},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        for (size_t k = 0; k < ARRAY_LEN(steps); k++)
            accepted(&rows[i], steps[k]);
}

static void fields(void **state)
{
    (void)state;
    static const struct slice text =
        TEXT(LINE HOST
             "AuthoriZation:\t Bearer  a\t b \r\nEmpty:\r\nempty: x\r\nBytes: \xff\xe2\r\n\r\n");
    struct result r;
    read_head(text, 1, &open_rules, &r);
    assert_int_equal(r.fault.status, 0);
    assert_int_equal(r.head.n_fields, 5);
    assert_string_equal(head_field(&r.head, "authorization"), "Bearer  a\t b");
    assert_string_equal(head_field(&r.head, "empty"), "");
    assert_int_equal(head_field_count(&r.head, "empty"), 2);
    assert_string_equal(head_field(&r.head, "bytes"), "\xff\xe2");
    assert_null(head_field(&r.head, "Authorization"));
    assert_int_equal(head_field_count(&r.head, "x"), 0);
    mem_free(r.text);
}

static void lists_of_tokens(void **state)
{
    (void)state;
    assert_true(head_has_token("keep-alive, Upgrade", "upgrade"));
    assert_true(head_has_token(",,close,", "close"));
    assert_true(head_has_token(" \tclose\t", "close"));
    assert_false(head_has_token("closed, unclose", "close"));
    assert_false(head_has_token("", "close"));
    assert_false(head_has_token(NULL, "close"));
    assert_false(head_has_token(" , ", "close"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ambiguous_lengths),
        cmocka_unit_test(malformed_lines),
        cmocka_unit_test(bodies_and_methods),
        cmocka_unit_test(bad_hosts),
        cmocka_unit_test(bad_paths),
        cmocka_unit_test(sizes),
        cmocka_unit_test(cut_short),
        cmocka_unit_test(good_heads),
        cmocka_unit_test(fields),
        cmocka_unit_test(lists_of_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
