/* Heads and chunked bodies of any bytes.
 *
 * The first byte chooses: a head with its rules, or a chunked body; the second in which
 * pieces the rest comes.  What comes out is the same as of the whole in one piece. */
#include <string.h>

#include "base/assert.h"
#include "base/ckd.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "http/chunked.h"
#include "http/head.h"

enum { BODY_MAX = 4096 };

/* What head_scan returns of text that comes in pieces of `step` bytes. */
static int scan(struct slice text, size_t step, struct http_fault *fault)
{
    struct head_scan s = {0};
    int length = 0;
    for (size_t n = 0; n < text.n && length == 0;) {
        n = min_size(n + step, text.n);
        length = head_scan(&s, (struct slice){text.p, n}, fault);
    }
    return length;
}

static void check_head(const struct head *h)
{
    ASSERT(h->path[0] == '/' && utf8_valid(h->path, strlen(h->path)));
    ASSERT(!strstr(h->path, "/../") && !strstr(h->path, "//"));
    for (const char *p = h->path; *p; p++)
        ASSERT((unsigned char)*p >= 0x20 && *p != 0x7f && *p != '\\');
    ASSERT(h->content_length <= BODY_MAX && !(h->chunked && h->content_length));
    ASSERT(h->minor <= 1 && (h->host || h->minor == 0) && h->n_fields <= HTTP_FIELDS_MAX);
    for (size_t i = 0; i < h->n_fields; i++) {
        ASSERT(*h->fields[i].name && !strpbrk(h->fields[i].name, " \t\r\n:"));
        ASSERT(!strpbrk(h->fields[i].value, "\r\n"));
    }
}

static void read_head(struct slice text, uint8_t rules_bits, size_t step)
{
    static const char *const hosts[] = {"a"};
    const struct head_rules rules = {.tls = rules_bits & 2,
                                     .check_host = rules_bits & 4,
                                     .hosts = hosts,
                                     .n_hosts = 1,
                                     .body_bytes_max = BODY_MAX};
    struct http_fault whole_fault = {0}, fault = {0};
    struct head_field fields[HTTP_FIELDS_MAX];
    struct head head;
    int length = scan(text, text.n, &whole_fault);
    ASSERT(scan(text, step, &fault) == length);
    ASSERT(fault.status == whole_fault.status && fault.code == whole_fault.code);
    if (length <= 0)
        return;
    char *copy = mem_alloc((size_t)length + 1);
    ASSERT(copy);
    memcpy(copy, text.p, (size_t)length);
    if (head_read(&head, copy, (size_t)length, fields, &rules, &fault) == 0)
        check_head(&head);
    else
        ASSERT(fault.status >= 400 && fault.code && fault.message);
    mem_free(copy);
}

/* Returns what chunked_take did; *used of all pieces. */
static int decode(struct slice text, size_t step, struct buf *body, size_t *used,
                  struct http_fault *fault)
{
    struct chunked d = {0};
    int whole = 0;
    buf_init(body, BODY_MAX);
    for (*used = 0; *used < text.n && whole == 0;) {
        size_t took, n = min_size(step, text.n - *used);
        whole = chunked_take(&d, (struct slice){text.p + *used, n}, body, &took, fault);
        ASSERT(took <= n && (whole || took == n));
        *used += took;
    }
    return whole;
}

static void read_chunks(struct slice text, size_t step)
{
    struct http_fault whole_fault = {0}, fault = {0};
    struct buf whole_body, body;
    size_t whole_used, used;
    int whole = decode(text, text.n, &whole_body, &whole_used, &whole_fault);
    ASSERT(decode(text, step, &body, &used, &fault) == whole);
    ASSERT(fault.status == whole_fault.status && fault.code == whole_fault.code);
    if (whole >= 0) {
        ASSERT(used == whole_used && body.n == whole_body.n && body.n <= BODY_MAX);
        ASSERT(body.n == 0 || memcmp(body.p, whole_body.p, body.n) == 0);
    }
    buf_free(&whole_body);
    buf_free(&body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3)
        return 0;
    struct slice text = {data + 2, size - 2};
    size_t step = 1 + data[1] % 64;
    if (data[0] & 1)
        read_chunks(text, step);
    else
        read_head(text, data[0], step);
    return 0;
}
