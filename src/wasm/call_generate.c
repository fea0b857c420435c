/* wasm/call_generate.c - realm_host_generate, realm_stream_token, realm_last_error. */
#include <string.h>

#include "base/ckd.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "wasm/gen_options.h"
#include "wasm/generation.h"
#include "wasm/imports.h"
#include "wasm/tenant.h"

/* The text with its NUL, written where it fits. */
static int32_t generate_to(struct instance *in, const struct lease *m,
                           const struct gen_source *from, const struct gen_wish *wish, uint32_t out,
                           uint32_t out_max)
{
    struct realm_request r;
    struct realm_event end;
    struct buf text;
    realm_request_init(&r, REALM_DOOR_GUEST);
    r.sampling = wish->sampling;
    r.stop_ids = wish->stop_ids;
    r.n_stop_ids = wish->n_stop_ids;
    buf_init(&text, GUEST_OUTPUT_BYTES_MAX);
    int32_t code = generation_whole(in, m, from, &r, &text, &end);
    if (!code)
        code = buf_addch(&text, '\0') ? call_fail(in, ABI_FAILED, "out of memory")
                                      : call_write(in, out, out_max, text.p, text.n);
    buf_free(&text);
    return code;
}

static int32_t read_options(struct instance *in, const struct realm_model *m, uint32_t at,
                            struct gen_wish *wish)
{
    const struct guest_memory memory = instance_memory(in);
    struct realm_model_info info;
    realm_model_info(m, &info);
    return gen_options_read(&memory, at, info.vocab_size, wish, &in->last) ? ABI_ARGUMENT : 0;
}

int32_t call_generate(struct instance *in, const uint32_t *a)
{
    const uint32_t id = a[0], prompt_at = a[1], prompt_n = a[2], options = a[3];
    const uint32_t out = a[4], out_max = a[5];
    struct lease m;
    struct gen_wish wish;
    char *prompt = NULL;
    int32_t code = call_model(in, id, &m);
    if (code)
        return code;
    code = read_options(in, m.model, options, &wish);
    if (!code)
        code = call_text(in, prompt_at, prompt_n, PROMPT_BYTES_MAX, ABI_TOO_LONG, &prompt);
    if (!code)
        code = call_check_out(in, out, out_max);
    if (!code)
        code = generate_to(in, &m, &(struct gen_source){.prompt = prompt, .bytes = prompt_n}, &wish,
                           out, out_max);
    mem_free(prompt);
    realm_model_close(m.model);
    return code;
}

int32_t call_stream_token(struct instance *in, const uint32_t *a)
{
    const uint32_t at = a[0], n = a[1];
    const struct wasm_request *r = in->request;
    const uint64_t left = in->host->limits.output_bytes - in->streamed_bytes;
    char *text;
    int32_t code = call_text(in, at, n, UINT32_MAX, ABI_ARGUMENT, &text);
    if (code)
        return code;
    if (n > left) {
        err_set(&in->stop, REALM_E_LIMIT, "the guest's output is over %llu bytes",
                (unsigned long long)in->host->limits.output_bytes);
    } else if (r->on_text && n) {
        in->streamed_bytes += n;
        in->streamed = true;
        if (!r->on_text(r->ctx, text, n))
            err_set(&in->stop, REALM_E_CANCELLED, "the caller went away");
    }
    mem_free(text);
    return 0;
}

int32_t call_last_error(struct instance *in, const uint32_t *a)
{
    const uint32_t out = a[0], out_max = a[1];
    const char *sentence = in->last.message;
    size_t n = min_size(strlen(sentence), out_max);
    /* Cut to what fits: a sentence about another sentence would help nobody. */
    n = utf8_whole(sentence, n);
    const struct guest_memory m = instance_memory(in);
    return guest_has(&m, out, out_max) && guest_copy_out(&m, out, sentence, n) ? (int32_t)n
                                                                               : ABI_OUTPUT;
}
