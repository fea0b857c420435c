/* wasm/call_tokens.c - realm_encode_tokens, realm_decode_tokens. */
#include "base/ckd.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"
#include "wasm/imports.h"
#include "wasm/tenant.h"

enum { IDS_MAX = 1 << 20 };

static int32_t fail_text(struct instance *in, int status, size_t needed, const char *unit)
{
    switch (status) {
    case REALM_E_TOO_SMALL:
        return call_fail(in, ABI_TOO_SMALL, "the output needs room for %zu %s", needed, unit);
    case REALM_E_UNSUPPORTED:
        return call_fail(in, ABI_NO_TOKENIZER, "the model has no tokenizer");
    case REALM_E_ARG:
        return call_fail(in, ABI_ARGUMENT, "an id is not below the vocabulary");
    default:
        return call_fail(in, ABI_FAILED, "%s", realm_status_name(status));
    }
}

/* At most out_max ids of the text, in memory of ours.  A byte is at most a token,
 * and a space before it at most three more. */
static int32_t encode(struct instance *in, const struct realm_model *m, const char *text,
                      uint32_t text_n, uint32_t out, uint32_t out_max)
{
    size_t room = min_size(out_max, 4 * ((size_t)text_n + 1)), n;
    uint32_t *ids = mem_array(room, sizeof(*ids));
    if (!ids)
        return call_fail(in, ABI_FAILED, "out of memory");
    int status = realm_tokenize(m, text, text_n, 0, ids, room, &n);
    int32_t code = status ? fail_text(in, status, n, "ids")
                          : call_write(in, out, cast_u32(n * sizeof(*ids)), ids, n * sizeof(*ids));
    mem_free(ids);
    return code < 0 ? code : cast_i32((int64_t)n);
}

int32_t call_encode_tokens(struct instance *in, const uint32_t *a)
{
    const uint32_t id = a[0], text_at = a[1], text_n = a[2], out = a[3], out_max = a[4];
    struct lease m;
    char *text;
    int32_t code = call_model(in, id, &m);
    if (code)
        return code;
    code = call_text(in, text_at, text_n, PROMPT_BYTES_MAX, ABI_ARGUMENT, &text);
    if (!code)
        code = call_check_out(in, out, (uint64_t)out_max * sizeof(uint32_t));
    if (!code)
        code = encode(in, m.model, text, text_n, out, out_max);
    mem_free(text);
    realm_model_close(m.model);
    return code;
}

static int32_t decode(struct instance *in, const struct realm_model *m, const uint32_t *ids,
                      uint32_t n, uint32_t out, uint32_t out_max)
{
    size_t bytes;
    char *text = mem_alloc(out_max);
    if (!text)
        return call_fail(in, ABI_FAILED, "out of memory");
    int status = realm_detokenize(m, ids, n, false, text, out_max, &bytes);
    int32_t code =
        status ? fail_text(in, status, bytes, "bytes") : call_write(in, out, out_max, text, bytes);
    mem_free(text);
    return code;
}

int32_t call_decode_tokens(struct instance *in, const uint32_t *a)
{
    const uint32_t id = a[0], ids_at = a[1], ids_n = a[2], out = a[3], out_max = a[4];
    const uint64_t ids_bytes = (uint64_t)ids_n * sizeof(uint32_t);
    struct lease m;
    int32_t code = call_model(in, id, &m);
    if (code)
        return code;
    const struct guest_memory memory = instance_memory(in);
    uint32_t *ids = NULL;
    if (ids_n > IDS_MAX)
        code = call_fail(in, ABI_ARGUMENT, "%u ids, at most %d are read", ids_n, IDS_MAX);
    else if (!guest_has(&memory, ids_at, ids_bytes))
        code = call_fail(in, ABI_INPUT, "%u ids at %u are out of bounds", ids_n, ids_at);
    else
        code = call_check_out(in, out, out_max);
    if (!code && !(ids = mem_array(ids_n, sizeof(*ids))))
        code = call_fail(in, ABI_FAILED, "out of memory");
    if (!code && !guest_copy_in(&memory, ids_at, ids, (size_t)ids_bytes))
        code = call_fail(in, ABI_INPUT, "the ids are out of bounds");
    if (!code)
        code = decode(in, m.model, ids, ids_n, out, out_max);
    mem_free(ids);
    realm_model_close(m.model);
    return code;
}
