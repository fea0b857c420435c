/* engine/guard.c - marking what users wrote, so that it stays text. */
#include <string.h>

#include "base/ckd.h"
#include "engine/engine_impl.h"

static const char REPLACEMENT[] = "\xEF\xBF\xBD";
enum { GUARD_BYTES = sizeof(VOCAB_GUARD) - 1 };

_Static_assert(sizeof(REPLACEMENT) == sizeof(VOCAB_GUARD), "a guard is replaced in place");

/* Output that counts on beyond its end. */
struct counted {
    char *p;
    size_t max, n;
};

static void add(struct counted *out, const void *p, size_t n)
{
    if (n && out->n + n <= out->max)
        memcpy(out->p + out->n, p, n);
    out->n += n;
}

/* Text that spells no control token, but for guards of its own. */
static bool add_plain(struct counted *out, const char *text, size_t n)
{
    bool changed = false;
    for (const char *end = text + n; text < end;) {
        const char *guard = memmem(text, (size_t)(end - text), VOCAB_GUARD, GUARD_BYTES);
        add(out, text, (size_t)((guard ? guard : end) - text));
        if (!guard)
            break;
        add(out, REPLACEMENT, GUARD_BYTES);
        text = guard + GUARD_BYTES;
        changed = true;
    }
    return changed;
}

/* Bytes of the character at the start of text. */
static size_t first_char(const char *text, size_t bytes)
{
    size_t n = 1;
    while (n < bytes && ((unsigned char)text[n] & 0xC0) == 0x80)
        n++;
    return n;
}

int realm_guard(const struct realm_model *m, const char *text, size_t bytes, char *out, size_t max,
                size_t *n)
{
    const struct vocab *vocab = m->loaded->model->vocab;
    struct counted to = {out, max, 0};
    size_t at = 0, start, len;
    bool changed = false;
    const struct slice all = {(const uint8_t *)text, bytes};
    while (vocab && vocab_find_special(vocab, all, at, &start, &len)) {
        /* Past its first character only: another may begin within it. */
        size_t head = first_char(text + start, bytes - start);
        changed |= add_plain(&to, text + at, start - at);
        add(&to, VOCAB_GUARD, GUARD_BYTES);
        add(&to, text + start, head);
        at = start + head;
        changed = true;
    }
    changed |= add_plain(&to, text + at, bytes - at);
    *n = to.n;
    if (!changed && !out)
        return 0;
    return to.n > max ? REALM_E_TOO_SMALL : 0;
}
