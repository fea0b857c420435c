#include "http/chunked.h"

#include "realm/status.h"

enum { DIGITS_MAX = 15, EXTENSIONS_MAX = 1024, TRAILER_MAX = 8192 };

static int refuse(struct http_fault *fault)
{
    *fault = (struct http_fault){400, "bad_chunk", "the chunked body is malformed"};
    return -1;
}

static int digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* 0, or -1: not the size of a chunk. */
static int take_size(struct chunked *d, uint8_t c)
{
    int value = digit(c);
    if (value >= 0) {
        d->left = d->left * 16 + (unsigned)value;
        return ++d->digits > DIGITS_MAX ? -1 : 0;
    }
    if (d->digits == 0)
        return -1;
    if (c == ';')
        d->state = CHUNKED_EXTENSION;
    else if (c == '\r')
        d->state = CHUNKED_SIZE_LF;
    else
        return -1;
    return 0;
}

static int take_extension(struct chunked *d, uint8_t c)
{
    if (c == '\r')
        d->state = CHUNKED_SIZE_LF;
    else if ((c < 0x20 && c != '\t') || c == 0x7f)
        return -1;
    return ++d->extension_bytes > EXTENSIONS_MAX ? -1 : 0;
}

static int end_size(struct chunked *d, uint8_t c)
{
    if (c != '\n')
        return -1;
    d->state = d->left ? CHUNKED_DATA : CHUNKED_TRAILER;
    d->digits = 0;
    return 0;
}

/* A line of the trailer ends with CRLF and has a name and a colon; the empty one ends it. */
static int take_trailer(struct chunked *d, uint8_t c)
{
    uint8_t before = (uint8_t)d->last2;
    d->last2 = c;
    if (++d->trailer_bytes > TRAILER_MAX)
        return -1;
    if ((c == '\n') != (before == '\r'))
        return -1; // a CR or LF that stands alone
    if (c == '\r')
        return 0;
    if (c != '\n') {
        bool first = d->trailer_line++ == 0;
        if ((c < 0x20 && c != '\t') || c == 0x7f || (first && (c == ' ' || c == ':' || c == '\t')))
            return -1;
        d->colon = d->colon || c == ':';
        return 0;
    }
    if (d->trailer_line == 0) {
        d->state = CHUNKED_DONE;
        return 0;
    }
    if (!d->colon || ++d->trailer_lines > HTTP_FIELDS_MAX)
        return -1;
    d->trailer_line = 0;
    d->colon = false;
    return 0;
}

static int take_byte(struct chunked *d, uint8_t c)
{
    switch (d->state) {
    case CHUNKED_SIZE:
        return take_size(d, c);
    case CHUNKED_EXTENSION:
        return take_extension(d, c);
    case CHUNKED_SIZE_LF:
        return end_size(d, c);
    case CHUNKED_DATA_CR:
        d->state = CHUNKED_DATA_LF;
        return c == '\r' ? 0 : -1;
    case CHUNKED_DATA_LF:
        d->state = CHUNKED_SIZE;
        return c == '\n' ? 0 : -1;
    case CHUNKED_TRAILER:
        return take_trailer(d, c);
    case CHUNKED_DATA:
    case CHUNKED_DONE:
        break;
    }
    return 0;
}

static int take_data(struct chunked *d, struct slice in, struct buf *body, size_t *at,
                     struct http_fault *fault)
{
    size_t n = in.n - *at < d->left ? in.n - *at : (size_t)d->left;
    int status = buf_add(body, in.p + *at, n);
    if (status == REALM_E_LIMIT)
        *fault = (struct http_fault){413, "body_too_large", "the body is over the limit"};
    else if (status)
        *fault = (struct http_fault){0, NULL, NULL};
    if (status)
        return -1;
    *at += n;
    d->left -= n;
    if (d->left == 0)
        d->state = CHUNKED_DATA_CR;
    return 0;
}

int chunked_take(struct chunked *d, struct slice in, struct buf *body, size_t *used,
                 struct http_fault *fault)
{
    size_t at = 0;
    *used = 0;
    while (at < in.n && d->state != CHUNKED_DONE) {
        if (d->state == CHUNKED_DATA) {
            if (take_data(d, in, body, &at, fault))
                return -1;
        } else if (take_byte(d, in.p[at++])) {
            return refuse(fault);
        }
        /* What is over the limit is refused before it comes. */
        if (d->state == CHUNKED_DATA && d->left > body->max - body->n) {
            *fault = (struct http_fault){413, "body_too_large", "the body is over the limit"};
            return -1;
        }
    }
    *used = at;
    return d->state == CHUNKED_DONE;
}
