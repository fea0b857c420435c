/* default.c - the guest that adds nothing: the caller's prompt and options go to
 * the model, and its text comes back. */
#define REALM_GUEST_ALLOC
#include "realm_guest.h"

enum { ANSWER_MAX = 4 << 20 };

REALM_EXPORT("generate")
const char *generate(const char *prompt, uint32_t prompt_len, uint32_t model_id,
                     const struct realm_gen_options *options)
{
    char *answer = alloc(ANSWER_MAX);
    if (!answer)
        return 0;
    int32_t n = realm_host_generate(model_id, prompt, prompt_len, options, answer, ANSWER_MAX);
    return n > 0 ? answer : 0;
}
