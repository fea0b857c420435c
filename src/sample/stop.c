/* sample/stop.c - stop strings, looked for at every byte.
 *
 * A stop string counts as spelled with its last byte, the longest of those that
 * end there; so the cut does not depend on how the text came in pieces. */
#include "sample/stop.h"

#include <string.h>

#include "base/ckd.h"
#include "base/mem.h"
#include "realm/status.h"

int stop_init(struct stop *s, const char *const *texts, size_t n)
{
    *s = (struct stop){0};
    buf_init(&s->held, STOP_BYTES_MAX + STOP_PUSH_MAX);
    for (; s->n < n; s->n++) {
        s->bytes[s->n] = strlen(texts[s->n]);
        s->texts[s->n] = mem_strndup(texts[s->n], s->bytes[s->n]);
        if (!s->texts[s->n]) {
            stop_free(s);
            return REALM_E_NOMEM;
        }
    }
    return 0;
}

void stop_free(struct stop *s)
{
    for (size_t i = 0; i < s->n; i++)
        mem_free(s->texts[i]);
    s->n = 0;
    buf_free(&s->held);
}

/* Length of the longest stop string that text ends in, 0 for none. */
static size_t spelled(struct stop *s, const uint8_t *text, size_t n)
{
    size_t longest = 0;
    for (size_t i = 0; i < s->n; i++) {
        size_t want = s->bytes[i];
        if (want <= n && want > longest && memcmp(text + n - want, s->texts[i], want) == 0) {
            longest = want;
            s->which = i;
        }
    }
    return longest;
}

/* Whether the n bytes at tail begin one of the stop strings. */
static bool begins(const struct stop *s, const uint8_t *tail, size_t n)
{
    for (size_t i = 0; i < s->n; i++)
        if (n < s->bytes[i] && memcmp(tail, s->texts[i], n) == 0)
            return true;
    return false;
}

/* Length of the longest tail that may yet become a stop string. */
static size_t undecided(const struct stop *s, const uint8_t *text, size_t n)
{
    size_t tail = min_size(n, STOP_BYTES_MAX - 1);
    while (tail && !begins(s, text + n - tail, tail))
        tail--;
    return tail;
}

/* Moves the first n held bytes to out. */
static int release(struct stop *s, size_t n, struct buf *out)
{
    if (n == 0)
        return 0;
    int status = buf_add(out, s->held.p, n);
    if (status)
        return status;
    memmove(s->held.p, s->held.p + n, s->held.n - n);
    s->held.n -= n;
    return 0;
}

int stop_push(struct stop *s, const char *text, size_t n, struct buf *out, bool *hit)
{
    *hit = false;
    if (s->n == 0)
        return n ? buf_add(out, text, n) : 0;
    size_t seen = s->held.n;
    int status = n ? buf_add(&s->held, text, n) : 0;
    if (status)
        return status;
    for (size_t end = seen + 1; end <= s->held.n; end++) {
        size_t length = spelled(s, s->held.p, end);
        if (!length)
            continue;
        *hit = true;
        status = release(s, end - length, out);
        buf_clear(&s->held);
        return status;
    }
    return release(s, s->held.n - undecided(s, s->held.p, s->held.n), out);
}

int stop_flush(struct stop *s, struct buf *out)
{
    return release(s, s->held.n, out);
}
