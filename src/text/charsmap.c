#include "text/charsmap.h"

#include <string.h>

#include "base/ckd.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/utf8.h"

#define KEY "tokenizer.ggml.precompiled_charsmap"

static uint32_t children_of(uint32_t unit, uint32_t at)
{
    return at ^ (unit >> 10 << (unit >> 6 & 8));
}

static bool has_value(uint32_t unit)
{
    return unit >> 8 & 1;
}

/* The unit that byte leads to from a unit whose children are at `children`. */
static bool step(const struct charsmap *m, uint32_t children, uint8_t byte, uint32_t *at)
{
    *at = children ^ byte;
    return byte && *at < m->n_units && (m->units[*at] & 0x800000FFu) == byte;
}

static int value_of(const struct charsmap *m, uint32_t children, struct slice *out,
                    struct realm_error *err)
{
    uint32_t place = children < m->n_units ? m->units[children] & 0x7FFFFFFFu : UINT32_MAX;
    if (place >= m->n_texts)
        return err_set(err, REALM_E_FORMAT, KEY ": a replacement begins beyond its end");
    out->p = m->texts + place;
    out->n = strlen((const char *)out->p);
    return 0;
}

/* depth: bytes that become the text, at least. */
static int check_text(struct charsmap *m, struct slice text, size_t depth, struct realm_error *err)
{
    size_t n = text.n; // with U+2581 for spaces
    for (size_t i = 0; i < text.n; i++)
        n += text.p[i] == ' ' ? 2 : 0;
    m->growth = max_size(m->growth, (n + depth - 1) / depth);
    if (!utf8_valid(text.p, text.n))
        return err_set(err, REALM_E_FORMAT, KEY ": a replacement is not UTF-8");
    if (m->growth > CHARSMAP_GROWTH_MAX) {
        return err_set(err, REALM_E_FORMAT, KEY ": %zu bytes become %zu, most is %d times as many",
                       depth, n, CHARSMAP_GROWTH_MAX);
    }
    return 0;
}

/* Visits every unit that texts can lead to, those that fewer bytes lead to first.  What
 * more bytes lead to than are looked for is left out: a replacement may grow with their
 * number, so that a chain of them would be read over and over. */
static int check(struct charsmap *m, uint32_t *queue, uint8_t *seen, struct realm_error *err)
{
    size_t n = 0, depth = 0, level_end = 1;
    queue[n++] = 0;
    seen[0] = 1;
    for (size_t i = 0; i < n; i++) {
        uint32_t at = queue[i], child;
        if (i == level_end) {
            depth++;
            level_end = n;
        }
        if (depth > CHARSMAP_KEY_MAX)
            break;
        uint32_t children = children_of(m->units[at], at);
        if (depth && has_value(m->units[at])) {
            struct slice text = {0};
            int status = value_of(m, children, &text, err);
            if (!status)
                status = check_text(m, text, depth, err);
            if (status)
                return status;
        }
        for (unsigned byte = 1; byte < 256; byte++) {
            if (step(m, children, (uint8_t)byte, &child) && !seen[child]) {
                seen[child] = 1;
                queue[n++] = child;
            }
        }
    }
    return 0;
}

static int copy(struct charsmap *m, struct slice units, struct slice texts)
{
    m->n_units = units.n / sizeof(*m->units);
    m->n_texts = texts.n;
    m->units = mem_array(m->n_units, sizeof(*m->units));
    m->texts = mem_alloc(m->n_texts);
    if (!m->units || !m->texts)
        return REALM_E_NOMEM;
    memcpy(m->units, units.p, units.n);
    memcpy(m->texts, texts.p, texts.n);
    return 0;
}

static int read_map(struct charsmap *m, struct slice file, struct realm_error *err)
{
    struct bytes it = bytes_from(file.p, file.n);
    uint32_t n;
    struct slice units, texts;
    if (file.n > CHARSMAP_BYTES_MAX) {
        return err_set(err, REALM_E_FORMAT, KEY ": %zu bytes, most is %d", file.n,
                       CHARSMAP_BYTES_MAX);
    }
    if (!rd_u32(&it, &n) || n == 0 || n % sizeof(*m->units) || !rd_slice(&it, n, &units))
        return err_set(err, REALM_E_FORMAT, KEY ": its array of units is not whole");
    if (!rd_slice(&it, bytes_left(&it), &texts) || texts.n == 0 || texts.p[texts.n - 1] != 0)
        return err_set(err, REALM_E_FORMAT, KEY ": its last replacement does not end");
    if (copy(m, units, texts))
        return err_nomem(err, "the map of characters");
    uint32_t *queue = mem_array(m->n_units, sizeof(*queue));
    uint8_t *seen = mem_zarray(m->n_units, sizeof(*seen));
    int status =
        queue && seen ? check(m, queue, seen, err) : err_nomem(err, "the map of characters");
    mem_free(queue);
    mem_free(seen);
    return status;
}

int charsmap_init(struct charsmap *m, struct slice file, struct realm_error *err)
{
    *m = (struct charsmap){.growth = 3}; // a byte that a text's map leaves alone: U+FFFD
    int status = read_map(m, file, err);
    if (status)
        charsmap_free(m);
    return status;
}

void charsmap_free(struct charsmap *m)
{
    mem_free(m->units);
    mem_free(m->texts);
    *m = (struct charsmap){.growth = 1};
}

size_t charsmap_bytes(const struct charsmap *m)
{
    return m->n_units * sizeof(*m->units) + m->n_texts;
}

bool charsmap_get(const struct charsmap *m, struct slice text, struct slice *out, size_t *n)
{
    uint32_t children = m->n_units ? children_of(m->units[0], 0) : 0, at, best = 0;
    size_t max = min_size(text.n, CHARSMAP_KEY_MAX);
    *n = 0;
    for (size_t i = 0; i < max && step(m, children, text.p[i], &at); i++) {
        children = children_of(m->units[at], at);
        if (has_value(m->units[at])) {
            best = children;
            *n = i + 1;
        }
    }
    if (*n == 0)
        return false;
    int status = value_of(m, best, out, NULL);
    ASSERT(status == 0); // all were looked at when the map was read
    return true;
}
