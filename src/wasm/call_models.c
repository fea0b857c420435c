/* wasm/call_models.c - loading, storing, removing and describing models. */
#include <string.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"
#include "wasm/imports.h"
#include "wasm/tenant.h"

int32_t call_load_model_by_name(struct instance *in, const uint32_t *a)
{
    const uint32_t at = a[0], n = a[1];
    char *name;
    uint32_t id = 0;
    int32_t code = call_text(in, at, n, MODEL_NAME_MAX, ABI_ARGUMENT, &name);
    if (code)
        return code;
    int status = strlen(name) != n
                     ? err_set(&in->last, REALM_E_NOT_FOUND, "no model's name contains a NUL")
                     : tenant_add_name(in->request, name, &in->wait, &id, &in->last);
    mem_free(name);
    return status ? call_load_status(in, status) : (int32_t)id;
}

int32_t call_store_model(struct instance *in, const uint32_t *a)
{
    const uint32_t at = a[0], n = a[1];
    uint32_t id = a[2];
    const struct guest_memory m = instance_memory(in);
    if (id > INT32_MAX)
        return call_fail(in, ABI_ARGUMENT, "model ids are 1 to 2147483647, and 0 to have one");
    if (!guest_has(&m, at, n))
        return call_fail(in, ABI_INPUT, "the model of %u bytes at %u is out of bounds", n, at);
    /* The memory stays where it is: nothing of the guest runs meanwhile. */
    int status =
        tenant_add_bytes(in->request->tenant, n ? m.base + at : NULL, n, &in->wait, &id, &in->last);
    if (status == REALM_E_NO_ROOM)
        return ABI_LIMIT;
    return status ? call_status(in, status) : (int32_t)id;
}

int32_t call_remove_model(struct instance *in, const uint32_t *a)
{
    if (tenant_remove(in->request->tenant, a[0]))
        return call_fail(in, ABI_NO_MODEL, "this tenant has no model %d", (int32_t)a[0]);
    return 0;
}

int32_t call_model_info(struct instance *in, const uint32_t *a)
{
    const uint32_t id = a[0], tensors_at = a[1], bytes_at = a[2];
    struct lease m;
    struct realm_model_info info;
    int32_t code = call_model(in, id, &m);
    if (code)
        return code;
    realm_model_info(m.model, &info);
    realm_model_close(m.model);
    const uint32_t tensors = (uint32_t)info.tensors;
    code = call_check_out(in, bytes_at, sizeof(info.tensor_bytes));
    if (!code)
        code = call_write(in, tensors_at, sizeof(tensors), &tensors, sizeof(tensors));
    if (code < 0)
        return code;
    code = call_write(in, bytes_at, sizeof(info.tensor_bytes), &info.tensor_bytes,
                      sizeof(info.tensor_bytes));
    return code < 0 ? code : 0;
}

static int add_metadata(struct buf *out, const struct realm_model_info *i)
{
    return buf_addf(out,
                    "{\"config\":{\"vocab_size\":%u,\"hidden_size\":%u,\"num_layers\":%u,"
                    "\"num_heads\":%u,\"num_kv_heads\":%u,\"intermediate_size\":%u,"
                    "\"max_seq_len\":%u,\"rope_theta\":%.9g,\"rms_norm_eps\":%.9g},"
                    "\"has_tokenizer\":%s}",
                    i->vocab_size, i->hidden_size, i->num_layers, i->num_heads, i->num_kv_heads,
                    i->intermediate_size, i->context_tokens, (double)i->rope_theta,
                    (double)i->rms_norm_eps, i->has_tokenizer ? "true" : "false");
}

int32_t call_model_metadata(struct instance *in, const uint32_t *a)
{
    const uint32_t id = a[0], out = a[1], out_max = a[2];
    struct lease m;
    struct realm_model_info info;
    struct buf json;
    int32_t code = call_model(in, id, &m);
    if (code)
        return code;
    realm_model_info(m.model, &info);
    buf_init(&json, 4 * KiB);
    code = add_metadata(&json, &info) ? call_fail(in, ABI_FAILED, "out of memory")
                                      : call_write(in, out, out_max, json.p, json.n);
    realm_model_close(m.model);
    buf_free(&json);
    return code;
}
