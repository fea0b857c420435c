#include "wasm/guest_text.h"

#include "base/utf8.h"

int guest_text_add(struct buf *out, const void *bytes, size_t n)
{
    const uint8_t *p = bytes, *end = p + n;
    const size_t before = out->n;
    int status = 0;
    if (utf8_valid(bytes, n))
        return buf_add(out, bytes, n);
    while (!status && p < end) {
        uint32_t cp;
        int length = utf8_decode(p, (size_t)(end - p), &cp);
        status = length > 0 ? buf_add(out, p, (size_t)length) : buf_add(out, "\xEF\xBF\xBD", 3);
        p += length > 0 ? (size_t)length : utf8_bad_run(p, (size_t)(end - p));
    }
    if (status)
        out->n = before;
    return status;
}
