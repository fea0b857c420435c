#include "text/norm.h"

#include <string.h>
#include <utf8proc.h>

#include "base/assert.h"
#include "base/utf8.h"
#include "realm/status.h"

/* What is below these is as it should be, whatever comes before it. */
enum { FIRST_COMPOSED = 0x300, FIRST_DECOMPOSED = 0xC0 };
enum { FIRST_COMPOSED_BYTE = 0xCC, FIRST_DECOMPOSED_BYTE = 0xC3 };

enum { CLASSES = 256, POINTS_OF_ONE_MAX = 32 };

void norm_init(struct norm *n)
{
    buf_init(&n->out, SIZE_MAX);
    buf_init(&n->points, SIZE_MAX);
    buf_init(&n->sorted, SIZE_MAX);
}

void norm_free(struct norm *n)
{
    buf_free(&n->out);
    buf_free(&n->points);
    buf_free(&n->sorted);
}

static bool is_mark(const utf8proc_property_t *p)
{
    return p->category == UTF8PROC_CATEGORY_MN || p->category == UTF8PROC_CATEGORY_MC ||
           p->category == UTF8PROC_CATEGORY_ME;
}

/* Vowels and final consonants of Hangul, which become one with what is before them. */
static bool is_jamo(uint32_t cp)
{
    return cp >= 0x1160 && cp <= 0x11FF;
}

static bool is_syllable(uint32_t cp)
{
    return cp >= 0xAC00 && cp <= 0xD7A3;
}

/* Whether neither what is before it nor what it becomes reaches over its beginning. */
static bool begins_cluster(uint32_t cp)
{
    return cp < FIRST_COMPOSED || (!is_jamo(cp) && !is_mark(utf8proc_get_property((int32_t)cp)));
}

/* Blocks of much used scripts all of whose letters NFC leaves as they are: it is their
 * marks, which begin no cluster, that it would change. */
static bool stays_composed(uint32_t cp)
{
    return cp < FIRST_COMPOSED || (cp >= 0x400 && cp <= 0x52F) || (cp >= 0x1E00 && cp <= 0x1EFF) ||
           (cp >= 0x3041 && cp <= 0x30FF) || is_syllable(cp);
}

/* Whether a character that begins a cluster may be another in this form. */
static bool changes(uint32_t cp, enum norm_form form)
{
    if (form == NORM_NFC ? stays_composed(cp) : cp < FIRST_DECOMPOSED)
        return false;
    const utf8proc_property_t *p = utf8proc_get_property((int32_t)cp);
    return is_syllable(cp) || (p->decomp_type == 0 && p->decomp_seqindex != UINT16_MAX);
}

static int combining_class(int32_t cp)
{
    return utf8proc_get_property(cp)->combining_class & (CLASSES - 1);
}

/* Puts a run of marks into the order of their classes, those of one class as they were. */
static int order_marks(struct norm *n, int32_t *marks, size_t count)
{
    size_t places[CLASSES + 1] = {0};
    if (count < 2)
        return 0;
    buf_clear(&n->sorted);
    if (buf_reserve(&n->sorted, count * sizeof(*marks)))
        return REALM_E_NOMEM;
    int32_t *sorted = (int32_t *)(void *)n->sorted.p;
    for (size_t i = 0; i < count; i++)
        places[combining_class(marks[i]) + 1]++;
    for (size_t c = 0; c < CLASSES; c++)
        places[c + 1] += places[c];
    for (size_t i = 0; i < count; i++)
        sorted[places[combining_class(marks[i])]++] = marks[i];
    memcpy(marks, sorted, count * sizeof(*marks));
    return 0;
}

static int order(struct norm *n, int32_t *points, size_t count)
{
    for (size_t i = 0; i < count;) {
        size_t end = i;
        while (end < count && combining_class(points[end]) != 0)
            end++;
        if (end > i && order_marks(n, points + i, end - i))
            return REALM_E_NOMEM;
        i = end + 1;
    }
    return 0;
}

static int decompose(struct norm *n, struct slice cluster)
{
    buf_clear(&n->points);
    for (size_t at = 0; at < cluster.n;) {
        uint32_t cp;
        int32_t parts[POINTS_OF_ONE_MAX];
        int boundary = 0;
        at += (size_t)utf8_decode(cluster.p + at, cluster.n - at, &cp);
        utf8proc_ssize_t count = utf8proc_decompose_char((int32_t)cp, parts, POINTS_OF_ONE_MAX,
                                                         UTF8PROC_DECOMPOSE, &boundary);
        ASSERT(count > 0 && count <= POINTS_OF_ONE_MAX);
        if (buf_add(&n->points, parts, (size_t)count * sizeof(*parts)))
            return REALM_E_NOMEM;
    }
    return 0;
}

static int put_cluster(struct norm *n, enum norm_form form, struct slice cluster)
{
    int status = decompose(n, cluster);
    if (status)
        return status;
    int32_t *points = (int32_t *)(void *)n->points.p;
    size_t count = n->points.n / sizeof(*points);
    status = order(n, points, count);
    if (status)
        return status;
    if (form == NORM_NFC) {
        utf8proc_ssize_t left = utf8proc_normalize_utf32(points, (utf8proc_ssize_t)count,
                                                         UTF8PROC_COMPOSE | UTF8PROC_STABLE);
        ASSERT(left > 0 && (size_t)left <= count);
        count = (size_t)left;
    }
    for (size_t i = 0; i < count; i++) {
        uint8_t bytes[4];
        if (buf_add(&n->out, bytes, utf8_encode((uint32_t)points[i], bytes)))
            return REALM_E_NOMEM;
    }
    return 0;
}

/* The end of the characters from `at` on that are as they should be and that nothing
 * follows that could change them. */
static size_t plain_end(enum norm_form form, struct slice text, size_t at)
{
    size_t sure = at;
    while (at < text.n) {
        uint32_t cp;
        size_t len = (size_t)utf8_decode(text.p + at, text.n - at, &cp);
        if (!begins_cluster(cp))
            return sure;
        sure = at;
        if (changes(cp, form))
            return sure;
        at += len;
    }
    return at;
}

static size_t cluster_end(struct slice text, size_t at)
{
    uint32_t cp;
    at += (size_t)utf8_decode(text.p + at, text.n - at, &cp);
    while (at < text.n) {
        size_t len = (size_t)utf8_decode(text.p + at, text.n - at, &cp);
        if (begins_cluster(cp))
            break;
        at += len;
    }
    return at;
}

int norm_text(struct norm *n, enum norm_form form, struct slice text, struct slice *out)
{
    const uint8_t first = form == NORM_NFC ? FIRST_COMPOSED_BYTE : FIRST_DECOMPOSED_BYTE;
    size_t i = 0;
    while (i < text.n && text.p[i] < first)
        i++;
    *out = text;
    if (i == text.n)
        return 0;
    buf_clear(&n->out);
    int status = buf_reserve(&n->out, text.n);
    for (size_t at = 0; at < text.n && !status;) {
        size_t end = plain_end(form, text, at);
        status = buf_add(&n->out, text.p + at, end - at);
        if (status || end == text.n)
            break;
        at = cluster_end(text, end);
        status = put_cluster(n, form, (struct slice){text.p + end, at - end});
    }
    *out = buf_slice(&n->out);
    return status ? REALM_E_NOMEM : 0;
}

size_t norm_small(uint32_t c, uint32_t out[2])
{
    enum { CAPITAL_I_WITH_DOT = 0x130, DOT = 0x307 };
    out[0] = c == CAPITAL_I_WITH_DOT ? 'i' : (uint32_t)utf8proc_tolower((int32_t)c);
    out[1] = DOT;
    return c == CAPITAL_I_WITH_DOT ? 2 : 1;
}

int norm_lower(struct norm *n, struct slice text, struct slice *out)
{
    buf_clear(&n->out);
    int status = buf_reserve(&n->out, text.n);
    for (size_t at = 0; at < text.n && !status;) {
        uint32_t c, small[2];
        uint8_t bytes[8];
        size_t n_bytes = 0;
        at += (size_t)utf8_decode(text.p + at, text.n - at, &c);
        for (size_t i = 0, count = norm_small(c, small); i < count; i++)
            n_bytes += utf8_encode(small[i], bytes + n_bytes);
        status = buf_add(&n->out, bytes, n_bytes);
    }
    *out = buf_slice(&n->out);
    return status;
}
