/* Bodies of requests, by the reader of each door: the first byte chooses which. */
#include <string.h>

#include "api/ask.h"
#include "base/assert.h"
#include "chat/json.h"

static int dispatch_generate(struct ask *a, json_t *params, struct api_error *e)
{
    return ask_dispatch(a, params, false, e);
}

static int dispatch_chat(struct ask *a, json_t *params, struct api_error *e)
{
    return ask_dispatch(a, params, true, e);
}

typedef int (*read_fn)(struct ask *a, json_t *body, struct api_error *e);

static const read_fn readers[] = {
    ask_chat,  ask_completion, ask_messages,      ask_count,
    ask_llama, ask_embeddings, dispatch_generate, dispatch_chat,
};

static void check(const struct ask *a)
{
    ASSERT(a->messages || a->n_prompts > 0);
    ASSERT(a->n_prompts <= EMBEDDING_INPUTS_MAX && a->n_stop <= STOP_MAX);
    ASSERT(a->n >= 1 && a->n <= CHOICES_MAX && a->n_bias <= LOGIT_BIAS_MAX);
    for (size_t i = 0; i < a->n_stop; i++)
        ASSERT(*a->stop[i] && strlen(a->stop[i]) <= STOP_BYTES_MAX);
    for (size_t i = 0; i < a->n_prompts; i++)
        ASSERT(a->prompts[i].text || a->prompts[i].parts || a->prompts[i].ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    struct realm_error err = {0};
    struct api_error e = {0};
    struct ask a = {0};
    json_t *body;
    if (json_read((const char *)data + 1, size - 1, &body, &err)) {
        ASSERT(*err.message);
        return 0;
    }
    if (readers[data[0] % ARRAY_LEN(readers)](&a, body, &e) == 0)
        check(&a);
    else
        ASSERT(e.http >= 400 && *e.message);
    ask_free(&a);
    return 0;
}
